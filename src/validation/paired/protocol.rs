//! The lines between parent and child.
//!
//! Each is a word and, for most, a value in JSON. The parent's go to the child's standard input: `setup` with the
//! configuration, then `run` with a load, or `stop`. The child's go to its standard output, behind a mark, because the
//! workload may print there too: `ready`, `live` five times a second, then `done` or `failed`.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::live::Live;
use super::super::plan::LoadModel;

/// What each line of a child begins with.
pub(super) const MARK: &str = "heapledger-validation ";
pub(super) const SETUP: &str = "setup";
pub(super) const RUN: &str = "run";
pub(super) const STOP: &str = "stop";
pub(super) const READY: &str = "ready";
pub(super) const LIVE: &str = "live";
pub(super) const DONE: &str = "done";
pub(super) const FAILED: &str = "failed";

/// One run to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    pub load: LoadModel,
    pub duration: Duration,
    pub seed: u64,
}

/// What a child is, once it is set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ready {
    /// The workload's name.
    pub workload: String,
    /// The tracker's settings; `None` where nothing records.
    pub tracker: Option<String>,
}

/// A line without its end.
pub(super) fn line(word: &str, value: &impl Serialize) -> serde_json::Result<String> {
    Ok(format!("{word} {}", serde_json::to_string(value)?))
}

/// The word of a line, and the rest.
pub(super) fn split(line: &str) -> (&str, &str) {
    line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""))
}

/// The value of a line.
pub(super) fn value<T: DeserializeOwned>(rest: &str) -> Result<T, String> {
    serde_json::from_str(rest).map_err(|e| e.to_string())
}

/// A reading as a line with its mark and end, in a buffer of its own: this is written inside the account, where the
/// harness allocates nothing. `None` when it does not fit, which no reading does not.
pub(super) fn live_line<'a>(live: &Live, buffer: &'a mut [u8; 256]) -> Option<&'a [u8]> {
    use std::io::Write;
    let mut rest = &mut buffer[..];
    writeln!(
        rest,
        "{MARK}{LIVE} [{},{},{},{},{},{},{}]",
        live.users,
        live.planned.as_nanos(),
        live.elapsed.as_nanos(),
        live.answered,
        live.failed,
        live.active,
        live.pending
    )
    .ok()?;
    let left = rest.len();
    let written = buffer.len() - left;
    buffer.get(..written)
}

/// A reading from its line.
pub(super) fn live_value(rest: &str) -> Result<Live, String> {
    let [users, planned, elapsed, answered, failed, active, pending]: [u64; 7] = value(rest)?;
    Ok(Live {
        users: users as usize,
        planned: Duration::from_nanos(planned),
        elapsed: Duration::from_nanos(elapsed),
        answered,
        failed,
        active,
        pending,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back() {
        let order = Order { load: LoadModel::closed(3), duration: Duration::from_millis(1500), seed: 7 };
        let text = line(RUN, &order).unwrap();
        let (word, rest) = split(&text);
        assert_eq!((word, value::<Order>(rest)), (RUN, Ok(order)));
        assert_eq!(split("stop\n"), (STOP, ""));
        assert!(value::<Order>("{").is_err());
    }

    #[test]
    fn the_largest_reading_fits() {
        let live = Live {
            users: usize::MAX,
            planned: Duration::from_nanos(u64::MAX),
            elapsed: Duration::from_nanos(u64::MAX),
            answered: u64::MAX,
            failed: u64::MAX,
            active: u64::MAX,
            pending: u64::MAX,
        };
        let mut buffer = [0; 256];
        let text = std::str::from_utf8(live_line(&live, &mut buffer).unwrap()).unwrap().to_owned();
        let (word, rest) = split(text.strip_prefix(MARK).unwrap());
        assert_eq!((word, live_value(rest)), (LIVE, Ok(live)));
    }
}
