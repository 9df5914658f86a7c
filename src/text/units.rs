//! Numbers as text for users, with one rule for each kind of number.
//!
//! | kind | rule | example |
//! | --- | --- | --- |
//! | count | thousands separated by commas, never shortened | `1,234,567` |
//! | bytes | exact below 1 KiB, then one decimal in the largest unit that the rounded value reaches | `1.5 KiB` |
//! | bytes, exact | the same, followed by the number of bytes | `1.5 KiB (1,536 B)` |
//! | duration | two or three digits up to a minute, then two units | `12.3 ms`, `2 min 05 s` |
//! | rate | count or bytes a second, or `n/a` without a duration | `1,234/s` |
//! | share | percent with one decimal; `0.0 %` only for no part, and `100.0 %` only for the whole | `<0.1 %` |
//!
//! All computations are integer arithmetic in 128 bits, so no count is too large and no figure prints as `NaN` or
//! `inf`. All text is ASCII: microseconds are `us`.

/// Text for a figure that cannot be computed, such as a mean of no values.
pub const NOT_AVAILABLE: &str = "n/a";

/// Writes a count with its thousands separated by commas.
///
/// ```
/// assert_eq!(heapledger::text::units::count(1_234_567), "1,234,567");
/// ```
pub fn count(value: u64) -> String {
    wide_count(u128::from(value))
}

/// Writes a count with its thousands separated by commas.
pub(crate) fn grouped(count: impl Into<u128>) -> String {
    let digits = count.into().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a count as [`count`] does, but also counts of more than 64 bits.
pub fn wide_count(value: u128) -> String {
    grouped(value)
}

/// Writes bytes in the largest binary unit that the rounded value reaches.
///
/// ```
/// assert_eq!(heapledger::text::units::bytes(1_536), "1.5 KiB");
/// assert_eq!(heapledger::text::units::bytes(1_023), "1,023 B");
/// ```
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if value < 1024 {
        return format!("{} B", count(value));
    }
    let mut unit = 0;
    // The rounded figure decides the unit: 1,048,575 bytes are 1.0 MiB, not 1024.0 KiB.
    let mut tenths = rounded_tenths(value, 10);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        unit += 1;
        tenths = rounded_tenths(value, 10 * (unit as u32 + 1));
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

fn rounded_tenths(value: u64, shift: u32) -> u128 {
    (u128::from(value) * 10 + (1 << (shift - 1))) >> shift
}

/// Writes bytes in a binary unit, followed by the exact number of bytes. Below 1 KiB the first figure is already exact,
/// so nothing follows.
pub fn bytes_exact(value: u64) -> String {
    if value < 1024 { bytes(value) } else { format!("{} ({} B)", bytes(value), count(value)) }
}

/// Writes a duration, given in nanoseconds.
///
/// ```
/// assert_eq!(heapledger::text::units::duration(12_345_678), "12.3 ms");
/// assert_eq!(heapledger::text::units::duration(125_000_000_000), "2 min 05 s");
/// ```
pub fn duration(ns: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    let seconds = ns / SECOND;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => tenths(ns, 1_000, "us"),
        1_000_000..SECOND => tenths(ns, 1_000_000, "ms"),
        _ if seconds < 60 => tenths(ns, SECOND, "s"),
        _ if seconds < 3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ if seconds < 86_400 => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", count(seconds / 86_400), seconds / 3_600 % 24),
    }
}

/// Writes a duration with one decimal, rounded down, so that the figure never reaches the next unit.
fn tenths(ns: u64, unit: u64, name: &str) -> String {
    format!("{}.{} {name}", ns / unit, ns % unit * 10 / unit)
}

/// Writes a number of occurrences a second.
pub fn rate(per_second: Option<u64>) -> String {
    per_second.map_or(NOT_AVAILABLE.into(), |value| format!("{}/s", count(value)))
}

/// Writes a number of bytes a second.
pub fn byte_rate(per_second: Option<u64>) -> String {
    per_second.map_or(NOT_AVAILABLE.into(), |value| format!("{}/s", bytes(value)))
}

/// Writes `part` of `whole` in percent.
///
/// ```
/// use heapledger::text::units::share;
/// assert_eq!((share(1, 3).as_str(), share(1, 100_000).as_str()), ("33.3 %", "<0.1 %"));
/// ```
pub fn share(part: u64, whole: u64) -> String {
    let Some(tenths) = (u128::from(part) * 1_000 + u128::from(whole) / 2).checked_div(u128::from(whole))
    else {
        return NOT_AVAILABLE.into();
    };
    match tenths {
        0 if part > 0 => "<0.1 %".into(),
        1_000 if part < whole => ">99.9 %".into(),
        _ => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

/// Writes a number that is given in hundredths.
pub fn hundredths(value: Option<u64>) -> String {
    value.map_or(NOT_AVAILABLE.into(), |value| format!("{}.{:02}", count(value / 100), value % 100))
}

/// Writes a count with its noun: `1 block`, `2 blocks`.
pub fn counted(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let texts = [0u64, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn bytes_have_known_answers_at_the_edges_of_units() {
        let known = [
            (0, "0 B"),
            (1_023, "1,023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (1_048_524, "1023.9 KiB"),
            (1_048_575, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (value, text) in known {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(bytes_exact(2_000_000), "1.9 MiB (2,000,000 B)");
        assert_eq!(bytes_exact(12), "12 B");
    }

    #[test]
    fn durations_have_known_answers_at_the_edges_of_units() {
        let known = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.0 us"),
            (999_999, "999.9 us"),
            (1_000_000, "1.0 ms"),
            (59_990_000_000, "59.9 s"),
            (60_000_000_000, "1 min 00 s"),
            (3_661_000_000_000, "1 h 01 min"),
            (90_000_000_000_000, "1 d 01 h"),
            (u64::MAX, "213,503 d 23 h"),
        ];
        for (value, text) in known {
            assert_eq!(duration(value), text);
        }
    }

    #[test]
    fn shares_never_claim_all_or_nothing_falsely() {
        let known = [
            (0, 5, "0.0 %"),
            (5, 5, "100.0 %"),
            (1, 10_000, "<0.1 %"),
            (9_999, 10_000, ">99.9 %"),
            (1, 0, "n/a"),
        ];
        for (part, whole, text) in known {
            assert_eq!(share(part, whole), text);
        }
        assert_eq!(share(u64::MAX, 1), "1844674407370955161500.0 %");
    }

    #[test]
    fn rates_and_means_of_nothing_are_not_available() {
        assert_eq!((rate(None).as_str(), rate(Some(1_234)).as_str()), ("n/a", "1,234/s"));
        assert_eq!((byte_rate(Some(2_048)).as_str(), hundredths(Some(250)).as_str()), ("2.0 KiB/s", "2.50"));
        assert_eq!(
            (counted(1, "block", "blocks"), counted(2, "block", "blocks")),
            ("1 block".into(), "2 blocks".into())
        );
    }
}
