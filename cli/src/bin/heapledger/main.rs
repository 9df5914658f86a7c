//! Program `heapledger`.
//!
//! * `args` defines the command line, and `figures` its flags on call stacks. `environment` prints the environment
//!   variables.
//! * `commands` has the subcommands `report`, `verify` and `export`. The files `diff`, `bundle`, `push`, `run`, `trace`
//!   and `validate` have one subcommand each. `push_source` reads the profiles for `push`.
//! * `cargo` is `cargo heapledger`, which the program `cargo-heapledger` starts. `shell` has completions and manual
//!   pages.
//! * `tables` is `export --format parquet`.
//! * `read` reads a dump (with `input`) or a trace (with `trace_file`), and `names` looks up symbols.
//! * `detail` and `page` convert flags to options of reports; `sources` reads the source lines that a page shows.
//! * `running` reports on a running process. `top` shows a running process continuously, from a file or from an
//!   endpoint (`endpoint_client`).
//! * `exit` has the exit codes and error messages.
//!
//! The program has a `HeapLedger` as its allocator, which records only in the child processes of `validate`.

#![forbid(unsafe_code)]

mod args;
mod bundle;
mod cargo;
mod commands;
mod detail;
mod diff;
mod dump_destination;
mod endpoint_client;
mod environment;
mod exit;
mod figures;
#[cfg(feature = "push")]
mod http;
mod input;
mod name_args;
mod names;
mod page;
#[cfg_attr(not(feature = "push"), path = "no_push.rs")]
mod push;
mod push_args;
#[cfg(feature = "push")]
mod push_source;
mod read;
mod run;
mod running;
#[cfg(feature = "shell")]
mod shell;
mod sources;
#[cfg_attr(not(feature = "parquet"), path = "no_tables.rs")]
mod tables;
mod top;
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

/// Global allocator. It records only in the child processes of `validate`.
#[cfg(feature = "validation")]
#[global_allocator]
static HEAP: heapledger::HeapLedger =
    heapledger::HeapLedger::system().on_request().dump(heapledger::DumpTarget::Off);

fn main() -> ExitCode {
    if let Some(code) = cargo::as_wrapper() {
        return code;
    }
    let outcome = match Args::parse().command {
        Command::Report(args) => commands::report(&args),
        Command::Verify(args) => commands::verify(&args),
        Command::Bundle(args) => bundle::bundle(&args),
        Command::Export(args) => commands::export(&args),
        Command::Diff(args) => diff::diff(&args),
        Command::Push(args) => push::push(&args),
        Command::Run(args) => run::run(&args),
        Command::Top(args) => top::top(&args),
        Command::Trace(args) => trace::trace(&args),
        #[cfg(feature = "shell")]
        Command::Completions(args) => shell::completions(&args, <Args as clap::CommandFactory>::command()),
        #[cfg(feature = "shell")]
        Command::Man(args) => shell::man(&args, <Args as clap::CommandFactory>::command()),
        Command::Cargo(args) => cargo::cargo(&args.words),
        Command::Validate(args) => validate::validate(&args),
        Command::Environment => environment::environment(),
    };
    match outcome {
        Ok(exit) => exit.code(),
        Err(failure) => {
            failure.print();
            failure.code()
        }
    }
}
