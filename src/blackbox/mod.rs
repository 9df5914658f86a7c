//! The reader of black boxes: a profile from the bytes of a region whose process is gone.
//!
//! A black box is the region of a ledger as it lay in memory at the last instant (see `recorder::black_box`). There was
//! no one left to book what waited in the rings, so the reader does it. It does so in its own, plain way, over a copy of
//! what it reads, and believes nothing: every page number is looked up within the bounds of the file, every loop has an
//! end that the file cannot move, and no pointer in it is followed.
//!
//! ```text
//!  bytes ──► image ──► lanes ──────► book what was not booked ──► profile
//!            (typed     (accounts,    (`settle`: rings, nurseries,
//!            copies)    words)         tallies, live table)
//! ```
//!
//! # What was being booked
//!
//! A thread that was killed in the midst of a fold left a batch of which some is in the tables and some is not. Such a
//! lane is known by its latch, which is still taken. The reader cannot tell how far the fold had come: the events of the
//! batch are counted as *in flight*, and a note says so. Which blocks live is found out all the same, from the words in
//! the ring, which are whole; the figures of sites may lack part of the batch, or have it already, and so may those of who freed
//! whose blocks.
//!
//! Everything else is exact: a record was in the ring before the call that made it returned, and a word in the ring is
//! in the file.

mod image;
mod lanes;
mod live;
mod read;
mod references;
mod settle;
#[cfg(test)]
mod tests;

pub use read::{read, read_bytes, read_from};
