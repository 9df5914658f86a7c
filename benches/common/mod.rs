//! The parts that all benches share: clocks, effort, kinds of work, and figures over many rounds.
#![allow(dead_code, reason = "each bench uses a part of it")]

pub mod clock;
pub mod effort;
pub mod figures;
pub mod memory;
pub mod raw;
pub mod svg;
pub mod texts;
