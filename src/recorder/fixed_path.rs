//! A path in a fixed array, made from a pattern without allocating.

use std::ffi::CStr;

use crate::sys::path_pattern;

/// Maximum length of a path in bytes, including its zero byte.
pub(super) const PATH_BYTES: usize = 1100;

/// A path in a fixed array, terminated by a zero byte.
pub(super) struct FixedPath {
    text: [u8; PATH_BYTES],
    len: usize,
}

impl FixedPath {
    /// Returns an array without a path.
    pub(super) const fn empty() -> FixedPath {
        FixedPath { text: [0; PATH_BYTES], len: 0 }
    }

    /// Replaces the placeholders of `pattern` (`sys::path_pattern`) and appends `ending`. Returns `None` if the path is
    /// too long.
    pub(super) fn expand(&mut self, pattern: &[u8], ending: &[u8]) -> Option<&CStr> {
        self.len = 0;
        path_pattern::expand(pattern, |piece| self.push(piece))?;
        self.push(ending)?;
        self.push(&[0])?;
        self.get()
    }

    fn push(&mut self, piece: &[u8]) -> Option<()> {
        let end = self.len + piece.len();
        self.text.get_mut(self.len..end)?.copy_from_slice(piece);
        self.len = end;
        Some(())
    }

    /// Returns the path of the last expansion.
    pub(super) fn get(&self) -> Option<&CStr> {
        CStr::from_bytes_with_nul(self.text.get(..self.len)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(pattern: &[u8], ending: &[u8]) -> Option<String> {
        let mut path = FixedPath::empty();
        path.expand(pattern, ending).map(|path| path.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_pattern_is_expanded_and_a_path_that_is_too_long_is_refused() {
        let id = std::process::id();
        assert_eq!(expanded(b"/tmp/a%%%p%x%", b".b"), Some(format!("/tmp/a%{id}%x%.b")));
        assert_eq!(expanded(&[b'a'; PATH_BYTES], b""), None);
    }

    #[test]
    fn the_program_in_a_path_is_that_of_the_executable_in_every_thread() {
        let program = std::env::current_exe().unwrap();
        let program = program.file_name().unwrap().to_str().unwrap().to_owned();
        let named = std::thread::Builder::new().name("another".to_owned());
        let in_thread = named.spawn(|| expanded(b"%e", b".hl")).unwrap();
        assert_eq!(in_thread.join().unwrap(), Some(format!("{program}.hl")));
    }
}
