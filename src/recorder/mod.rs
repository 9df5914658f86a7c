//! What runs inside the program's `malloc`: short, ordered, argued.
//!
//! ```text
//!  alloc/dealloc ──► hot_path ──fits──► two words, one release store
//!  (allocator)          │
//!                       └─does not fit─► turn: new mark, new segment, help, wait or shed
//!                                          │
//!                                          └─no lane yet─► thread: open the ledger, claim a lane
//! ```
//!
//! # What the recording path never does
//!
//! Allocate, format, panic, do I/O, take a lock that the program could hold, loop without a bound, or write a cache
//! line that another thread writes. The one wait there is belongs to a full ring, and is the one that the mode
//! states. It never changes what the inner allocator sees or returns.
//!
//! # Order within a call
//!
//! * `alloc`: the inner allocator first; what it refuses is counted and is no event. Then the record.
//! * `dealloc`: the record first: afterwards another thread may own the address.
//! * `realloc`: one event in two halves, the old address before the call and the new one after it; when it is
//!   refused, the old block lives on.
//!
//! # The gate
//!
//! A lane's `limit` is its gate. It is closed (0) while a record is written, while heapledger itself works in the
//! thread, and when there is nothing to record. An event that finds it closed goes to the turn, which knows why:
//!
//! | why | what happens |
//! | --- | --- |
//! | a record is being written: a signal handler, or an allocator that calls back | lost, `reentrant` |
//! | a latch is held (a *quiet* section of a query) | lost, `reentrant` |
//! | heapledger works in this thread (an *own* section) | recorded, marked as heapledger's own |
//! | the thread has no lane | see `thread` |

pub(crate) mod allocator;
pub(crate) mod black_box;
mod check;
mod complaint;
pub(crate) mod deeds;
mod environment;
pub(crate) mod gate;
mod hot_path;
pub(crate) mod latency;
pub(crate) mod layout;
pub(crate) mod lifecycle;
pub(crate) mod own_thread;
mod pacing;
mod reallocs;
pub(crate) mod sampling;
pub(crate) mod spare;
pub(crate) mod stacks;
pub(crate) mod thread;
pub(crate) mod turn;
