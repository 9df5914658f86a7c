//! The readers of black boxes: they make a profile from the memory region of a process that has ended (`read`), and
//! read the live page of a running process (`live`).
//!
//! A black box is the region of a ledger at the last instant of the process (see `recorder::black_box`). The rings
//! still hold events that were not booked; the reader replays them (`replay::Heap`). The reader trusts no byte: it
//! checks every page number against the length of the file, every loop has a bound that does not come from the file,
//! and no pointer is followed.
//!
//! ```text
//!  bytes ──► image ──► lanes ──────► unbooked ─────────────► read ──► profile
//!            (typed     (counters,    (blocks of the tables,
//!            copies)    words)         events of the rings)
//! ```
//!
//! # Torn batches
//!
//! A process that ends during a fold leaves a *torn* lane: its latch is taken, and a batch of its events is partly in
//! the tables. The sums do not show how far the fold had come: the events of the batch are counted as *in flight*, with
//! a note. The live blocks are exact, because the words in the ring are whole. The figures of sites and of remote frees
//! may include or lack part of the batch.
//!
//! All other figures are exact: a record is in the ring before its call returns, and a word in the ring is in the file.

mod image;
mod lanes;
mod live;
mod read;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod tests;
mod unbooked;

pub use live::LiveReader;
pub use read::{is_black_box, read, read_bytes, read_from};
