//! The recommendation of a scalability test, with its reasons and a next step.
//!
//! The first row of the table that applies decides:
//!
//! | observation | recommendation |
//! | --- | --- |
//! | a run is inconclusive, one user alone is slow, or fewer than three levels | `Inconclusive`: the failed check |
//! | a deadlock, an endless stall, a wrong answer, or a panic | `OptimizeCode`: the cycle, or the count |
//! | no level broke; without thresholds, also an efficiency of at least 50 % | `AcceptablePerformance` |
//! | users wait for connections | `IncreaseResources`: the sufficient pool size |
//! | users wait for each other, or the fitted law peaks inside the measured range | `OptimizeCode` |
//! | users wait for cores, and efficiency is high up to the number of cores | `IncreaseResources` |
//! | arrivals exceed the capacity, and thresholds were met at a lower level | `ReduceLoad` |
//! | the tracker is incomplete and no other row applies | `OptimizeCode`: of the tracker |

use super::config::BenchmarkConfig;
use super::contention::{ContentionCause, ContentionScore};
use super::pool::{smallest_pool, smallest_unlockable};
use super::result::ConcurrentTestResult;
use super::series::{
    BreakingCause, Confidence, LevelSummary, Reason, RecommendationDetail, ScalabilityRecommendation,
    ScalabilityReport, median_run,
};
use super::validity::ValidityIssue;

/// Minimum number of levels for a conclusive recommendation.
const LEVELS_MIN: usize = 3;
/// Minimum efficiency at the highest level, in percent, that is acceptable if there are no thresholds.
const HALF_OF_LINEAR: f64 = 50.0;
/// Minimum efficiency, in percent, at every level up to the number of cores, for the advice to add cores.
const HOLDS_UP_TO_CORES: f64 = 70.0;
/// Maximum acceptable wait for a connection, as a share of the hold time.
const TOLERABLE_WAIT: f64 = 0.05;

type Advice = (ScalabilityRecommendation, RecommendationDetail);

fn advice(
    recommendation: ScalabilityRecommendation,
    headline: impl Into<String>,
    reasons: Vec<Reason>,
    action: impl Into<String>,
) -> Advice {
    let detail = RecommendationDetail {
        headline: headline.into(),
        reasons,
        actions: vec![action.into()],
        ..Default::default()
    };
    (recommendation, detail)
}

fn inconclusive(headline: impl Into<String>, action: impl Into<String>) -> Advice {
    advice(ScalabilityRecommendation::Inconclusive, headline, Vec::new(), action)
}

fn reason(metric: &str, level: usize, value: f64, limit: Option<f64>) -> Reason {
    Reason { metric: metric.to_owned(), level: Some(level), value, limit }
}

/// The level that the recommendation is about, with its contention score and dominant cause.
struct Judged<'a> {
    report: &'a ScalabilityReport,
    level: &'a LevelSummary,
    run: Option<&'a ConcurrentTestResult>,
    score: Option<ContentionScore>,
    cause: Option<ContentionCause>,
}

pub(super) fn recommend(report: &ScalabilityReport, config: &BenchmarkConfig) -> Advice {
    let users = report.scalability_breaking_point.or_else(|| report.levels.last().map(|l| l.users));
    let Some(level) = users.and_then(|u| report.level(u)) else {
        return inconclusive("no level was measured", "measure at least three levels");
    };
    let run = median_run(report.test_results.iter().filter(|r| r.concurrent_users == level.users));
    let score = level.contention;
    let judged = Judged { report, level, run, score, cause: score.and_then(|c| c.dominant) };
    let (recommendation, mut detail) = doubtful(report)
        .or_else(|| report.test_results.iter().find_map(faulty))
        .or_else(|| acceptable(report, config))
        .or_else(|| judged.short_of_connections())
        .or_else(|| judged.contended())
        .or_else(|| judged.short_of_cores())
        .or_else(|| judged.overloaded())
        .or_else(|| incomplete(report))
        .unwrap_or_else(|| {
            inconclusive(
                "scaling falls short, and no single cause dominates",
                "meter every poll, or measure with more levels and repetitions",
            )
        });
    detail.confidence = match (recommendation, report.repetitions >= 3, report.model.is_some()) {
        (ScalabilityRecommendation::Inconclusive, _, _) | (_, false, _) => Confidence::Low,
        (_, true, false) => Confidence::Medium,
        (_, true, true) => Confidence::High,
    };
    (recommendation, detail)
}

fn doubtful(report: &ScalabilityReport) -> Option<Advice> {
    let bad = report.test_results.iter().find(|r| !r.valid);
    if let Some((run, issue)) = bad.and_then(|r| Some((r, r.doubts().next()?))) {
        let headline = format!("a run with {} users is inconclusive", run.concurrent_users);
        return Some(inconclusive(headline, issue.to_string()));
    }
    let cold = report.test_results.iter().find_map(|r| {
        let is_it = |v: &&ValidityIssue| matches!(v, ValidityIssue::SuperLinear { .. });
        Some((r.concurrent_users, r.validity.iter().find(is_it)?))
    });
    if let Some((users, issue)) = cold {
        let headline = format!("the run of one user is no baseline for {users} users: {issue}");
        return Some(inconclusive(headline, "warm up longer, and repeat more often"));
    }
    let levels = report.levels.len();
    (levels < LEVELS_MIN).then(|| {
        inconclusive(format!("{levels} levels do not show scaling"), "measure at least three levels")
    })
}

fn faulty(r: &ConcurrentTestResult) -> Option<Advice> {
    let users = r.concurrent_users;
    let open_stalls = r.stalls.iter().filter(|s| !s.ended);
    let stalls = open_stalls.clone().count();
    let (count, metric, headline, action) = if let Some(d) = r.deadlocks.first() {
        let action = format!("acquire the locks in one order everywhere: {}", d.cycle);
        (r.deadlocks.len(), "deadlocks", format!("deadlock with {users} users"), action)
    } else if stalls > 0 {
        let class = open_stalls.map(|s| s.class).next();
        let headline = format!("{stalls} requests never ended with {users} users");
        (stalls, "stalls", headline, format!("find what the request waits for: {class:?}"))
    } else if r.check_failures > 0 {
        let headline = format!("{} wrong answers with {users} users", r.check_failures);
        let action = "compare the answers with those of one user: they differ under load".to_owned();
        (r.check_failures, "check failures", headline, action)
    } else if r.panicked_users > 0 {
        let action = "read the panic message on standard error".to_owned();
        (r.panicked_users, "panics", format!("{} users panicked", r.panicked_users), action)
    } else {
        return None;
    };
    let reasons = vec![reason(metric, users, count as f64, Some(0.0))];
    Some(advice(ScalabilityRecommendation::OptimizeCode, headline, reasons, action))
}

fn acceptable(report: &ScalabilityReport, config: &BenchmarkConfig) -> Option<Advice> {
    let last = report.levels.last()?;
    let efficiency = last.efficiency.unwrap_or(0.0);
    let limit = config.thresholds.is_empty().then_some(HALF_OF_LINEAR);
    if report.scalability_breaking_point.is_some() || limit.is_some_and(|limit| efficiency < limit) {
        return None;
    }
    let action = match report.model.as_ref().and_then(|m| m.n_max) {
        Some(n) => {
            format!("throughput should peak near {n:.0} users: measure up to there before relying on more")
        }
        None => "measure higher levels to find the limit".to_owned(),
    };
    let headline = format!("all conditions are met up to {} users, the highest level measured", last.users);
    let reasons = vec![reason("efficiency", last.users, efficiency, limit)];
    Some(advice(ScalabilityRecommendation::AcceptablePerformance, headline, reasons, action))
}

impl Judged<'_> {
    fn short_of_connections(&self) -> Option<Advice> {
        let (run, users) = (self.run?, self.level.users);
        let share = self.score.filter(|_| self.cause == Some(ContentionCause::Pool))?.pool;
        let pool = &run.connection_pool_usage;
        let size = if run.load.is_open() {
            let hold_ms = pool.usage.mean_ms.unwrap_or(0.0);
            let load = run.offered_rate.unwrap_or(run.requests_per_second) * hold_ms / 1000.0;
            smallest_pool(load, hold_ms, TOLERABLE_WAIT * hold_ms).unwrap_or(users)
        } else {
            // In a closed loop each user holds at most one connection.
            smallest_unlockable(users, 2) - 1
        };
        let size = size.max(pool.pool_size + 1);
        Some(advice(
            ScalabilityRecommendation::IncreaseResources,
            format!(
                "{share:.0} % of the response time is the wait for one of {} connections",
                pool.pool_size
            ),
            vec![
                reason("contention.pool", users, share, None),
                reason("pool utilization", users, pool.utilization_percent, Some(100.0)),
            ],
            format!("enlarge the pool from {} to {size} connections", pool.pool_size),
        ))
    }

    fn contended(&self) -> Option<Advice> {
        let (model, score) = (self.report.model.as_ref(), self.score);
        let highest = self.report.levels.last().map_or(0, |l| l.users) as f64;
        let peak = model.and_then(|m| m.n_max).filter(|n| *n <= highest);
        let (headline, action) = match (self.cause, peak) {
            (Some(ContentionCause::Lock), _) => (
                format!("{:.0} % of the response time is waiting for other users", score?.lock?),
                "shorten or split the critical section that all requests share",
            ),
            (Some(ContentionCause::Coherency), _) => (
                format!("{:.0} % of the response time is extra work for the same request", score?.coherency?),
                "look for memory that several threads write, and for locks that spin",
            ),
            (None, Some(peak)) => (
                format!("throughput falls beyond {peak:.0} users"),
                "find the state that users share: counters, caches, invalidations",
            ),
            _ => return None,
        };
        let part = |metric, value: Option<f64>| value.map(|v| reason(metric, self.level.users, v, None));
        let of_model =
            |metric: &str, value| Reason { metric: metric.to_owned(), level: None, value, limit: None };
        let mut reasons = Vec::new();
        reasons.extend(part("contention.lock", score.and_then(|c| c.lock)));
        reasons.extend(part("contention.coherency", score.and_then(|c| c.coherency)));
        if let Some(m) = model {
            reasons.extend([of_model("sigma", m.sigma.value), of_model("kappa", m.kappa.value)]);
        }
        Some(advice(ScalabilityRecommendation::OptimizeCode, headline, reasons, action))
    }

    fn short_of_cores(&self) -> Option<Advice> {
        let (cores, users) = (self.run?.machine.cores, self.level.users);
        let mut up_to_cores = self.report.levels.iter().filter(|l| l.users <= cores);
        let holds = up_to_cores.all(|l| l.efficiency.is_some_and(|e| e >= HOLDS_UP_TO_CORES));
        if self.cause != Some(ContentionCause::Cpu) || users <= cores || !holds {
            return None;
        }
        let share = self.score?.cpu?;
        let mut found = advice(
            ScalabilityRecommendation::IncreaseResources,
            format!("{share:.0} % of the response time is waiting for a core"),
            vec![reason("contention.cpu", users, share, None)],
            format!("add cores: all {cores} are busy with {users} users"),
        );
        // The scalability law was fitted to users on these cores. Of its parameters, only γ and κ apply to more cores.
        found.1.actions.extend(self.report.model.as_ref().map(|m| {
            let n = 2.0 * cores as f64;
            let throughput = m.gamma.value * n / (1.0 + m.kappa.value * n * (n - 1.0));
            format!("{n:.0} cores could give up to {throughput:.0} answers per second")
        }));
        Some(found)
    }

    fn overloaded(&self) -> Option<Advice> {
        let users = self.level.users;
        let good = self.report.levels.iter().rev().find(|l| l.meets_thresholds && l.users < users)?;
        let backlog = self.score.filter(|_| self.cause == Some(ContentionCause::Backlog))?.backlog;
        Some(advice(
            ScalabilityRecommendation::ReduceLoad,
            format!("arrivals exceed the capacity of {users} workers"),
            vec![reason("contention.backlog", users, backlog, None)],
            format!("admit at most {:.0} requests per second", good.throughput),
        ))
    }
}

fn incomplete(report: &ScalabilityReport) -> Option<Advice> {
    let users = report.scalability_breaking_point?;
    let Some(BreakingCause::Incomplete { completeness, .. }) = report.breaking_cause else { return None };
    let runs = report.test_results.iter().filter(|r| r.concurrent_users == users);
    let peak = runs.filter_map(|r| r.completeness.as_ref()?.peak_events_per_s).fold(0.0, f64::max);
    Some(advice(
        ScalabilityRecommendation::OptimizeCode,
        format!("the tracker booked {:.3} % of the events with {users} users", completeness * 100.0),
        vec![reason("completeness", users, completeness, Some(1.0))],
        format!(
            "enlarge the tracker's rings or drain them more often: {peak:.0} events per second at the peak"
        ),
    ))
}
