/// The first element of a text: an escape, or a byte that means itself.
pub(super) struct Piece {
    /// The length in bytes of the text, at least one.
    pub(super) length: usize,
    says: [u8; 4],
    count: usize,
}

impl Piece {
    pub(super) fn nothing(length: usize) -> Self {
        Self { length, says: [0; 4], count: 0 }
    }

    pub(super) fn byte(byte: u8, length: usize) -> Self {
        Self { length, says: [byte, 0, 0, 0], count: 1 }
    }

    fn char(code: u32, length: usize) -> Option<Self> {
        let mut says = [0; 4];
        let count = char::from_u32(code)?.encode_utf8(&mut says).len();
        Some(Self { length, says, count })
    }

    pub(super) fn says(&self) -> &[u8] {
        &self.says[..self.count]
    }
}

/// The first element of a text that is not empty. It may be percent-encoded, a character reference of HTML, or escaped by
/// a backslash as in JSON, JavaScript, Rust, C and Python.
pub(super) fn first_piece(text: &[u8]) -> Piece {
    let escape = match text[0] {
        b'%' => of_percent(&text[1..]),
        b'&' => of_html(&text[1..]),
        b'\\' => of_backslash(&text[1..]),
        _ => None,
    };
    escape.unwrap_or_else(|| Piece::byte(text[0], 1))
}

/// `%73`, and `%u0073` as JavaScript's old `escape` function writes it.
fn of_percent(rest: &[u8]) -> Option<Piece> {
    match rest.first()? {
        b'u' => Piece::char(hex(rest.get(1..5)?)?, 6),
        _ => Some(Piece::byte(byte(rest.get(..2)?)?, 3)),
    }
}

/// `&amp;`, `&#38;`, `&#x26;`. Numeric references count without the semicolon as well, because browsers accept that.
fn of_html(rest: &[u8]) -> Option<Piece> {
    let Some(number) = rest.strip_prefix(b"#") else {
        let name = &rest[..rest.iter().take(MAX_NAME_LEN + 1).position(|byte| *byte == b';')?];
        return Piece::char(named(name)?, name.len() + 2);
    };
    let (radix, digits) = match number.first()? {
        b'x' | b'X' => (16, &number[1..]),
        _ => (10, number),
    };
    let count = digits.iter().take_while(|byte| char::from(**byte).is_digit(radix)).count();
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count().min(count);
    let code = str::from_utf8(&digits[zeros..count]).ok()?;
    let semicolon = usize::from(digits.get(count) == Some(&b';'));
    let before = 2 + number.len() - digits.len();
    Piece::char(u32::from_str_radix(code, radix).ok()?, before + count + semicolon)
}

/// `\u0073`, `\u{73}`, `\U00000073`, `\x73`, `\163`, `\n`, `\"`.
fn of_backslash(rest: &[u8]) -> Option<Piece> {
    let of_char = match *rest.first()? {
        b'u' if rest.get(1) == Some(&b'{') => {
            let digits = rest[2..].iter().take(MAX_BRACED_LEN).position(|byte| *byte == b'}')?;
            Piece::char(hex(&rest[2..2 + digits])?, digits + 4)
        }
        b'u' => of_utf16(rest),
        b'U' => rest.get(1..9).and_then(hex).and_then(|code| Piece::char(code, 10)),
        b'x' => rest.get(1..3).and_then(byte).map(|byte| Piece::byte(byte, 4)),
        b'0'..=b'3' => octal(rest).map(|byte| Piece::byte(byte, 4)),
        _ => None,
    };
    let says = match rest[0] {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        byte => byte,
    };
    of_char.or(Some(Piece::byte(says, 2)))
}

/// `u0073`, or `ud83d\ude00`.
fn of_utf16(rest: &[u8]) -> Option<Piece> {
    let first = hex(rest.get(1..5)?)?;
    if !(0xD800..0xDC00).contains(&first) {
        return Piece::char(first, 6);
    }
    let second = hex(rest.get(5..)?.strip_prefix(br"\u")?.get(..4)?)?;
    let low = second.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
    Piece::char(0x1_0000 + ((first - 0xD800) << 10) + low, 12)
}

/// Parses a hexadecimal number in upper or lower case.
fn hex(digits: &[u8]) -> Option<u32> {
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok().filter(|_| is_hex)
}

/// Parses a hexadecimal number of one or two digits.
pub(super) fn byte(digits: &[u8]) -> Option<u8> {
    u8::try_from(hex(digits)?).ok()
}

fn octal(rest: &[u8]) -> Option<u8> {
    let digits = rest.get(..3)?;
    u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok()
}

/// The length of the longest name below.
const MAX_NAME_LEN: usize = 7;

/// The maximum number of digits between the braces of `\u{…}`, including leading zeros.
const MAX_BRACED_LEN: usize = 16;

/// Resolves the character references of HTML that PHP's `htmlentities` and OWASP's encoders write.
fn named(name: &[u8]) -> Option<u32> {
    let ascii = PUNCTUATION.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, c)| u32::from(*c));
    ascii.or_else(|| {
        let at = LATIN_1.split(' ').position(|known| known.as_bytes() == name)?;
        u32::try_from(0xA0 + at).ok()
    })
}

const PUNCTUATION: [(&str, char); 44] = [
    ("Tab", '\t'),
    ("NewLine", '\n'),
    ("excl", '!'),
    ("quot", '"'),
    ("QUOT", '"'),
    ("num", '#'),
    ("dollar", '$'),
    ("percnt", '%'),
    ("amp", '&'),
    ("AMP", '&'),
    ("apos", '\''),
    ("lpar", '('),
    ("rpar", ')'),
    ("ast", '*'),
    ("midast", '*'),
    ("plus", '+'),
    ("comma", ','),
    ("period", '.'),
    ("sol", '/'),
    ("colon", ':'),
    ("semi", ';'),
    ("lt", '<'),
    ("LT", '<'),
    ("equals", '='),
    ("gt", '>'),
    ("GT", '>'),
    ("quest", '?'),
    ("commat", '@'),
    ("lsqb", '['),
    ("lbrack", '['),
    ("bsol", '\\'),
    ("rsqb", ']'),
    ("rbrack", ']'),
    ("Hat", '^'),
    ("lowbar", '_'),
    ("grave", '`'),
    ("lcub", '{'),
    ("lbrace", '{'),
    ("verbar", '|'),
    ("vert", '|'),
    ("rcub", '}'),
    ("rbrace", '}'),
    ("hyphen", '\u{2010}'),
    ("euro", '€'),
];

/// The names of the characters from U+00A0 on.
const LATIN_1: &str = "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr \
    deg plusmn sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest \
    Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml \
    ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig \
    agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml \
    eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute thorn yuml";

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> String {
        let mut rest = text.as_bytes();
        let mut says = Vec::new();
        while !rest.is_empty() {
            let piece = first_piece(rest);
            says.extend_from_slice(piece.says());
            rest = &rest[piece.length..];
        }
        String::from_utf8(says).unwrap()
    }

    #[test]
    fn inv34_escapes_are_read() {
        for (text, says) in [
            ("%41%u00e9%zz%4", "Aé%zz%4"),
            ("&amp;&#38;&#x26;&#X26;&#38x&#0000038;&&#;&#x;", "&&&&&x&&&#;&#x;"),
            ("&nbsp;&yuml;&uuml;&nope;&amp", "\u{a0}ÿü&nope;&amp"),
            (r#"\u0041\u{41}\U00000041\x41\101\"\n\\\/"#, "AAAAA\"\n\\/"),
            (r"\ud83d\ude00\u{}\u{zz}\ud83d\xzz\49", r"😀\u{}\u{zz}ud83dxzz49"),
            ("\\", "\\"),
            ("&#x110000;&#99999999999;%", "&#x110000;&#99999999999;%"),
        ] {
            assert_eq!(decoded(text), says, "{text}");
        }
    }
}
