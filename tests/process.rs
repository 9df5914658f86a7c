//! Tests of heapledger's guarantees with a real global allocator in a real process: one child process for each
//! scenario.
//!
//! This program is both parent and child. `cargo test` or nextest starts it as a test runner (`runner`), and each test
//! starts the same program again with the name of its scenario in the environment (`case`). In the child, `main`
//! consists of that scenario only. No test framework allocates there, so figures can be asserted to the event.
//!
//! # To read a test
//!
//! A test is an entry of its file's `CASES`: a name, the work of the child, and the assertions on its end.
//!
//! ```text
//! Case::new("a_thread_that_ends_keeps_its_figures", start_and_join, |ended| {
//!     let profile = ended.quietly().dump();       // exit code 0, nothing on stderr; the dump at exit, which obeys every law
//!     laws::complete(&profile).unwrap();          // and nothing was lost
//!     assert_eq!(ended.said("blocks"), 100);      // the child printed `blocks=100`
//! })
//! .variables(&[("HEAPLEDGER_MODE", "high")])      // in the child's environment
//! .heap(Heap::Counted)                            // the allocator of the child; this one is the default
//! ```
//!
//! | call | meaning |
//! | --- | --- |
//! | `Case::series` | runs the child several times, with other variables, files or limits: `play_with`, `play_in` |
//! | `Case::here` | tests the test tools, without a child |
//! | `with_code`, `with_signal` | the child ended in another way than `quietly` asserts |
//! | `tools::block`, `free` | an allocation that the optimiser does not remove, and its free |
//! | `tools::quiet_point` | flushes, and asserts: nothing is in flight, and allocated = freed + live |
//! | `tools::accounted_point` | also asserts: every call that reached the inner allocator was attempted |
//! | `tools::lossless_point` | also asserts: every call was recorded. Returns the totals |
//!
//! By default a child runs with stacks off, a counting inner allocator, and a new directory.
//!
//! # Where to look
//!
//! | file | subject |
//! | --- | --- |
//! | `heap`, `inner` | the global allocator of a child, chosen by its case; the inner allocators |
//! | `laws`, `tools` | the laws of every profile; functions that scenarios share |
//! | `lossless`, `churn` | saturated threads lose nothing; memory does not grow with thousands of ended threads |
//! | `order` | blocks freed by other threads, reused addresses, tasks that change threads |
//! | `occasions` | dumps on signals, on request, and on triggers |
//! | `refusals`, `faults` | every system call refused, one after the other, in every mode |
//! | `surroundings` | limits, read-only mounts and control groups of a child |
//! | `loader` | libraries that are loaded and unloaded, and a second copy of the crate in one |
//! | `chaos` | random programs under random settings, compared with an exact count by the program |
//! | `live` | the live page, in a black box and in its own file |
//! | `endpoint` | the endpoint, and hostile clients; feature `serve` |
//! | `soak` | all of these subjects together, for a long time |
//! | `endings`, `forks` | every way for a process to end; children and parents |
//! | `fidelity`, `error_number` | the arguments and results of every inner allocator are unchanged, and so is `errno` |
//! | `signals`, `small_stacks` | a handler that allocates at every instruction, of the recorder or of `pthread_create`; one with little stack |
//! | `straddling` | the set of events that are left out changes, or the process forks, in the middle of an event |
//! | `losses` | each reason for loss, forced, and how it shows |
//! | `memory`, `own_thread`, `last_thread` | heapledger's memory; the start and the end of its background thread |
//! | `exact` | a scripted program whose figures are computed by hand, also under another profiler |
//! | `scopes` | exact figures of a part of the work, whatever other threads do |
//! | `budgets` | 200 heap budgets in parallel beside a noisy neighbour; tokens under pools and channels; what is inconclusive |
//! | `heap_snapshots` | figures in a file: written, kept, broken, tightened, by several processes at once |
//! | `spans` | spans of `tracing` as scopes, with the feature `tracing` |
//! | `modes`, `waits`, `tuning`, `alarms` | overload in every mode; how long an allocation waits; the tuner at work; crossings of the target are told |
//! | `descriptors` | descriptors that the program closes or takes over |
//! | `program_files` | the program's name and path, and its file replaced while it runs |
//! | `files`, `environment` | dumps that cannot be written; variables that cannot be read |

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "allocators, signals, forks")]
#[path = "process/all.rs"]
mod all;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return all::main();
    // The tests need Linux, for forks, signals at every instruction and figures of resident memory.
    #[cfg(not(target_os = "linux"))]
    std::process::ExitCode::SUCCESS
}
