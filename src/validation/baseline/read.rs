//! A baseline from a file, which may be anything.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::super::config::BenchError;
use super::super::report::ValidationReport;
use super::reasons::quoted_plain;

/// Bytes of a baseline: 256 MiB. A report of the longest run with a thousand users has a few of them.
const BASELINE_BYTES_MAX: u64 = 256 << 20;

/// Reads the JSON report of an earlier run.
///
/// # Errors
/// [`BenchError::Baseline`], in one line, when the file cannot be read, is no report, is one of another version, or is
/// longer than 256 MiB.
pub fn read_baseline(path: &Path) -> Result<ValidationReport, BenchError> {
    let unusable = |why: String| {
        let path = quoted_plain(&path.display().to_string());
        Err(BenchError::Baseline(format!("{path}: {why}")))
    };
    let mut bytes = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(BASELINE_BYTES_MAX + 1).read_to_end(&mut bytes));
    if let Err(error) = opened {
        return unusable(error.to_string());
    }
    if bytes.len() as u64 > BASELINE_BYTES_MAX {
        return unusable(format!("longer than {} MiB, so it is no report", BASELINE_BYTES_MAX >> 20));
    }
    match std::str::from_utf8(&bytes) {
        Err(_) => unusable("no text, so it is no report".to_owned()),
        Ok(text) => ValidationReport::from_json(text).or_else(|error| match error {
            BenchError::Baseline(why) => unusable(why),
            other => Err(other),
        }),
    }
}
