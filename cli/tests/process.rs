//! The command and its reports on real processes: one child process for each scenario, with the tools of the library's
//! process tests (`tests/process.rs` explains them).
//!
//! | file | subject |
//! | --- | --- |
//! | `stacks` | exact counts of known places in the code; stacks that are hard to walk |
//! | `left_out` | the effect of sampling and of counting alone on each figure of each report |
//! | `over_time` | what grows, and where the resident memory is |
//! | `leaks` | blocks of the standard library, which are no leaks |
//! | `pointers` | tracked pointers |
//! | `trace_commands` | the commands on a trace |

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "allocators, signals, forks")]
#[path = "process/all.rs"]
mod all;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    return all::main();
    #[cfg(not(target_os = "linux"))]
    std::process::ExitCode::SUCCESS
}
