//! Arguments of `heapledger push`.

use crate::name_args::NameArgs;

/// Send profiles to Pyroscope, or to a collector that speaks its protocol
///
/// Credentials: --user with the password in the variable HEAPLEDGER_PUSH_PASSWORD, or a token in HEAPLEDGER_PUSH_TOKEN.
/// Exit codes: 0 fine; 2 usage; 3 unreadable source, also if other sources were sent; 4 the server cannot be reached or
/// refuses.
#[derive(Debug, clap::Args)]
pub struct PushArgs {
    /// Dumps, black boxes, traces, profiles in the format of pprof, or endpoints of running programs, such as
    /// http://127.0.0.1:6060
    #[arg(value_name = "FILE|URL", required = true)]
    pub sources: Vec<String>,

    /// Server, such as http://localhost:4040
    #[arg(long, value_name = "URL")]
    pub to: String,

    /// Name of the service [default: the name of the program]
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,

    /// Label of the profiles; may be given more than once
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub labels: Vec<String>,

    /// Tenant, for a server with several
    #[arg(long, value_name = "ID")]
    pub tenant: Option<String>,

    /// User name for the server
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// Maximum time of a request, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub timeout: u64,

    #[command(flatten)]
    pub names: NameArgs,

    /// Skip the lookup of names, and send addresses or the names in the dump
    #[arg(long)]
    pub no_symbols: bool,
}
