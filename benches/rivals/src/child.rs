//! The main function of every child: does the work that the argument names, and prints one line of figures.

use std::time::Instant;

use crate::contestants::IDLE_THREAD;
use crate::workloads::{self, AppCpu};

/// The figures that a child reports, which cannot be measured from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Told {
    /// Processor time of the threads that did the work, in nanoseconds.
    pub app_cpu_ns: f64,
    /// Elapsed time of the work, in nanoseconds.
    pub wall_ns: f64,
    /// Number of blocks allocated in the whole process, by the allocator's count; a realloc counts as one.
    pub blocks: Option<f64>,
    /// Completeness by the allocator's own account, from 0 to 1.
    pub completeness: Option<f64>,
}

/// Does the work that the first argument names, then gets the allocator's number of blocks and completeness from `ask`.
///
/// # Panics
/// Panics if the argument names no work.
pub fn main(ask: impl FnOnce() -> (Option<u64>, Option<f64>)) {
    let name = std::env::args().nth(1).unwrap_or_default();
    let workload = workloads::ALL.iter().find(|workload| workload.name == name);
    let workload = workload.unwrap_or_else(|| panic!("no such workload: {name:?}"));
    if std::env::var_os(IDLE_THREAD).is_some() {
        std::thread::spawn(std::thread::park);
    }
    let (app, start) = (AppCpu::default(), Instant::now());
    (workload.run)(&app);
    let wall_ns = start.elapsed().as_nanos();
    let (blocks, completeness) = ask();
    let blocks = blocks.map_or(String::from("-"), |blocks| blocks.to_string());
    let completeness = completeness.map_or(String::from("-"), |share| share.to_string());
    println!("told {} {wall_ns} {blocks} {completeness}", app.total_ns());
}

impl Told {
    /// Finds and parses the line of figures.
    pub fn parse(output: &str) -> Option<Told> {
        let mut words = output.lines().find_map(|line| line.strip_prefix("told "))?.split(' ');
        let mut next = || words.next().map(|word| word.parse::<f64>().ok());
        Some(Told { app_cpu_ns: next()??, wall_ns: next()??, blocks: next()?, completeness: next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_figures_is_found_among_others() {
        let told = Told::parse("noise\ntold 5 7 - 0.5\n").unwrap();
        assert_eq!(told, Told { app_cpu_ns: 5.0, wall_ns: 7.0, blocks: None, completeness: Some(0.5) });
        assert_eq!(Told::parse("told 5 x"), None);
    }
}
