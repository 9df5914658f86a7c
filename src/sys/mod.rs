//! The platform layer, below the allocator, so that all other modules can use it.
//!
//! No code in this layer allocates on the Rust heap, takes a lock that the program could hold, or panics.
//!
//! | file | holds | must not |
//! | --- | --- | --- |
//! | `sync` | atomics, from std or loom | contain an algorithm |
//! | `latch` | the only lock of the crate | be taken by a signal handler's event |
//! | `seqlock` | words that are written at once, for readers in other processes | be written by two threads at a time |
//! | `clock` | ticks on the hot path, nanoseconds off it | be used for calendar time |
//! | `pages` | zeroed memory by page number | know what is stored in it |
//! | `address_space` | memory from the system, for `pages` | know of runs |
//! | `sparse` | which pages of large tables are committed, for `pages` | know of tables |
//! | `box_file` | the file of a black box | know what is stored in it |
//! | `mapped_file` | a file as memory, for readers | be read without atomics while the file is written |
//! | `descriptors` | file descriptors that outlive a call | use or close a descriptor that the program has taken over |
//! | `errno` | protection of the program's error number | be omitted where the recording path calls the system |
//! | `prefetch` | hints at the next reads | be relied on |
//! | `signal_safe_counter` | counters that no signal handler can corrupt | be written by several threads |
//! | `compiler_barrier` | order of stores that outlive the process | be used to order threads |
//! | `tls` | the thread's slot and its exit hook | allocate or panic, at the first access or after destruction |
//! | `platform` | process, threads, files, hooks | be called from the hot path |
//! | `process_memory` | resident memory; figures of the C library's allocator | be called from an event |
//! | `inner_allocators` | figures of jemalloc and mimalloc | be called from an event |
//! | `loaded_object` | the loaded object around an address | be asked about an object that may be unloaded meanwhile |
//! | `own_threads` | heapledger's threads: start, number, end | start a thread from an event |
//! | `program_name` | the program's name | allocate |
//! | `path_pattern` | `%e`, `%p` and `%t` in paths | allocate |
//! | `copies` | other copies of this crate in the process | be used except when a ledger is opened |
//! | `sockets` | sockets of the endpoint | block, except in a wait of bounded time |
//! | `statics` | all statics of this layer, and their reset in a forked child | have a second static |
//! | `signals` | handlers that request a dump, and the wait for requests | write a dump |
//!
//! Thirteen files have two implementations: `clock`, `address_space`, `box_file`, `errno`, `frame`, `loaded_object`,
//! `tls`, `platform`, `process_memory`, `own_threads`, `program_name`, `copies` and `signals`. One implementation is for Linux, through
//! libc. The portable one, for all other systems, uses only std. `--cfg heapledger_portable` selects the portable
//! implementation under Linux, where it is tested.

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
#[allow(unsafe_code, reason = "maps a mark")]
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
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "asks jemalloc and mimalloc")]
pub(crate) mod inner_allocators;
#[allow(unsafe_code, reason = "calls the system to wait")]
pub(crate) mod latch;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "asks the loader, and reads loaded objects")]
pub(crate) mod loaded_object;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "maps a file")]
#[cfg(any(test, feature = "read"))]
pub(crate) mod mapped_file;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "starts threads")]
pub(crate) mod own_threads;
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
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "asks the system and the C library")]
pub(crate) mod process_memory;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "calls the system")]
pub(crate) mod program_name;
#[cfg_attr(not(any(test, loom)), allow(dead_code, reason = "only readers read"))]
pub(crate) mod seqlock;
#[allow(unsafe_code, reason = "inline assembly")]
pub(crate) mod signal_safe_counter;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "handles signals")]
pub(crate) mod signals;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "sleeps at a futex")]
pub(crate) mod sleeper;
#[cfg(all(feature = "serve", not(loom)))]
#[allow(unsafe_code, reason = "makes and polls sockets")]
pub(crate) mod sockets;
#[cfg(not(loom))]
mod sparse;
#[cfg(not(loom))]
pub(crate) mod statics;
pub(crate) mod sync;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "registers a destructor with the system")]
pub(crate) mod tls;
