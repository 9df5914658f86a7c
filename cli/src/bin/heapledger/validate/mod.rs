//! Subcommand `validate`: measures heapledger under load, in child processes with and without recording.
//!
//! ```text
//!  args ─► plan ─► library: pairs of children, which are this command again ─► report ─► text, JSON, page, plot, CSV
//!                              └─► status: one line on a terminal
//! ```
//!
//! This program has a `HeapLedger` as its global allocator, which records only in the child processes.

mod args;
mod http;
mod load;
mod output;
mod status;
mod target;

pub use args::ValidateArgs;

use std::io::{self, Write};

use heapledger::validation::{
    PairedError, StopHandle, child_command, is_child, read_baseline, run_paired, stop_on_interrupt,
};

use crate::exit::{Exit, Failure, FailureKind, STDOUT, written};
use output::Outputs;
use status::Status;

pub fn validate(args: &ValidateArgs) -> Result<Exit, Failure> {
    let queries = args.queries()?;
    if is_child() {
        return Ok(Exit::Of(target::serve_workload(args, queries)));
    }
    let plan = args.plan()?;
    let baseline = args.baseline.as_deref().map(read_baseline).transpose().map_err(|error| {
        Failure::new(FailureKind::Usage, error).hint("--json of an earlier run writes one")
    })?;
    // Output files are opened before the runs, so that an error is found early.
    let outputs = Outputs::open(args)?;
    let stop = StopHandle::default();
    stop_on_interrupt(&stop).map_err(|error| {
        Failure::new(FailureKind::Unmeasured, format_args!("cannot wait for interrupts: {error}"))
    })?;
    let mut status = Status::begin(&plan);
    let runs = run_paired(&plan, child_command, &stop, |progress| status.show(progress)).map_err(failure)?;
    status.end();
    if runs.with_tracker().next().is_none() {
        return Err(Failure::new(FailureKind::Unmeasured, "stopped before the first run was over"));
    }
    let mut report = runs.report();
    if let Some(baseline) = &baseline {
        report.compare_with(baseline, args.worse_by / 100.0);
    }
    outputs.write(&report)?;
    if !outputs.uses_stdout() {
        let mut out = io::stdout().lock();
        let result = out.write_all(report.to_text().as_bytes()).and_then(|()| outputs.list(&mut out));
        written(result.and_then(|()| out.flush()), STDOUT)?;
    }
    Ok(Exit::Judged(report.exit_code() as u8))
}

fn failure(error: PairedError) -> Failure {
    match error {
        PairedError::Plan(error) => Failure::new(FailureKind::Usage, error),
        error => Failure::new(FailureKind::Unmeasured, error),
    }
}
