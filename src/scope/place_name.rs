//! Names of scopes that are named after a place in the source.

use std::fmt::{self, Write};
use std::panic::Location;

/// The name of a scope that consists of a source file and a line. It is made without an allocation.
pub(super) struct PlaceName {
    bytes: [u8; 512],
    length: usize,
}

impl PlaceName {
    pub(super) fn of(place: &Location<'_>) -> PlaceName {
        let mut name = PlaceName { bytes: [0; 512], length: 0 };
        // `write_str` does not fail: a name that is too long is cut.
        let _ = write!(name, "{}:{}", place.file(), place.line());
        name
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}

impl Write for PlaceName {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let length = text.len().min(self.bytes.len() - self.length);
        self.bytes[self.length..self.length + length].copy_from_slice(&text.as_bytes()[..length]);
        self.length += length;
        Ok(())
    }
}
