//! The program's name, and the expansion of path patterns.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::recorder::state;
use crate::sys::path_pattern;
use crate::sys::program_name::with_program_name;

/// Returns the path of `pattern` with its placeholders replaced (`sys::path_pattern`). A relative path starts from
/// the directory in which the program started.
pub(crate) fn expand(pattern: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(pattern.len() + 32);
    // The function that takes the pieces never fails, so the expansion cannot fail.
    let _ = path_pattern::expand(pattern, |piece| {
        path.extend_from_slice(piece);
        Some(())
    });
    to_path(state::start_directory().to_vec()).join(to_path(path))
}

/// Returns a message if `path` is below the directory in which the program started, and that directory no longer
/// exists.
pub(crate) fn lost_directory(path: &Path) -> Option<String> {
    let directory = to_path(state::start_directory().to_vec());
    let is_lost = !directory.as_os_str().is_empty() && path.starts_with(&directory) && !directory.is_dir();
    is_lost.then(|| format!("{}, the directory in which the program started, is gone", directory.display()))
}

/// Returns the name of the program, or `unknown`.
pub(super) fn program_name() -> String {
    let name = with_program_name(|name| String::from_utf8_lossy(name).into_owned());
    if name.is_empty() { "unknown".to_owned() } else { name }
}

#[cfg(unix)]
fn to_path(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(not(unix))]
fn to_path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_expanded_and_percent_signs_kept() {
        let pid = std::process::id();
        assert_eq!(expand(b"/tmp/%p.hl"), PathBuf::from(format!("/tmp/{pid}.hl")));
        assert_eq!(expand(b"a%%b%x%"), PathBuf::from("a%b%x%"));
        assert!(expand(b"%e").to_string_lossy().starts_with("heapledger"));
    }
}
