//! What needs the platform, and nothing else: below the allocator, so that everything above can stand on it.
//!
//! Nothing in this room allocates on the Rust heap, takes a lock that the program could hold, or panics.
//!
//! | file | holds | must not |
//! | --- | --- | --- |
//! | `sync` | atomics, from std or loom | contain an algorithm |
//! | `latch` | the one lock of the crate | be taken by a signal handler's event |
//! | `clock` | ticks on the hot path, nanoseconds off it | be used for calendar time |
//! | `pages` | zeroed memory by page number | know what is stored in it |
//! | `address_space` | what `pages` asks of the system | know of runs |
//! | `box_file` | a file that a region lies in | know what is stored in it |
//! | `descriptors` | descriptors that outlive a call | use or close one that the program has taken over |
//! | `errno` | the program's error number, kept | be left out where the recording path calls the system |
//! | `fetch` | a hint of what will be read | be relied on |
//! | `indivisible` | counts that no handler can come between | be written by several threads |
//! | `order` | the order of stores that outlive the process | be taken for one that other threads see |
//! | `tls` | the thread's slot and its exit hook | allocate or panic, at first touch or after destruction |
//! | `platform` | process, thread and file questions | be asked from the hot path |
//! | `path_pattern` | `%e`, `%p` and `%t` in paths | allocate |
//! | `copies` | other copies of this crate in the process | be asked but when a ledger is opened |
//! | `statics` | all state of the room that lies in statics, and its reset in a forked child | grow a second static |
//! | `signals` | handlers that ask for a dump, and the bell | write one |
//!
//! Two implementations stand behind `clock`, `address_space`, `box_file`, `errno`, `frame`, `tls`, `platform`, `copies` and `signals`: one
//! for Linux, through libc, and for all other systems a portable one that uses only std. `--cfg heapledger_portable` switches the portable one on under Linux, where
//! it is tested.

#[cfg(not(loom))]
#[allow(unsafe_code, reason = "asks the system for memory")]
mod address_space;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "makes and maps a file")]
pub(crate) mod box_file;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "reads the processor's counter")]
pub(crate) mod clock;
#[cfg(not(loom))]
pub(crate) mod compiler_barrier;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "leaves a mark among the mappings")]
pub(crate) mod copies;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "asks the system about descriptors")]
pub(crate) mod descriptors;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "keeps the thread's error number")]
pub(crate) mod errno;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "reads registers and the own stack")]
pub(crate) mod frame;
#[allow(unsafe_code, reason = "calls the system to wait")]
pub(crate) mod latch;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "hands out raw memory")]
pub(crate) mod pages;
#[cfg(not(loom))]
pub(crate) mod path_pattern;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "calls the system")]
pub(crate) mod platform;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "hints at addresses")]
pub(crate) mod prefetch;
#[allow(unsafe_code, reason = "instructions by their names")]
pub(crate) mod signal_safe_counter;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "handles signals")]
pub(crate) mod signals;
#[cfg(not(loom))]
pub(crate) mod statics;
pub(crate) mod sync;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "registers a destructor with the system")]
pub(crate) mod tls;
