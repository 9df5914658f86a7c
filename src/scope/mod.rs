//! Scopes: named parts of the program's work. Each scope has exact figures.
//!
//! A thread enters a scope. The blocks that the thread allocates until it leaves the scope belong to the scope. A free
//! counts in the scope of its block, even if another thread frees the block or the thread has left the scope. So the
//! figures of a scope are right while other threads allocate, and when blocks are passed between threads.
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
//! A scope is the outermost frame of the call stacks of its blocks. So each scope has separate sites (sums by call
//! stack), even if no stacks are taken. Snapshots, dumps and black boxes have a table of scopes
//! ([`Profile::scopes`](crate::Profile::scopes)). The sums of all outermost scopes plus the sums of the sites outside
//! scopes are the totals of the heap.
//!
//! # Rules
//!
//! * A scope that is entered inside another scope is nested in it, and the outer scope's figures include the inner
//!   scope's. Entering a scope again inside itself changes nothing.
//! * At most 4,095 scopes exist, at most 64 of them with the same name, nested at most 8 deep. The same name inside two
//!   different scopes makes two scopes. The allocations of a scope beyond these limits count in the scope around it. If
//!   there is no scope around it, they count in the scope `(others)`.
//! * Threads are in scopes; tasks are not. To give a future a scope, use [`Scope::wrap`], which enters the scope at
//!   each poll. Do not hold an [`Entered`] across an `await`: on a single-threaded executor, its scope covers other
//!   tasks too.
//! * Guards may be dropped in any order. Dropping a guard leaves only the scope of that guard.
//! * A forked child has the scopes of its parent, and their figures start at zero.
//! * While events are sampled out ([`DataQualityMode::HighThroughput`](crate::DataQualityMode), or a reduced level),
//!   the figures are lower bounds. They include only the events that were recorded in full.

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
