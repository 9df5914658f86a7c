//! Subcommand `run`: runs a program, then reports on the dump that the program wrote.
//!
//! ```text
//!  note the dumps that are there ─► start the program with HEAPLEDGER_DUMP ─► wait ─► which dump is new? ─► report
//! ```
//!
//! The started program may be a wrapper, such as `cargo run`, whose child processes write dumps. So there can be
//! several new dumps. The report is on the dump with the process id of the started program, or on the newest dump if no
//! dump has this id. The other dumps are listed.
//!
//! If `-o` names a file that already contains a dump, this older dump is renamed while the program runs, because a
//! program does not replace the dump of another process. When the program has written a new dump, the older one is
//! removed.
//!
//! The report is text on standard error, or a page for a browser, or both.
//!
//! The exit code is that of the program, even if the report fails, so that `heapledger run` can be put before any
//! command in a script.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use heapledger::text::escape::escaped;

use crate::args::{ReportedArgs, RunArgs};
use crate::detail::SiteFilters;
use crate::dump_destination::DumpDestination;
use crate::exit::{Exit, Failure, FailureKind, written};
use crate::page::layout;
use crate::{commands, read};

/// Text that every program with heapledger as its allocator contains.
const MARK: &[u8] = b"HEAPLEDGER_BLACKBOX_BYTES";

const ATTRIBUTE: &str = "add this to the program's main file: \
#[global_allocator] static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system();";

pub fn run(args: &RunArgs) -> Result<Exit, Failure> {
    // Invalid flags are rejected first, before the program runs.
    let filters = SiteFilters::read(&args.reported.sites)?;
    commands::short_form(&args.reported)?;
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
        Some((dump, others)) => report(&args.reported, args.report, &filters, dump, others),
        None => {
            let error = format_args!("{shown} left no dump behind, so there is nothing to report");
            Err(Failure::new(FailureKind::Unreadable, error).hint(why_no_dump(program, code)))
        }
    };
    match reported {
        Ok(Exit::Finding) if code == 0 => return Ok(Exit::Finding),
        Ok(_) => {}
        Err(failure) => failure.print(),
    }
    Ok(Exit::Child(code))
}

/// Returns the likely reason why there is no dump, with advice.
fn why_no_dump(program: &OsStr, code: u8) -> String {
    const BOX: &str = "HEAPLEDGER_BLACKBOX=PATH keeps everything recorded in a file that survives any end, and \
                       `heapledger report PATH` reads it";
    const DUMP: &str = "; HEAPLEDGER_SIGNALS=TERM,INT writes a dump first";
    if std::env::var_os("HEAPLEDGER").is_some_and(|value| value == "off" || value == "0") {
        return "HEAPLEDGER=off is set, so nothing was recorded".to_owned();
    }
    let ended = if code > 128 {
        let number = code - 128;
        format!("signal {number} ended it{}, and then there is no dump at exit", meaning(number))
    } else {
        "it ended past its exit handlers (`_exit`, `exec`), or its builder wants no dump".to_owned()
    };
    match has_ledger(program).unwrap_or(false) {
        true if matches!(code, 130 | 143) => format!("{ended}: {BOX}{DUMP}"),
        true => format!("{ended}: {BOX}"),
        // The started program may have started another program, which has the allocator.
        false if code > 128 => format!("{ended}: {BOX}; if it has no ledger, {ATTRIBUTE}"),
        false => ATTRIBUTE.to_owned(),
    }
}

/// Returns the name of a signal and its usual cause, in parentheses; empty for a rare signal.
fn meaning(number: u8) -> &'static str {
    match number {
        4 => " (SIGILL: an instruction that the processor does not have, or a trap)",
        6 => " (SIGABRT: abort, as after a panic with panic=abort, or a panic while panicking)",
        7 => " (SIGBUS: an address without memory behind it)",
        8 => " (SIGFPE: an arithmetic error)",
        9 => " (SIGKILL: from outside, often the kernel's for want of memory)",
        11 => " (SIGSEGV: an access outside its memory, or a stack that overflowed)",
        2 => " (SIGINT: Ctrl-C)",
        15 => " (SIGTERM: from outside)",
        _ => "",
    }
}

/// Whether the executable file of the command contains heapledger; `None` if the file cannot be read.
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
        // The text may begin at the end of this part and end in the next part.
        start = end.min(MARK.len() - 1);
        part.copy_within(end - start..end, 0);
    }
}

/// Writes the report on a dump, as a page if the flags request one, or else as text. With `is_text_wanted`, writes the
/// text in any case. Lists the other dumps.
pub(crate) fn report(
    reported: &ReportedArgs,
    is_text_wanted: bool,
    filters: &SiteFilters,
    dump: &Path,
    others: &[PathBuf],
) -> Result<Exit, Failure> {
    let mut input = read::whole(dump)?;
    let detail = filters.detail_of(reported);
    commands::look_up(&mut input, reported, dump);
    let mut page = Vec::new();
    if let Some(path) = &reported.html {
        let (result, place) = commands::page(path, dump, &input, reported, &detail)?;
        let shown = escaped(&path.display().to_string());
        written(result, place)?;
        writeln!(page, "The page is {shown}").expect("memory takes everything");
    }
    let layout = layout(&reported.page, &io::stderr());
    if is_text_wanted || reported.html.is_none() {
        commands::write_text(&input, reported, &layout, &detail, &mut page).expect("memory takes everything");
    }
    for other in others {
        let path = escaped(&other.display().to_string());
        writeln!(page, "\nnote: another process left {path}").expect("memory takes everything");
    }
    let path = escaped(&dump.display().to_string());
    writeln!(page, "\nThe dump is {path}").expect("memory takes everything");
    written(io::stderr().write_all(&page), "standard error")?;
    Ok(commands::found(&input, reported, &detail))
}

/// Returns the exit code as a shell would: that of the program, or 128 plus the number of the signal that ended it.
pub(crate) fn code_of(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    status.code().map_or(u8::MAX, |code| u8::try_from(code).unwrap_or(u8::MAX))
}
