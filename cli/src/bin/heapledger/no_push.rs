//! Subcommand `push` of a build without the feature `push`: prints how to install it.

use crate::exit::{Exit, Failure, FailureKind};
use crate::push_args::PushArgs;

pub fn push(_: &PushArgs) -> Result<Exit, Failure> {
    let error = "this build of the command has no push: cargo install heapledger-cli";
    Err(Failure::new(FailureKind::Usage, error))
}
