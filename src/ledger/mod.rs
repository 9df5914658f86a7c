//! The ledger: tables and sums in raw pages of memory, into which events are booked. Booking the events of a thread's
//! ring is called a fold.
//!
//! All state is in one region of raw pages ([`crate::sys::pages`]) that begins with [`Ledger`]. The parts of the region
//! refer to each other by page number, so a black box can hold the same bytes in a file. No code here uses the Rust
//! heap, so the ledger is safe inside an allocator.
//!
//! The ledger has two levels. The first level belongs to one lane (a thread's ring with its counters), and only the
//! holder of the lane's latch accesses it: the young blocks, and sums that are not yet added to the sites
//! (`fold_state`, `nursery`, `site_deltas`). All lanes share the second level: live blocks in 64 shards (`live`),
//! sites, threads (`rows`), timeline and peak, each behind a separate latch or in atomics. The layer `fold` moves
//! events from the first level to the second.

pub(crate) mod changes;
pub(crate) mod curves;
pub(crate) mod entry;
pub(crate) mod estimate;
pub(crate) mod fold_state;
pub(crate) mod history;
pub(crate) mod live;
pub(crate) mod nursery;
mod own_memory;
pub(crate) mod peak;
pub(crate) mod pushed_out;
mod region;
pub(crate) mod remote_frees;
pub(crate) mod rows;
pub(crate) mod sampled;
pub(crate) mod scopes;
pub(crate) mod site_cell;
pub(crate) mod site_delta;
pub(crate) mod site_deltas;
pub(crate) mod site_figures;
pub(crate) mod site_units;
pub(crate) mod sites;
mod table;
pub(crate) mod ticks;
pub(crate) mod timeline;
pub(crate) mod trace_buffer;

#[cfg(any(test, feature = "read"))]
pub(crate) use region::Facts;
pub(crate) use region::{INTERNAL_STAMPS, Ledger};
