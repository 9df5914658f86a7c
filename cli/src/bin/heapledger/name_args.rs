//! Options that several commands share.

use std::path::PathBuf;

/// Options on the lookup of names
#[derive(Debug, Default, clap::Args)]
pub struct NameArgs {
    /// Directory with separate debug files, by build id or by name; may be given more than once
    #[arg(long = "debug-dir", value_name = "DIR")]
    pub debug_directories: Vec<PathBuf>,
}
