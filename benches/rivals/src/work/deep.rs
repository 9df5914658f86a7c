//! Allocations deep in the program, where a stack is long: the work of those that take one.

use std::hint::black_box;

use super::{AppCpu, Global};
use crate::common::raw::tight_pairs;

/// Pairs that are made in all.
pub const PAIRS: u64 = 400_000;
/// Calls below which all of it happens.
const FRAMES: u32 = 24;
/// Pairs made by one innermost call.
const AT_ONCE: u64 = 4;

/// Goes down `FRAMES` calls and makes the pairs there, from four places that are one to four calls deeper.
pub fn pairs(app: &AppCpu) {
    app.count(|| down(FRAMES));
}

#[inline(never)]
fn down(frames: u32) {
    if black_box(frames) > 0 {
        down(frames - 1);
    } else {
        for round in 0..PAIRS / AT_ONCE {
            leaf((round % 4) as u32);
        }
    }
    black_box(frames);
}

#[inline(never)]
fn leaf(deeper: u32) {
    if black_box(deeper) > 0 {
        leaf(deeper - 1)
    } else {
        tight_pairs(&Global, AT_ONCE)
    }
    black_box(deeper);
}
