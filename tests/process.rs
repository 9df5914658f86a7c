//! The promises, kept by a real global allocator in a real process: one child process for each scenario.
//!
//! This program is both sides. Started by `cargo test` or nextest it is a test runner (`runner`), and each test starts
//! the same program once more with the name of its scenario in the environment (`case`). Then `main` is nothing but
//! that scenario: no test framework allocates around it, so that figures can be known to the event.
//!
//! # To read a test
//!
//! A test is an entry of its file's `CASES`: a name, what the child does, and what must be true of it afterwards.
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
//! | `Case::series` | the child is played several times, with other variables, files or limits: `play_with`, `play_in` |
//! | `Case::here` | a test of the machinery, without a child |
//! | `with_code`, `with_signal` | the child ended in another way than `quietly` |
//! | `tools::block`, `free` | an allocation that the optimiser keeps |
//! | `tools::quiet_point` | flushes; nothing is in flight, and allocated = freed + live |
//! | `tools::accounted_point` | and every call that reached the allocator inside was attempted |
//! | `tools::lossless_point` | and recorded: the totals |
//!
//! Without more, a child runs with stacks off, a counting allocator inside, and a directory of its own.
//!
//! # Where to look
//!
//! | file | what it shows |
//! | --- | --- |
//! | `heap`, `inner` | the global allocator of a child, chosen by its case; the allocators inside |
//! | `laws`, `tools` | what must hold of every profile; what scenarios share |
//! | `lossless`, `churn` | saturated threads lose nothing; thousands of threads leave nothing behind |
//! | `order` | blocks freed by other threads, addresses reused, tasks that wander |
//! | `occasions` | dumps on signals, on demand, and when a trigger says so |
//! | `refusals`, `faults` | every call of the system refused in turn, in every mode |
//! | `surroundings` | limits, read-only mounts and control groups that a child is put into |
//! | `loader` | libraries that come and go, and a second copy of the crate in one |
//! | `soak` | all of it at once |
//! | `endings`, `forks` | every way for a process to end; children and parents |
//! | `fidelity`, `error_number` | what the inner allocator sees and returns is unchanged, whichever it is; so is `errno` |
//! | `signals` | a handler that allocates at every instruction |
//! | `straddling` | what is left out changes, or the process forks, in the midst of an event |
//! | `losses` | each reason for loss, forced, and how it shows |
//! | `memory`, `own_thread` | what heapledger takes for itself; when its own thread is there |
//! | `exact` | a scripted program, known by hand, and the same under another profiler |
//! | `modes`, `waits`, `tuning`, `alarms` | overload in every mode; how long an allocation waits; the tuner at work; crossings of the target are told |
//! | `descriptors` | descriptors that the program closes or takes over |
//! | `files`, `environment` | dumps that cannot be written; variables that cannot be read |

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "allocators, signals, forks")]
#[path = "process/all.rs"]
mod all;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return all::main();
    // Forks, signals at every instruction, resident memory: what is asked here is asked of Linux.
    #[cfg(not(target_os = "linux"))]
    std::process::ExitCode::SUCCESS
}
