//! `heapledger run`: runs a program, then reports the dump that it wrote.
//!
//! ```text
//!  note the dumps that are there ─► start the program with HEAPLEDGER_DUMP ─► wait ─► which dump is new? ─► report
//! ```
//!
//! The program may be a wrapper whose children have the allocator, so there can be several new dumps afterwards. The
//! command reports the dump with the process id of the program, or the newest dump if none has this id; it lists the
//! others.
//!
//! An older dump in the file that `-o` names is replaced once there is a new one. Until then it has another name, because
//! a program replaces no dump of another process.
//!
//! The report is text on standard error, or a page for a browser, or both.
//!
//! The command returns the exit code of the program even if the report fails, so that `run` can precede any command
//! in a script.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::SystemTime;

use heapledger::dumps::{self, ReadError};
use heapledger::text::escape::escaped;
use heapledger_cli::report::{Detail, write_report_with};

use crate::args::{NameArgs, RunArgs};
use crate::exit::{Exit, Failure, FailureKind, written};
use crate::page::layout;
use crate::{commands, names, read};

/// Text that every program with a ledger contains.
const MARK: &[u8] = b"HEAPLEDGER_BLACKBOX_BYTES";

const ATTRIBUTE: &str = "add this to the program's main file: \
#[global_allocator] static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system();";

pub fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let place = DumpDestination::of(args.output.as_deref())?;
    place.set_aside()?;
    let before = place.dumps();
    let (program, arguments) = args.command.split_first().expect("the parser asks for at least one word");
    let mut command = Command::new(program);
    command.args(arguments).env("HEAPLEDGER_DUMP", place.pattern());
    let shown = escaped(&program.to_string_lossy());
    let started = command.spawn().map_err(|error| {
        let cause = match error.kind() {
            io::ErrorKind::NotFound => FailureKind::NotFound,
            _ => FailureKind::NotStarted,
        };
        Failure::new(cause, format_args!("cannot start {shown}: {error}"))
    });
    let mut child = started.inspect_err(|_| place.put_back())?;
    let pid = child.id();
    let status = child.wait().map_err(|error| {
        Failure::new(FailureKind::NotStarted, format_args!("cannot wait for {shown}: {error}"))
    })?;
    let code = code_of(status);
    let dumps = place.new_dumps(&before, pid);
    place.put_back();
    let reported = match dumps.split_first() {
        Some((dump, others)) => report(args, dump, others),
        None => {
            let error = format_args!("{shown} left no dump behind, so there is nothing to report");
            Err(Failure::new(FailureKind::Unreadable, error).hint(why_no_dump(program, code)))
        }
    };
    if let Err(failure) = reported {
        failure.print();
    }
    Ok(Exit::Child(code))
}

/// Returns the likely reason for a missing dump, and a remedy.
fn why_no_dump(program: &OsStr, code: u8) -> String {
    const BOX: &str = "HEAPLEDGER_BLACKBOX=PATH keeps everything recorded in a file that survives any end, and \
                       `heapledger report PATH` reads it";
    if std::env::var_os("HEAPLEDGER").is_some_and(|value| value == "off" || value == "0") {
        return "HEAPLEDGER=off is set, so nothing was recorded".to_owned();
    }
    let ended = if code > 128 {
        format!("signal {} ended it, and then there is no dump at exit", code - 128)
    } else {
        "it ended past its exit handlers (`_exit`, `exec`), or its builder wants no dump".to_owned()
    };
    match has_ledger(program).unwrap_or(false) {
        true => format!("{ended}: {BOX}"),
        // The program may have started the one with the ledger.
        false if code > 128 => format!("{ended}: {BOX}; if it has no ledger, {ATTRIBUTE}"),
        false => ATTRIBUTE.to_owned(),
    }
}

/// Whether the executable file of the command contains a ledger; `None` if it cannot be read.
fn has_ledger(program: &OsStr) -> Option<bool> {
    let is_path = Path::new(program).components().count() > 1;
    let directories = std::env::var_os("PATH").filter(|_| !is_path).unwrap_or_default();
    let in_directories = std::env::split_paths(&directories).map(|directory| directory.join(program));
    let mut file =
        in_directories.chain(is_path.then(|| program.into())).find_map(|path| File::open(path).ok())?;
    let (mut part, mut start) = (vec![0; 1 << 20], 0);
    loop {
        let bytes = file.read(&mut part[start..]).ok()?;
        let end = start + bytes;
        if part[..end].windows(MARK.len()).any(|text| text == MARK) {
            return Some(true);
        }
        if bytes == 0 {
            return Some(false);
        }
        // The mark may begin in this part and end in the next.
        start = end.min(MARK.len() - 1);
        part.copy_within(end - start..end, 0);
    }
}

fn report(args: &RunArgs, dump: &Path, others: &[PathBuf]) -> Result<(), Failure> {
    let mut input = read::whole(dump)?;
    names::look_up(&mut input.profile, &NameArgs::default(), dump);
    let mut page = Vec::new();
    if let Some(path) = &args.html {
        let (result, place) = commands::page(path, dump, &input, &Detail::default())?;
        let shown = escaped(&path.display().to_string());
        written(result, place)?;
        writeln!(page, "The page is {shown}").expect("memory takes everything");
    }
    let layout = layout(&args.page, &io::stderr());
    if args.report || args.html.is_none() {
        let detail = Detail { overview: true, ..Detail::default() };
        write_report_with(&input.profile, &input.origin, &layout, &detail, &mut page)
            .expect("memory takes everything");
    }
    for other in others {
        let path = escaped(&other.display().to_string());
        writeln!(page, "\nnote: another process left {path}").expect("memory takes everything");
    }
    let path = escaped(&dump.display().to_string());
    writeln!(page, "\nThe dump is {path}").expect("memory takes everything");
    written(io::stderr().write_all(&page), "standard error")
}

/// Destination of dumps.
pub enum DumpDestination {
    /// Directory in which each dump has a different name.
    Directory(PathBuf),
    /// Single file for the dump.
    File(PathBuf),
}

/// Modification time and size of a file.
type FileState = (Option<SystemTime>, u64);

impl DumpDestination {
    pub fn of(output: Option<&Path>) -> Result<Self, Failure> {
        let output = output.unwrap_or(Path::new("."));
        let shown = escaped(&output.display().to_string());
        // The program may change its working directory before it writes the dump.
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

    /// Returns the value of `HEAPLEDGER_DUMP`.
    fn pattern(&self) -> PathBuf {
        match self {
            DumpDestination::Directory(directory) => directory.join("heapledger.%e.%p.hl"),
            DumpDestination::File(file) => file.clone(),
        }
    }

    /// Returns the name that an older dump in the destination has while the program runs.
    fn aside(&self) -> Option<(&Path, PathBuf)> {
        let DumpDestination::File(file) = self else { return None };
        let mut aside = file.clone().into_os_string();
        aside.push(format!(".before-{}", std::process::id()));
        Some((file, aside.into()))
    }

    /// Renames an older dump in the destination. Leaves anything else there to the program, which says so.
    fn set_aside(&self) -> Result<(), Failure> {
        let Some((file, aside)) = self.aside().filter(|(file, _)| is_dump(file)) else { return Ok(()) };
        std::fs::rename(file, aside).map_err(|error| {
            let shown = escaped(&file.display().to_string());
            Failure::new(FailureKind::Unwritable, format_args!("cannot replace {shown}: {error}"))
        })
    }

    /// Removes the older dump, or renames it back if there is no new one.
    fn put_back(&self) {
        let Some((file, aside)) = self.aside() else { return };
        // There may have been no older dump.
        let _ = if file.exists() { std::fs::remove_file(aside) } else { std::fs::rename(aside, file) };
    }

    /// Returns the existing dumps, with their modification times and sizes.
    fn dumps(&self) -> HashMap<PathBuf, FileState> {
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

    /// Returns the dump that was written last.
    pub fn newest(&self) -> Option<PathBuf> {
        let newest = self.dumps().into_iter().max_by_key(|(path, (modified, _))| (*modified, path.clone()));
        newest.map(|(path, _)| path)
    }

    /// Returns the dumps that are new or changed since `before`: first the dump of process `pid`, then the others,
    /// the newest first.
    fn new_dumps(&self, before: &HashMap<PathBuf, FileState>, pid: u32) -> Vec<PathBuf> {
        let mut fresh: Vec<(PathBuf, FileState)> =
            self.dumps().into_iter().filter(|(path, stamp)| before.get(path) != Some(stamp)).collect();
        // Names tell it where they have the id; the fixed name of a file does not.
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

/// Whether the file is a dump, by its first bytes.
fn is_dump(path: &Path) -> bool {
    let mut start = [0; 8];
    let read = path.is_file().then(|| File::open(path).and_then(|mut file| file.read_exact(&mut start)));
    matches!(read, Some(Ok(())))
        && dumps::read_bytes(&start).is_err_and(|error| matches!(error, ReadError::TooShort { .. }))
}

/// Whether `path` is the name that a program gives its dump if another process has used `file`: `file-2.hl`, and so on.
fn is_numbered(path: &Path, file: &Path) -> bool {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let number = stem(path).strip_prefix(&format!("{}-", stem(file))).map(str::to_owned);
    path.extension() == file.extension()
        && number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns the exit code as a shell reports it: the exit code of the program, or 128 plus the number of the signal
/// that ended the program.
fn code_of(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    status.code().map_or(u8::MAX, |code| u8::try_from(code).unwrap_or(u8::MAX))
}
