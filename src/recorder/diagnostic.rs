//! Complaints about settings: a line on standard error each, put together without allocating.
//!
//! They are made when the ledger is opened, before `main`. A forked child that opens one of its own has the same
//! settings and environment, so it says nothing again.

use std::fmt::{self, Write};

use super::state;
use crate::sys::platform::write_stderr;

/// Bytes of a line; the rest of a longer one is cut off.
const LINE_BYTES: usize = 256;

/// Writes `heapledger: what` on standard error, unless this is a forked child whose parent has done so.
pub(super) fn complain(what: fmt::Arguments<'_>) {
    if state::is_opened_again() {
        return;
    }
    let mut line = Line { text: [0; LINE_BYTES], len: 0 };
    // It never fails: what does not fit is cut off.
    let _ = line.write_str("heapledger: ").and_then(|()| line.write_fmt(what));
    line.end();
    write_stderr(&line.text[..line.len]);
}

/// Bytes of someone else's, as far as they can be shown on a line.
pub(super) struct Shown<'a>(pub(super) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' };
        self.0.iter().take(64).try_for_each(|byte| f.write_char(shown(byte)))
    }
}

struct Line {
    text: [u8; LINE_BYTES],
    len: usize,
}

impl Line {
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
    fn a_line_is_cut_and_still_ends() {
        let mut line = Line { text: [0; LINE_BYTES], len: 0 };
        write!(line, "{}", "x".repeat(LINE_BYTES + 1)).unwrap();
        write!(line, "{}", Shown(b"a b")).unwrap();
        line.end();
        assert_eq!((line.len, line.text[LINE_BYTES - 1]), (LINE_BYTES, b'\n'));
        let mut short = Line { text: [0; LINE_BYTES], len: 0 };
        write!(short, "{} {}", Shown(b"a b\xFF"), f64::NAN).unwrap();
        short.end();
        assert_eq!(&short.text[..short.len], b"a?b? NaN\n");
    }
}
