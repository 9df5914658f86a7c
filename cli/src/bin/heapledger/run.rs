//! `heapledger run`: runs a program, then reports the dump that it wrote.
//!
//! ```text
//!  note the dumps that are there ─► start the program with HEAPLEDGER_DUMP ─► wait ─► which dump is new? ─► report
//! ```
//!
//! The program may be a wrapper whose children have the allocator, so a directory can hold several new dumps
//! afterwards. The command reports the dump with the process id of the program, or the newest dump if none has this
//! id; it lists the others.
//!
//! The report is text on standard error, or a page for a browser, or both.
//!
//! The command returns the exit code of the program even if the report fails, so that `run` can precede any command
//! in a script.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::SystemTime;

use heapledger::text::escape::escaped;
use heapledger_cli::report::{Detail, write_report};

use crate::args::{NameArgs, RunArgs};
use crate::exit::{Exit, Failure, FailureKind, written};
use crate::page::layout;
use crate::{commands, names, read};

const ATTRIBUTE: &str = "add this to the program's main file: \
#[global_allocator] static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system();";

pub fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let place = DumpDestination::of(args.output.as_deref())?;
    let before = place.dumps();
    let (program, arguments) = args.command.split_first().expect("the parser asks for at least one word");
    let mut command = Command::new(program);
    command.args(arguments).env("HEAPLEDGER_DUMP", place.pattern());
    let shown = escaped(&program.to_string_lossy());
    let mut child = command.spawn().map_err(|error| {
        let cause = match error.kind() {
            io::ErrorKind::NotFound => FailureKind::NotFound,
            _ => FailureKind::NotStarted,
        };
        Failure::new(cause, format_args!("cannot start {shown}: {error}"))
    })?;
    let pid = child.id();
    let status = child.wait().map_err(|error| {
        Failure::new(FailureKind::NotStarted, format_args!("cannot wait for {shown}: {error}"))
    })?;
    let exit = Exit::Child(code_of(status));
    if let Err(failure) = report(args, &place.new_dumps(&before, pid), &shown) {
        failure.print();
    }
    Ok(exit)
}

fn report(args: &RunArgs, dumps: &[PathBuf], program: &str) -> Result<(), Failure> {
    let Some((dump, others)) = dumps.split_first() else {
        let error = format_args!("{program} left no dump behind, so there is nothing to report");
        return Err(Failure::new(FailureKind::Unreadable, error).hint(ATTRIBUTE));
    };
    let mut input = read::whole(dump)?;
    names::look_up(&mut input.profile, &NameArgs::default());
    let mut page = Vec::new();
    if let Some(path) = &args.html {
        let (result, place) = commands::page(path, dump, &input, &Detail::default())?;
        let shown = escaped(&path.display().to_string());
        written(result, place)?;
        writeln!(page, "The page is {shown}").expect("memory takes everything");
    }
    let layout = layout(&args.page, &io::stderr());
    if args.report || args.html.is_none() {
        write_report(&input.profile, &input.origin, &layout, &mut page).expect("memory takes everything");
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
enum DumpDestination {
    /// Directory in which each dump has a different name.
    Directory(PathBuf),
    /// Single file for the dump.
    File(PathBuf),
}

/// Modification time and size of a file.
type FileState = (Option<SystemTime>, u64);

impl DumpDestination {
    fn of(output: Option<&Path>) -> Result<Self, Failure> {
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

    /// Returns the existing dumps, with their modification times and sizes.
    fn dumps(&self) -> HashMap<PathBuf, FileState> {
        let paths: Vec<PathBuf> = match self {
            DumpDestination::File(file) => vec![file.clone()],
            DumpDestination::Directory(directory) => {
                let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
                entries.map(|entry| entry.path()).filter(|path| is_dump_name(path)).collect()
            }
        };
        let stamped = |path: PathBuf| {
            let metadata = path.metadata().ok()?;
            Some((path, (metadata.modified().ok(), metadata.len())))
        };
        paths.into_iter().filter_map(stamped).collect()
    }

    /// Returns the dumps that are new or changed since `before`: first the dump of process `pid`, then the others,
    /// the newest first.
    fn new_dumps(&self, before: &HashMap<PathBuf, FileState>, pid: u32) -> Vec<PathBuf> {
        let mut fresh: Vec<(PathBuf, FileState)> =
            self.dumps().into_iter().filter(|(path, stamp)| before.get(path) != Some(stamp)).collect();
        let own = format!(".{pid}.hl");
        let is_own = |path: &Path| path.to_string_lossy().ends_with(&own);
        fresh
            .sort_by_key(|(path, (modified, _))| (!is_own(path), std::cmp::Reverse(*modified), path.clone()));
        fresh.into_iter().map(|(path, _)| path).collect()
    }
}

fn is_dump_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("heapledger.") && name.ends_with(".hl")
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
