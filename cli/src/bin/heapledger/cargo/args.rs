//! Command line of `cargo heapledger`.

use std::ffi::OsString;

use clap::{ArgAction, CommandFactory, Parser, Subcommand};
use heapledger_cli::cargo::arguments::{Arguments, split};

use crate::args::ReportedArgs;

/// Usage line. It mentions cargo's flags, which the parser does not know.
const USAGE: &str =
    "cargo heapledger <run|example NAME|test|bench> [OPTIONS] [FLAGS OF CARGO] [-- ARGUMENTS]";

const EXAMPLES: &str = "\
Examples:
  cargo heapledger run --release --html heap.html --open -- input.json
  cargo heapledger test parser::
  cargo heapledger init

Flags that are not listed are cargo's own: --bin, --package, --features, --release, --profile, --target. Built files and \
dumps are in target/heapledger.";

/// Builds a package with heapledger in it, without an edit, runs it, and reports
#[derive(Debug, Parser)]
#[command(name = "cargo heapledger", bin_name = "cargo heapledger", version, after_help = EXAMPLES)]
pub struct CargoArgs {
    #[command(subcommand)]
    pub action: CargoAction,
}

#[derive(Debug, Subcommand)]
pub enum CargoAction {
    /// Run a program of the package, as `cargo run` does, then report its dump
    Run(RecordArgs),
    /// Run an example of the package: NAME is the first word
    Example(RecordArgs),
    /// Run the tests, as `cargo test` does, then list the tests that allocate most and the tests that retain memory
    Test(RecordArgs),
    /// Run the benches, as `cargo bench` does, then report their dumps
    Bench(RecordArgs),
    /// Write the dependency and the line into the package, behind a feature; show the difference first
    Init(InitArgs),
}

/// Flags of a report, and those of cargo.
#[derive(Debug, clap::Args)]
#[command(override_usage = USAGE, after_help = EXAMPLES)]
pub struct RecordArgs {
    /// Show the page in a browser; without --html it lies in target/heapledger
    #[arg(long)]
    pub open: bool,

    /// Print the report even if --html or --open is given
    #[arg(long)]
    pub report: bool,

    #[command(flatten)]
    pub reported: ReportedArgs,

    /// The words of the command line, split into flags of reports, flags of cargo, and arguments of the program.
    #[clap(skip)]
    pub split: Arguments,
}

#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// Package to change [default: that of the working directory]
    #[arg(short, long, value_name = "NAME")]
    pub package: Option<String>,

    /// Program of the package, if it has several
    #[arg(long, value_name = "NAME")]
    pub bin: Option<String>,

    /// Take out what was written before
    #[arg(long)]
    pub undo: bool,

    /// Write without asking
    #[arg(short, long)]
    pub yes: bool,
}

impl CargoArgs {
    /// Parses the arguments after `cargo heapledger`. Separates the flags for cargo from the flags for reports first.
    pub fn parse_words(words: &[OsString]) -> Result<CargoArgs, clap::Error> {
        let name = |words: &[OsString]| {
            let mut line = vec![OsString::from("cargo heapledger")];
            line.extend_from_slice(words);
            line
        };
        let is_recorded = words
            .first()
            .is_some_and(|word| ["run", "example", "test", "bench"].iter().any(|name| word == name));
        let before = words.iter().take_while(|word| *word != "--");
        let is_help = before.clone().any(|word| word == "--help" || word == "-h");
        if !is_recorded || is_help {
            let words: Vec<OsString> = before.cloned().collect();
            return CargoArgs::try_parse_from(name(&words));
        }
        let arguments = split(&words[1..], own_flag);
        let mut line = name(&words[..1]);
        line.extend(arguments.own.iter().cloned());
        let mut parsed = CargoArgs::try_parse_from(line)?;
        if let CargoAction::Run(args)
        | CargoAction::Example(args)
        | CargoAction::Test(args)
        | CargoAction::Bench(args) = &mut parsed.action
        {
            args.split = arguments;
        }
        Ok(parsed)
    }
}

/// Returns whether a flag for reports is followed by a value; `None` if the flag is not for reports.
fn own_flag(flag: &str) -> Option<bool> {
    let command = CargoArgs::command();
    let run = command.find_subcommand("run")?;
    let long = flag.strip_prefix("--")?;
    let argument = run.get_arguments().find(|argument| {
        argument.get_long() == Some(long)
            || argument.get_all_aliases().is_some_and(|aliases| aliases.contains(&long))
    })?;
    Some(matches!(argument.get_action(), ArgAction::Set | ArgAction::Append))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(line: &str) -> RecordArgs {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        match CargoArgs::parse_words(&words).expect("parsed").action {
            CargoAction::Run(args)
            | CargoAction::Example(args)
            | CargoAction::Test(args)
            | CargoAction::Bench(args) => args,
            CargoAction::Init(_) => unreachable!(),
        }
    }

    #[test]
    fn the_flags_of_reports_and_of_cargo_stand_side_by_side() {
        CargoArgs::command().debug_assert();
        let args =
            recorded("run --release --top 3 --bin app --html out.html --features a,b --open -- --top 4");
        assert_eq!((args.reported.sites.top, args.open), (3, true));
        assert_eq!(args.reported.html.as_deref(), Some(std::path::Path::new("out.html")));
        assert_eq!(args.split.cargo, ["--release", "--bin", "app", "--features", "a,b"]);
        assert_eq!(args.split.program, ["--top", "4"]);
        assert_eq!(recorded("test parser:: --lib").split.cargo, ["parser::", "--lib"]);
    }

    #[test]
    fn words_that_are_neither_are_errors_of_usage() {
        let parse = |line: &str| {
            CargoArgs::parse_words(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
        };
        assert!(parse("walk").is_err() && parse("").is_err() && parse("run --top").is_err());
        assert!(parse("init --undo --yes").is_ok());
    }
}
