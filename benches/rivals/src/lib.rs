//! The same work under heapledger and under other tools.
//!
//! A process has one global allocator, so each contestant is a separate program (`src/bin/under_*.rs`) with its
//! allocator and one call of [`child::main`]. The bench `rivals` starts the programs, interleaved, measures each
//! process from outside, adds the figures that the child reports, and prints one table for each kind of work.
#![allow(unsafe_code, reason = "some work calls the global allocator directly")]

pub mod budget;
pub mod child;
#[path = "../../common/mod.rs"]
#[allow(dead_code, reason = "shared with other benches, each of which uses a part")]
pub mod common;
pub mod contestants;
pub mod plot;
pub mod run;
pub mod table;
pub mod workloads;
