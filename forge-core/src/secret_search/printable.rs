/// Whether an error or a log may show this character of a server.
///
/// Attack: control characters, invisible characters, and those that reverse the direction of the text or end a line in
/// some viewers would forge or hide log entries (U+202E, U+200B and U+2028, for example). These are Unicode's categories
/// `Cc`, `Cf`, `Zl` and `Zp`, and fillers.
#[must_use]
pub fn is_printable(c: char) -> bool {
    !c.is_control()
        && (c < '\u{ad}'
            || !matches!(c,
                '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
                | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'))
}
