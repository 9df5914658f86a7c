//! From figures to advice: a table of causes, each with its evidence and a next step.
//!
//! The first row that fits decides:
//!
//! | seen | advice |
//! | --- | --- |
//! | a run that forbids conclusions, or fewer than three levels | `Inconclusive`: which check failed |
//! | a deadlock, a stall without an end, a wrong answer, a panic | `OptimizeCode`: the circle, or the count |
//! | nothing broke, and thresholds were met (without any: at least half of linear) | `AcceptablePerformance` |
//! | users wait for connections | `IncreaseResources`: the pool size that would do |
//! | users wait for each other, or κ is real with its peak inside the range | `OptimizeCode` |
//! | users wait for cores, and efficiency holds up to the number of cores | `IncreaseResources` |
//! | arrivals beyond capacity, and thresholds met at a lower level | `ReduceLoad` |
//! | the tracker is incomplete and all else is fine | `OptimizeCode`: of the tracker |

use serde::{Deserialize, Serialize};

use super::config::BenchmarkConfig;
use super::contention::ContentionCause;
use super::pool::{smallest_pool, smallest_unlockable};
use super::result::ConcurrentTestResult;
use super::scalability::{BreakingCause, LevelSummary, ScalabilityReport, middle_run};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScalabilityRecommendation {
    /// More connections or cores.
    IncreaseResources,
    /// The code is the limit.
    OptimizeCode,
    /// Nothing.
    AcceptablePerformance,
    /// Admit less.
    ReduceLoad,
    /// Measure again.
    Inconclusive,
}

/// One figure that led to the advice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// Which figure.
    pub metric: String,
    /// At which level; `None` when it is one of the whole series.
    pub level: Option<usize>,
    /// Its value.
    pub value: f64,
    /// What it was compared with.
    pub limit: Option<f64>,
}

/// How much the advice rests on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confidence {
    /// One run a level, or doubts.
    #[default]
    Low,
    /// Repeated runs.
    Medium,
    /// Repeated runs, and a fitted law.
    High,
}

/// The advice in words and figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RecommendationDetail {
    /// One sentence.
    pub headline: String,
    /// The figures behind it.
    pub reasons: Vec<Reason>,
    /// What to do next.
    pub actions: Vec<String>,
    /// How sure.
    pub confidence: Confidence,
}

/// Levels below which nothing can be said about scaling.
const LEVELS_MIN: usize = 3;
/// Efficiency at the highest level that is acceptable when no thresholds were given.
const HALF_OF_LINEAR: f64 = 50.0;
/// Efficiency up to the number of cores from which cores are what is missing.
const HOLDS_UP_TO_CORES: f64 = 70.0;
/// Wait for a connection that is tolerable, as a share of its hold time.
const TOLERABLE_WAIT: f64 = 0.05;

type Advice = (ScalabilityRecommendation, RecommendationDetail);

pub(super) fn recommend(report: &ScalabilityReport, config: &BenchmarkConfig) -> Advice {
    let users = report.scalability_breaking_point.or_else(|| report.levels.last().map(|l| l.users));
    let level = users.and_then(|u| report.level(u));
    let Some(level) = level else {
        return inconclusive("no level was measured", "measure at least three levels");
    };
    let run = middle_run(report.test_results.iter().filter(|r| r.concurrent_users == level.users));
    let advice = doubtful(report)
        .or_else(|| faulty(report))
        .or_else(|| acceptable(report, config))
        .or_else(|| run.and_then(|r| short_of_connections(level, r)))
        .or_else(|| in_each_others_way(report, level))
        .or_else(|| short_of_cores(report, level, run))
        .or_else(|| overloaded(report, level))
        .or_else(|| incomplete(report));
    let (recommendation, mut detail) = advice.unwrap_or_else(|| {
        inconclusive(
            "scaling falls short, and no single cause stands out",
            "turn on metering of every poll, or measure with more levels and repetitions",
        )
    });
    detail.confidence = match (recommendation, report.repetitions >= 3, report.model.is_some()) {
        (ScalabilityRecommendation::Inconclusive, _, _) | (_, false, _) => Confidence::Low,
        (_, true, false) => Confidence::Medium,
        (_, true, true) => Confidence::High,
    };
    (recommendation, detail)
}

fn inconclusive(headline: &str, action: &str) -> Advice {
    let detail = RecommendationDetail {
        headline: headline.to_owned(),
        actions: vec![action.to_owned()],
        ..RecommendationDetail::default()
    };
    (ScalabilityRecommendation::Inconclusive, detail)
}

fn reason(metric: &str, level: usize, value: f64, limit: Option<f64>) -> Reason {
    Reason { metric: metric.to_owned(), level: Some(level), value, limit }
}

fn advice(
    what: ScalabilityRecommendation,
    headline: String,
    reasons: Vec<Reason>,
    actions: Vec<String>,
) -> Option<Advice> {
    Some((what, RecommendationDetail { headline, reasons, actions, confidence: Confidence::Low }))
}

fn doubtful(report: &ScalabilityReport) -> Option<Advice> {
    let bad = report.test_results.iter().find(|r| !r.valid);
    if let Some((run, issue)) =
        bad.and_then(|r| Some((r, r.validity.iter().find(|v| v.forbids_conclusions())?)))
    {
        return Some(inconclusive(
            &format!("a run with {} users allows no conclusions", run.concurrent_users),
            &issue.to_string(),
        ));
    }
    (report.levels.len() < LEVELS_MIN).then(|| {
        inconclusive(
            &format!("{} levels say nothing about scaling", report.levels.len()),
            "measure at least three levels",
        )
    })
}

fn faulty(report: &ScalabilityReport) -> Option<Advice> {
    for r in &report.test_results {
        let users = r.concurrent_users;
        let open_stalls = r.stalls.iter().filter(|s| !s.ended).count();
        let (headline, action, metric, count) = if let Some(d) = r.deadlocks.first() {
            let action = format!("take the locks in one order everywhere: {}", d.cycle);
            (format!("deadlock with {users} users"), action, "deadlocks", r.deadlocks.len())
        } else if open_stalls > 0 {
            let class = r.stalls.iter().find(|s| !s.ended).map(|s| s.class);
            let action = format!("find what the request waits for: {class:?}");
            (format!("{open_stalls} requests never ended with {users} users"), action, "stalls", open_stalls)
        } else if r.check_failures > 0 {
            let action = "compare the answers with those of one user: they differ under load".to_owned();
            (
                format!("{} wrong answers with {users} users", r.check_failures),
                action,
                "check failures",
                r.check_failures,
            )
        } else if r.panicked_users > 0 {
            let action = "read the panic message on standard error".to_owned();
            (format!("{} users panicked", r.panicked_users), action, "panics", r.panicked_users)
        } else {
            continue;
        };
        let reasons = vec![reason(metric, users, count as f64, Some(0.0))];
        return advice(ScalabilityRecommendation::OptimizeCode, headline, reasons, vec![action]);
    }
    None
}

fn acceptable(report: &ScalabilityReport, config: &BenchmarkConfig) -> Option<Advice> {
    let last = report.levels.last()?;
    let efficiency = last.efficiency.unwrap_or(0.0);
    let enough = !config.thresholds.is_empty() || efficiency >= HALF_OF_LINEAR;
    if report.scalability_breaking_point.is_some() || !enough {
        return None;
    }
    let headline = format!("all is met up to {} users, the highest level measured", last.users);
    let limit = config.thresholds.is_empty().then_some(HALF_OF_LINEAR);
    let reasons = vec![reason("efficiency", last.users, efficiency, limit)];
    let action = match report.model.as_ref().and_then(|m| m.n_max) {
        Some(n) => {
            format!("throughput should peak near {n:.0} users: measure up to there before relying on more")
        }
        None => "measure higher levels to find where it ends".to_owned(),
    };
    advice(ScalabilityRecommendation::AcceptablePerformance, headline, reasons, vec![action])
}

fn dominant(level: &LevelSummary) -> Option<ContentionCause> {
    level.contention?.dominant
}

fn short_of_connections(level: &LevelSummary, run: &ConcurrentTestResult) -> Option<Advice> {
    if dominant(level) != Some(ContentionCause::Pool) {
        return None;
    }
    let pool = &run.connection_pool_usage;
    let hold_ms = pool.usage.mean_ms.unwrap_or(0.0);
    let size = if run.load.is_open() {
        let load = run.offered_rate.unwrap_or(run.requests_per_second) * hold_ms / 1000.0;
        smallest_pool(load, hold_ms, TOLERABLE_WAIT * hold_ms).unwrap_or(level.users)
    } else {
        // In a closed loop at most all users hold one each.
        smallest_unlockable(level.users, 2) - 1
    };
    let size = size.max(pool.pool_size + 1);
    let share = level.contention.map_or(0.0, |c| c.pool);
    advice(
        ScalabilityRecommendation::IncreaseResources,
        format!("{share:.0} % of the response time is waiting for one of {} connections", pool.pool_size),
        vec![
            reason("contention.pool", level.users, share, None),
            reason("pool utilization", level.users, pool.utilization_percent, Some(100.0)),
        ],
        vec![format!("enlarge the pool from {} to {size} connections", pool.pool_size)],
    )
}

fn in_each_others_way(report: &ScalabilityReport, level: &LevelSummary) -> Option<Advice> {
    let contention = level.contention;
    let cause = dominant(level).filter(|c| matches!(c, ContentionCause::Lock | ContentionCause::Coherency));
    let highest = report.levels.last().map_or(0, |l| l.users) as f64;
    let bends =
        report.model.as_ref().filter(|m| m.n_max.is_some_and(|n| n <= highest) && dominant(level).is_none());
    if cause.is_none() && bends.is_none() {
        return None;
    }
    let mut reasons = Vec::new();
    if let Some(c) = contention {
        reasons.extend(c.lock.map(|v| reason("contention.lock", level.users, v, None)));
        reasons.extend(c.coherency.map(|v| reason("contention.coherency", level.users, v, None)));
    }
    if let Some(m) = &report.model {
        for (metric, p) in [("sigma", m.sigma), ("kappa", m.kappa)] {
            reasons.push(Reason { metric: metric.to_owned(), level: None, value: p.value, limit: None });
        }
    }
    let (headline, action) = match cause {
        Some(ContentionCause::Lock) => (
            format!("{:.0} % of the response time is waiting for other users", contention?.lock?),
            "shorten or split what is done under the lock that all requests take",
        ),
        Some(_) => (
            format!(
                "{:.0} % of the response time is extra work for the same request",
                contention?.coherency?
            ),
            "look for memory that several threads write, and for locks that spin",
        ),
        None => (
            format!("throughput falls beyond {:.0} users", report.model.as_ref()?.n_max?),
            "find what users must agree on: shared counters, caches, invalidations",
        ),
    };
    advice(ScalabilityRecommendation::OptimizeCode, headline, reasons, vec![action.to_owned()])
}

fn short_of_cores(
    report: &ScalabilityReport,
    level: &LevelSummary,
    run: Option<&ConcurrentTestResult>,
) -> Option<Advice> {
    let cores = run?.machine.cores;
    let holds = report
        .levels
        .iter()
        .filter(|l| l.users <= cores)
        .all(|l| l.efficiency.is_some_and(|e| e >= HOLDS_UP_TO_CORES));
    if dominant(level) != Some(ContentionCause::Cpu) || level.users <= cores || !holds {
        return None;
    }
    let share = level.contention?.cpu?;
    let twice = report.model.as_ref().map(|m| m.predict(2.0 * cores as f64));
    let mut actions = vec![format!("add cores: all {cores} are busy with {} users", level.users)];
    // The law was fitted across users on these cores, so it predicts nothing for more of them beyond σ and κ.
    if let (Some(m), Some(_)) = (&report.model, twice) {
        let alone = m.gamma.value;
        let scale = |n: f64| n / (1.0 + m.kappa.value * n * (n - 1.0));
        actions.push(format!(
            "{} cores could give up to {:.0} answers a second",
            2 * cores,
            alone * scale(2.0 * cores as f64)
        ));
    }
    advice(
        ScalabilityRecommendation::IncreaseResources,
        format!("{share:.0} % of the response time is waiting for a core"),
        vec![reason("contention.cpu", level.users, share, None)],
        actions,
    )
}

fn overloaded(report: &ScalabilityReport, level: &LevelSummary) -> Option<Advice> {
    let good = report.levels.iter().rev().find(|l| l.meets_thresholds && l.users < level.users)?;
    if dominant(level) != Some(ContentionCause::Backlog) {
        return None;
    }
    advice(
        ScalabilityRecommendation::ReduceLoad,
        format!("arrivals exceed what {} workers can answer", level.users),
        vec![reason("contention.backlog", level.users, level.contention?.backlog, None)],
        vec![format!("admit at most {:.0} requests a second", good.throughput)],
    )
}

fn incomplete(report: &ScalabilityReport) -> Option<Advice> {
    let (Some(BreakingCause::Incomplete { completeness, .. }), Some(users)) =
        (&report.breaking_cause, report.scalability_breaking_point)
    else {
        return None;
    };
    let peak = report
        .test_results
        .iter()
        .filter(|r| r.concurrent_users == users)
        .filter_map(|r| r.completeness.as_ref()?.peak_events_per_s)
        .fold(0.0, f64::max);
    advice(
        ScalabilityRecommendation::OptimizeCode,
        format!("the tracker booked {:.3} % of the events with {users} users", completeness * 100.0),
        vec![reason("completeness", users, *completeness, Some(1.0))],
        vec![format!(
            "enlarge the tracker's rings or drain them more often: {peak:.0} events a second at the peak"
        )],
    )
}
