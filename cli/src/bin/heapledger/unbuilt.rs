//! Subcommand `validate` of a build without the feature `validation`: prints how to install it.

use std::ffi::OsString;

use crate::exit::{Exit, Failure, FailureKind};

/// Drive concurrent load on a workload under heapledger (not in this build)
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct ValidateArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub rest: Vec<OsString>,
}

pub fn validate(_: &ValidateArgs) -> Result<Exit, Failure> {
    let error = "this build of the command has no validate: cargo install heapledger-cli";
    Err(Failure::new(FailureKind::Usage, error))
}
