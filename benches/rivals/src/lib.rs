//! The same work under heapledger and under what a user would pick instead.
//!
//! A process has one global allocator, so each contestant is a program of its own (`src/bin/under_*.rs`): its
//! allocator, and one call of [`child::main`]. The bench `rivals` starts them by turns, measures each process from
//! outside, adds what the child says of itself, and prints one table per kind of work.
#![allow(unsafe_code, reason = "some work calls the global allocator directly")]

pub mod child;
#[path = "../../common/mod.rs"]
#[allow(dead_code, reason = "shared with other benches, each of which uses a part")]
pub mod common;
pub mod contestants;
pub mod plot;
pub mod run;
pub mod table;
pub mod workloads;
