//! The file of a dump. The file gets its name once it is complete, and replaces nothing but an older dump.
//!
//! ```text
//!  look at the path ──► temporary file beside it ──► write ──► fsync ──► look again ──► rename ──► fsync directory
//!        │                  (new, mode 0600)           │         │            │            │
//!        └── no dump: refuse                           └─────────┴── failed: └── remove the temporary file
//! ```
//!
//! The second look narrows, but does not close, the gap in which another program can create a file of the same name.
//! A link that is created in the gap is replaced, not followed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::{Occupant, ReadError, WriteError, WriteStep};
use super::format::{FILE_BYTES_MAX, MAGIC};
use super::writer::{Encoded, write_noted};
use crate::profile::{Profile, Violation};

/// Maximum number of names tried for the temporary file. A name in use belongs to another dump in progress, or to a
/// killed process with the same id.
const TEMPORARY_NAMES_MAX: u32 = 64;

/// Describes the file that [`write()`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Path of the file.
    pub path: PathBuf,
    /// Length of the file, in bytes.
    pub bytes: u64,
    /// Number of sections in the file.
    pub sections: u32,
    /// Laws that the profile breaks. The file was written nevertheless, with a note for each broken law.
    pub broken_laws: Vec<Violation>,
    /// Notes in the file: one for each broken law, and one for each kind of cut that the limits of the format required.
    pub notes: Vec<String>,
}

/// Writes `profile` as a dump to `path`, readable by its owner only.
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

/// Writes a profile that was read from another dump. Works as [`write()`], and also keeps `notes`, the notes of that
/// dump.
///
/// # Errors
///
/// Returns an error under the same conditions as [`write()`].
pub fn write_with_notes(path: &Path, profile: &Profile, notes: &[String]) -> Result<Written, WriteError> {
    let encoded = place(path, |file| write_noted(file, profile, notes))?;
    let Encoded { bytes, sections, broken_laws, notes } = encoded;
    Ok(Written { path: path.to_owned(), bytes, sections, broken_laws, notes })
}

/// Creates a file at `path` with the content that `fill` writes.
fn place<T>(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<T>) -> Result<T, WriteError> {
    if path.file_name().is_none() {
        return Err(WriteError::NoFileName { path: path.to_owned() });
    }
    let failed = |step| move |source| WriteError::Io { path: path.to_owned(), step, source };
    inspect(path)?;
    let mut temporary = Temporary::create(path).map_err(failed(WriteStep::Create))?;
    let filled = fill(&mut temporary.file).map_err(failed(WriteStep::Write))?;
    temporary.file.sync_all().map_err(failed(WriteStep::Sync))?;
    inspect(path)?;
    temporary.rename(path).map_err(failed(WriteStep::Rename))?;
    sync_directory(directory_of(path));
    Ok(filled)
}

/// Reads all bytes of the file at `path`.
pub(super) fn load(path: &Path) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::Io { path: Some(path.to_owned()), source };
    // Checked before the file is opened: opening a pipe would wait for a writer.
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

/// Returns an error unless `path` is unused or holds a dump.
fn inspect(path: &Path) -> Result<(), WriteError> {
    let failed = |source| WriteError::Io { path: path.to_owned(), step: WriteStep::Inspect, source };
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let by = if kind.is_symlink() {
        Occupant::Symlink
    } else if kind.is_dir() {
        Occupant::Directory
    } else if !kind.is_file() {
        Occupant::Special
    } else if starts_with_magic(path).map_err(failed)? {
        return Ok(());
    } else {
        Occupant::ForeignFile
    };
    Err(WriteError::Occupied { path: path.to_owned(), by })
}

fn starts_with_magic(path: &Path) -> io::Result<bool> {
    let mut options = OpenOptions::new();
    options.read(true);
    // A link or a pipe may have replaced the file since the check. With these flags a link is not followed, and a pipe
    // is not waited for.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let mut start = Vec::new();
    options.open(path)?.take(MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(start == MAGIC)
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

/// A file under a temporary name. The file is removed when dropped, unless it was renamed before.
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

    fn rename(mut self, target: &Path) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        fs::rename(path, target)?;
        self.path = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // A failure is ignored: the caller reports the error that happened before.
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
        let second = Temporary::create(&target).unwrap();
        assert_eq!(names(), 2);
        drop(first);
        second.rename(&target).unwrap();
        assert_eq!((names(), target.exists()), (1, true));
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
