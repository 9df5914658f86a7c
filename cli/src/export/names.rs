//! Names from the program in formats that are lines of text.
//!
//! JSON and protobuf carry any name as it is. In a line, a control character could end it, and an invisible
//! direction mark could turn it around, so those are written out as `\u{a}`.

use std::borrow::Cow;

/// Stands in the place of a stack where none was taken.
pub(super) const NO_STACK: &str = "(no stack)";

/// `name` on one line.
pub(super) fn on_one_line(name: &str) -> Cow<'_, str> {
    if !name.contains(is_unsafe) {
        return Cow::Borrowed(name);
    }
    let mut safe = String::with_capacity(name.len());
    for character in name.chars() {
        if is_unsafe(character) {
            safe.extend(character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

fn is_unsafe(character: char) -> bool {
    let directs = matches!(character,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    character.is_control() || directs
}

/// The command line as one text.
pub(super) fn command(process: &heapledger::profile::ProcessInfo) -> String {
    if process.command_line.is_empty() { process.program.clone() } else { process.command_line.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_on_its_line_and_a_harmless_one_as_it_is() {
        assert_eq!(on_one_line("a\nb\u{85}\u{202e}"), "a\\u{a}b\\u{85}\\u{202e}");
        assert!(matches!(on_one_line("<f as ü>::g; h"), Cow::Borrowed("<f as ü>::g; h")));
    }
}
