//! From the runs of all pairs to one report. Pure.

use super::super::completeness::{Overhead, OverheadPair};
use super::super::config::BenchmarkConfig;
use super::super::plan::LoadModel;
use super::super::report::ValidationReport;
use super::super::result::ConcurrentTestResult;
use super::super::scalability::ScalabilityReport;
use super::PairedPlan;
use super::protocol::Ready;

/// The runs that a [`PairedPlan`] brought, those of a plan that was stopped included.
#[derive(Debug, Clone)]
pub struct PairedRuns {
    config: BenchmarkConfig,
    loads: Vec<LoadModel>,
    workload: String,
    tracker: Option<String>,
    with: Vec<Run>,
    without: Vec<Run>,
}

#[derive(Debug, Clone)]
struct Run {
    load: usize,
    round: usize,
    result: ConcurrentTestResult,
}

impl PairedRuns {
    pub(super) fn new(plan: &PairedPlan) -> Self {
        Self {
            config: BenchmarkConfig { repetitions: plan.rounds, ..plan.config.clone() },
            loads: plan.loads.clone(),
            workload: String::new(),
            tracker: None,
            with: Vec::new(),
            without: Vec::new(),
        }
    }

    pub(super) fn introduce(&mut self, ready: &Ready) {
        self.workload.clone_from(&ready.workload);
        self.tracker.clone_from(&ready.tracker);
    }

    pub(super) fn add(&mut self, load: usize, round: usize, tracker: bool, result: ConcurrentTestResult) {
        let runs = if tracker { &mut self.with } else { &mut self.without };
        runs.push(Run { load, round, result });
    }

    /// Runs with the tracker, in the order run.
    pub fn with_tracker(&self) -> impl Iterator<Item = &ConcurrentTestResult> {
        self.with.iter().map(|run| &run.result)
    }

    /// Runs without it, in the order run.
    pub fn without_tracker(&self) -> impl Iterator<Item = &ConcurrentTestResult> {
        self.without.iter().map(|run| &run.result)
    }

    /// The report: closed loads as a series of levels, the others one by one; what the tracker costs at each.
    pub fn report(&self) -> ValidationReport {
        let config = &self.config;
        let closed = |run: &&Run| matches!(self.loads[run.load], LoadModel::Closed { .. });
        let mut report = ValidationReport::new(&self.workload, config);
        report.tracker.clone_from(&self.tracker);
        let series =
            |runs: &[Run]| -> Vec<_> { runs.iter().filter(closed).map(|run| run.result.clone()).collect() };
        if self.with.iter().any(|run| closed(&run)) {
            let mut levels = ScalabilityReport::from_runs(series(&self.with), config);
            for (index, load) in self.loads.iter().enumerate() {
                if let (LoadModel::Closed { users }, Some(cost)) = (load, self.cost(index)) {
                    levels.set_overhead(*users, cost, config);
                }
            }
            levels.model_without_tracker = ScalabilityReport::from_runs(series(&self.without), config).model;
            report.scalability = Some(levels);
        }
        for run in self.with.iter().filter(|run| !closed(run)) {
            let mut result = run.result.clone();
            result.tracker_overhead = self.cost(run.load);
            result.judge(&config.thresholds);
            report.runs.push(result);
        }
        report.runs_without_tracker = self.without_tracker().cloned().collect();
        report
    }

    /// What the tracker costs at one load, from the rounds that have both runs.
    fn cost(&self, load: usize) -> Option<Overhead> {
        let pair = |on: &Run| {
            let off = self.without.iter().find(|off| (off.load, off.round) == (load, on.round))?;
            let whole = !on.result.stopped_early && !off.result.stopped_early;
            whole.then(|| OverheadPair::of(&on.result, &off.result))
        };
        let pairs: Vec<OverheadPair> =
            self.with.iter().filter(|on| on.load == load).filter_map(pair).collect();
        Overhead::from_pairs(&pairs)
    }
}
