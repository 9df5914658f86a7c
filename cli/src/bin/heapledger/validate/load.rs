//! Parsers for loads on the command line: stages, recorded times, and the choice of queries.

use std::path::Path;
use std::time::Duration;

use heapledger::validation::{LoadModel, Popularity, Stage, StageShape, StageUnit, parse_time};

/// Parses a time: a number with a unit.
pub fn time(text: &str) -> Result<Duration, String> {
    parse_time(text)
        .ok_or_else(|| format!("{text:?} is no time: write a number and its unit, such as 300ms, 10s or 2m"))
}

/// Parses a stage: `10s:8` changes evenly to 8 users (or requests per second) within ten seconds; `10s=8` keeps 8 for
/// ten seconds.
pub fn stage(text: &str) -> Result<Stage, String> {
    let expected =
        || format!("{text:?} is no stage: write 10s:8 to reach 8 in ten seconds, or 10s=8 to stay at 8");
    let at = text.find([':', '=']).ok_or_else(expected)?;
    let shape = if text[at..].starts_with('=') { StageShape::Step } else { StageShape::Linear };
    let target: f64 = text[at + 1..].trim().parse().map_err(|_| expected())?;
    if !target.is_finite() || target < 0.0 {
        return Err(expected());
    }
    Ok(Stage { duration: time(text[..at].trim())?, target, shape })
}

/// Returns a staged load and its length.
pub fn staged(stages: &[Stage], unit: StageUnit, workers: usize) -> (LoadModel, Duration) {
    let length = stages.iter().map(|stage| stage.duration).sum();
    let load = LoadModel::Staged { start: 0.0, stages: stages.to_vec(), unit, max_in_flight: workers };
    (load, length)
}

/// Reads a replay from a file. Each line has the time at which a request starts, in seconds or with a unit; only
/// differences to the first start matter. Empty lines and lines that begin with `#` are skipped.
pub fn replay(path: &Path, workers: usize) -> Result<(LoadModel, Duration), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut offsets_ns = Vec::new();
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let seconds = line.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let start = seconds.or_else(|| parse_time(line)).ok_or_else(|| {
            let (path, number) = (path.display(), number + 1);
            format!("{path}: line {number} is no time: write seconds, or a number and its unit")
        })?;
        offsets_ns.push(u64::try_from(start.as_nanos()).unwrap_or(u64::MAX));
    }
    offsets_ns.sort_unstable();
    let first = offsets_ns.first().copied().unwrap_or(0);
    offsets_ns.iter_mut().for_each(|offset| *offset -= first);
    // The load ends 1 ms after the last start, so that it includes this start.
    let length = Duration::from_nanos(offsets_ns.last().copied().unwrap_or(0)) + Duration::from_millis(1);
    Ok((LoadModel::Replay { offsets_ns, max_in_flight: workers }, length))
}

/// Parses the rule by which a user picks its queries.
pub fn popularity(text: &str) -> Result<Popularity, String> {
    let (name, exponent) = text.split_once(':').map_or((text, None), |(name, s)| (name, Some(s)));
    match (name, exponent.map(str::parse)) {
        ("uniform", None) => Ok(Popularity::Uniform),
        ("sequential", None) => Ok(Popularity::Sequential),
        ("shuffle", None) => Ok(Popularity::Shuffle),
        ("zipf", None) => Ok(Popularity::Zipf(1.0)),
        ("zipf", Some(Ok(s))) => Ok(Popularity::Zipf(s)),
        _ => Err(format!("{text:?} is no choice: uniform, zipf, zipf:1.2, sequential or shuffle")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        for (text, ms) in [("300ms", 300), ("10s", 10_000), ("1.5 s", 1500), ("2m", 120_000), ("0s", 0)] {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for wrong in ["10", "s", "-1s", "1e99h", "NaNs", "5 parsecs", ""] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn stages_rise_or_stay() {
        let of = |seconds, target, shape| Stage { duration: Duration::from_secs(seconds), target, shape };
        assert_eq!(stage("10s:8"), Ok(of(10, 8.0, StageShape::Linear)));
        assert_eq!(stage("1m=0.5"), Ok(of(60, 0.5, StageShape::Step)));
        for wrong in ["10s", "8", "10:8", "10s:many", "10s:-1", "10s:inf"] {
            assert!(stage(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_replay_begins_with_its_first_request() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("times");
        std::fs::write(&path, "# recorded\n1700000000.5\n\n1700000000.25\n1700000001\n").unwrap();
        let (load, length) = replay(&path, 3).unwrap();
        let LoadModel::Replay { offsets_ns, max_in_flight: 3 } = load else { panic!("{load:?}") };
        // As a float, a number of seconds since 1970 is exact only to a few hundred nanoseconds.
        for (found, expected) in offsets_ns.iter().zip([0u64, 250_000_000, 750_000_000]) {
            assert!(found.abs_diff(expected) < 1_000, "{offsets_ns:?}");
        }
        assert!(length > Duration::from_millis(750) && length < Duration::from_millis(753));
        std::fs::write(&path, "1\nsoon\n").unwrap();
        assert!(
            replay(&path, 3)
                .unwrap_err()
                .ends_with("line 2 is no time: write seconds, or a number and its unit")
        );
    }

    #[test]
    fn choices_are_read_with_their_exponent() {
        assert_eq!(popularity("zipf:1.2"), Ok(Popularity::Zipf(1.2)));
        assert_eq!(popularity("shuffle"), Ok(Popularity::Shuffle));
        for wrong in ["zipf:", "zipf:x", "uniform:2", "random", ""] {
            assert!(popularity(wrong).is_err(), "{wrong}");
        }
    }
}
