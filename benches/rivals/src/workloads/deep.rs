//! Allocations below many calls, where stacks are long.

use super::{AppCpu, Global};
use crate::common::raw::deep_pairs;

/// Total number of pairs.
pub const PAIRS: u64 = 400_000;
/// Depth of calls at which the pairs are made.
const CALLS: u32 = 24;

/// Makes the pairs `CALLS` calls deep.
pub fn pairs(app: &AppCpu) {
    app.count(|| deep_pairs(&Global, PAIRS, CALLS));
}
