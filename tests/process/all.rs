//! The files of this program, and its `main`.

use std::process::ExitCode;

mod alarms;
mod blackbox;
mod budgets;
mod case;
mod chaos;
mod churn;
mod descriptors;
mod endings;
#[cfg(feature = "serve")]
mod endpoint;
mod environment;
mod error_number;
mod exact;
mod faults;
mod fidelity;
mod files;
mod forks;
mod heap;
mod heap_snapshots;
mod inner;
mod last_thread;
mod laws;
mod live;
mod loader;
mod losses;
mod lossless;
mod memory;
mod modes;
mod occasions;
mod order;
mod own_memory;
mod own_thread;
mod places;
mod program_files;
mod refusals;
#[cfg(target_arch = "x86_64")]
mod reloaded;
mod runner;
mod scopes;
#[cfg(target_arch = "x86_64")]
mod signals;
#[cfg(target_arch = "x86_64")]
mod small_stacks;
mod soak;
#[cfg(feature = "tracing")]
mod spans;
#[cfg(target_arch = "x86_64")]
mod stack_limits;
#[cfg(target_arch = "x86_64")]
mod straddling;
mod surroundings;
mod thread_names;
mod tools;
mod traces;
mod tuning;
mod waits;

#[cfg(feature = "serve")]
const ENDPOINT: &[case::Case] = endpoint::CASES;
#[cfg(not(feature = "serve"))]
const ENDPOINT: &[case::Case] = &[];

const CASES: &[&[case::Case]] = &[
    laws::CASES,
    lossless::CASES,
    churn::CASES,
    order::CASES,
    fidelity::CASES,
    error_number::CASES,
    endings::CASES,
    forks::CASES,
    losses::CASES,
    SIGNALS,
    STRADDLING,
    STACK_LIMITS,
    SMALL_STACKS,
    memory::CASES,
    exact::CASES,
    scopes::CASES,
    budgets::CASES,
    heap_snapshots::CASES,
    SPANS,
    files::CASES,
    program_files::CASES,
    RELOADED,
    descriptors::CASES,
    places::CASES,
    thread_names::CASES,
    environment::CASES,
    modes::CASES,
    waits::CASES,
    own_memory::CASES,
    own_thread::CASES,
    last_thread::CASES,
    tuning::CASES,
    alarms::CASES,
    blackbox::CASES,
    live::CASES,
    ENDPOINT,
    faults::CASES,
    occasions::CASES,
    loader::CASES,
    soak::CASES,
    chaos::CASES,
    traces::CASES,
];

pub fn main() -> ExitCode {
    case::main(CASES)
}

#[cfg(feature = "tracing")]
const SPANS: &[case::Case] = spans::CASES;
#[cfg(not(feature = "tracing"))]
const SPANS: &[case::Case] = &[];
#[cfg(target_arch = "x86_64")]
const SIGNALS: &[case::Case] = signals::CASES;
#[cfg(not(target_arch = "x86_64"))]
const SIGNALS: &[case::Case] = &[];
#[cfg(target_arch = "x86_64")]
const STRADDLING: &[case::Case] = straddling::CASES;
#[cfg(not(target_arch = "x86_64"))]
const STRADDLING: &[case::Case] = &[];
#[cfg(target_arch = "x86_64")]
const SMALL_STACKS: &[case::Case] = small_stacks::CASES;
#[cfg(not(target_arch = "x86_64"))]
const SMALL_STACKS: &[case::Case] = &[];
#[cfg(target_arch = "x86_64")]
const RELOADED: &[case::Case] = reloaded::CASES;
#[cfg(not(target_arch = "x86_64"))]
const RELOADED: &[case::Case] = &[];
#[cfg(target_arch = "x86_64")]
const STACK_LIMITS: &[case::Case] = stack_limits::CASES;
#[cfg(not(target_arch = "x86_64"))]
const STACK_LIMITS: &[case::Case] = &[];
