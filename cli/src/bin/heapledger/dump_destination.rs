//! Files to which programs write their dumps, and the search for new dumps.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use heapledger::dumps::{self, ReadError};
use heapledger::text::escape::escaped;

use crate::exit::{Failure, FailureKind};

/// Place to which programs write their dumps.
pub enum DumpDestination {
    /// Directory, in which the name of each dump contains the process id.
    Directory(PathBuf),
    /// File, which holds one dump.
    File(PathBuf),
}

/// Modification time and size of a file.
pub type FileState = (Option<SystemTime>, u64);

impl DumpDestination {
    pub fn of(output: Option<&Path>) -> Result<Self, Failure> {
        let output = output.unwrap_or(Path::new("."));
        let shown = escaped(&output.display().to_string());
        // The path is made absolute, because the program may change its working directory before it writes the dump.
        let absolute = std::path::absolute(output)
            .map_err(|error| Failure::new(FailureKind::Usage, format_args!("cannot use {shown}: {error}")))?;
        if absolute.to_string_lossy().contains('%') {
            let error = format_args!("{shown} cannot be used: % has a meaning in the path of a dump");
            return Err(Failure::new(FailureKind::Usage, error).hint("choose a path without %"));
        }
        if absolute.is_dir() {
            return Ok(DumpDestination::Directory(absolute));
        }
        let directory = absolute.parent().unwrap_or(Path::new("/"));
        if !directory.is_dir() || output.as_os_str().to_string_lossy().ends_with(std::path::is_separator) {
            let missing =
                escaped(&if directory.is_dir() { &absolute } else { directory }.display().to_string());
            return Err(Failure::new(
                FailureKind::Usage,
                format_args!("the directory {missing} does not exist"),
            )
            .hint("create it first, or choose another place for -o"));
        }
        Ok(DumpDestination::File(absolute))
    }

    /// Returns the value for the environment variable `HEAPLEDGER_DUMP`.
    pub fn pattern(&self) -> PathBuf {
        match self {
            DumpDestination::Directory(directory) => directory.join("heapledger.%e.%p.hl"),
            DumpDestination::File(file) => file.clone(),
        }
    }

    /// Returns the file of the destination, and the name to which an older dump in it is renamed while the program
    /// runs. Returns `None` for a directory.
    fn aside(&self) -> Option<(&Path, PathBuf)> {
        let DumpDestination::File(file) = self else { return None };
        let mut aside = file.clone().into_os_string();
        aside.push(format!(".before-{}", std::process::id()));
        Some((file, aside.into()))
    }

    /// Renames an older dump at the destination, because a program does not replace it. Other files are not renamed;
    /// then the program reports that it cannot replace the file.
    pub fn set_aside(&self) -> Result<(), Failure> {
        let Some((file, aside)) = self.aside().filter(|(file, _)| is_dump(file)) else { return Ok(()) };
        std::fs::rename(file, aside).map_err(|error| {
            let shown = escaped(&file.display().to_string());
            Failure::new(FailureKind::Unwritable, format_args!("cannot replace {shown}: {error}"))
        })
    }

    /// Removes the renamed older dump. If there is no new dump, gives the older dump its name back.
    pub fn put_back(&self) {
        let Some((file, aside)) = self.aside() else { return };
        // An error is ignored: there may have been no older dump.
        let _ = if file.exists() { std::fs::remove_file(aside) } else { std::fs::rename(aside, file) };
    }

    /// Returns the dumps at the destination, with their modification times and sizes.
    pub fn dumps(&self) -> HashMap<PathBuf, FileState> {
        let directory = match self {
            DumpDestination::File(file) => file.parent().unwrap_or(Path::new("/")),
            DumpDestination::Directory(directory) => directory,
        };
        let is_dump = |path: &PathBuf| match self {
            DumpDestination::File(file) => path == file || is_numbered(path, file),
            DumpDestination::Directory(_) => is_dump_name(path),
        };
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path()).filter(is_dump);
        let stamped = |path: PathBuf| {
            let metadata = path.metadata().ok()?;
            Some((path, (metadata.modified().ok(), metadata.len())))
        };
        paths.filter_map(stamped).collect()
    }

    /// Returns the dump with the latest modification time.
    pub fn newest(&self) -> Option<PathBuf> {
        let newest = self.dumps().into_iter().max_by_key(|(path, (modified, _))| (*modified, path.clone()));
        newest.map(|(path, _)| path)
    }

    /// Returns the dumps that are new or changed since `before`. The dump of process `pid` comes first, then the other
    /// dumps, the newest first.
    pub fn new_dumps(&self, before: &HashMap<PathBuf, FileState>, pid: u32) -> Vec<PathBuf> {
        let mut fresh: Vec<(PathBuf, FileState)> =
            self.dumps().into_iter().filter(|(path, stamp)| before.get(path) != Some(stamp)).collect();
        // In a directory, the name of a dump contains the process id. A single file has a fixed name, so its content is
        // read to find the process id.
        let own = PathBuf::from(format!("{pid}.hl"));
        let is_named = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let end =
                name.split('.').rev().nth(1).map_or(PathBuf::new(), |id| PathBuf::from(format!("{id}.hl")));
            end == own || is_numbered(&end, &own)
        };
        let is_of_process = |path: &Path| dumps::read(path).is_ok_and(|dump| dump.profile.process.pid == pid);
        let is_own = |path: &Path| match self {
            DumpDestination::Directory(_) => is_named(path),
            DumpDestination::File(_) => is_of_process(path),
        };
        if fresh.len() > 1 {
            fresh.sort_by_cached_key(|(path, (modified, _))| {
                (!is_own(path), std::cmp::Reverse(*modified), path.clone())
            });
        }
        fresh.into_iter().map(|(path, _)| path).collect()
    }
}

fn is_dump_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("heapledger.") && name.ends_with(".hl")
}

/// Whether the first bytes of the file are those of a dump.
fn is_dump(path: &Path) -> bool {
    let mut start = [0; 8];
    let read = path.is_file().then(|| File::open(path).and_then(|mut file| file.read_exact(&mut start)));
    matches!(read, Some(Ok(())))
        && dumps::read_bytes(&start).is_err_and(|error| matches!(error, ReadError::TooShort { .. }))
}

/// Whether `path` is `file` with a number, as in `file-2.hl`. A program writes its dump to such a file if another
/// process has used `file`.
fn is_numbered(path: &Path, file: &Path) -> bool {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let number = stem(path).strip_prefix(&format!("{}-", stem(file))).map(str::to_owned);
    path.extension() == file.extension()
        && number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}
