//! Search for the file with the symbols of a module.
//!
//! A module of a profile has a path and a build id, both from the machine that ran the program. The file at that path
//! may have been rebuilt since, so the file is used only if its build id equals the recorded one. If the file cannot
//! be used, or has no line table, a separate debug file is searched in this order:
//!
//! 1. by build id, as `.build-id/xx/yyyy.debug` in the given directories and in `/usr/lib/debug`;
//! 2. by the name of the module, with `.debug`, without a suffix or with `.dbg`, directly in a given directory;
//! 3. by the link in the `.gnu_debuglink` section of the file: in the directory of the file, in the directory
//!    `.debug` in that directory, and under the same path below each directory of step 1. The checksum of the link
//!    must match.
//!
//! A debug file with another build id is never used. Paths come from a dump, which can be hostile, so only regular
//! files are opened, and only a hexadecimal build id becomes part of a path.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use object::read::{ReadCache, ReadRef};
use object::{Object, ObjectSection};

use heapledger::profile::Module;

/// Directory in which distributions install debug files.
const SYSTEM_DEBUG_DIRECTORY: &str = "/usr/lib/debug";

/// Result of a search.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Located {
    /// File with the names; `None` if the search found no file.
    pub(super) file: Option<PathBuf>,
    /// Whether the found file has a line table, which also lists inlined calls.
    pub(super) has_lines: bool,
    /// State of the file at the path of the module.
    pub(super) own: OwnFile,
}

/// State of the file at the path of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OwnFile {
    /// The path has the recorded file.
    Same,
    /// The path has no file.
    Missing,
    /// The file is not an object file, or cannot be opened.
    NotAnObject,
    /// The file is another build.
    Rebuilt {
        /// Build id of the file; empty if the file has none.
        build_id: String,
    },
    /// The module has no build id, and the file was modified after the program started.
    Newer,
}

/// Identification of an object file.
struct Identity {
    build_id: String,
    debug_link: Option<(String, u32)>,
    has_lines: bool,
}

/// Searches the file with the symbols of `module`. `started_unix_ns` is the start time of the program, in nanoseconds
/// since 1970; 0 if unknown.
pub(super) fn locate(module: &Module, debug_directories: &[PathBuf], started_unix_ns: u64) -> Located {
    let path = Path::new(&module.path);
    let identity = identify(path);
    let own = judge(module, path, identity.as_ref(), started_unix_ns);
    if own == OwnFile::Same && identity.as_ref().is_some_and(|identity| identity.has_lines) {
        return Located { file: Some(path.to_owned()), has_lines: true, own };
    }
    let link = identity.and_then(|identity| identity.debug_link).filter(|_| own == OwnFile::Same);
    if let Some(file) = debug_file(module, path, link, debug_directories) {
        return Located { file: Some(file), has_lines: true, own };
    }
    // A file without a line table can still have names, in its symbol table.
    let file = (own == OwnFile::Same).then(|| path.to_owned());
    Located { file, has_lines: false, own }
}

fn judge(module: &Module, path: &Path, identity: Option<&Identity>, started_unix_ns: u64) -> OwnFile {
    let Some(identity) = identity else {
        return if path.is_file() { OwnFile::NotAnObject } else { OwnFile::Missing };
    };
    if !module.build_id.is_empty() {
        let is_same = identity.build_id.eq_ignore_ascii_case(&module.build_id);
        let build_id = identity.build_id.clone();
        return if is_same { OwnFile::Same } else { OwnFile::Rebuilt { build_id } };
    }
    let modified = path.metadata().and_then(|metadata| metadata.modified()).ok();
    let since_1970 = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let is_newer = since_1970.is_some_and(|since| since.as_nanos() > u128::from(started_unix_ns));
    if is_newer && started_unix_ns > 0 { OwnFile::Newer } else { OwnFile::Same }
}

fn debug_file(
    module: &Module,
    path: &Path,
    link: Option<(String, u32)>,
    given: &[PathBuf],
) -> Option<PathBuf> {
    let system = PathBuf::from(SYSTEM_DEBUG_DIRECTORY);
    let all: Vec<&PathBuf> = given.iter().chain([&system]).collect();
    let fits = |candidate: &PathBuf| {
        let found = identify(candidate);
        let id = |found: &Identity| found.build_id.eq_ignore_ascii_case(&module.build_id);
        found.is_some_and(|found| found.has_lines && id(&found))
    };
    if let Some((first, rest)) = split_build_id(&module.build_id) {
        let place =
            |directory: &&PathBuf| directory.join(".build-id").join(first).join(format!("{rest}.debug"));
        if let Some(file) = all.iter().map(place).find(fits) {
            return Some(file);
        }
    }
    let name = path.file_name()?.to_string_lossy();
    let named = given.iter().flat_map(|directory| {
        [
            directory.join(format!("{name}.debug")),
            directory.join(&*name),
            directory.join(format!("{name}.dbg")),
        ]
    });
    if let Some(file) = named.into_iter().find(fits) {
        return Some(file);
    }
    let (name, crc32) = link?;
    let beside = path.parent()?;
    let mirrored = beside.strip_prefix("/").unwrap_or(beside);
    let places = [beside.join(&name), beside.join(".debug").join(&name)];
    let mut places =
        places.into_iter().chain(all.iter().map(|directory| directory.join(mirrored).join(&name)));
    // A link that leads to the file itself is skipped.
    places.find(|place| place != path && fits(place) && crc32_of(place) == Some(crc32))
}

/// Returns the two parts of a build id in the path of a debug file; `None` if the id is too short or not hexadecimal.
fn split_build_id(build_id: &str) -> Option<(&str, &str)> {
    let is_hexadecimal = build_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if build_id.len() > 2 && is_hexadecimal { build_id.split_at_checked(2) } else { None }
}

/// Reads the identification of the object file at `path`; `None` if the file is not regular or not an object.
fn identify(path: &Path) -> Option<Identity> {
    // The check precedes the opening, because opening a pipe blocks until the pipe has a writer.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let cache = ReadCache::new(File::open(path).ok()?);
    let object = object::File::parse(&cache).ok()?;
    let build_id = object.build_id().ok().flatten().unwrap_or_default();
    let link = object.gnu_debuglink().ok().flatten();
    // A link must be a plain file name; other names would lead out of the searched directories.
    let debug_link = link.and_then(|(name, crc32)| Some((std::str::from_utf8(name).ok()?.to_owned(), crc32)));
    let debug_link = debug_link.filter(|(name, _)| !name.is_empty() && !name.contains('/') && name != "..");
    Some(Identity {
        build_id: build_id.iter().map(|byte| format!("{byte:02x}")).collect(),
        debug_link,
        has_lines: has_content(&object, ".debug_info") || has_content(&object, ".debug_line"),
    })
}

fn has_content<'a, R: ReadRef<'a>>(object: &object::File<'a, R>, section: &str) -> bool {
    object
        .section_by_name(section)
        .is_some_and(|section| section.size() > 0 && section.file_range().is_some())
}

/// Returns the checksum of a debug link: the CRC-32 of the whole file.
fn crc32_of(path: &Path) -> Option<u32> {
    let mut file = File::open(path).ok()?;
    let (mut hasher, mut piece) = (crc32fast::Hasher::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut piece).ok()? {
            0 => return Some(hasher.finalize()),
            bytes => hasher.update(&piece[..bytes]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hexadecimal_build_id_becomes_a_path() {
        assert_eq!(split_build_id("abcdef"), Some(("ab", "cdef")));
        for wrong in ["", "ab", "../../etc/passwd", "zz00", "äöü"] {
            assert_eq!(split_build_id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_object_file_is_told_from_what_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let text = directory.path().join("text");
        std::fs::write(&text, "no object").unwrap();
        let own = |path: &Path| {
            let module = Module { path: path.to_str().unwrap().into(), ..Module::default() };
            locate(&module, &[], 0).own
        };
        assert_eq!(own(&text), OwnFile::NotAnObject);
        assert_eq!(own(&directory.path().join("gone")), OwnFile::Missing);
        assert_eq!(own(directory.path()), OwnFile::Missing);
        assert_eq!(own(Path::new("/dev/zero")), OwnFile::Missing);
    }

    #[test]
    fn a_file_without_build_id_counts_only_while_it_is_older_than_the_run() {
        let own = std::env::current_exe().unwrap();
        let module = Module { path: own.to_str().unwrap().into(), ..Module::default() };
        assert_eq!(locate(&module, &[], 0).own, OwnFile::Same, "nobody knows when it was started");
        assert_eq!(locate(&module, &[], 1).own, OwnFile::Newer);
        assert_eq!(locate(&module, &[], u64::MAX).own, OwnFile::Same);
    }

    #[test]
    fn the_file_of_another_build_is_not_taken() {
        let own = std::env::current_exe().unwrap();
        let path = own.to_str().unwrap().to_owned();
        let found = locate(&Module { path, build_id: "00ff".into(), ..Module::default() }, &[], 0);
        assert!(matches!(found.own, OwnFile::Rebuilt { .. }), "{found:?}");
        assert_eq!(found.file, None);
    }
}
