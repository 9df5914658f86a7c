//! The library behind the `heapledger` command. It reads the dumps, traces and black boxes that the library
//! [`heapledger`] writes. It shows their figures as text, as a page, and in the formats of other programs.
//!
//! ```text
//!  dump ─► heapledger::dumps ─► symbols ─► analysis ─► report (text, page)
//!                                               └────► export (pprof, DHAT, speedscope, JSON, …)
//! ```
//!
//! * [`symbols`] looks up names for addresses in the object files of this machine.
//! * [`analysis`] computes findings from a profile, as data.
//! * [`report`] writes these findings for people, and [`export`] writes them for programs.
//! * [`top`] shows a running process on a terminal.
//! * [`cargo`] builds a package with heapledger in it, without a change of its sources.
//!
//! No code of this library runs inside the recorded program, so the library may allocate, block, and have large
//! dependencies.

pub mod analysis;
pub mod cargo;
pub mod export;
pub mod report;
pub mod symbols;
pub mod top;
