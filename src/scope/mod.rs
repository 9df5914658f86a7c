//! Scopes: parts of the program's work with a name, each with exact figures of its own.
//!
//! A thread enters a scope; what it allocates until it leaves belongs to the scope. A free belongs to the scope that
//! allocated the block, whichever thread frees it and when. So the figures of a scope are right while other threads
//! allocate, and when blocks cross threads.
//!
//! ```
//! use heapledger::Scope;
//!
//! let search = Scope::named("GET /search");
//! let hits = {
//!     let _entered = search.enter();
//!     vec![1u64, 2, 3]
//! };
//! println!("{} bytes are live in the scope", search.usage().retained_bytes);
//! # drop(hits);
//! ```
//!
//! # Where scopes are shown
//!
//! A scope is a frame at the outer end of call stacks, so each site is known by scope, without stacks too. Snapshots,
//! dumps and black boxes have a table of scopes ([`Profile::scopes`](crate::Profile::scopes)). The sums over all
//! outermost scopes and over the sites outside scopes are the totals of the heap.
//!
//! # Rules
//!
//! * A scope entered inside another one is nested: the outer one's figures include it. A scope entered inside itself
//!   changes nothing.
//! * There are 4,095 scopes, 64 with one name (the same name inside different scopes counts for each), nested 8 deep.
//!   A scope beyond that counts in the scope around it, or else in the scope `(others)`.
//! * A scope follows the thread, not the task: [`Scope::wrap`] enters it at each poll of a future. An [`Entered`] that is
//!   held across an `await` on a single-threaded executor covers other tasks too.
//! * Guards may be dropped in any order; the scope of a dropped guard is removed from those in which the thread is.
//! * A forked child has the scopes of its parent, with figures of its own.
//! * While events are sampled out ([`DataQualityMode::HighThroughput`](crate::DataQualityMode), or a reduced level), the
//!   figures have only the events that were recorded in full: they are lower bounds.

mod all_threads;
mod assertion;
mod booking;
#[cfg(any(feature = "tracing", all(feature = "tokio", tokio_unstable)))]
mod cells;
mod failure;
mod figure;
mod future;
mod measurement;
mod named;
mod names;
mod place_name;
mod places;
mod snapshot;
mod snapshot_line;
#[cfg(feature = "tracing")]
mod spans;
#[cfg(any(feature = "tracing", all(feature = "tokio", tokio_unstable)))]
mod switch;
#[cfg(feature = "tokio")]
mod tasks;
mod usage;

#[doc(hidden)]
pub use assertion::Asserting;
#[doc(hidden)]
pub use figure::{Figure, Limit, figures, figures_of_all_threads};
pub use future::Scoped;
pub use measurement::{Inconclusive, Measurement, measure};
pub use named::{Entered, Scope, ScopeToken};
#[cfg(feature = "serve")]
pub(crate) use names::symbols_at;
#[cfg(feature = "tracing")]
pub use spans::ScopeLayer;
#[cfg(feature = "tokio")]
pub use tasks::{TaskHooks, tasks_by_spawn_location};
pub use usage::{PerIteration, SiteUsage, Usage};
