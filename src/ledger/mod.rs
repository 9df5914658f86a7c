//! The ledger: tables and accounts in raw pages, into which folds book events.
//!
//! Everything is in one region of raw pages ([`crate::sys::pages`]) that begins with [`Ledger`]; parts refer to each
//! other by page number. Nothing here touches the Rust heap, which is what makes it safe inside an allocator, and what lets a
//! black box be the same bytes over a file.
//!
//! There are two levels. Next to each lane lies what only the holder of its latch touches: the young blocks, and sums on their
//! way to sites (`books`, `nursery`, `site_deltas`). Behind them lies what all lanes share: live blocks in 64 shards (`live`),
//! sites, threads (`rows`), timeline and peak, each behind a latch of its own or in atomics. The layer `fold` moves events from
//! the one to the other.

pub(crate) mod changes;
pub(crate) mod entry;
pub(crate) mod estimate;
pub(crate) mod fold_state;
pub(crate) mod history;
pub(crate) mod live;
pub(crate) mod nursery;
pub(crate) mod peak;
mod region;
pub(crate) mod remote_frees;
pub(crate) mod rows;
pub(crate) mod sampled;
pub(crate) mod site_deltas;
pub(crate) mod sites;
mod table;
pub(crate) mod ticks;
pub(crate) mod timeline;
pub(crate) mod trace_buffer;

pub(crate) use region::Ledger;
