//! Thresholds: conditions on a result, written as `p99(response_ms)<50` or `completeness>=1`.
//!
//! Only listed names are accepted, so a typing error is reported before the run. An undefined figure meets no
//! threshold: a run without answers does not pass `p99(response_ms)<50`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::result::{ConcurrentTestResult, ThresholdResult};
use super::stats::LatencySummary;

type Table<T, const N: usize> = [(&'static str, T); N];
type Value = fn(&ConcurrentTestResult) -> Option<f64>;

const PLAIN: Table<Value, 16> = [
    ("rate(error)", |r| r.error_rate),
    ("rate(check)", |r| {
        let answers = r.successful_requests as f64;
        (answers > 0.0).then(|| 1.0 - r.check_failures as f64 / answers)
    }),
    ("throughput", |r| Some(r.requests_per_second)),
    ("completeness", |r| r.completeness.as_ref()?.completeness),
    ("overhead", |r| Some(r.tracker_overhead?.throughput_loss)),
    ("efficiency", |r| r.scalability_efficiency),
    ("contention", |r| Some(r.contention?.total)),
    ("contention.lock", |r| r.contention?.lock),
    ("contention.cpu", |r| r.contention?.cpu),
    ("contention.coherency", |r| r.contention?.coherency),
    ("contention.pool", |r| Some(r.contention?.pool)),
    ("contention.backlog", |r| Some(r.contention?.backlog)),
    ("deadlocks", |r| Some(r.deadlocks.len() as f64)),
    ("stalls", |r| Some(r.stalls.iter().filter(|s| !s.ended).count() as f64)),
    ("panics", |r| Some(r.panicked_users as f64)),
    ("dropped", |r| Some(r.dropped_arrivals as f64)),
];
const LATENCIES: Table<fn(&ConcurrentTestResult) -> &LatencySummary, 3> = [
    ("response_ms", |r| &r.response),
    ("service_ms", |r| &r.service),
    ("pool_wait_ms", |r| &r.connection_pool_usage.wait),
];
const STATISTICS: Table<fn(&LatencySummary) -> Option<f64>, 7> = [
    ("p50", |l| l.p50_ms),
    ("p90", |l| l.p90_ms),
    ("p95", |l| l.p95_ms),
    ("p99", |l| l.p99_ms),
    ("p999", |l| l.p999_ms),
    ("mean", |l| l.mean_ms),
    ("max", |l| l.max_ms),
];
/// The comparisons, longest first: `<=` must not be read as `<`.
const COMPARISONS: Table<fn(&f64, &f64) -> bool, 5> =
    [("<=", f64::le), (">=", f64::ge), ("==", f64::eq), ("<", f64::lt), (">", f64::gt)];

fn place<T, const N: usize>(table: &Table<T, N>, name: &str) -> Option<usize> {
    table.iter().position(|(n, _)| *n == name)
}

/// The figure of a result that a threshold limits, as an index into `PLAIN`, or into `STATISTICS` and `LATENCIES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metric {
    Plain(usize),
    Latency { statistic: usize, of: usize },
}

impl Metric {
    fn parse(name: &str) -> Option<Self> {
        if let Some(plain) = place(&PLAIN, name) {
            return Some(Self::Plain(plain));
        }
        let (statistic, of) = name.strip_suffix(')')?.split_once('(')?;
        Some(Self::Latency { statistic: place(&STATISTICS, statistic)?, of: place(&LATENCIES, of)? })
    }

    fn value(self, result: &ConcurrentTestResult) -> Option<f64> {
        match self {
            Self::Plain(i) => (PLAIN[i].1)(result),
            Self::Latency { statistic, of } => (STATISTICS[statistic].1)((LATENCIES[of].1)(result)),
        }
    }
}

/// A condition on a result. A breach ends a scalability test at once if the condition starts with `abort:`.
///
/// # Examples
/// ```
/// use heapledger::validation::Threshold;
/// let threshold: Threshold = "p99(response_ms)<50".parse()?;
/// assert_eq!(threshold.to_string(), "p99(response_ms)<50");
/// let error = "p98(response_ms)<50".parse::<Threshold>().unwrap_err();
/// assert_eq!(error.column, 1);
/// # Ok::<(), heapledger::validation::ThresholdError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Threshold {
    text: String,
    metric: Metric,
    comparison: usize,
    limit: f64,
    abort_on_fail: bool,
}

impl Threshold {
    /// Whether a breach ends a scalability test.
    pub const fn aborts(&self) -> bool {
        self.abort_on_fail
    }

    /// Returns the names of the metrics that need no statistic, such as `completeness`.
    pub fn metrics() -> impl Iterator<Item = &'static str> {
        PLAIN.iter().map(|(name, _)| *name)
    }

    /// Returns the names of the statistics of a latency. A metric combines a statistic with one of the
    /// [`latencies`](Self::latencies), such as `p99(response_ms)`.
    pub fn statistics() -> impl Iterator<Item = &'static str> {
        STATISTICS.iter().map(|(name, _)| *name)
    }

    /// Returns the names of the latencies that can be combined with a statistic.
    pub fn latencies() -> impl Iterator<Item = &'static str> {
        LATENCIES.iter().map(|(name, _)| *name)
    }

    /// Compares a result with the threshold.
    pub fn judge(&self, result: &ConcurrentTestResult) -> ThresholdResult {
        let value = self.metric.value(result);
        let passed = value.is_some_and(|v| (COMPARISONS[self.comparison].1)(&v, &self.limit));
        ThresholdResult { threshold: self.text.clone(), value, passed }
    }
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let condition = text.trim();
        let body = condition.strip_prefix("abort:").unwrap_or(condition);
        let wrong = |part: &str, expected| {
            let column = part.as_ptr() as usize - text.as_ptr() as usize + 1;
            ThresholdError { column, found: part.to_owned(), expected }
        };
        let found = COMPARISONS.iter().enumerate().filter_map(|(i, c)| Some((body.find(c.0)?, i)));
        let (at, comparison) =
            found.min_by_key(|(at, _)| *at).ok_or_else(|| wrong(body, "a comparison: <, <=, >, >= or =="))?;
        let name = body[..at].trim();
        let number = body[at + COMPARISONS[comparison].0.len()..].trim();
        let metric = Metric::parse(name)
            .ok_or_else(|| wrong(name, "a metric such as p99(response_ms) or completeness"))?;
        let limit = number.parse().ok().filter(|v: &f64| v.is_finite());
        let limit = limit.ok_or_else(|| wrong(number, "a number"))?;
        let abort_on_fail = body.len() < condition.len();
        Ok(Self { text: condition.to_owned(), metric, comparison, limit, abort_on_fail })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Threshold {
    type Error = ThresholdError;

    fn try_from(text: String) -> Result<Self, ThresholdError> {
        text.parse()
    }
}

impl From<Threshold> for String {
    fn from(t: Threshold) -> Self {
        t.text
    }
}

/// A threshold that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: expected {expected}, found \"{found}\"")]
pub struct ThresholdError {
    /// Column of the error, in bytes from 1.
    pub column: usize,
    /// Text found at `column`.
    pub found: String,
    /// Text expected at `column`.
    pub expected: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Threshold, ThresholdError> {
        text.parse()
    }

    #[test]
    fn every_name_is_read() {
        let latencies = STATISTICS.iter().flat_map(|(s, _)| LATENCIES.map(|(l, _)| format!("{s}({l})")));
        for name in PLAIN.map(|(n, _)| n.to_owned()).into_iter().chain(latencies) {
            let t = parse(&format!("{name} <= 0.5")).unwrap();
            assert_eq!((COMPARISONS[t.comparison].0, t.limit), ("<=", 0.5), "{name}");
        }
        assert!(parse("abort: completeness>=1").unwrap().aborts());
        assert_eq!(COMPARISONS[parse("throughput<2").unwrap().comparison].0, "<");
    }

    #[test]
    fn errors_name_the_column() {
        for (text, column, found) in [
            ("p99(response_ms)", 1, "p99(response_ms)"),
            ("  latency<5", 3, "latency"),
            ("throughput>=many", 13, "many"),
            ("throughput>=NaN", 13, "NaN"),
            ("p99(time)<1", 1, "p99(time)"),
        ] {
            let e = parse(text).unwrap_err();
            assert_eq!((e.column, e.found.as_str()), (column, found), "{text}");
        }
    }

    #[test]
    fn files_hold_them_as_text() {
        let t: Threshold = serde_json::from_str("\"deadlocks==0\"").unwrap();
        assert_eq!(serde_json::to_string(&t).unwrap(), "\"deadlocks==0\"");
        assert!(serde_json::from_str::<Threshold>("\"deadlock==0\"").is_err());
    }
}
