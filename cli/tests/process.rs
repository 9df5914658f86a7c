//! What the command and its reports say of real processes: one child process for each scenario, as in the library's
//! own process tests, whose machinery this uses (`tests/process.rs` explains it).
//!
//! | file | what it shows |
//! | --- | --- |
//! | `stacks` | known places in the code get their exact counts; stacks that are hard to walk |
//! | `left_out` | what sampling and counting alone mean for each figure of each report |
//! | `pointers` | tracked pointers |
//! | `trace_commands` | what the command reads in a trace |

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
