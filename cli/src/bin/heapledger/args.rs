//! Command line: subcommands, flags and help texts. Flags on call stacks are in `figures`, because several subcommands
//! share them.

use std::ffi::OsString;
use std::path::PathBuf;

pub use crate::name_args::NameArgs;
use clap::builder::PossibleValue;
use clap::{Parser, Subcommand, ValueEnum};
use heapledger_cli::export::Format;

use crate::figures::{DEFAULT_TOP, MetricArg, SiteArgs};

const EXIT_CODES: &str = "\
Exit codes: 0 fine; 1 a finding that a flag asked for, or a broken law; 2 usage; 3 unreadable input; 4 output that \
cannot be written. `run` exits as its command does; `validate` also with 99 for a breached threshold.";

/// Account for every heap allocation of a program, and state how complete the account is
#[derive(Debug, Parser)]
#[command(name = "heapledger", version, after_help = EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Report(ReportArgs),
    Verify(VerifyArgs),
    Bundle(BundleArgs),
    Export(ExportArgs),
    Diff(DiffArgs),
    Push(crate::push_args::PushArgs),
    Run(RunArgs),
    Top(TopArgs),
    Trace(TraceArgs),
    Validate(Box<crate::validate::ValidateArgs>),
    /// List the environment variables that a recorded program reads
    #[command(long_about = crate::environment::TEXT)]
    Environment,
    #[cfg(feature = "shell")]
    Completions(crate::shell::CompletionsArgs),
    #[cfg(feature = "shell")]
    Man(crate::shell::ManArgs),
    #[command(hide = true, disable_help_flag = true)]
    Cargo(CargoWords),
}

/// What `cargo heapledger` calls
#[derive(Debug, clap::Args)]
pub struct CargoWords {
    /// The words after `cargo heapledger`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

/// Print the report of a dump: where to look first, how complete the data is, and the figures
///
/// Exit codes: 0 fine; 1 a finding that --fail-on or --fail-on-leak asks for; 2 usage; 3 unreadable input; 4 output
/// that cannot be written.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// Dumps, black boxes or traces to read, such as heapledger.app.1234.hl; - reads standard input; without any, the
    /// newest dump of the working directory
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    #[command(flatten)]
    pub span: SpanArgs,

    #[command(flatten)]
    pub reported: ReportedArgs,
}

/// Options of a report
#[derive(Debug, clap::Args)]
pub struct ReportedArgs {
    /// Exit with 1 on this finding; may be given more than once
    #[arg(long, value_enum, value_name = "FINDING")]
    pub fail_on: Vec<FailOn>,

    /// Write the report to this file as a self-contained HTML page, instead of as text
    #[arg(long, value_name = "OUT")]
    pub html: Option<PathBuf>,

    /// Leave source lines out of the page; without it, the page shows the lines of the largest places if their files
    /// are here
    #[arg(long)]
    pub no_source: bool,

    /// Show every section; without it, the findings, totals, timeline and places
    #[arg(long, conflicts_with_all = ["brief", "format"])]
    pub all: bool,

    #[command(flatten)]
    pub form: FormArgs,

    #[command(flatten)]
    pub sites: SiteArgs,

    #[command(flatten)]
    pub names: NameArgs,

    /// Skip the lookup of names, and show addresses or the names in the dump
    #[arg(long)]
    pub no_symbols: bool,

    #[command(flatten)]
    pub page: PageArgs,
}

/// Form of a report that is text
#[derive(Debug, clap::Args)]
pub struct FormArgs {
    /// Write the findings, totals and first places only, in at most 3 KiB, for machines and assistants
    #[arg(long)]
    pub brief: bool,

    /// Format of the report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    Text,
    /// For the summary of a change
    Markdown,
    /// For programs, with --brief; `export --format json` writes everything
    Json,
}

/// Check the conservation laws of a dump, and print the certainty of each group of figures
///
/// Exit codes: 0 every law holds; 1 a law is broken; 2 usage; 3 unreadable input; 4 output that cannot be written.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Dump to read; - reads standard input
    pub file: PathBuf,

    #[command(flatten)]
    pub page: PageArgs,
}

/// Store the names of functions, files and lines in a dump, so that another machine can read them
///
/// Run this on the machine of the program, before the program is rebuilt. Exit codes: 0 fine; 2 usage; 3 unreadable or
/// damaged input; 4 output that cannot be written.
#[derive(Debug, clap::Args)]
pub struct BundleArgs {
    /// Dump to read; - reads standard input
    pub file: PathBuf,

    /// File to write [default: the dump itself]
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,

    #[command(flatten)]
    pub names: NameArgs,
}

/// Convert a dump to the format of another program, or many dumps to tables
///
/// The format `parquet` adds dumps, black boxes and traces to tables in the directory -o, for DuckDB, DataFusion,
/// ClickHouse, Spark and others; a run that the tables have already is left out. Exit codes: 0 fine; 2 usage;
/// 3 unreadable input, also if other files could be read; 4 output that cannot be written.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Dump to read; - reads standard input; several for the format parquet
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// Format of the output
    #[arg(long, value_enum)]
    pub format: FormatArg,

    /// Figure of the format `collapsed`, and the order of `csv` [default: total, and the order of the dump]
    #[arg(long, alias = "metric", value_enum, value_name = "FIGURE")]
    pub by: Option<MetricArg>,

    /// Write only the N sites with the largest figure, for the formats `collapsed` and `csv` [default: all]
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,

    /// Version of the format `json`: 2 has frames in a table and stacks as a tree; 1 has the whole stack in each site
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(1..=2))]
    pub format_version: Option<u32>,

    /// Keep the arguments of generics and every frame of a recursion, in the formats `csv`, `collapsed` and
    /// `speedscope`
    #[arg(long)]
    pub unfolded: bool,

    /// Count the crate of this name as the program's own, for the places in `csv`; may be given more than once
    #[arg(long, value_name = "CRATE")]
    pub own: Vec<String>,

    /// File to write [default: standard output]; for the format parquet, the directory of the tables
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,

    /// Name of the service, for the format parquet [default: the name of the program]
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,

    /// Name of the host of files that have none, such as black boxes, for the format parquet
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,

    /// Write only the sites in the scope of this name; not for the format `json`, which has all scopes
    #[arg(long, value_name = "NAME")]
    pub scope: Option<String>,

    #[command(flatten)]
    pub span: SpanArgs,

    #[command(flatten)]
    pub names: NameArgs,

    /// Skip the lookup of names, and write addresses or the names in the dump
    #[arg(long)]
    pub no_symbols: bool,
}

/// Compare two dumps, site by site
///
/// Sites are matched by the names of the functions on their stacks. Exit codes: 0 fine; 1 more growth than
/// --fail-on-growth allows; 2 usage, or dumps that cannot be compared, because data is missing or the programs differ;
/// 3 unreadable input; 4 output that cannot be written.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// First dump; - reads standard input
    pub before: PathBuf,

    /// Second dump
    pub after: PathBuf,

    /// Rank places by the change of this figure; without it, by the figure that changed most
    #[arg(long, alias = "metric", value_enum, value_name = "FIGURE")]
    pub by: Option<MetricArg>,

    /// Number of places to list
    #[arg(long, value_name = "N", default_value_t = DEFAULT_TOP)]
    pub top: usize,

    /// Format of the output
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = DiffFormat::Text)]
    pub format: DiffFormat,

    /// Write a differential flame graph to this file as well, as a self-contained HTML page
    #[arg(long, value_name = "OUT")]
    pub html: Option<PathBuf>,

    /// Exit with 1 if a figure of the whole program, or the figure of --by, grew by more than this (bytes or blocks)
    #[arg(long, value_name = "BYTES")]
    pub fail_on_growth: Option<u64>,

    /// Print the differences even if the dumps cannot be compared
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub names: NameArgs,

    /// Skip the lookup of names, and compare addresses or the names in the dumps
    #[arg(long)]
    pub no_symbols: bool,

    #[command(flatten)]
    pub page: PageArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiffFormat {
    Text,
    /// For the summary of a change
    Markdown,
    Json,
}

/// Run a program that has a HeapLedger as its global allocator, then report its dump
///
/// Standard input and output belong to the program; the report goes to standard error. Exit code: that of the program,
/// or 1 if the program succeeds and --fail-on or --fail-on-leak finds something; 126 if the program cannot be started,
/// 127 if it was not found.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Print the report even if --html is given
    #[arg(long)]
    pub report: bool,

    /// Directory or file for the dump [default: the current directory]
    #[arg(short, long, value_name = "DIR_OR_FILE")]
    pub output: Option<PathBuf>,

    #[command(flatten)]
    pub reported: ReportedArgs,

    /// Program to run, with its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Watch a running process: live bytes and rate over time, completeness, sites and scopes by live bytes and by growth
///
/// The process writes its live page (HEAPLEDGER_LIVE=1), has a black box, or serves an endpoint. Without a terminal,
/// the figures are printed once.
///
/// Exit codes: 0 fine; 2 usage; 3 a process without live figures; 4 output that cannot be written.
#[derive(Debug, clap::Args)]
pub struct TopArgs {
    /// Process id; black box or live page; or the endpoint's URL, http://HOST:PORT or unix:PATH
    #[arg(value_name = "PID|FILE|URL")]
    pub target: String,

    /// Print the figures once, also on a terminal
    #[arg(long)]
    pub once: bool,

    #[command(flatten)]
    pub names: NameArgs,

    /// Skip the lookup of names, and show addresses
    #[arg(long)]
    pub no_symbols: bool,

    #[command(flatten)]
    pub page: PageArgs,
}

/// Replay a trace: its summary, the heap at any instant, the events of a span
///
/// A program writes a trace when it runs with HEAPLEDGER_TRACE=PATH. `report`, `export` and `verify` accept a trace in
/// place of a dump. Exit codes: 0 fine; 2 usage; 3 unreadable input; 4 output that cannot be written.
#[derive(Debug, clap::Args)]
pub struct TraceArgs {
    /// Trace to read
    pub file: PathBuf,

    /// Report the heap at this time since the start, such as 1.5s or 200ms, or at its peak
    #[arg(long, value_name = "TIME|peak", value_parser = at, conflicts_with_all = ["from", "to", "events"])]
    pub at: Option<At>,

    /// List the events, one per line, with tabs between the fields
    #[arg(long)]
    pub events: bool,

    #[command(flatten)]
    pub span: SpanArgs,

    #[command(flatten)]
    pub sites: SiteArgs,

    #[command(flatten)]
    pub names: NameArgs,

    /// Skip the lookup of names, and show addresses or the names in the trace
    #[arg(long)]
    pub no_symbols: bool,

    #[command(flatten)]
    pub page: PageArgs,
}

/// Span of a trace
#[derive(Debug, Default, clap::Args)]
pub struct SpanArgs {
    /// Count only blocks allocated from this time of the trace on, such as 1.5s, 200ms, 12us or 7ns
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub from: Option<Time>,

    /// Count only events before this time of the trace
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub to: Option<Time>,
}

/// Time since the start of the recording, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub u64);

/// Time in a trace at which the heap is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Time(Time),
    Peak,
}

fn at(text: &str) -> Result<At, String> {
    if text == "peak" { Ok(At::Peak) } else { time(text).map(At::Time) }
}

/// Parses a time: a number with a unit, or a number of seconds without a unit.
fn time(text: &str) -> Result<Time, String> {
    let digits = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ns" => 1.0,
        "us" => 1e3,
        "ms" => 1e6,
        "s" | "" => 1e9,
        "min" => 60e9,
        other => return Err(format!("{other} is no unit: take ns, us, ms, s or min")),
    };
    // A whole number of nanoseconds is not parsed as a float, which would round it.
    if unit == "ns"
        && let Ok(ns) = number.parse()
    {
        return Ok(Time(ns));
    }
    match number.parse::<f64>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(Time((value * scale).round() as u64)),
        _ => Err("a time is a number and a unit, such as 1.5s".to_owned()),
    }
}

/// Layout of a report
#[derive(Debug, clap::Args)]
pub struct PageArgs {
    /// Width of a line, in characters [default: the width of the terminal, or 100]
    #[arg(long, value_name = "N")]
    pub width: Option<usize>,

    /// Maximum number of rows in tables of threads, sites and live sizes
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub rows: usize,

    /// Use of colours
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    pub color: Color,

    /// Draw with ASCII characters only
    #[arg(long)]
    pub ascii: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal with colours
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Events were lost or sampled out, or the file is damaged
    Loss,
    /// Events do not pair
    Anomaly,
}

/// Value of the flag for the export format.
#[derive(Debug, Clone, Copy)]
pub enum FormatArg {
    /// Format that is written to one file.
    File(Format),
    /// Tables in a directory.
    Parquet,
}

impl ValueEnum for FormatArg {
    fn value_variants<'a>() -> &'a [Self] {
        // The list must be static, so it is made once, from the list of the library.
        static ALL: std::sync::OnceLock<Vec<FormatArg>> = std::sync::OnceLock::new();
        let files = Format::ALL.iter().copied().map(FormatArg::File);
        ALL.get_or_init(|| files.chain([FormatArg::Parquet]).collect())
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            FormatArg::File(format) => format.name(),
            FormatArg::Parquet => "parquet",
        }))
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use heapledger_cli::analysis::SiteOrder;

    use super::{Args, Command, Time, time};

    #[test]
    fn flags_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }

    /// Returns the figure that the given flag with the value `name` selects on a command line.
    fn figure(command: &[&str], flag: &str, name: &str) -> Option<SiteOrder> {
        let words: Vec<&str> = ["heapledger"].iter().chain(command).copied().chain([flag, name]).collect();
        let by = match Args::try_parse_from(words).unwrap().command {
            Command::Report(args) => Some(args.reported.sites.by),
            Command::Run(args) => Some(args.reported.sites.by),
            Command::Trace(args) => Some(args.sites.by),
            Command::Diff(args) => args.by,
            Command::Export(args) => args.by,
            _ => unreachable!(),
        };
        by.map(|by| by.0)
    }

    #[test]
    fn one_figure_has_one_name_and_one_flag_everywhere_and_the_earlier_ones_are_still_read() {
        let commands: [&[&str]; 4] = [
            &["report", "x.hl"],
            &["trace", "x.hlt"],
            &["diff", "a", "b"],
            &["export", "x.hl", "--format=csv"],
        ];
        for command in commands {
            for flag in ["--by", "--metric"] {
                for order in SiteOrder::ALL {
                    assert_eq!(figure(command, flag, order.name()), Some(order), "{command:?} {flag}");
                }
                assert_eq!(figure(command, flag, "copied"), Some(SiteOrder::Copied), "{command:?} {flag}");
            }
        }
        let run = ["heapledger", "run", "--by", "live", "--all", "--top", "3", "app"];
        let Command::Run(args) = Args::try_parse_from(run).unwrap().command else { unreachable!() };
        let reported = args.reported;
        assert_eq!((reported.sites.by.0, reported.all, reported.sites.top), (SiteOrder::Live, true, 3));
    }

    #[test]
    fn times_are_read_with_their_units() {
        let read = |text| time(text).ok().map(|Time(ns)| ns);
        assert_eq!(
            [read("1.5s"), read("2"), read("7ns")],
            [Some(1_500_000_000), Some(2_000_000_000), Some(7)]
        );
        assert_eq!(
            [read("200ms"), read("3us"), read("2min")],
            [Some(200_000_000), Some(3_000), Some(120_000_000_000)]
        );
        assert_eq!(read("9007199254740993ns"), Some(9_007_199_254_740_993));
        assert!(["", "s", "-1s", "1h", "nan", "1e999s"].iter().all(|text| time(text).is_err()));
    }
}
