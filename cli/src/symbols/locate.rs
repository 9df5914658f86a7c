//! Search for the file with the symbols of a module.
//!
//! A module of a profile has a path and a build id, both from the machine that ran the program. The file at that path
//! may have been replaced since, so it is used only if its build id equals the recorded one. If the module has no
//! build id, the file at the path is used if it is older than the start of the program. If that file cannot be used, or
//! has no line table, another file of the recorded build is searched in this order:
//!
//! 1. by build id, as `.build-id/xx/yyyy.debug` in the given directories and in `/usr/lib/debug`;
//! 2. by the name of the module, followed by `.debug`, nothing or `.dbg`, directly in a given directory;
//! 3. by the link in the `.gnu_debuglink` section of the module's file: in the directory of that file, in its
//!    subdirectory `.debug`, and under the same path below each directory of step 1. The checksum in the link must
//!    match;
//! 4. by build id under any file name, if the path now has another file: in the directory of the module, in the given
//!    directories and in the directory of the dump.
//!
//! A file with another build id is never used. A dump can be hostile, and paths come from it. So only regular files are
//! opened, and a build id becomes part of a path only if it is hexadecimal.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use super::object_file::{self, Memory, Refusal};
use heapledger::profile::Module;

/// Directory in which distributions install debug files.
const SYSTEM_DEBUG_DIRECTORY: &str = "/usr/lib/debug";
/// Maximum number of files of a directory that are read in the search for a build id.
const DIRECTORY_FILES_MAX: usize = 4096;
/// Maximum length of a debug file whose checksum is computed, in bytes.
const LINKED_BYTES_MAX: u64 = 4 << 30;
/// Suffix that the system appends to the path of a module whose file was removed or replaced.
const DELETED: &str = " (deleted)";

/// Options of the search for symbols.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Directories with separate debug files, searched before `/usr/lib/debug`.
    pub debug_directories: Vec<PathBuf>,
    /// Directory of the dump. It is searched by build id, because it may contain copies of programs that were replaced
    /// later.
    pub dump_directory: Option<PathBuf>,
}

/// Result of a search.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Located {
    /// File with the symbols; `None` if no file was found.
    pub(super) file: Option<PathBuf>,
    /// Whether the found file has a line table. Such a file also lists inlined calls.
    pub(super) has_lines: bool,
    /// State of the file at the path of the module.
    pub(super) own: OwnFile,
    /// Path of the module on this machine, whether or not a file is there.
    pub(super) path: PathBuf,
}

/// State of the file at the path of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OwnFile {
    /// The path leads to the recorded file.
    Same,
    /// The path leads to no file, or the file cannot be opened.
    Missing,
    /// The path leads to a pipe, a device, a socket or a directory.
    NotAFile,
    /// The file is not an object file that can be read.
    NotAnObject,
    /// The file belongs to another build.
    Rebuilt {
        /// Build id of the file; empty if the file has none.
        build_id: String,
    },
    /// The module has no build id, and the file was modified after the program started.
    Newer,
    /// The module has no build id, and its file was removed or replaced while the program ran.
    Replaced,
}

/// Data that identifies an object file and its debug file.
#[derive(Debug, Clone)]
struct Identity {
    build_id: String,
    debug_link: Option<(String, u32)>,
    has_lines: bool,
}

/// Search for the files of a profile's modules.
pub(super) struct Search<'a> {
    options: &'a Options,
    /// Start time of the program, in nanoseconds since 1970; 0 if unknown.
    started_unix_ns: u64,
    /// Object files of each directory that was searched by build id so far.
    listed: HashMap<PathBuf, Vec<(PathBuf, Identity)>>,
}

impl<'a> Search<'a> {
    pub(super) fn new(options: &'a Options, started_unix_ns: u64) -> Self {
        Search { options, started_unix_ns, listed: HashMap::new() }
    }

    /// Searches for the file with the symbols of `module`.
    pub(super) fn locate(&mut self, module: &Module) -> Located {
        let path = path_here(module);
        let identity = identify(&path);
        let own = self.judge(module, &path, identity.as_ref().map_err(|refusal| *refusal));
        let identity = identity.ok();
        let found = |file: Option<PathBuf>, has_lines| Located {
            file,
            has_lines,
            own: own.clone(),
            path: path.clone(),
        };
        if own == OwnFile::Same && identity.as_ref().is_some_and(|identity| identity.has_lines) {
            return found(Some(path.clone()), true);
        }
        let link = identity.and_then(|identity| identity.debug_link).filter(|_| own == OwnFile::Same);
        if let Some(file) = self.debug_file(module, &path, link) {
            return found(Some(file), true);
        }
        // A file without a line table is still useful, because its symbol table has names.
        if own == OwnFile::Same {
            return found(Some(path.clone()), false);
        }
        match self.by_build_id(module, &path) {
            Some((file, has_lines)) => found(Some(file), has_lines),
            None => found(None, false),
        }
    }

    fn judge(&self, module: &Module, path: &Path, identity: Result<&Identity, Refusal>) -> OwnFile {
        let identity = match identity {
            Ok(identity) => identity,
            Err(Refusal::NotAFile) => return OwnFile::NotAFile,
            Err(Refusal::NotAnObject) => return OwnFile::NotAnObject,
            Err(Refusal::Missing) if module.build_id.is_empty() && module.path.ends_with(DELETED) => {
                return OwnFile::Replaced;
            }
            Err(Refusal::Missing) => return OwnFile::Missing,
        };
        if !module.build_id.is_empty() {
            let is_same = identity.build_id.eq_ignore_ascii_case(&module.build_id);
            let build_id = identity.build_id.clone();
            return if is_same { OwnFile::Same } else { OwnFile::Rebuilt { build_id } };
        }
        let modified = path.metadata().and_then(|metadata| metadata.modified()).ok();
        let since_1970 = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let is_newer = since_1970.is_some_and(|since| since.as_nanos() > u128::from(self.started_unix_ns));
        if is_newer && self.started_unix_ns > 0 { OwnFile::Newer } else { OwnFile::Same }
    }

    fn debug_file(&self, module: &Module, path: &Path, link: Option<(String, u32)>) -> Option<PathBuf> {
        let given = &self.options.debug_directories;
        let system = PathBuf::from(SYSTEM_DEBUG_DIRECTORY);
        let all: Vec<&PathBuf> = given.iter().chain([&system]).collect();
        let fits = |candidate: &PathBuf| {
            let found = identify(candidate).ok();
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
        let name = path.file_name()?;
        let named = given.iter().flat_map(|directory| {
            ["debug", "", "dbg"].map(|extension| directory.join(with_extension(name.to_owned(), extension)))
        });
        if let Some(file) = named.into_iter().find(fits) {
            return Some(file);
        }
        let (name, crc32) = link?;
        let beside = path.parent()?;
        let places = [beside.join(&name), beside.join(".debug").join(&name)];
        // A path with `..` is not searched, because it would lead out of the directories.
        let mirrored = beside.strip_prefix("/").unwrap_or(beside);
        let is_inside = mirrored.components().all(|part| matches!(part, Component::Normal(_)));
        let mirrors = all.iter().filter(|_| is_inside).map(|directory| directory.join(mirrored).join(&name));
        // A link to the file itself is skipped.
        let mut places = places.into_iter().chain(mirrors).filter(|place| place != path);
        places.find(|place| fits(place) && crc32_of(place) == Some(crc32))
    }

    /// Returns a file that has the build id of the module, under any name, and whether that file has a line table.
    /// Files with a line table are preferred.
    fn by_build_id(&mut self, module: &Module, path: &Path) -> Option<(PathBuf, bool)> {
        if module.build_id.is_empty() {
            return None;
        }
        let options = self.options;
        let directories = path.parent().into_iter().map(Path::to_owned);
        let directories = directories
            .chain(options.debug_directories.iter().cloned())
            .chain(options.dump_directory.iter().cloned());
        let mut without_lines = None;
        for directory in directories {
            let files = self.listed.entry(directory).or_insert_with_key(|directory| objects_in(directory));
            let fits = |file: &&(PathBuf, Identity)| file.1.build_id.eq_ignore_ascii_case(&module.build_id);
            for (file, identity) in files.iter().filter(fits) {
                if identity.has_lines {
                    return Some((file.clone(), true));
                }
                without_lines.get_or_insert_with(|| file.clone());
            }
        }
        without_lines.map(|file| (file, false))
    }
}

/// Returns the path of a module on this machine. If the recorded path has no file, undoes two changes of the recorder:
/// the recorder wrote bytes that are not UTF-8 as `\xff`, and its older versions kept the suffix ` (deleted)` of a
/// replaced file.
fn path_here(module: &Module) -> PathBuf {
    let recorded = PathBuf::from(&module.path);
    let is_marked = module.path.ends_with(DELETED) && !module.build_id.is_empty();
    if recorded.symlink_metadata().is_ok() || !(is_marked || module.path.contains('\\')) {
        return recorded;
    }
    let path = module.path.strip_suffix(DELETED).filter(|_| is_marked).unwrap_or(&module.path);
    let unescaped = unescaped(path);
    if unescaped.symlink_metadata().is_ok() { unescaped } else { PathBuf::from(path) }
}

/// Returns a path with each `\xff` (and each `\012` from older versions) replaced by the original byte.
fn unescaped(path: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        bytes.extend_from_slice(before.as_bytes());
        let byte = match from.get(..4) {
            Some("\\012") => Some(b'\n'),
            Some(escape) => escape.strip_prefix("\\x").and_then(|byte| u8::from_str_radix(byte, 16).ok()),
            None => None,
        };
        bytes.push(byte.unwrap_or(b'\\'));
        rest = &from[if byte.is_some() { 4 } else { 1 }..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    PathBuf::from(OsString::from_vec(bytes))
}

/// Returns the object files of a directory.
fn objects_in(directory: &Path) -> Vec<(PathBuf, Identity)> {
    let Ok(entries) = directory.read_dir() else { return Vec::new() };
    let paths = entries.take(DIRECTORY_FILES_MAX).filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> = paths.filter_map(|path| Some((path.clone(), identify(&path).ok()?))).collect();
    files.sort_by(|one, other| one.0.cmp(&other.0));
    files
}

pub(super) fn with_extension(mut name: OsString, extension: &str) -> OsString {
    if !extension.is_empty() {
        name.push(".");
        name.push(extension);
    }
    name
}

/// Splits a build id into the two parts that form the path of a debug file, `xx` and `yyyy` of
/// `.build-id/xx/yyyy.debug`. Returns `None` if the id is too short or not hexadecimal.
fn split_build_id(build_id: &str) -> Option<(&str, &str)> {
    let is_hexadecimal = build_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if build_id.len() > 2 && is_hexadecimal { build_id.split_at_checked(2) } else { None }
}

/// Reads the identity of the object file at `path`.
fn identify(path: &Path) -> Result<Identity, Refusal> {
    let memory = Memory::default();
    let object = memory.object(path)?;
    Ok(Identity {
        build_id: object.build_id(),
        debug_link: object.debug_link(),
        has_lines: object.has(".debug_info") || object.has(".debug_line"),
    })
}

/// Returns the CRC-32 of the whole file, which is the checksum in a debug link. Returns `None` if the file cannot be
/// read or is longer than [`LINKED_BYTES_MAX`].
fn crc32_of(path: &Path) -> Option<u32> {
    let mut file = object_file::open(path).ok()?;
    if file.metadata().ok()?.len() > LINKED_BYTES_MAX {
        return None;
    }
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

    fn locate(module: &Module, started_unix_ns: u64) -> Located {
        Search::new(&Options::default(), started_unix_ns).locate(module)
    }

    #[test]
    fn only_a_hexadecimal_build_id_becomes_a_path() {
        assert_eq!(split_build_id("abcdef"), Some(("ab", "cdef")));
        for wrong in ["", "ab", "../../etc/passwd", "zz00", "äöü"] {
            assert_eq!(split_build_id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_object_file_is_told_from_what_is_not_there_and_no_pipe_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let text = directory.path().join("text");
        std::fs::write(&text, "no object").unwrap();
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let own = |path: &Path| {
            let module = Module { path: path.to_str().unwrap().into(), ..Module::default() };
            locate(&module, 0).own
        };
        assert_eq!(own(&text), OwnFile::NotAnObject);
        assert_eq!(own(&directory.path().join("gone")), OwnFile::Missing);
        assert_eq!(own(&directory.path().join("app (deleted)")), OwnFile::Replaced);
        for other in [directory.path(), Path::new("/dev/zero"), &pipe] {
            assert_eq!(own(other), OwnFile::NotAFile, "{other:?}");
        }
    }

    #[test]
    fn a_file_without_build_id_counts_only_while_it_is_older_than_the_run() {
        let own = std::env::current_exe().unwrap();
        let module = Module { path: own.to_str().unwrap().into(), ..Module::default() };
        assert_eq!(locate(&module, 0).own, OwnFile::Same, "nobody knows when it was started");
        assert_eq!(locate(&module, 1).own, OwnFile::Newer);
        assert_eq!(locate(&module, u64::MAX).own, OwnFile::Same);
    }

    #[test]
    fn the_file_of_another_build_is_not_taken() {
        let own = std::env::current_exe().unwrap();
        let path = own.to_str().unwrap().to_owned();
        let found = locate(&Module { path, build_id: "00ff".into(), ..Module::default() }, 0);
        assert!(matches!(found.own, OwnFile::Rebuilt { .. }), "{found:?}");
        assert_eq!(found.file, None);
    }

    #[test]
    fn a_path_with_a_line_break_or_without_utf8_leads_to_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let here = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let module = |name: &str| Module { path: here(name), build_id: "00".into(), ..Module::default() };
        let file = unescaped(&here("a\\xffb\\012c"));
        assert!(file.as_os_str().as_encoded_bytes().ends_with(b"a\xffb\nc"));
        std::fs::write(&file, "").unwrap();
        assert_eq!(path_here(&module("a\\xffb\\012c")), file);
        assert_eq!(path_here(&module("a\\xffb\\012c (deleted)")), file);
        assert_eq!(path_here(&module("x\\zz (deleted)")), PathBuf::from(here("x\\zz")));
        // A file whose real name looks like an escaped name.
        std::fs::write(here("d\\012 (deleted)"), "").unwrap();
        assert_eq!(path_here(&module("d\\012 (deleted)")), PathBuf::from(here("d\\012 (deleted)")));
    }
}
