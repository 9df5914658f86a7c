//! Offline replay: events that were recorded become the heap that they describe.
//!
//! The reader of black boxes replays what was still in the rings when the process ended; the reader of traces replays
//! a whole run. Both go through one [`Heap`]: it pairs frees with blocks and reports every start and end of a block to
//! a [`Sums`], which is all that differs between the two.
//!
//! ```text
//!  records ──► Heap ──────────────► Sums
//!              (blocks by address,   (totals, sites, threads, timeline)
//!               waiting frees,
//!               open reallocs)
//! ```
//!
//! | file | holds |
//! | --- | --- |
//! | `record` | the words of a ring as values |
//! | `blocks` | live blocks and waiting frees by address |
//! | `heap` | what each record does to them |
//! | `numbered` | maps with small numbers as keys |

mod blocks;
mod heap;
mod numbered;
mod record;

pub(crate) use blocks::{Block, Blocks, WaitingFree};
pub(crate) use heap::{End, Heap, Sums};
pub(crate) use numbered::Numbered;
pub(crate) use record::BlockKind;
pub use record::{BlockShape, Dated, Record, SizeBits};
