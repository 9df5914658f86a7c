//! Report on a running process, from its live page. A live page has the process's current figures, in a file that the
//! process updates; a black box contains one.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use heapledger::dumps::{LiveReader, ReadError};
use heapledger::live::Live;
use heapledger::text::escape::escaped;
use heapledger_cli::analysis::LiveNames;
use heapledger_cli::report::write_live;

use crate::args::{FailOn, NameArgs, ReportedArgs};
use crate::exit::{Exit, Failure, FailureKind, STDOUT, written};
use crate::names;
use crate::page::layout;

/// Whether the file is a live page that a running process updates, or the black box of a running process.
pub fn is_running(path: &Path) -> bool {
    match LiveReader::open(path) {
        Ok(page) => page.is_written(),
        // The process has created the black box but no live page yet.
        Err(ReadError::NotWrittenYet) => true,
        Err(_) => false,
    }
}

/// Prints the report on the process that writes `file`.
pub fn report(args: &ReportedArgs, file: &Path) -> Result<Exit, Failure> {
    let unreadable = |error: ReadError| {
        let shown = escaped(&file.display().to_string());
        Failure::new(FailureKind::Unreadable, format_args!("{shown}: {}", escaped(&error.to_string())))
    };
    if args.sites.leaks || args.sites.fail_on_leak {
        let shown = escaped(&file.display().to_string());
        let error = format_args!("{shown} is written by a running process, whose leaks are not known");
        return Err(Failure::new(FailureKind::Unreadable, error).hint("have the process write a dump"));
    }
    let live = LiveReader::open(file).and_then(|mut page| page.read()).map_err(unreadable)?;
    let mut found = LiveNames::default();
    if !args.no_symbols {
        look_up(&mut found, &live, &args.names);
    }
    let layout = layout(&args.page, &io::stdout());
    let mut out = BufWriter::new(io::stdout().lock());
    let result = write_live(&live, &found, now_unix_ns(), &layout, &mut out);
    written(result.and_then(|()| out.flush()), STDOUT)?;
    let quality = &live.quality;
    let found = args.fail_on.iter().any(|finding| match finding {
        FailOn::Loss => quality.lost.total() > 0 || quality.sampled_out > 0,
        FailOn::Anomaly => quality.anomalies.total() > 0,
    });
    Ok(if found { Exit::Finding } else { Exit::Fine })
}

/// Looks up the stacks that have no names yet. Returns `false` if there are none.
pub fn look_up(found: &mut LiveNames, live: &Live, args: &NameArgs) -> bool {
    let Some(mut profile) = found.missing(live) else { return false };
    names::look_up(&mut profile, args, Path::new("-"));
    found.add(&profile);
    true
}

/// Returns the time in nanoseconds since 1970 UTC.
pub fn now_unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
