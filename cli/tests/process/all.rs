//! The files of this program: those shared with the library's process tests, and the cases of the command.

use std::process::ExitCode;

#[allow(dead_code, reason = "the library's process tests use all of it")]
#[path = "../../../tests/process/alarms.rs"]
mod alarms;
#[allow(dead_code, reason = "the library's process tests use all of it")]
#[path = "../../../tests/process/case.rs"]
mod case;
#[allow(dead_code, reason = "the library's process tests use all of it")]
#[path = "../../../tests/process/chaos.rs"]
mod chaos;
#[allow(dead_code, reason = "the library's process tests use all of it")]
#[path = "../../../tests/process/heap.rs"]
mod heap;
#[allow(dead_code, reason = "the library's process tests use all of it")]
#[path = "../../../tests/process/inner.rs"]
mod inner;
#[allow(dead_code, reason = "the library's process tests use all of it")]
#[path = "../../../tests/process/laws.rs"]
mod laws;
mod leaks;
mod left_out;
mod over_time;
mod pointers;
#[cfg(feature = "parquet")]
#[allow(dead_code, reason = "the tests of tables use all of it")]
#[path = "../tables/read_back.rs"]
mod read_back;
#[allow(dead_code, reason = "the library's process tests use all of it")]
#[path = "../../../tests/process/runner.rs"]
mod runner;
#[cfg(target_arch = "x86_64")]
mod stacks;
#[allow(dead_code, reason = "the library's process tests use all of it")]
#[path = "../../../tests/process/surroundings.rs"]
mod surroundings;
#[allow(dead_code, reason = "the library's process tests use all of it")]
#[path = "../../../tests/process/tools.rs"]
mod tools;
mod trace_commands;
#[allow(dead_code, reason = "the library's process tests use all of it")]
#[path = "../../../tests/process/traces.rs"]
mod traces;

#[cfg(target_arch = "x86_64")]
const STACKS: &[case::Case] = stacks::CASES;
#[cfg(not(target_arch = "x86_64"))]
const STACKS: &[case::Case] = &[];

const CASES: &[&[case::Case]] =
    &[leaks::CASES, left_out::CASES, over_time::CASES, pointers::CASES, STACKS, trace_commands::CASES];

pub fn main() -> ExitCode {
    case::main(CASES)
}
