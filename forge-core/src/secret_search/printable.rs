/// Whether a character that a server sent shows itself, and nothing else, where an error or a log is read.
///
/// Control characters do not; neither do those that are invisible, turn the direction of the text around, or
/// end a line for some readers (U+202E, U+200B, U+2028 and their like: Unicode's categories `Cc`, `Cf`, `Zl`,
/// `Zp`, and fillers).
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
