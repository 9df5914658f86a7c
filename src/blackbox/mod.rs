//! The readers of a *black box*, a file that holds the memory of a process's ledger. `read` makes a profile from the
//! black box of a process that has ended. `live` reads the live page, which holds current figures of a running process.
//!
//! A black box has the state of the ledger at the last instant of the process (see `recorder::black_box`). The rings
//! still hold events that were not booked, so the reader books them (`replay::Heap`). The reader trusts no byte of the
//! file: it checks every page number against the length of the file, limits every loop by a bound that does not come
//! from the file, and follows no pointer.
//!
//! ```text
//!  bytes ──► image ──► lanes ──────► unbooked ─────────────► read ──► profile
//!            (typed     (counters,    (blocks of the tables,
//!            copies)    words)         events of the rings)
//! ```
//!
//! # Torn batches
//!
//! A lane is *torn* if the process ended during a fold of the lane. Then the lane's latch is taken, and a batch of its
//! events is partly in the tables. The sums do not show how far the fold had come, so the events of the batch are
//! counted as *in flight*, with a note. The live blocks are exact, because the words in the ring are whole. The figures
//! of sites and of remote frees may include or lack part of the batch.
//!
//! All other figures are exact: the call of an event returns after its record is in the ring, and the ring is in the
//! file.

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
