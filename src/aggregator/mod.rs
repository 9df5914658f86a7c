//! The aggregator: the background thread that ticks the epoch and books idle rings, and the snapshots that queries take.
//!
//! It is an optimisation, not a condition for correctness: a thread whose ring is full helps itself, and a flush books
//! everything. So the ledger is complete without it, too: before `main`, after `exit`, in a forked child, and where no thread
//! can be started. What the background thread adds: a tick about every millisecond, which bounds the error of interpolated
//! times; booking of rings whose threads sleep; a flush for frees that wait for a block in another thread's nursery; and
//! booking on another processor where it is costly. `recorder::background_thread` decides when it starts.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `counters`, `rows`, `history`, `stacks`, `description` | the parts of a snapshot |
//! | `snapshot` | the whole of one moment: holds all lanes, copies, lets go |
//! | `background` | the state of the room, which both sides share |
//! | `rounds` | one round of the background thread, without time or thread |
//! | `monitor`, `alarm`, `tuning`, `triggers` | what follows from the quality counters, ten times a second |
//! | `worker` | the background thread itself |
//! | `trace_file`, `trace_writer`, `trace_thread` | the trace's file, its frames, and the thread that writes them |

pub(crate) mod alarm;
mod background;
pub(crate) mod counters;
pub(crate) mod description;
pub(crate) mod diagnostic;
pub(crate) mod history;
pub(crate) mod monitor;
pub(crate) mod naming;
#[cfg(test)]
pub(crate) mod oracle_tests;
mod rounds;
pub(crate) mod rows;
mod shared;
pub(crate) mod snapshot;
mod stacks;
mod trace_file;
pub(crate) mod trace_thread;
mod trace_writer;
mod triggers;
pub(crate) mod tuning;
pub(crate) mod worker;

pub(crate) use background::reset_after_fork;
