//! `cargo heapledger`: builds a package of the user with heapledger as its allocator, without an edit, and runs it.
//!
//! ```text
//!  cargo heapledger run ─► library: build heapledger and a std with it as allocator, once
//!                       ─► cargo run, with the wrapper in place of the compiler for the workspace's packages
//!                          wrapper: rustc … --extern std=LIBRARY      for programs and tests
//!                       ─► the program leaves its dump in target/heapledger/dumps
//! ```
//!
//! * [`project`] reads the user's workspace from cargo, and [`arguments`] separates flags for cargo from flags for
//!   reports.
//! * [`library`] builds the library that takes the place of std. Cargo calls [`wrapper`] in place of the compiler.
//! * [`invocation`] prepares the call of cargo.
//! * [`conflict`] tells the user what to do if a program already has a global allocator.
//! * [`per_test`] computes the figures of each test from the dumps of test programs.
//! * [`init`] adds the dependency and the global allocator to a package for good, and removes them again.
//!
//! docs/CARGO.md lists the behaviour of cargo and of the compiler on which these files rely.

pub mod arguments;
pub mod conflict;
pub mod init;
pub mod invocation;
pub mod library;
mod line_diff;
pub mod per_test;
pub mod problem;
pub mod project;
pub mod wrapper;

pub use problem::Problem;

/// File name under which the `heapledger` executable acts as the wrapper of the compiler.
pub const WRAPPER_NAME: &str = "heapledger-rustc";
