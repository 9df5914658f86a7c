//! Diagnostics about options and environment: one line on standard error each, formatted without allocating.
//!
//! The lines are printed when the ledger is opened, before `main`. A forked child that opens a ledger has the same
//! options and environment as its parent, and prints nothing.

use std::fmt::{self, Write};

use super::state;
use crate::sys::platform::write_stderr;

/// Maximum length of a line, in bytes; a longer line is truncated.
const LINE_BYTES: usize = 256;

/// Prints `heapledger: ` and the message on standard error. Prints nothing in a forked child, whose parent has printed
/// the message.
pub(super) fn warn(message: fmt::Arguments<'_>) {
    if state::is_forked_child() {
        return;
    }
    let mut line = Line { text: [0; LINE_BYTES], len: 0 };
    // Never fails: a longer line is truncated.
    let _ = line.write_str("heapledger: ").and_then(|()| line.write_fmt(message));
    line.end();
    write_stderr(&line.text[..line.len]);
}

/// Displays bytes that may be unprintable: the first 64, with `?` in place of each unprintable byte.
pub(super) struct Printable<'a>(pub(super) &'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' };
        self.0.iter().take(64).try_for_each(|byte| f.write_char(shown(byte)))
    }
}

/// A line in a fixed array.
struct Line {
    text: [u8; LINE_BYTES],
    len: usize,
}

impl Line {
    /// Appends the newline, in place of the last byte if the line is full.
    fn end(&mut self) {
        self.len = self.len.min(LINE_BYTES - 1);
        self.text[self.len] = b'\n';
        self.len += 1;
    }
}

impl Write for Line {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = &mut self.text[self.len..];
        let count = more.len().min(room.len());
        room[..count].copy_from_slice(&more.as_bytes()[..count]);
        self.len += count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_truncated_and_ends_with_a_newline() {
        let mut line = Line { text: [0; LINE_BYTES], len: 0 };
        write!(line, "{}", "x".repeat(LINE_BYTES + 1)).unwrap();
        write!(line, "{}", Printable(b"a b")).unwrap();
        line.end();
        assert_eq!((line.len, line.text[LINE_BYTES - 1]), (LINE_BYTES, b'\n'));
        let mut short = Line { text: [0; LINE_BYTES], len: 0 };
        write!(short, "{} {}", Printable(b"a b\xFF"), f64::NAN).unwrap();
        short.end();
        assert_eq!(&short.text[..short.len], b"a?b? NaN\n");
    }
}
