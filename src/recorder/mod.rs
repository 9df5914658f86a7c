//! The recorder: the code that runs inside the program's `malloc`. The crate's documentation explains *lane*, *window*,
//! *mark*, *fold*, *nursery* and *help* in its section "Words".
//!
//! ```text
//!  alloc/dealloc ──► hot_path ──fits──► two words, one release store
//!  (allocator)          │
//!                       └─does not fit─► slow_path ─► window: new mark ─► segments: help, wait or drop
//!                                          │
//!                                          └─no lane yet─► thread: open the ledger, claim a lane
//! ```
//!
//! # Order of the files
//!
//! A file uses only files from rows with lower numbers.
//!
//! | row | files | contents |
//! | --- | --- | --- |
//! | 1 | `options`, `fixed_path`, `record`, `region_abi` | plain data |
//! | 2 | `process` | the process-wide state, in one static, and its reset after a fork |
//! | 3 | `state`, `overflow_pool` | access to that state; the overflow pool |
//! | 4 | `slot`, `latency`, `trace_backpressure`, `diagnostic`, `stack_bounds`, `stamps` | one concern each |
//! | 5 | `gate`, `environment`, `validate`, `black_box` | when a lane's gate opens; the steps of opening a ledger |
//! | 6 | `internal` | scopes in which a thread works for heapledger |
//! | 7 | `objects`, `stacks` | the list of loaded objects; the call stack of an allocation |
//! | 8 | `background_thread` | when and where the background thread starts, and which work is offloaded to it |
//! | 9 | `segments`, `lifecycle` | next segment, help, wait, drop; opening, exit and fork |
//! | 10 | `window` | writing a record, closing and opening windows |
//! | 11 | `sampling`, `thread` | which events are sampled; a thread's lane from its claim to its end |
//! | 12 | `at_load`, `slow_path`, `pointer_events`, `scopes` | start at load; slow records; a thread's scope |
//! | 13 | `reallocs` | the two halves of a realloc |
//! | 14 | `hot_path` | the recording path |
//! | 15 | `allocator` | `GlobalAlloc` and the builder |
//!
//! # What the recording path never does
//!
//! The recording path does not allocate, format, panic, do I/O, take a lock that the program could hold, loop without a
//! bound, or write a cache line that another thread writes. It waits only while a ring is full, and the mode bounds
//! that wait. The arguments and results of the inner allocator are passed on unchanged. At the first window after a
//! pause of more than 32 ms in the whole program, the path makes one system call, which wakes the background thread and
//! does not wait. A walk that meets a library of which heapledger has no list asks the system whether the library's
//! first page is readable, and the first such walk asks for the working directory (`stack::noted`).
//!
//! # Stack
//!
//! A signal handler may allocate on a stack of a few kilobytes. Recording without a fold needs about 1,000 bytes of
//! stack in an optimised build (`docs/LIMITS.md` has all figures). A fold needs more stack, and so does the interning
//! of a new call stack: a thread does both only if enough stack is free (`stack_bounds::has_room`). On its regular
//! stack, a thread knows the free space without a system call. On another stack, such as a signal handler's, the thread
//! asks the system for the bounds of the alternate stack, or reads the pages below the stack pointer. No call stack is
//! walked there.
//!
//! # Order within a call
//!
//! * `alloc`: the inner allocator is called first, then the event is recorded. A refused allocation is only counted.
//! * `dealloc`: the event is recorded first, because after the inner call another thread may own the address.
//! * `realloc`: the event is recorded in two halves, the old address before the call and the new address after the
//!   call. If the inner allocator refuses the realloc, the old block stays live.
//!
//! # The gate
//!
//! A lane's `limit` is its gate. The gate is closed (0) while a record is written, while the thread works for
//! heapledger, and while events are sampled out. An event that finds the gate closed goes to the slow path:
//!
//! | reason | result |
//! | --- | --- |
//! | a record is being written: a signal handler, or an allocator that calls back | lost, `reentrant` |
//! | the thread holds a latch (`RecordingPaused`) | lost, `reentrant` |
//! | the thread works for heapledger (`InternalScope`) | recorded, marked as internal |
//! | events are sampled out | see `sampling` |
//! | the thread has no lane | see `thread` |

pub(crate) mod allocator;
mod at_load;
pub(crate) mod background_thread;
pub(crate) mod black_box;
mod diagnostic;
mod environment;
mod fixed_path;
mod gate;
mod hot_path;
pub(crate) mod internal;
pub(crate) mod latency;
mod lifecycle;
pub(crate) mod objects;
pub(crate) mod options;
pub(crate) mod overflow_pool;
pub(crate) mod pointer_events;
mod process;
mod reallocs;
mod record;
pub(crate) mod region_abi;
mod sampling;
pub(crate) mod scopes;
pub(crate) mod segments;
mod slot;
mod slow_path;
mod stack_bounds;
pub(crate) mod stacks;
pub(crate) mod stamps;
pub(crate) mod state;
pub(crate) mod thread;
mod trace_backpressure;
mod validate;
mod window;
