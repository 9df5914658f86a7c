//! `cargo heapledger`: builds a package of the user with heapledger in it, without an edit, and runs it.
//!
//! ```text
//!  cargo heapledger run ─► library: build heapledger and a std with it as allocator, once
//!                       ─► cargo run, with the wrapper in place of the compiler for the workspace's packages
//!                          wrapper: rustc … --extern std=LIBRARY      for programs and tests
//!                       ─► the program leaves its dump in target/heapledger/dumps
//! ```
//!
//! * [`project`] asks cargo about the package, and [`arguments`] separates cargo's flags from the flags of reports.
//! * [`library`] has the sources of the library, and builds it. Cargo calls [`wrapper`] in place of the compiler.
//! * [`invocation`] is the call of cargo.
//! * [`conflict`] explains what to do for a program with a global allocator.
//! * [`per_test`] gives the figures of each test from the dumps of test programs.
//! * [`init`] writes the line and the dependency into a package, and removes them.
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

/// Name of the command as the wrapper of the compiler.
pub const WRAPPER_NAME: &str = "heapledger-rustc";
