//! A path in a fixed array, made from a pattern without allocating.

use std::ffi::CStr;

use crate::sys::{path_pattern, platform};

/// Maximum length of a path in bytes, including the terminating zero byte: the limit of Linux (`PATH_MAX`).
pub(super) const PATH_BYTES: usize = 4096;

/// A path in a fixed array, terminated by a zero byte.
pub(super) struct FixedPath {
    text: [u8; PATH_BYTES],
    len: usize,
}

impl FixedPath {
    /// Returns an empty path.
    pub(super) const fn empty() -> FixedPath {
        FixedPath { text: [0; PATH_BYTES], len: 0 }
    }

    /// Stores the path of the working directory; an empty path if it is unknown.
    pub(super) fn set_working_directory(&mut self) {
        let length = self.text.split_last_mut().and_then(|(_, text)| platform::working_directory(text));
        self.len = length.unwrap_or(0);
    }

    /// Expands `pattern` to a path and returns it: replaces the placeholders (`sys::path_pattern`), puts `directory` in
    /// front if the pattern is relative, and appends `ending`. Returns `None` if the path is too long.
    pub(super) fn expand(&mut self, directory: &[u8], pattern: &[u8], ending: &[u8]) -> Option<&CStr> {
        self.len = 0;
        if !directory.is_empty() && pattern.first() != Some(&b'/') {
            self.push(directory)?;
            self.push(b"/")?;
        }
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

    /// Returns the bytes of the path that [`FixedPath::set_working_directory`] stored, which has no zero byte.
    pub(super) fn bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or(&[])
    }

    /// Returns the path that [`FixedPath::expand`] made last.
    pub(super) fn get(&self) -> Option<&CStr> {
        CStr::from_bytes_with_nul(self.text.get(..self.len)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(pattern: &[u8], ending: &[u8]) -> Option<String> {
        let mut path = FixedPath::empty();
        path.expand(b"/start", pattern, ending).map(|path| path.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_pattern_is_expanded_and_a_path_that_is_too_long_is_refused() {
        let id = std::process::id();
        assert_eq!(expanded(b"/tmp/a%%%p%x%", b".b"), Some(format!("/tmp/a%{id}%x%.b")));
        assert_eq!(expanded(b"b/c", b""), Some("/start/b/c".to_owned()));
        assert_eq!(expanded(&[b'a'; PATH_BYTES - 7], b""), None);
    }

    #[test]
    fn the_working_directory_is_known_and_a_relative_path_without_one_stays_relative() {
        let mut directory = FixedPath::empty();
        directory.set_working_directory();
        assert_eq!(directory.bytes(), std::env::current_dir().unwrap().as_os_str().as_encoded_bytes());
        assert_eq!(FixedPath::empty().expand(b"", b"a", b".b").unwrap(), c"a.b");
    }

    #[test]
    fn the_program_in_a_path_is_that_of_the_executable_in_every_thread() {
        let program = std::env::current_exe().unwrap();
        let program = program.file_name().unwrap().to_str().unwrap().to_owned();
        let named = std::thread::Builder::new().name("another".to_owned());
        let in_thread = named.spawn(|| expanded(b"%e", b".hl")).unwrap();
        assert_eq!(in_thread.join().unwrap(), Some(format!("/start/{program}.hl")));
    }
}
