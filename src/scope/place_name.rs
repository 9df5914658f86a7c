//! Places in the source as names of scopes.

use std::fmt::{self, Write};
use std::panic::Location;

/// A place in the source as the name of a scope: its file and line, made without an allocation.
pub(super) struct PlaceName {
    bytes: [u8; 512],
    length: usize,
}

impl PlaceName {
    pub(super) fn of(place: &Location<'_>) -> PlaceName {
        let mut name = PlaceName { bytes: [0; 512], length: 0 };
        // A longer path is cut: `write_str` does not fail.
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
