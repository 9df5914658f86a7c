//! The program's name, and the paths that patterns stand for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::sys::path_pattern;

/// Returns the path that `pattern` stands for, with its placeholders replaced (`sys::path_pattern`).
pub(crate) fn expand(pattern: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(pattern.len() + 32);
    // A vector takes every piece, so the expansion cannot fail.
    let _ = path_pattern::expand(pattern, |piece| {
        path.extend_from_slice(piece);
        Some(())
    });
    to_path(path)
}

/// Returns the name of the program: the file name of the running executable without its extension, else that of the
/// first word of its command line, else `unknown`.
pub(super) fn program_name(command: Option<&str>) -> String {
    let executable = std::env::current_exe().ok();
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let paths = [executable.as_deref(), command.map(Path::new)];
    paths.into_iter().flatten().find_map(stem).unwrap_or_else(|| "unknown".to_owned())
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
