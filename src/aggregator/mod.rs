//! The aggregator: the background thread, which books idle rings, and the snapshots that queries take.
//!
//! The background thread is an optimisation, and correctness does not depend on it: a thread whose ring is full books
//! the ring itself, and a flush books every ring. So the ledger is complete without the background thread too: before
//! `main`, after `exit`, in a forked child, and if no thread can be started. About every millisecond, the background
//! thread advances the clock's epoch (a *tick*), which bounds the error of interpolated times. It also books rings
//! whose threads sleep, and books rings on another processor if booking is costly. If frees wait for a block in another
//! thread's nursery (its young blocks), it flushes all rings. `recorder::background_thread` decides when the thread
//! starts.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `counters`, `rows`, `history`, `stacks`, `description` | the parts of a snapshot |
//! | `memory` | resident memory over time, and the allocator's figures |
//! | `snapshot` | the profile of one moment: holds all lanes, copies, opens the lanes |
//! | `background` | the state of the aggregator, shared by the background thread and the queries |
//! | `joined` | flushes and snapshots that serve all threads that ask at the same time |
//! | `rounds` | one round of the background thread, without time or thread |
//! | `monitor`, `alarm`, `tuning`, `triggers` | the uses of the quality counters, ten times a second |
//! | `live_page`, `live_file` | the writer of the live page (figures for other processes); the file of the page |
//! | `live_schedule`, `highest` | the times at which the live page is written; the sites that it lists |
//! | `worker` | the background thread itself |
//! | `trace_file`, `trace_writer`, `trace_thread` | the trace's file, its frames, and the thread that writes them |

pub(crate) mod alarm;
pub(crate) mod background;
pub(crate) mod counters;
pub(crate) mod description;
pub(crate) mod diagnostic;
mod highest;
pub(crate) mod history;
mod joined;
mod live_file;
pub(crate) mod live_page;
mod live_schedule;
mod memory;
pub(crate) mod monitor;
pub(crate) mod naming;
#[cfg(test)]
pub(crate) mod oracle_tests;
pub(crate) mod requests;
mod rounds;
pub(crate) mod rows;
pub(crate) mod scopes;
mod shared;
pub(crate) mod snapshot;
pub(crate) mod stacks;
mod trace_file;
pub(crate) mod trace_thread;
mod trace_writer;
mod triggers;
pub(crate) mod tuning;
pub(crate) mod worker;

pub(crate) use background::reset_after_fork;
