//! What a result must satisfy, written as `p99(response_ms)<50` or `completeness>=1`.
//!
//! The names are a closed list, so a typing error is found before the run and not after it. A figure that is undefined
//! cannot satisfy anything: a run without answers does not pass `p99(response_ms)<50`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::super::completeness::Overhead;
use super::super::contention::ContentionScore;
use super::super::result::ConcurrentTestResult;

/// A figure that a threshold can name.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Metric {
    /// A quantile of `response_ms`, `service_ms` or `pool_wait_ms`.
    Quantile(f64, Latency),
    /// The mean of one of them.
    Mean(Latency),
    /// The largest of one of them.
    Max(Latency),
    /// Share of requests that did not succeed.
    ErrorRate,
    /// Share of answers that were right.
    CheckRate,
    /// Answers a second.
    Throughput,
    /// Share of events that the tracker booked.
    Completeness,
    /// Relative loss of throughput by the tracker.
    Overhead,
    /// Scalability efficiency, percent.
    Efficiency,
    /// The contention score or one part of it, percent.
    Contention(Option<Part>),
    /// Permanent deadlocks.
    Deadlocks,
    /// Requests that stalled and did not end.
    Stalls,
    /// Users ended by a panic.
    Panics,
    /// Arrivals turned away.
    Dropped,
}

/// Which time a latency metric means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// From the intended start.
    Response,
    /// From the actual start.
    Service,
    /// Waiting for a connection.
    PoolWait,
}

/// A part of the contention score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Waits for other users.
    Lock,
    /// Waits for a core.
    Cpu,
    /// More cycles for the same work.
    Coherency,
    /// Waits for a connection.
    Pool,
    /// Arrivals beyond capacity.
    Backlog,
}

const LATENCIES: [(&str, Latency); 3] = [
    ("response_ms", Latency::Response),
    ("service_ms", Latency::Service),
    ("pool_wait_ms", Latency::PoolWait),
];
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];
const PLAIN: [(&str, Metric); 16] = [
    ("rate(error)", Metric::ErrorRate),
    ("rate(check)", Metric::CheckRate),
    ("throughput", Metric::Throughput),
    ("completeness", Metric::Completeness),
    ("overhead", Metric::Overhead),
    ("efficiency", Metric::Efficiency),
    ("contention", Metric::Contention(None)),
    ("contention.lock", Metric::Contention(Some(Part::Lock))),
    ("contention.cpu", Metric::Contention(Some(Part::Cpu))),
    ("contention.coherency", Metric::Contention(Some(Part::Coherency))),
    ("contention.pool", Metric::Contention(Some(Part::Pool))),
    ("contention.backlog", Metric::Contention(Some(Part::Backlog))),
    ("deadlocks", Metric::Deadlocks),
    ("stalls", Metric::Stalls),
    ("panics", Metric::Panics),
    ("dropped", Metric::Dropped),
];

impl Metric {
    fn parse(name: &str) -> Option<Self> {
        if let Some((_, metric)) = PLAIN.iter().find(|(n, _)| *n == name) {
            return Some(*metric);
        }
        let (function, rest) = name.split_once('(')?;
        let latency = LATENCIES.iter().find(|(n, _)| Some(*n) == rest.strip_suffix(')'))?.1;
        match function {
            "mean" => Some(Self::Mean(latency)),
            "max" => Some(Self::Max(latency)),
            _ => QUANTILES.iter().find(|(n, _)| *n == function).map(|(_, q)| Self::Quantile(*q, latency)),
        }
    }

    /// The figure in a result; `None` when it is undefined there.
    pub fn value(self, r: &ConcurrentTestResult) -> Option<f64> {
        let summary = |l: Latency| match l {
            Latency::Response => &r.response,
            Latency::Service => &r.service,
            Latency::PoolWait => &r.connection_pool_usage.wait,
        };
        match self {
            Self::Quantile(q, l) => summary(l).quantile_ms(q),
            Self::Mean(l) => summary(l).mean_ms,
            Self::Max(l) => summary(l).max_ms,
            Self::ErrorRate => r.error_rate,
            Self::CheckRate => (r.successful_requests > 0)
                .then(|| 1.0 - r.check_failures as f64 / r.successful_requests as f64),
            Self::Throughput => Some(r.requests_per_second),
            Self::Completeness => r.completeness.as_ref()?.completeness,
            Self::Overhead => r.tracker_overhead.map(|o: Overhead| o.throughput_loss),
            Self::Efficiency => r.scalability_efficiency,
            Self::Contention(part) => r.contention.and_then(|c| part_of(&c, part)),
            Self::Deadlocks => Some(r.deadlocks.len() as f64),
            Self::Stalls => Some(r.stalls.iter().filter(|s| !s.ended).count() as f64),
            Self::Panics => Some(r.panicked_users as f64),
            Self::Dropped => Some(r.dropped_arrivals as f64),
        }
    }
}

fn part_of(c: &ContentionScore, part: Option<Part>) -> Option<f64> {
    match part {
        None => Some(c.total),
        Some(Part::Lock) => c.lock,
        Some(Part::Cpu) => c.cpu,
        Some(Part::Coherency) => c.coherency,
        Some(Part::Pool) => Some(c.pool),
        Some(Part::Backlog) => Some(c.backlog),
    }
}

/// How a figure is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Greater,
    AtLeast,
    Equal,
}

/// Longest first: `<=` must not be read as `<`.
const COMPARISONS: [(&str, Comparison); 5] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// A condition on a result. A leading `abort:` makes a breach end a scalability test at once.
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
    comparison: Comparison,
    limit: f64,
    abort_on_fail: bool,
}

impl Threshold {
    /// Whether a breach ends a scalability test.
    pub const fn aborts(&self) -> bool {
        self.abort_on_fail
    }

    /// The result of this threshold on a run.
    pub fn judge(&self, result: &ConcurrentTestResult) -> ThresholdResult {
        let value = self.metric.value(result);
        let passed = value.is_some_and(|v| match self.comparison {
            Comparison::Less => v < self.limit,
            Comparison::AtMost => v <= self.limit,
            Comparison::Greater => v > self.limit,
            Comparison::AtLeast => v >= self.limit,
            Comparison::Equal => v == self.limit,
        });
        ThresholdResult { threshold: self.text.clone(), value, passed }
    }
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let (abort_on_fail, body) = match text.trim().strip_prefix("abort:") {
            Some(rest) => (true, rest),
            None => (false, text.trim()),
        };
        let column = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize + 1;
        let wrong =
            |part: &str, expected| ThresholdError { column: column(part), found: part.to_owned(), expected };
        let Some((at, (symbol, comparison))) = COMPARISONS
            .iter()
            .filter_map(|c| Some((body.find(c.0)?, c)))
            .min_by_key(|(at, c)| (*at, 2 - c.0.len()))
        else {
            return Err(wrong(body, "a comparison: <, <=, >, >= or =="));
        };
        let (name, number) = (body[..at].trim(), body[at + symbol.len()..].trim());
        let metric = Metric::parse(name)
            .ok_or_else(|| wrong(name, "a metric such as p99(response_ms) or completeness"))?;
        let limit =
            number.parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(|| wrong(number, "a number"))?;
        Ok(Self { text: text.trim().to_owned(), metric, comparison: *comparison, limit, abort_on_fail })
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

/// A threshold that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThresholdError {
    /// Where, counted in bytes from 1.
    pub column: usize,
    /// What stands there.
    pub found: String,
    /// What should stand there.
    pub expected: &'static str,
}

impl fmt::Display for ThresholdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: expected {}, found \"{}\"", self.column, self.expected, self.found)
    }
}

impl std::error::Error for ThresholdError {}

/// How a threshold fared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThresholdResult {
    /// As written.
    pub threshold: String,
    /// The figure; `None` when it was undefined.
    pub value: Option<f64>,
    /// Whether it was satisfied. An undefined figure satisfies nothing.
    pub passed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Threshold, ThresholdError> {
        text.parse()
    }

    #[test]
    fn every_name_is_read() {
        for name in PLAIN
            .map(|(n, _)| n.to_owned())
            .into_iter()
            .chain(QUANTILES.iter().flat_map(|(q, _)| LATENCIES.map(|(l, _)| format!("{q}({l})"))))
        {
            let t = parse(&format!("{name} <= 0.5")).unwrap();
            assert_eq!((t.comparison, t.limit), (Comparison::AtMost, 0.5), "{name}");
        }
        assert!(parse("abort: completeness>=1").unwrap().aborts());
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
