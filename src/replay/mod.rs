//! Offline replay: computes the state of a heap from recorded events.
//!
//! The reader of black boxes replays the events that were still in the rings when the process ended. The reader of
//! traces replays a whole run. Both use a [`Heap`], which pairs frees with blocks and reports every start and end of a
//! block to a [`Sums`]. The two readers differ only in their [`Sums`].
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
//! | `heap` | what each record does to the blocks |
//! | `numbered` | maps with small numbers as keys |

#[cfg(any(test, feature = "read"))]
mod blocks;
#[cfg(any(test, feature = "read"))]
mod heap;
mod numbered;
mod record;

#[cfg(any(test, feature = "read"))]
pub(crate) use blocks::{Block, Blocks, WaitingFree};
#[cfg(any(test, feature = "read"))]
pub(crate) use heap::{End, Heap, Sums};
pub(crate) use numbered::Numbered;
#[cfg(any(test, feature = "read"))]
pub(crate) use record::BlockKind;
pub use record::{BlockShape, Dated, Record, SizeBits};
