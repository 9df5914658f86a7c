//! A workload with planted faults: its requests fail, take longer, stall or wait for a lock, as configured. The
//! workload shows whether the benchmark and its thresholds notice such faults.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

use super::super::random::UserRng;
use super::super::sync::lock;
use super::definition::{Outcome, UserId, Workload};

/// A planted fault. The text forms are `fail=0.01`, `wrong=0.01`, `panic=0.001`, `delay=20ms@0.1`, `stall=2s@5s` and
/// `lock=1ms`.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use heapledger::validation::Fault;
/// let fault: Fault = "delay=20ms@0.1".parse()?;
/// assert_eq!(fault, Fault::Delay { by: Duration::from_millis(20), share: 0.1 });
/// assert_eq!(fault.to_string(), "delay=20ms@0.1");
/// assert!("fail=2".parse::<Fault>().is_err(), "a share is from 0 to 1");
/// # Ok::<(), heapledger::validation::FaultError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Fault {
    /// This share of the requests fails.
    Fail(f64),
    /// This share of the answers counts as wrong.
    Wrong(f64),
    /// This share of the requests panics. A panic ends the user of the request.
    Panic(f64),
    /// Some requests take longer.
    Delay {
        /// Additional time of a delayed request.
        by: Duration,
        /// Share of the requests.
        share: f64,
    },
    /// No request ends during a span of time.
    Stall {
        /// Length of the span.
        length: Duration,
        /// Start of the span, from the start of the run.
        at: Duration,
    },
    /// Each request holds one lock, which all users share, for this time.
    Lock(Duration),
}

/// The error of a fault that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no fault: write fail=0.01, wrong=0.01, panic=0.001, delay=20ms@0.1, stall=2s@5s or lock=1ms"
)]
pub struct FaultError(String);

fn share(text: &str) -> Option<f64> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share))
}

/// Parses a number with a unit, such as `300ms`, `1.5s`, `2m` or `1h`.
///
/// # Examples
/// ```
/// use heapledger::validation::parse_time;
/// assert_eq!(parse_time("1.5s"), Some(std::time::Duration::from_millis(1500)));
/// assert_eq!(parse_time("10"), None, "a time has a unit");
/// ```
pub fn parse_time(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number: f64 = number.trim().parse().ok()?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let parsed = || {
            let (name, value) = text.trim().split_once('=')?;
            Some(match (name, value.split_once('@')) {
                ("fail", None) => Self::Fail(share(value)?),
                ("wrong", None) => Self::Wrong(share(value)?),
                ("panic", None) => Self::Panic(share(value)?),
                ("lock", None) => Self::Lock(parse_time(value)?),
                ("delay", Some((by, of))) => Self::Delay { by: parse_time(by)?, share: share(of)? },
                ("stall", Some((length, at))) => {
                    Self::Stall { length: parse_time(length)?, at: parse_time(at)? }
                }
                _ => return None,
            })
        };
        parsed().ok_or_else(|| FaultError(text.to_owned()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail(share) => write!(f, "fail={share}"),
            Self::Wrong(share) => write!(f, "wrong={share}"),
            Self::Panic(share) => write!(f, "panic={share}"),
            Self::Delay { by, share } => write!(f, "delay={by:?}@{share}"),
            Self::Stall { length, at } => write!(f, "stall={length:?}@{at:?}"),
            Self::Lock(time) => write!(f, "lock={time:?}"),
        }
    }
}

impl TryFrom<String> for Fault {
    type Error = FaultError;

    fn try_from(text: String) -> Result<Self, FaultError> {
        text.parse()
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

/// A workload with planted faults. Its name lists the faults.
#[derive(Debug)]
pub struct Faulty<W> {
    name: String,
    inner: W,
    faults: Vec<Fault>,
    began: Mutex<Option<Instant>>,
    shared: tokio::sync::Mutex<()>,
}

impl<W: Workload> Faulty<W> {
    /// Plants `faults` in a workload. An empty list changes nothing.
    pub fn new(inner: W, faults: Vec<Fault>) -> Self {
        let mut name = inner.name().to_owned();
        for fault in &faults {
            name = format!("{name}, planted {fault}");
        }
        Self { name, inner, faults, began: Mutex::new(None), shared: tokio::sync::Mutex::new(()) }
    }

    fn planted(&self, draw: f64, of: fn(&Fault) -> Option<f64>) -> bool {
        self.faults.iter().filter_map(of).any(|share| draw < share)
    }
}

/// The error of a request of a [`Faulty`] workload.
#[derive(Debug, thiserror::Error)]
pub enum FaultyError<E: fmt::Display> {
    /// The request failed on purpose.
    #[error("planted failure")]
    Planted,
    /// The request failed in the inner workload.
    #[error("{0}")]
    Inner(E),
}

impl<W: Workload> Workload for Faulty<W> {
    type Session = W::Session;
    /// The request, and a random number from 0 to 1 that decides which faults the request has.
    type Request = (W::Request, f64);
    type Conn = W::Conn;
    type Error = FaultyError<W::Error>;

    fn name(&self) -> &str {
        &self.name
    }

    async fn open_session(&self, user: UserId) -> Result<W::Session, Self::Error> {
        // Each run opens its sessions before its first request, so this is the start of the run.
        *lock(&self.began) = Some(Instant::now());
        self.inner.open_session(user).await.map_err(FaultyError::Inner)
    }

    fn connect(&self, index: usize) -> Result<W::Conn, Self::Error> {
        self.inner.connect(index).map_err(FaultyError::Inner)
    }

    fn next_request(&self, session: &mut W::Session, rng: &mut UserRng, seq: u64) -> Self::Request {
        let request = self.inner.next_request(session, rng, seq);
        (request, if self.faults.is_empty() { 1.0 } else { rng.unit() })
    }

    async fn execute(
        &self,
        session: &mut W::Session,
        conn: Option<&mut W::Conn>,
        (request, draw): &Self::Request,
    ) -> Result<Outcome, Self::Error> {
        for fault in &self.faults {
            match *fault {
                Fault::Lock(time) => {
                    let _held = self.shared.lock().await;
                    sleep(time).await;
                }
                Fault::Delay { by, share } if *draw < share => sleep(by).await,
                Fault::Stall { length, at } => {
                    let began = lock(&self.began).unwrap_or_else(Instant::now);
                    let (from, to) = (began + at, began + at + length);
                    if (from..to).contains(&Instant::now()) {
                        sleep_until(to).await;
                    }
                }
                _ => {}
            }
        }
        assert!(
            !self.planted(*draw, |f| if let Fault::Panic(s) = f { Some(*s) } else { None }),
            "planted panic"
        );
        if self.planted(*draw, |f| if let Fault::Fail(s) = f { Some(*s) } else { None }) {
            return Err(FaultyError::Planted);
        }
        self.inner.execute(session, conn, request).await.map_err(FaultyError::Inner)
    }

    fn check(&self, (request, draw): &Self::Request, outcome: &Outcome) -> bool {
        !self.planted(*draw, |f| if let Fault::Wrong(s) = f { Some(*s) } else { None })
            && self.inner.check(request, outcome)
    }

    fn expected_alloc_events(&self, (request, _): &Self::Request) -> Option<u64> {
        self.inner.expected_alloc_events(request)
    }

    fn connections_per_request(&self) -> usize {
        self.inner.connections_per_request()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_comes_back_from_its_text() {
        for text in [
            "fail=0.01",
            "wrong=0.5",
            "panic=0.001",
            "delay=20ms@0.1",
            "stall=2s@5s",
            "lock=1ms",
            "lock=1.5ms",
        ] {
            let fault: Fault = text.parse().unwrap();
            assert_eq!(fault.to_string(), text);
            let json = serde_json::to_string(&fault).unwrap();
            assert_eq!(serde_json::from_str::<Fault>(&json).unwrap(), fault);
        }
        for wrong in ["", "fail", "fail=-1", "fail=1.1", "fail=0.1@3s", "delay=20ms", "stall=2@5s", "melt=1"]
        {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }
}
