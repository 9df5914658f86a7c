//! Names of files, from patterns.

use std::ffi::OsString;
use std::path::PathBuf;

use super::snapshot;
use crate::sys::platform;

/// Replaces `%e`, `%p` and `%t`; `%%` stands for a percent sign.
pub(crate) fn expand(pattern: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(pattern.len() + 32);
    let mut rest = pattern.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            path.push(*byte);
            continue;
        }
        match rest.next() {
            Some(b'e') => path.extend(
                snapshot::program_name(&[]).bytes().map(|byte| if byte == b'/' { b'_' } else { byte }),
            ),
            Some(b'p') => path.extend(std::process::id().to_string().bytes()),
            Some(b't') => path.extend((platform::unix_time_ns() / 1_000_000_000).to_string().bytes()),
            Some(b'%') => path.push(b'%'),
            Some(other) => path.extend([b'%', *other]),
            None => path.push(b'%'),
        }
    }
    to_path(path)
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
