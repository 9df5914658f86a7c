//! The parts of this program, and its two sides.

use std::process::ExitCode;

mod case;
mod churn;
mod endings;
mod fidelity;
mod forks;
mod heap;
mod inner;
mod laws;
mod losses;
mod lossless;
mod order;
mod runner;
mod tools;

const CASES: &[&[case::Case]] = &[
    laws::CASES,
    lossless::CASES,
    churn::CASES,
    order::CASES,
    fidelity::CASES,
    endings::CASES,
    forks::CASES,
    losses::CASES,
];

pub fn main() -> ExitCode {
    match case::asked_for(CASES) {
        Some(child) => {
            child();
            ExitCode::SUCCESS
        }
        None => runner::run(CASES),
    }
}
