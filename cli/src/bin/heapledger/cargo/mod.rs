//! `cargo heapledger`: runs a package with heapledger as its allocator, and reports on the dumps.
//!
//! * `args` has the flags. `shown` reports on the dumps of programs, and `tests` on the dumps of tests. `browser` opens
//!   a page.
//! * `heapledger_cli::cargo` builds the package. It does not use the terminal.
//!
//! Standard input and output belong to the program, so reports go to standard error. The exit code is that of cargo.

mod args;
mod browser;
mod shown;
mod tests;

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use heapledger_cli::cargo::invocation::{Action, Invocation};
use heapledger_cli::cargo::project::Project;
use heapledger_cli::cargo::wrapper::{self, Settings};
use heapledger_cli::cargo::{Problem, WRAPPER_NAME, init};

use self::args::{CargoAction, CargoArgs, InitArgs, RecordArgs};
use crate::commands;
use crate::detail::SiteFilters;
use crate::dump_destination::DumpDestination;
use crate::exit::{Exit, Failure, FailureKind};

/// Acts as the compiler, if cargo has called this program as the wrapper of the compiler. Returns `None` if not.
pub fn as_wrapper() -> Option<ExitCode> {
    let mut words = std::env::args_os();
    let path = PathBuf::from(words.next()?);
    let is_wrapper = path.file_stem().is_some_and(|name| name == WRAPPER_NAME);
    let settings = is_wrapper.then(|| Settings::read(&path)).flatten()?;
    let words: Vec<OsString> = words.collect();
    Some(wrapper::run(&settings, &path, &words))
}

pub fn cargo(words: &[OsString]) -> Result<Exit, Failure> {
    let args = match CargoArgs::parse_words(words) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    match args.action {
        CargoAction::Run(args) => record(Action::Run, args),
        CargoAction::Example(args) => record(Action::Run, with_example(args)?),
        CargoAction::Test(args) => record(Action::Test, args),
        CargoAction::Bench(args) => record(Action::Bench, args),
        CargoAction::Init(args) => initialise(&args),
    }
}

/// Replaces the first argument, which is the name of an example, by cargo's flag `--example` with that name.
fn with_example(mut args: RecordArgs) -> Result<RecordArgs, Failure> {
    let words = &mut args.split.cargo;
    if words.first().is_none_or(|word| word.to_string_lossy().starts_with('-')) {
        let error = "the name of an example is missing";
        return Err(Failure::new(FailureKind::Usage, error).hint("cargo heapledger example NAME"));
    }
    words.insert(0, "--example".into());
    Ok(args)
}

fn record(action: Action, mut args: RecordArgs) -> Result<Exit, Failure> {
    // Invalid flags are rejected first, before anything is built.
    SiteFilters::read(&args.reported.sites)?;
    commands::short_form(&args.reported)?;
    let program = std::env::current_exe().map_err(|error| {
        Failure::new(FailureKind::NotStarted, format_args!("cannot find this command: {error}"))
    })?;
    let mut invocation = Invocation::new(action, &args.split, &program).map_err(failure)?;
    let place = DumpDestination::of(Some(&invocation.dumps))?;
    let before = place.dumps();
    let command = invocation.command().env("HEAPLEDGER_DUMP", place.pattern());
    let mut child = command.spawn().map_err(|error| failure(Problem::NoCargo { error }))?;
    let pid = child.id();
    let status = child.wait().map_err(|error| failure(Problem::NoCargo { error }))?;
    let code = crate::run::code_of(status);
    let mut dumps = place.new_dumps(&before, pid);
    if dumps.is_empty() {
        return Err(why_no_dump(&invocation, &args, code));
    }
    let directory = invocation.project.directory();
    let found = match action {
        Action::Test => tests::show(&dumps, &directory, &mut args),
        Action::Run => shown::show(&dumps, &directory, &mut args),
        Action::Bench => {
            tests::sort_benches(&mut dumps, &directory);
            shown::show(&dumps, &directory, &mut args)
        }
    };
    match found {
        Ok(Exit::Finding) if code == 0 => Ok(Exit::Finding),
        Ok(_) => Ok(Exit::Child(code)),
        Err(failure) => {
            failure.print();
            Ok(Exit::Child(code))
        }
    }
}

/// Returns the failure for a run without a dump, with the likely reason.
fn why_no_dump(invocation: &Invocation, args: &RecordArgs, code: u8) -> Failure {
    let conflicts = invocation.conflicts(&args.split.cargo);
    if let Some((first, rest)) = conflicts.split_first() {
        let mut text = first.clone();
        rest.iter().for_each(|other| text.push_str(&format!("\nerror: {other}")));
        return Failure::new(FailureKind::Child(code.max(1)), text);
    }
    let failure =
        Failure::new(FailureKind::Child(code), "no dump was left behind, so there is nothing to report");
    match code {
        0 => failure
            .hint("a program without std, one that ends by `_exit` or `exec`, and HEAPLEDGER=off leave none"),
        101 => failure.hint("cargo has said above what is wrong"),
        129.. => failure.hint(format_args!(
            "signal {} ended the program; HEAPLEDGER_BLACKBOX=PATH keeps everything recorded in a file that \
             survives any end, and `heapledger report PATH` reads it",
            code - 128
        )),
        _ => failure,
    }
}

fn failure(problem: Problem) -> Failure {
    let kind = match &problem {
        Problem::NoCargo { .. } => FailureKind::NotFound,
        Problem::Unwritable { .. } => FailureKind::Unwritable,
        Problem::Unreadable { .. } | Problem::Metadata { .. } => FailureKind::Unreadable,
        Problem::Cargo { code } | Problem::Library { code } => {
            FailureKind::Child(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(101))
        }
        Problem::Package { .. } => FailureKind::Usage,
    };
    let hint = problem.hint();
    let failure = Failure::new(kind, problem);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn initialise(args: &InitArgs) -> Result<Exit, Failure> {
    let project = Project::find(&[], false).map_err(failure)?;
    let Some(package) = project.package(args.package.as_deref()) else {
        let error = "there is no such package in this workspace";
        return Err(Failure::new(FailureKind::Usage, error).hint("name a member with --package"));
    };
    let changes = init::changes(package, args.bin.as_deref(), args.undo).map_err(failure)?;
    for change in &changes {
        anstream::print!("{}", change.diff());
    }
    if !args.yes && !is_confirmed()? {
        anstream::println!("nothing was written");
        return Ok(Exit::Fine);
    }
    init::apply(&changes).map_err(failure)?;
    if args.undo {
        anstream::println!("written; the package is without heapledger again");
    } else {
        anstream::println!(
            "written; to record: HEAPLEDGER=always heapledger run -- cargo run --features heapledger\n\
             to take it out: cargo heapledger init --undo"
        );
    }
    Ok(Exit::Fine)
}

/// Asks on the terminal whether to write the changes. Returns a failure without a terminal, because nobody can answer.
fn is_confirmed() -> Result<bool, Failure> {
    let mut input = io::stdin().lock();
    if !input.is_terminal() {
        let error = "nothing was written: there is no terminal to ask on";
        return Err(Failure::new(FailureKind::Usage, error).hint("--yes writes without asking"));
    }
    anstream::print!("Write this? [y/N] ");
    let _ = io::Write::flush(&mut io::stdout());
    let mut answer = String::new();
    // If reading fails, the answer is empty, and nothing is written.
    let _ = input.read_line(&mut answer);
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
