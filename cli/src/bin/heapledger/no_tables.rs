//! `heapledger export --format parquet` in a build without the feature `parquet`: prints how to install it.

use crate::args::ExportArgs;
use crate::exit::{Exit, Failure, FailureKind};

pub fn export(_: &ExportArgs) -> Result<Exit, Failure> {
    let error = "this build of the command has no format parquet: cargo install heapledger-cli";
    Err(Failure::new(FailureKind::Usage, error))
}
