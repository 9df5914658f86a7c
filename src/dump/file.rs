//! Writes the file of a dump, and reads the bytes of one. A file gets its final name when it is complete, and replaces
//! only an older dump.
//!
//! A process that writes its dump replaces only an earlier dump of itself. If the name is in use by the dump of another
//! process (another id or another start time), the new dump gets a name with a number.
//!
//! ```text
//!  look at the path ──► temporary file beside it ──► write ──► fsync ──► look again ──► rename ──► fsync directory
//!        │                  (new, mode 0600)           │         │            │            │
//!        └── no dump: refuse                           └─────────┴── failed: └── remove the temporary file
//! ```
//!
//! The second look shortens the time in which another program can create a file of the same name, but does not exclude
//! it. A link that is created in this time is replaced, not followed.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::codec::Cursor;
use super::error::{Occupant, ReadError, WriteError, WriteStep};
use super::format::{FILE_BYTES_MAX, MAGIC, Tag};
use super::rows::Rows;
use super::section::{Found, Sections, unpack};
use super::v1::{Faults, Wire};
use super::writer::{Encoded, write_noted};
use crate::profile::{ProcessInfo, Profile, Violation};

/// Maximum number of names tried for the temporary file. A name that is in use belongs to another dump in progress, or
/// to a killed process with the same id.
const TEMPORARY_NAMES_MAX: u32 = 64;

/// Maximum number of names tried while files of other processes have the requested name: `app.hl`, `app-2.hl`,
/// `app-3.hl`.
pub(crate) const NUMBERED_NAMES_MAX: u32 = 1000;
/// Number of bytes at the start of a dump in which the description of its process must be.
const HEAD_BYTES: u64 = 2 << 20;

/// Describes the file that [`write()`] has written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Path of the file. Differs from the requested path if the requested path holds the dump of another process.
    pub path: PathBuf,
    /// Length of the file, in bytes.
    pub bytes: u64,
    /// Number of sections in the file.
    pub sections: u32,
    /// Conservation laws that the profile breaks. The file was written nevertheless, with a note for each broken law.
    pub broken_laws: Vec<Violation>,
    /// Notes in the file: one for each broken law, and one for each kind of cut that the limits of the format required.
    pub notes: Vec<String>,
}

/// Writes `profile` as a dump to `path`. Only the owner of the file can read it.
///
/// An older dump at `path` is replaced atomically. Any other existing file is refused: a file that is not a dump (also
/// an empty one), a symbolic link, a directory, a pipe, a device.
///
/// # Errors
///
/// Returns a [`WriteError`] if the dump cannot be written. In that case no file was overwritten, and no temporary file
/// remains.
pub fn write(path: &Path, profile: &Profile) -> Result<Written, WriteError> {
    write_with_notes(path, profile, &[])
}

/// Writes a profile that was read from another dump. Works as [`write()`], and also writes `notes`, the notes of the
/// other dump.
///
/// # Errors
///
/// Returns an error under the same conditions as [`write()`].
pub fn write_with_notes(path: &Path, profile: &Profile, notes: &[String]) -> Result<Written, WriteError> {
    let encoded = place(path, |file| write_noted(file, profile, profile, notes))?;
    let Encoded { bytes, sections, broken_laws, notes } = encoded;
    Ok(Written { path: path.to_owned(), bytes, sections, broken_laws, notes })
}

/// Writes the profile of this process as a dump to `path`, with `rows` as its large tables. Works as [`write()`], but
/// replaces only an earlier dump of the same process. If `path` holds a dump of another process, that dump stays, and
/// the new dump gets the first free name with a number: `app-2.hl`, `app-3.hl`, …
///
/// # Errors
///
/// Returns an error under the same conditions as [`write()`], and if no name is free.
pub(crate) fn write_beside_others(
    path: &Path,
    profile: &Profile,
    rows: &dyn Rows,
) -> Result<Written, WriteError> {
    let write = |file: &mut File| write_noted(file, profile, rows, &[]);
    let (target, encoded) = place_beside(path, &profile.process, write)?;
    let Encoded { bytes, sections, broken_laws, notes } = encoded;
    Ok(Written { path: target, bytes, sections, broken_laws, notes })
}

/// Creates a file with the content that `fill` writes, at `path` or at a numbered name beside `path`. Takes the first
/// name that is free or holds an earlier dump of `process`. Returns the path of the file.
fn place_beside<T>(
    path: &Path,
    process: &ProcessInfo,
    fill: impl FnOnce(&mut File) -> io::Result<T>,
) -> Result<(PathBuf, T), WriteError> {
    let failed = |step| move |source| WriteError::Io { path: path.to_owned(), step, source };
    let (mut temporary, filled) = fill_temporary(path, fill)?;
    for number in 1..=NUMBERED_NAMES_MAX {
        let target = if number == 1 { path.to_owned() } else { with_suffix(path, &format!("-{number}")) };
        let placed = match inspect(&target) {
            Ok(false) => temporary.link(&target),
            Ok(true) if is_of(&target, process) => temporary.rename(&target).map(|()| true),
            Err(error) if number == 1 => return Err(error),
            _ => continue,
        };
        if placed.map_err(failed(WriteStep::Rename))? {
            sync_directory(directory_of(path));
            return Ok((target, filled));
        }
    }
    Err(failed(WriteStep::Rename)(io::ErrorKind::AlreadyExists.into()))
}

/// Returns the path with `suffix` at the end of the file's name, in front of its extension.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_stem().map_or_else(OsString::new, OsString::from);
    name.push(suffix);
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Whether the dump at `path` is a dump of `process`. If the process of the dump cannot be read, the answer is no.
fn is_of(path: &Path, process: &ProcessInfo) -> bool {
    let start = read_start(path, HEAD_BYTES).unwrap_or_default();
    let mut scratch = Vec::new();
    let found = Sections::new(&start).find_map(|found| match found {
        Found::Section { header, stored, .. } if header.tag == Tag::PROCESS => {
            let plain = unpack(&header, stored, &mut scratch).ok()?;
            ProcessInfo::get(&mut Cursor::new(plain), &mut Faults::default()).ok()
        }
        _ => None,
    });
    let identity = |process: &ProcessInfo| (process.pid, process.started_unix_ns);
    found.is_some_and(|found| identity(&found) == identity(process))
}

/// Creates a file at `path` with the content that `fill` writes.
fn place<T>(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<T>) -> Result<T, WriteError> {
    let failed = |step| move |source| WriteError::Io { path: path.to_owned(), step, source };
    let (mut temporary, filled) = fill_temporary(path, fill)?;
    inspect(path)?;
    temporary.rename(path).map_err(failed(WriteStep::Rename))?;
    sync_directory(directory_of(path));
    Ok(filled)
}

/// Creates a temporary file beside `path`, lets `fill` write its content, and syncs the file. The caller renames the
/// file later.
fn fill_temporary<T>(
    path: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<T>,
) -> Result<(Temporary, T), WriteError> {
    if path.file_name().is_none() {
        return Err(WriteError::NoFileName { path: path.to_owned() });
    }
    let failed = |step| move |source| WriteError::Io { path: path.to_owned(), step, source };
    inspect(path)?;
    let mut temporary = Temporary::create(path).map_err(failed(WriteStep::Create))?;
    let filled = fill(&mut temporary.file).map_err(failed(WriteStep::Write))?;
    temporary.file.sync_all().map_err(failed(WriteStep::Sync))?;
    Ok((temporary, filled))
}

/// Reads all bytes of the file at `path`.
pub(super) fn load(path: &Path) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::Io { path: Some(path.to_owned()), source };
    // This check comes before the file is opened, because opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(ReadError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(failed)?;
    load_from(file, FILE_BYTES_MAX).map_err(|error| match error {
        ReadError::Io { source, .. } => failed(source),
        other => other,
    })
}

/// Reads `from` to its end. Checks the first bytes before it reads the rest, and returns an error if there are more
/// than `limit_bytes` bytes.
pub(super) fn load_from<R: Read>(mut from: R, limit_bytes: u64) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::Io { path: None, source };
    let mut bytes = Vec::new();
    from.by_ref().take(MAGIC.len() as u64).read_to_end(&mut bytes).map_err(failed)?;
    if !MAGIC.starts_with(&bytes) {
        return Err(ReadError::NotADump);
    }
    from.take(limit_bytes.saturating_sub(bytes.len() as u64) + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit_bytes { Err(ReadError::TooLarge { limit_bytes }) } else { Ok(bytes) }
}

/// Returns `true` if `path` holds a dump, and `false` if there is no file. Returns an error if any other file is there.
fn inspect(path: &Path) -> Result<bool, WriteError> {
    let failed = |source| WriteError::Io { path: path.to_owned(), step: WriteStep::Inspect, source };
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    let by = if kind.is_symlink() {
        Occupant::Symlink
    } else if kind.is_dir() {
        Occupant::Directory
    } else if !kind.is_file() {
        Occupant::Special
    } else if read_start(path, MAGIC.len() as u64).map_err(failed)? == MAGIC {
        return Ok(true);
    } else {
        Occupant::ForeignFile
    };
    Err(WriteError::Occupied { path: path.to_owned(), by })
}

/// Reads the first bytes of the file at `path`.
fn read_start(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let mut options = OpenOptions::new();
    options.read(true);
    // A link or a pipe may have replaced the file since the check. With these flags, `open` follows no link and does
    // not wait for a writer of a pipe.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let mut start = Vec::new();
    options.open(path)?.take(bytes).read_to_end(&mut start)?;
    Ok(start)
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Syncs the directory, so that the new name survives a crash of the system. A failure is ignored: some file systems
/// cannot sync a directory, and the dump is complete without the sync.
fn sync_directory(directory: &Path) {
    if cfg!(unix) {
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
}

/// A file under a temporary name. Dropping it removes the file, unless the file was renamed before.
struct Temporary {
    file: File,
    path: Option<PathBuf>,
}

impl Temporary {
    /// Creates a temporary file in the directory of `target`. Its name is short, because the name of `target` may have
    /// the maximum length.
    fn create(target: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            // `create_new` refuses a link, except on old network file systems.
            options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
        }
        let mut taken = None;
        for number in 0..TEMPORARY_NAMES_MAX {
            let path = directory_of(target).join(format!(".heapledger.{}.{number}.tmp", std::process::id()));
            match options.open(&path) {
                Ok(file) => return Ok(Temporary { file, path: Some(path) }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(taken.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into()))
    }

    fn rename(&mut self, target: &Path) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        fs::rename(path, target)?;
        self.path = None;
        Ok(())
    }

    /// Gives the file the name `target`, unless another file has that name. Returns whether the file has the name now.
    /// On a file system without hard links, a file that another program creates during the call is replaced.
    fn link(&mut self, target: &Path) -> io::Result<bool> {
        let Some(path) = &self.path else { return Ok(true) };
        match fs::hard_link(path, target) {
            // Dropping `self` removes the temporary name.
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(_) => self.rename(target).map(|()| true),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // A failure is ignored, because the caller already reports an earlier error.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_refused_by_its_first_bytes_and_by_its_length() {
        let foreign = io::repeat(b'x');
        assert!(matches!(load_from(foreign, FILE_BYTES_MAX), Err(ReadError::NotADump)));
        let endless = MAGIC.chain(io::repeat(0));
        assert!(matches!(load_from(endless, 100), Err(ReadError::TooLarge { limit_bytes: 100 })));
        assert_eq!(load_from(MAGIC.chain(&[7; 92][..]), 100).unwrap().len(), 100);
    }

    #[test]
    fn a_disk_that_fills_up_half_way_leaves_the_older_dump_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("x.hl");
        fs::write(&target, MAGIC).unwrap();
        let fill = |file: &mut File| -> io::Result<()> {
            io::Write::write_all(file, b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        let error = place(&target, fill).unwrap_err();
        let sentence = error.to_string();
        assert!(sentence.contains("x.hl") && sentence.contains("free some space"), "{sentence}");
        assert!(matches!(error, WriteError::Io { step: WriteStep::Write, .. }));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(fs::read(&target).unwrap(), MAGIC);
    }

    #[test]
    fn a_foreign_file_that_appears_meanwhile_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("x.hl");
        let error = place(&target, |_| fs::write(&target, "mine")).unwrap_err();
        assert!(matches!(error, WriteError::Occupied { by: Occupant::ForeignFile, .. }), "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(&target).unwrap(), "mine");
    }

    #[test]
    fn a_temporary_file_goes_away_unless_it_is_renamed() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("x.hl");
        let names = || fs::read_dir(directory.path()).unwrap().count();
        let first = Temporary::create(&target).unwrap();
        let mut second = Temporary::create(&target).unwrap();
        assert_eq!(names(), 2);
        drop(first);
        second.rename(&target).unwrap();
        assert_eq!((names(), target.exists()), (1, true));
    }

    fn of_process(pid: u32, started_unix_ns: u64) -> Profile {
        let process = ProcessInfo { pid, started_unix_ns, ..ProcessInfo::default() };
        Profile { process, ..Profile::default() }
    }

    #[test]
    fn a_dump_of_another_process_with_the_same_id_is_kept_and_an_own_earlier_one_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("app.1.hl");
        let write = |started_ns| {
            let profile = of_process(1, started_ns);
            write_beside_others(&target, &profile, &profile).unwrap().path
        };
        let numbered = |name: &str| directory.path().join(name);
        // Each process writes twice: its second dump replaces the first one.
        assert_eq!([write(10), write(10)], [target.clone(), target.clone()]);
        assert_eq!([write(20), write(20)], [numbered("app.1-2.hl"), numbered("app.1-2.hl")]);
        fs::write(numbered("app.1-3.hl"), "mine").unwrap();
        assert_eq!(write(30), numbered("app.1-4.hl"));
        let of = |path: &Path| super::super::read(path).unwrap().profile.process.started_unix_ns;
        assert_eq!([of(&target), of(&numbered("app.1-2.hl"))], [10, 20]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4, "and no temporary file");
    }

    #[test]
    fn a_dump_that_another_process_writes_at_the_same_moment_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("app.1.hl");
        let meanwhile = |_: &mut File| {
            write(&target, &of_process(1, 10)).unwrap();
            Ok(())
        };
        let (path, ()) = place_beside(&target, &of_process(1, 20).process, meanwhile).unwrap();
        assert_eq!(path, directory.path().join("app.1-2.hl"));
        let mut temporary = Temporary::create(&target).unwrap();
        assert!(!temporary.link(&target).unwrap(), "even in the last moment");
        assert!(is_of(&target, &of_process(1, 10).process));
    }

    #[test]
    fn a_suffix_goes_in_front_of_the_extension() {
        let of = |path: &str| with_suffix(Path::new(path), ".7").display().to_string();
        assert_eq!(of("/tmp/heapledger.app.1.hl"), "/tmp/heapledger.app.1.7.hl");
        assert_eq!(of("dump"), "dump.7");
    }

    #[test]
    fn temporary_names_run_out_with_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("x.hl");
        let taken: Vec<_> = (0..TEMPORARY_NAMES_MAX).map(|_| Temporary::create(&target).unwrap()).collect();
        let error = Temporary::create(&target).err().unwrap();
        assert_eq!((error.kind(), taken.len()), (io::ErrorKind::AlreadyExists, 64));
    }
}
