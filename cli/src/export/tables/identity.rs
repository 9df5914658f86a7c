//! Ids of runs, file names, and values of partition columns.

use sha2::{Digest, Sha256};

use heapledger::profile::Profile;

/// Returns the id of a run: 128 bits of a hash over the host, the build, the process and some figures of its snapshot,
/// in hexadecimal. The file name is not hashed, so a copy of a file has the same id.
pub(super) fn run_id(profile: &Profile, host: &str, build_id: &str) -> String {
    let process = &profile.process;
    let mut hash = Sha256::new();
    for text in [host, build_id, &process.program, &process.reason] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let numbers = [
        u64::from(process.pid),
        process.started_unix_ns,
        process.duration_ns,
        profile.quality.attempted,
        profile.totals.total_bytes,
    ];
    numbers.iter().for_each(|number| hash.update(number.to_le_bytes()));
    hex(&hash.finalize()[..16])
}

/// Returns the name of the file that contains these runs, made from a hash of their ids.
pub(super) fn file_name(runs: &[String]) -> String {
    let mut hash = Sha256::new();
    runs.iter().for_each(|run| hash.update(run));
    format!("{}.parquet", hex(&hash.finalize()[..8]))
}

/// Returns a key for a list of texts: the first 64 bits of their hash, as a signed number.
pub(super) fn key<'a>(texts: impl Iterator<Item = &'a str>) -> i64 {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text);
        hash.update([0]);
    }
    let bytes = hash.finalize();
    i64::from_be_bytes(std::array::from_fn(|at| bytes[at]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a text as the value of a partition column: at most 128 characters, of which letters and digits of ASCII,
/// `.`, `_` and `-` are kept. Any other character becomes `_`, because query engines disagree on how to escape it. An
/// empty text becomes `_`.
pub(super) fn partition_value(text: &str) -> String {
    let plain = |sign: char| if sign.is_ascii_alphanumeric() || ".-".contains(sign) { sign } else { '_' };
    let value: String = text.chars().take(128).map(plain).collect();
    if value.is_empty() { "_".to_owned() } else { value }
}

/// Converts a time in nanoseconds since 1970 to microseconds.
pub(super) fn instant(unix_ns: u64) -> i64 {
    super::column::int(unix_ns / 1_000)
}

/// Returns the day of a time in UTC, as in `2026-11-30`.
pub(super) fn day(unix_ns: u64) -> String {
    let days = i64::try_from(unix_ns / 86_400_000_000_000).unwrap_or(0);
    // In this calculation, years start in March, so that the leap day is the last day of a year. An era has 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let seconds = |seconds: u64| day(seconds * 1_000_000_000);
        assert_eq!(seconds(0), "1970-01-01");
        assert_eq!(seconds(951_782_399), "2000-02-28");
        assert_eq!(seconds(951_782_400), "2000-02-29");
        assert_eq!(seconds(951_868_800), "2000-03-01");
        assert_eq!(seconds(1_796_083_199), "2026-11-30");
        assert_eq!(seconds(4_107_542_400), "2100-03-01");
        assert_eq!(day(u64::MAX), "2554-07-21");
    }

    #[test]
    fn no_name_of_a_service_leaves_its_directory() {
        assert_eq!(partition_value("../a b=c%\u{e9}/"), ".._a_b_c___");
        assert_eq!(partition_value(""), "_");
        assert_eq!(partition_value(&"x".repeat(1000)).len(), 128);
    }

    #[test]
    fn a_run_is_told_by_its_snapshot() {
        let mut profile = Profile::default();
        let first = run_id(&profile, "a", "b");
        assert_eq!((first.len(), &first), (32, &run_id(&profile, "a", "b")));
        assert_ne!(run_id(&profile, "ab", ""), run_id(&profile, "a", "b"));
        profile.process.duration_ns = 1;
        assert_ne!(run_id(&profile, "a", "b"), first, "a later dump of the same process");
    }

    #[test]
    fn a_key_is_a_fixed_function_of_the_names() {
        // Expected value from another program: the first eight bytes of the SHA-256 of "demo::add\0demo::main\0".
        assert_eq!(key(["demo::add", "demo::main"].into_iter()), KNOWN);
        assert_ne!(key(["demo::adddemo::main"].into_iter()), KNOWN);
    }

    const KNOWN: i64 = -7_888_717_593_536_785_996;
}
