//! The `heapledger` command: reads dumps and says what they hold.
//!
//! It is a thin handle on the library: `args` says what can be asked, `commands` reads, analyses and writes,
//! `diff` does so with two dumps, `names` looks up functions and lines, `bundle` puts them into a dump, `detail` reads
//! what is asked of call stacks, `trace` replays traces, `run` starts a program under the ledger, `validate` puts heapledger
//! under load, `exit` turns outcomes into exit codes. It never records anything itself, but in the children of `validate`.

#![forbid(unsafe_code)]

mod args;
mod bundle;
mod commands;
mod detail;
mod diff;
mod exit;
mod input;
mod names;
mod page;
mod read;
mod run;
mod trace;
mod trace_file;
#[cfg(not(feature = "validation"))]
#[path = "unbuilt.rs"]
mod validate;
#[cfg(feature = "validation")]
mod validate;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

/// For the children of `validate`; in any other process nothing is recorded and nothing left behind.
#[cfg(feature = "validation")]
#[global_allocator]
static HEAP: heapledger::HeapLedger =
    heapledger::HeapLedger::system().on_request().dump(heapledger::DumpTarget::Off);

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Report(args) => commands::report(&args),
        Command::Verify(args) => commands::verify(&args),
        Command::Bundle(args) => bundle::bundle(&args),
        Command::Export(args) => commands::export(&args),
        Command::Diff(args) => diff::diff(&args),
        Command::Run(args) => run::run(&args),
        Command::Trace(args) => trace::trace(&args),
        Command::Validate(args) => validate::validate(&args),
    };
    match outcome {
        Ok(exit) => exit.code(),
        Err(failure) => {
            failure.print();
            failure.code()
        }
    }
}
