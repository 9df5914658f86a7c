//! The messages between parent and child: one line of JSON each.
//!
//! Orders go to the child's standard input. Answers go to its standard output, with a prefix, because the workload may
//! print there too.

use std::io::{self, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::config::BenchmarkConfig;
use super::super::live::Live;
use super::super::plan::LoadModel;
use super::super::result::ConcurrentTestResult;

/// Environment variable that marks a child.
pub(super) const VARIABLE: &str = "HEAPLEDGER_VALIDATION";
/// Environment variable with the value of `HEAPLEDGER` for programs that a child starts.
pub(super) const OF_COMMANDS: &str = "HEAPLEDGER_VALIDATION_COMMANDS";
/// Prefix of an answer.
pub(super) const PREFIX: &str = "heapledger-validation ";
/// Maximum length of a progress line, in bytes.
const PROGRESS_BYTES: usize = 512;

/// A message from the parent to the child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Order {
    /// The first order, with the configuration.
    SetUp(Box<BenchmarkConfig>),
    Run {
        load: LoadModel,
        duration: Duration,
        seed: u64,
    },
    /// Ends the window of the current run.
    Stop,
}

/// A message from the child to the parent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Answer {
    Ready {
        workload: String,
        /// Settings of the tracker; `None` without a tracker.
        tracker: Option<String>,
    },
    /// Progress of the current run, sent five times per second.
    Live(Live),
    Done(Box<ConcurrentTestResult>),
    Failed(String),
}

/// Writes an answer as one line.
pub(super) fn tell(answer: &Answer) -> io::Result<()> {
    let mut line = PREFIX.as_bytes().to_vec();
    serde_json::to_writer(&mut line, answer)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// Writes progress as one line, without allocating, because progress is written during the window.
pub(super) fn tell_progress(live: Live) -> io::Result<()> {
    let mut buffer = [0; PROGRESS_BYTES];
    let length = progress_line(live, &mut buffer)?;
    io::stdout().lock().write_all(&buffer[..length])
}

fn progress_line(live: Live, buffer: &mut [u8; PROGRESS_BYTES]) -> io::Result<usize> {
    let mut rest = &mut buffer[..];
    rest.write_all(PREFIX.as_bytes())?;
    serde_json::to_writer(&mut rest, &Answer::Live(live))?;
    rest.write_all(b"\n")?;
    Ok(PROGRESS_BYTES - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_back() {
        let order = Order::Run { load: LoadModel::closed(3), duration: Duration::from_millis(1500), seed: 7 };
        for order in [order, Order::SetUp(Box::default()), Order::Stop] {
            let text = serde_json::to_string(&order).unwrap();
            assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order);
        }
    }

    #[test]
    fn the_longest_progress_fits() {
        let longest = Duration::new(u64::MAX, 999_999_999);
        let live = Live {
            users: usize::MAX,
            planned: longest,
            elapsed: longest,
            answered: u64::MAX,
            failed: u64::MAX,
            active: u64::MAX,
            pending: u64::MAX,
        };
        let mut buffer = [0; PROGRESS_BYTES];
        let length = progress_line(live, &mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..length]).unwrap().strip_prefix(PREFIX).unwrap();
        assert_eq!(serde_json::from_str::<Answer>(text).unwrap(), Answer::Live(live));
    }
}
