//! The ring of a thread: the encoding of events as words, and the way of the words from the thread to the *folder*, the
//! thread that books them into the ledger.
//!
//! # Picture
//!
//! A *lane* is one thread's ring with its counters. The words of a ring are numbered from 0, and the numbers never
//! wrap. The words lie in *segments* of 1,024 words, and a small table maps the number of a segment to its page.
//!
//! ```text
//!            oldest            tail                        head     limit
//!              │                │                           │         │
//!  ┌───────────┴──┬─────────────┼┬──────────────┬───────────┼───┬─────┼─────┐
//!  │ folded: history            ││ written, not folded      │   │window    │
//!  └──────────────┴─────────────┼┴──────────────┴───────────┼───┴─────┼─────┘
//!     segment n      segment n+1      segment n+2      segment n+3
//!  └─ may be reused ┘└─ folder ───────────────────────┘└──── thread ────────┘
//! ```
//!
//! Only the lane's thread moves `head` and `oldest`. Only the folder, which holds the lane's latch, moves `tail`.
//!
//! # Windows
//!
//! A *window* is a time mark and a run of at most 127 words after the mark. The hot path does not know segments, marks
//! or folding: it writes as long as its record ends at or below `limit`. All other work is done on the slow path, at
//! the end of a window (`recorder::window`).
//!
//! `limit` is also the lane's gate. It is 0 while a record is written, so an event of a signal handler finds the window
//! closed. It is 0 as well while the gate is closed for another reason.
//!
//! # Invariants
//!
//! * **I1** Words from `tail` to `head` are not written: the thread writes only at `head` and above.
//! * **I2** Words from `head` to `limit` are accessed by the thread alone.
//! * **I3** A segment is reused only when all its words are below `tail`, and after `oldest` has passed it.
//! * **I4** `head` and `tail` never lie inside a record.
//! * **I5** Every segment starts with a mark; a record never crosses from one segment to the next.
//! * **I6** A walker's cache is a run of pages as long as its shift says, and only its thread uses the cache.
//!
//! # Orderings
//!
//! | what | by | pairs with | guarantee |
//! | --- | --- | --- | --- |
//! | `Head::publish` release | thread | `Head::observe` acquire, folder | the folder sees the words below the head |
//! | `Tail::release` release | folder | `Tail::observe` acquire, thread | the folder's reads end before the reuse |
//! | `Oldest::pass` + release fence | thread | `Oldest::still_whole` acquire fence | a reader knows the reused words |
//! | `Oldest::enter_after_others` release fence | thread | `Oldest::still_whole` acquire fence | as above |
//! | latch | folder | latch | one folder comes after the other |
//!
//! Each ordering has a model that loom explores, and a weakened copy with which the model must fail.

pub(crate) mod cursor;
#[cfg(not(loom))]
pub(crate) mod event;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "lanes lie in raw pages")]
pub(crate) mod lane;
pub(crate) mod registry;

#[cfg(all(test, loom))]
#[allow(unsafe_code, reason = "the words of some models are cells that loom watches")]
mod loom_tests;
