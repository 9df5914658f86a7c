//! Smart pointers that report their holders: [`Tracked<Arc<T>>`](Tracked) and `Tracked<Rc<T>>`.
//!
//! An allocator sees that a block lives, but not the reason: that a counted pointer to it was cloned eleven times and dropped
//! ten times. A `Tracked` pointer records each clone and each drop:
//!
//! ```
//! use std::sync::Arc;
//! use heapledger::Tracked;
//!
//! let config = Tracked::new(Arc::new(String::from("verbose")), "config");
//! let copy = config.clone();
//! assert_eq!(copy.len(), 7);
//! drop(copy);
//!
//! let report = heapledger::tracked();
//! let seen = report.pointers.iter().find(|pointer| pointer.name == "config").expect("it is listed");
//! assert_eq!((seen.clones, seen.drops, seen.held), (1, 1, 1));
//! # drop(config);
//! ```
//!
//! # Recorded
//!
//! * Each `Tracked::new`: a *pointer* in the report, with its name, type, and place in the source.
//! * Each clone and drop of it and of its clones, counted exactly, and where the clones were made that are still held.
//! * The strong count as the pointer itself says it, after each clone. The highest of these is a lower bound of the
//!   true maximum: between a clone and the look at the count another thread may have dropped one.
//! * *Clone storms*: [`STORM_CLONES`] clones or more of one pointer within [`STORM_WINDOW_EVENTS`] consecutive events
//!   of all tracked pointers. At the edge of a window each thread may count one clone into the next one.
//! * Each of these events among the allocations and frees of its thread, with its time and its stack: in
//!   [`history`](crate::history) and the dump, as far back as they reach. It needs an installed `HeapLedger`; events that a
//!   mode sheds or samples out are counted ([`TrackedReport::events_unrecorded`]).
//! * The last events of all tracked pointers in the order in which they happened, bounded, without times; with or without a
//!   `HeapLedger`.
//!
//! # Not recorded
//!
//! * Pointers that are not wrapped, also clones that were made through `Arc::clone(&*tracked)`: they show in the
//!   strong count only.
//! * `Weak` pointers, and their upgrades.
//! * Values inside: interior mutation, cycles.
//! * The place of a clone that generic code makes (`vec.clone()`, a derived `Clone`): it is where that code says
//!   `.clone()`. Its callers are in the stack of the event.
//!
//! # Where events are recorded
//!
//! Twice. The counts, behind one seam, `sink`: a table of fixed size in static memory, some relaxed atomic operations on
//! the pointer's own entry and one on a shared count of events. And the event itself in the thread's ring, like one of
//! the heap (`recorder::pointer_events`): two words, folded and forgotten like all others. Neither allocates or panics. What does
//! not fit is counted: pointers beyond [`POINTERS_LISTED`], and places beyond [`PLACES_LISTED`]. Entries are not
//! reused, so a listed pointer stays exact until the end. The table is 713 KiB of zeroed static memory, of
//! which only the pages that are used are ever resident.
//!
//! A `Tracked<Arc<T>>` can be sent where the `Arc<T>` can, a `Tracked<Rc<T>>` cannot:
//!
//! ```
//! # use std::{rc::Rc, sync::Arc};
//! # use heapledger::Tracked;
//! fn is_send<P: Send + Sync>(_pointer: &P) {}
//! is_send(&Tracked::new(Arc::new(1), "shared"));
//! ```
//!
//! ```compile_fail,E0277
//! # use std::{rc::Rc, sync::Arc};
//! # use heapledger::Tracked;
//! fn is_send<P: Send + Sync>(_pointer: &P) {}
//! is_send(&Tracked::new(Rc::new(1), "shared"));
//! ```

mod counts;
mod limits;
mod places;
mod pointer;
mod recent;
mod sink;
#[allow(unsafe_code, reason = "keeps references to static text as numbers")]
mod statics;
#[cfg(test)]
mod tests;

pub use crate::profile::tracked::{
    Holder, PointerEvent, PointerKind, TrackedEvent, TrackedPointer, TrackedReport, Unlisted,
};
pub use limits::{EVENTS_KEPT, PLACES_LISTED, POINTERS_LISTED, STORM_CLONES, STORM_WINDOW_EVENTS};
pub use pointer::{Counted, Tracked};
pub(crate) use sink::report;
