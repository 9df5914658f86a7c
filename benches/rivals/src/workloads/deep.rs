//! Allocations deep in the program, where a stack is long: the work of those that take one.

use super::{AppCpu, Global};
use crate::common::raw::deep_pairs;

/// Pairs that are made in all.
pub const PAIRS: u64 = 400_000;
/// Calls below which all of it happens.
const CALLS: u32 = 24;

/// Goes down `CALLS` calls and makes the pairs there.
pub fn pairs(app: &AppCpu) {
    app.count(|| deep_pairs(&Global, PAIRS, CALLS));
}
