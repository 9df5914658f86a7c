//! Reads a baseline from an untrusted file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::super::error::BenchError;
use super::super::report::ValidationReport;
use super::reasons::quoted_plain;

/// Maximum size of a baseline: 256 MiB. The report of the longest run with a thousand users has a few MiB.
const BASELINE_BYTES_MAX: u64 = 256 << 20;

/// Reads the JSON report of an earlier run.
///
/// # Errors
/// Returns [`BenchError::Baseline`], in one line, if the file cannot be read, is not a report, has another schema
/// version, or is longer than 256 MiB.
pub fn read_baseline(path: &Path) -> Result<ValidationReport, BenchError> {
    let read = || {
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|e| e.to_string())?;
        file.take(BASELINE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        if bytes.len() as u64 > BASELINE_BYTES_MAX {
            return Err(format!("longer than {} MiB, so it is no report", BASELINE_BYTES_MAX >> 20));
        }
        let text = String::from_utf8(bytes).map_err(|_| "no text, so it is no report".to_owned())?;
        ValidationReport::parse(&text)
    };
    let shown = || quoted_plain(&path.display().to_string());
    read().map_err(|why| BenchError::Baseline(format!("{}: {why}", shown())))
}
