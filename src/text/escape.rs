//! Makes names from the recorded program safe to print.
//!
//! A thread or program can have any name. A name with escape sequences could repaint a terminal, a name with a line
//! break could forge a line of the report, and a name with a direction mark could reverse a line. Such characters are
//! printed as `\u{1b}`.

/// Returns `text` with control characters and invisible direction marks written as escapes.
///
/// ```
/// assert_eq!(heapledger::text::escape::escaped("red \u{1b}[31m"), "red \\u{1b}[31m");
/// ```
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) {
            safe.extend(character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    safe
}

fn is_unsafe(character: char) -> bool {
    let directs = matches!(character,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    character.is_control() || directs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_direction_marks_are_written_out() {
        assert_eq!(escaped("a\nb\tc\u{7f}\u{9b}\u{202e}"), "a\\u{a}b\\u{9}c\\u{7f}\\u{9b}\\u{202e}");
        assert_eq!(escaped("tokio-runtime-w ü <b>"), "tokio-runtime-w ü <b>");
    }
}
