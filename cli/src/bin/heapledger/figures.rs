//! Flags on call stacks and their figures, which mean the same in all subcommands.

use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use heapledger_cli::analysis::SiteOrder;

/// Number of listed places if `--top` is not given.
pub const DEFAULT_TOP: usize = 10;

/// Options on call stacks
#[derive(Debug, clap::Args)]
pub struct SiteArgs {
    /// Number of places to list
    #[arg(long, value_name = "N", default_value_t = DEFAULT_TOP)]
    pub top: usize,

    /// Rank places by this figure
    #[arg(long, alias = "metric", value_enum, value_name = "FIGURE", default_value_t = MetricArg(SiteOrder::Total))]
    pub by: MetricArg,

    /// Sum the places by this key
    #[arg(long, value_enum, value_name = "KEY", default_value_t = GroupArg::Line)]
    pub group: GroupArg,

    /// Count the crate of this name as the program's own; may be given more than once
    #[arg(long, value_name = "CRATE")]
    pub own: Vec<String>,

    /// Print a call tree in this direction
    #[arg(long, value_enum, value_name = "DIRECTION")]
    pub tree: Option<TreeDirectionArg>,

    /// Keep only stacks with this regular expression in a function, file or module; may be given more than once
    #[arg(long, value_name = "REGEX")]
    pub focus: Vec<String>,

    /// Drop stacks with this regular expression in a function, file or module; may be given more than once
    #[arg(long, value_name = "REGEX")]
    pub ignore: Vec<String>,

    /// Keep only what was allocated in the scope of this name
    #[arg(long, value_name = "NAME")]
    pub scope: Option<String>,

    /// Show the arguments of generics, and every function of the standard library
    #[arg(long)]
    pub unfolded: bool,

    /// List the blocks that were not freed, by place; suppress those that the standard library keeps for itself
    #[arg(long)]
    pub leaks: bool,

    /// Ignore the leaks that this file names, in the syntax of LeakSanitizer; with --leaks or --fail-on-leak
    #[arg(long, value_name = "FILE")]
    pub suppressions: Option<PathBuf>,

    /// List the blocks that were not freed, and exit with 1 if there are any
    #[arg(long)]
    pub fail_on_leak: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GroupArg {
    /// Line of the program that allocates, else of a dependency
    Line,
    /// Function of that line
    Function,
    /// Crate of that function
    Crate,
    /// Whole call stack
    Stack,
    /// Innermost scope in which it was allocated
    Scope,
    /// Thread that allocated; by total, count or live
    Thread,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TreeDirectionArg {
    /// From the allocating function to those that call it
    Callers,
    /// From the outermost function to those that it calls
    Callees,
}

/// Value of a flag that selects a figure of sites.
#[derive(Debug, Clone, Copy)]
pub struct MetricArg(pub SiteOrder);

impl ValueEnum for MetricArg {
    fn value_variants<'a>() -> &'a [Self] {
        const {
            &[
                MetricArg(SiteOrder::Live),
                MetricArg(SiteOrder::Peak),
                MetricArg(SiteOrder::Total),
                MetricArg(SiteOrder::Count),
                MetricArg(SiteOrder::Temporaries),
                MetricArg(SiteOrder::Copied),
            ]
        }
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self.0 {
            SiteOrder::Live => "Bytes live at the end",
            SiteOrder::Peak => "Bytes live when the process was at its peak",
            SiteOrder::Total => "Bytes allocated in all",
            SiteOrder::Count => "Blocks allocated in all",
            SiteOrder::Temporaries => "Blocks freed right after they were allocated",
            SiteOrder::Copied => "Bytes that reallocs copied",
        };
        let value = PossibleValue::new(self.0.name()).help(help);
        // An older name is still accepted.
        Some(if self.0 == SiteOrder::Copied { value.alias("copied") } else { value })
    }
}
