//! The runs of all pairs, and the report over them.

use super::super::completeness::{Overhead, OverheadPair};
use super::super::config::BenchmarkConfig;
use super::super::plan::LoadModel;
use super::super::report::ValidationReport;
use super::super::result::ConcurrentTestResult;
use super::super::series::ScalabilityReport;
use super::plan::PairedPlan;

/// The runs of a [`PairedPlan`]. Some runs are missing if the plan was stopped.
#[derive(Debug, Clone)]
pub struct PairedRuns {
    config: BenchmarkConfig,
    loads: Vec<LoadModel>,
    workload: String,
    tracker: Option<String>,
    with: Vec<PairedRun>,
    without: Vec<PairedRun>,
}

#[derive(Debug, Clone)]
struct PairedRun {
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

    pub(super) fn set_names(&mut self, workload: &str, tracker: Option<&str>) {
        (self.workload, self.tracker) = (workload.to_owned(), tracker.map(str::to_owned));
    }

    pub(super) fn add(&mut self, load: usize, round: usize, tracker: bool, result: ConcurrentTestResult) {
        let runs = if tracker { &mut self.with } else { &mut self.without };
        runs.push(PairedRun { load, round, result });
    }

    /// Returns the runs with the tracker, in order of execution.
    pub fn with_tracker(&self) -> impl Iterator<Item = &ConcurrentTestResult> {
        self.with.iter().map(|run| &run.result)
    }

    /// Returns the runs without the tracker, in order of execution.
    pub fn without_tracker(&self) -> impl Iterator<Item = &ConcurrentTestResult> {
        self.without.iter().map(|run| &run.result)
    }

    /// Returns the report. Closed loads form a scalability test, other loads are single runs; each load has the cost of
    /// the tracker.
    pub fn report(&self) -> ValidationReport {
        let config = &self.config;
        let closed = |run: &&PairedRun| matches!(self.loads[run.load], LoadModel::Closed { .. });
        let levels = |runs: &[PairedRun]| -> Vec<_> {
            runs.iter().filter(closed).map(|run| run.result.clone()).collect()
        };
        let mut report = ValidationReport::new(&self.workload, config);
        report.tracker.clone_from(&self.tracker);
        let with = levels(&self.with);
        if !with.is_empty() {
            let mut series = ScalabilityReport::from_runs(with, config);
            for (index, load) in self.loads.iter().enumerate() {
                if let (LoadModel::Closed { users }, Some(cost)) = (load, self.cost(index)) {
                    series.set_overhead(*users, cost, config);
                }
            }
            series.model_without_tracker = ScalabilityReport::from_runs(levels(&self.without), config).model;
            report.scalability = Some(series);
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

    /// Returns the cost of the tracker at one load, from the rounds in which both runs were complete.
    fn cost(&self, load: usize) -> Option<Overhead> {
        let whole = |run: &&PairedRun| run.load == load && !run.result.stopped_early;
        let pair = |on: &PairedRun| {
            let off = self.without.iter().filter(whole).find(|off| off.round == on.round)?;
            Some(OverheadPair::of(&on.result, &off.result))
        };
        let pairs: Vec<OverheadPair> = self.with.iter().filter(whole).filter_map(pair).collect();
        Overhead::from_pairs(&pairs)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::performance::ConcurrentBenchmark;
    use super::super::super::plan::{Arrivals, Overload};
    use super::super::super::workload::NullWorkload;
    use super::super::plan::Recorded;
    use super::*;

    /// Returns a run in which an answer takes the time `answer`, on a virtual clock.
    fn run(load: &LoadModel, answer: Duration) -> ConcurrentTestResult {
        let b = ConcurrentBenchmark::new(NullWorkload::pausing(answer), BenchmarkConfig::bare()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let time = Duration::from_secs(10);
        runtime.unwrap().block_on(b.drive_concurrent_test(load.clone(), time)).unwrap()
    }

    fn plan(loads: Vec<LoadModel>) -> PairedPlan {
        let config = BenchmarkConfig {
            thresholds: vec!["overhead<=0.15".parse().unwrap()],
            ..BenchmarkConfig::bare()
        };
        PairedPlan {
            loads,
            duration: Duration::from_secs(10),
            rounds: 2,
            compares: true,
            recorded: Recorded::Child,
            config,
        }
    }

    /// Response time of a request. 1.25 times this time is still a whole number of milliseconds, the resolution of the
    /// clock.
    const ANSWER: Duration = Duration::from_millis(20);

    #[test]
    fn cost_is_between_the_two_runs_of_a_round() {
        let loads = vec![LoadModel::closed(1), LoadModel::closed(2)];
        let mut runs = PairedRuns::new(&plan(loads.clone()));
        for (round, slower) in [(0, 1.0), (1, 1.25)] {
            for (index, load) in loads.iter().enumerate() {
                runs.add(index, round, false, run(load, ANSWER));
                runs.add(index, round, true, run(load, ANSWER.mul_f64(slower * (index + 1) as f64)));
            }
        }
        let report = runs.report();
        let series = report.scalability.as_ref().unwrap();
        // Without the tracker, the throughput is 50 per second with one user and 100 with two users. With the tracker
        // it is 50 in the first round and 40 in the second, at both loads. The mean over the rounds is geometric.
        let losses: Vec<(usize, f64, usize)> =
            series.overhead_curve.iter().map(|(users, o)| (*users, o.throughput_loss, o.pairs)).collect();
        for ((users, loss, pairs), expected) in losses.iter().zip([(1, 0.1056), (2, 0.5528)]) {
            assert_eq!((*users, *pairs), (expected.0, 2));
            assert!((loss - expected.1).abs() < 0.005, "{users} users: {loss}");
        }
        let passed =
            |users| series.test_results.iter().filter(|r| r.concurrent_users == users).all(|r| r.passed());
        assert!(passed(1) && !passed(2), "thresholds are judged with the cost");
        assert_eq!(report.runs_without_tracker.len(), 4);
    }

    #[test]
    fn a_run_that_was_cut_short_is_no_half_of_a_pair() {
        let load = LoadModel::closed(1);
        let mut runs = PairedRuns::new(&plan(vec![load.clone()]));
        runs.add(0, 0, true, run(&load, ANSWER));
        assert!(runs.report().scalability.unwrap().overhead_curve.is_empty(), "there is no other half");
        runs.add(0, 0, false, ConcurrentTestResult { stopped_early: true, ..run(&load, ANSWER) });
        assert!(runs.report().scalability.unwrap().overhead_curve.is_empty());
        // A run without the tracker in another round does not complete the pair.
        runs.add(0, 1, false, run(&load, ANSWER));
        assert!(runs.report().scalability.unwrap().overhead_curve.is_empty());
    }

    #[test]
    fn open_loads_stand_by_themselves() {
        let loads = vec![LoadModel::open(50.0), LoadModel::open(80.0)];
        let mut runs = PairedRuns::new(&plan(loads.clone()));
        let load = LoadModel::Open {
            rate_per_sec: 50.0,
            arrivals: Arrivals::Uniform,
            max_in_flight: 4,
            overload: Overload::Queue,
        };
        runs.add(1, 0, true, run(&load, ANSWER));
        runs.add(1, 0, false, run(&load, ANSWER));
        let report = runs.report();
        assert!(report.scalability.is_none() && report.runs.len() == 1);
        assert!(report.runs[0].tracker_overhead.unwrap().throughput_loss.abs() < 1e-9);
    }
}
