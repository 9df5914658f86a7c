//! Smart pointers that report their holders: [`Tracked<Arc<T>>`](Tracked) and `Tracked<Rc<T>>`.
//!
//! An allocator knows that a block lives, but not the reason, for example that a counted pointer to it was cloned
//! eleven times and dropped ten times. A `Tracked` pointer records each clone and each drop:
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
//! * Each clone and drop of the pointer and of its clones, counted exactly, and the places of the clones that are still
//!   held.
//! * The strong count of the pointer itself after each clone. The highest of these counts is a lower bound of the true
//!   maximum: another thread may have dropped a holder between a clone and the reading of the count.
//! * *Clone storms*: [`STORM_CLONES`] clones or more of one pointer within [`STORM_WINDOW_EVENTS`] consecutive events
//!   of all tracked pointers. At the end of such a window, one clone of each thread may be counted in the next window
//!   instead.
//! * Each event among the allocations and frees of its thread, with its time and its stack: in
//!   [`history`](crate::history) and the dump, as far back as they reach. This needs an installed `HeapLedger`. Events
//!   that a mode sheds or samples out are counted ([`TrackedReport::events_unrecorded`]).
//! * The last events of all tracked pointers, in the order in which they happened, without times. Their number is
//!   bounded. This needs no `HeapLedger`.
//!
//! # Not recorded
//!
//! * Pointers that are not wrapped, including clones made through `Arc::clone(&*tracked)`: only the strong count
//!   includes these.
//! * `Weak` pointers, and their upgrades.
//! * Values inside the pointers: interior mutation, cycles.
//! * The caller of generic code that makes a clone (`vec.clone()`, a derived `Clone`): the recorded place is the
//!   `.clone()` in that code. The callers are in the stack of the event.
//!
//! # Where events are recorded
//!
//! An event is recorded in two places. First, `sink` counts the event in a table of fixed size in static memory. This
//! takes some relaxed atomic operations on the entry of the pointer, and one on a shared count of events. Second, the
//! event itself goes into the thread's ring, as an event of the heap does (`recorder::pointer_events`): it takes two
//! words, which are folded and overwritten like all other words. Neither recording allocates or panics. If there are
//! more than [`POINTERS_LISTED`] pointers or [`PLACES_LISTED`] places, the others are only counted. Entries are not
//! reused, so a listed pointer stays exact until the end. The table is 713 KiB of zeroed static memory; only its used
//! pages are ever resident.
//!
//! A `Tracked<Arc<T>>` can be sent to another thread if the `Arc<T>` can. A `Tracked<Rc<T>>` cannot be sent:
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
