//! Reading of a file that is either a dump or a trace.

use std::path::Path;

use heapledger::text::escape::escaped;

use crate::args::SpanArgs;
use crate::exit::{Failure, FailureKind};
use crate::input::{self, Input};
use crate::trace_file::{self, TraceFile};

/// Reads the file at `path`: a dump, or a trace with a dump at its end. The path `-` is a dump on standard input.
pub fn whole(path: &Path) -> Result<Input, Failure> {
    if trace_file::is_at(path) { TraceFile::open(path)?.whole() } else { input::dump(path) }
}

/// Reads the file at `path` as [`whole`] does. With `--from` or `--to`, replays that span of time instead; the file
/// must then be a trace.
pub fn span(path: &Path, args: &SpanArgs) -> Result<Input, Failure> {
    let Some(span) = trace_file::span(args)? else { return whole(path) };
    if trace_file::is_at(path) {
        return TraceFile::open(path)?.span(span);
    }
    let shown = escaped(&path.display().to_string());
    let error = format_args!(
        "{shown} is no trace: a dump knows its end only, so --from and --to have no meaning for it"
    );
    Err(Failure::new(FailureKind::Usage, error).hint("HEAPLEDGER_TRACE=PATH has a program write a trace"))
}
