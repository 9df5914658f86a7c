//! Writes a [`QualityIndicator`] as text.
//!
//! ```text
//! Data quality: 94.2% (target: 95%)
//!   recorded 942 of 1,000 events; 58 lost: ring_full 58; 0 in flight; lately 91.7%; trend degrading
//!   Recommendation: ring_full lost 5.8% of 1,000 events: use DataQualityMode::PerfectAccuracy …
//! ```
//!
//! If standard output is a terminal that shows emoji, the lines have pictures (📊 ✅ 💡). [`WithEmoji`] always prints
//! pictures, and `{:#}` never does.
//!
//! Percentages of completeness are always rounded **down**: 99.9999 % prints as 99.9 %, never as 100 %. Readers take
//! 100 % to mean that no event is missing.

use std::fmt;
use std::io::IsTerminal;
use std::sync::OnceLock;

use crate::profile::{CompletenessTrend, Coverage, Estimate, Estimates, HeapStats, QualityIndicator};
use crate::text::units::{bytes, grouped};

impl fmt::Display for QualityIndicator {
    /// Prints the indicator. The lines have pictures if standard output is a terminal that shows them, except with
    /// `{:#}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_pictures = !f.alternate() && stdout_shows_emoji();
        write_indicator(self, f, if has_pictures { &PICTURES } else { &PLAIN })
    }
}

/// Whether standard output shows emoji. Determined at the first call.
fn stdout_shows_emoji() -> bool {
    static SHOWS: OnceLock<bool> = OnceLock::new();
    *SHOWS.get_or_init(|| {
        let variable = |name| std::env::var(name).ok();
        let [all, ctype, lang] = ["LC_ALL", "LC_CTYPE", "LANG"].map(variable);
        shows_emoji(std::io::stdout().is_terminal(), all.as_deref(), ctype.as_deref(), lang.as_deref())
    })
}

impl fmt::Display for HeapStats {
    /// Prints the totals in one line. If events were lost, the line says which figures are lower bounds, and by how
    /// many blocks the other figures can be wrong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = at_least(&self.coverage);
        write!(f, "live {} blocks, {}; ", grouped(self.live_blocks), bytes(self.live_bytes))?;
        write!(f, "allocated {least}{} blocks, {}; ", grouped(self.total_blocks), bytes(self.total_bytes))?;
        write!(f, "freed {least}{} blocks, {}; ", grouped(self.freed_blocks), bytes(self.freed_bytes))?;
        write!(f, "peak {} blocks, {}", grouped(self.peak_blocks), bytes(self.peak_bytes))?;
        write_loss(f, &self.coverage, "live and peak")
    }
}

impl fmt::Display for Estimates {
    /// Prints the estimates with their standard errors in one line. If events were lost, the line says so, as for
    /// [`HeapStats`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = at_least(&self.coverage);
        let [live, live_bytes] = [self.live_blocks, self.live_bytes];
        let [total, total_bytes] = [self.total_blocks, self.total_bytes];
        let figure = |it: Estimate| {
            format!("{} ± {}", grouped(it.value as u64), grouped(it.standard_error.ceil() as u64))
        };
        write!(f, "live {} blocks, {} B; ", figure(live), figure(live_bytes))?;
        write!(f, "allocated {least}{} blocks, {least}{} B", figure(total), figure(total_bytes))?;
        write_loss(f, &self.coverage, "live")
    }
}

fn at_least(coverage: &Coverage) -> &'static str {
    if coverage.is_complete() { "" } else { "at least " }
}

/// Writes the number of lost events, if there are any. `others` names the figures that are not lower bounds.
fn write_loss(f: &mut fmt::Formatter<'_>, coverage: &Coverage, others: &str) -> fmt::Result {
    if coverage.is_complete() {
        return Ok(());
    }
    let Coverage { recorded_events, lost_events } = *coverage;
    let (lost, percent) = (grouped(lost_events), completeness_percent(recorded_events, lost_events));
    write!(
        f,
        " (lower bounds: {lost} events lost, {percent} recorded; {others} can be off by as many blocks)"
    )
}

/// An indicator that always prints with emoji, for chats and pages that show them. Without this wrapper, an indicator
/// prints emoji only to a terminal that shows them.
///
/// ```
/// use heapledger::{QualityIndicator, quality::WithEmoji};
///
/// let quality = QualityIndicator {
///     installed: true,
///     current_completeness: 0.942,
///     target_completeness: 0.95,
///     ..QualityIndicator::default()
/// };
/// assert!(WithEmoji(&quality).to_string().starts_with("📊 Data quality: 94.2% ⚠️ (target: 95%)"));
/// assert!(format!("{quality:#}").starts_with("Data quality: 94.2% (target: 95%)"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct WithEmoji<'a>(
    /// The indicator to print.
    pub &'a QualityIndicator,
);

impl fmt::Display for WithEmoji<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_indicator(self.0, f, &PICTURES)
    }
}

/// Whether emoji can be shown: only on a terminal with a UTF-8 locale. The arguments are the values of the environment
/// variables of the same names. The locale is the first of these values that is set and not empty, as POSIX defines.
///
/// ```
/// use heapledger::quality::shows_emoji;
/// assert!(shows_emoji(true, None, None, Some("en_US.UTF-8")));
/// assert!(!shows_emoji(true, Some("C"), None, Some("en_US.UTF-8")), "LC_ALL rules");
/// assert!(!shows_emoji(false, None, None, Some("en_US.UTF-8")), "not a terminal");
/// ```
pub fn shows_emoji(
    is_terminal: bool,
    lc_all: Option<&str>,
    lc_ctype: Option<&str>,
    lang: Option<&str>,
) -> bool {
    let locale = [lc_all, lc_ctype, lang].into_iter().flatten().find(|value| !value.is_empty());
    let is_utf8 = |locale: &str| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    };
    is_terminal && locale.is_some_and(is_utf8)
}

/// The texts that differ between the form with emoji and the plain form.
struct Marks {
    quality: &'static str,
    reached: &'static str,
    missed: &'static str,
    advice: &'static str,
}

const PLAIN: Marks = Marks { quality: "", reached: "", missed: "", advice: "" };
const PICTURES: Marks = Marks { quality: "📊 ", reached: " ✅", missed: " ⚠️", advice: "💡 " };

fn write_indicator(quality: &QualityIndicator, f: &mut fmt::Formatter<'_>, marks: &Marks) -> fmt::Result {
    if !quality.installed {
        return write!(f, "{}Data quality: unknown (no HeapLedger is the global allocator)", marks.quality);
    }
    let (current, target) = (quality.current_completeness, quality.target_completeness);
    let mark = if current >= target { marks.reached } else { marks.missed };
    write!(
        f,
        "{}Data quality: {}{mark} (target: {})",
        marks.quality,
        floored(current, 1),
        share_percent(target)
    )?;
    let lost = quality.lost.total();
    write!(f, "\n  recorded {} of {} events; ", grouped(quality.recorded), grouped(quality.attempted))?;
    write!(f, "{} lost", grouped(lost))?;
    for (index, (reason, events)) in quality.lost.iter().filter(|(_, events)| *events > 0).enumerate() {
        let separator = if index == 0 { ": " } else { ", " };
        write!(f, "{separator}{} {}", reason.name(), grouped(events))?;
    }
    write!(f, "; {} in flight", grouped(quality.in_flight))?;
    if quality.sampled_out > 0 {
        write!(f, "; {} left out by sampling", grouped(quality.sampled_out))?;
    }
    if quality.anomalies.total() > 0 {
        write!(f, "; {} anomalies", grouped(quality.anomalies.total()))?;
    }
    if let Some(windowed) = quality.windowed_completeness {
        write!(f, "; lately {}", floored(windowed, 1))?;
    }
    if let Some(trend) = trend_name(quality.trend) {
        write!(f, "; trend {trend}")?;
    }
    if !quality.recommendation.is_empty() {
        write!(f, "\n  {}Recommendation: {}", marks.advice, quality.recommendation)?;
    }
    Ok(())
}

/// Returns the word for a trend, or `None` if the trend is unknown.
fn trend_name(trend: CompletenessTrend) -> Option<&'static str> {
    match trend {
        CompletenessTrend::Improving => Some("improving"),
        CompletenessTrend::Stable => Some("stable"),
        CompletenessTrend::Degrading => Some("degrading"),
        CompletenessTrend::Unknown => None,
    }
}

/// Returns recorded ÷ (recorded + lost) in percent with three decimal places, rounded down. So `100.000 %` means that
/// no event was lost. The result is exact for every pair of counts.
///
/// ```
/// use heapledger::quality::completeness_percent;
/// assert_eq!(completeness_percent(9_999_999, 1), "99.999 %");
/// assert_eq!(completeness_percent(5, 0), "100.000 %");
/// assert_eq!(completeness_percent(0, 0), "100.000 %");
/// ```
pub fn completeness_percent(recorded: u64, lost: u64) -> String {
    let resolved = u128::from(recorded) + u128::from(lost);
    let thousandths = (u128::from(recorded) * 100_000).checked_div(resolved).unwrap_or(100_000);
    format!("{}.{:03} %", thousandths / 1_000, thousandths % 1_000)
}

/// Returns a share from 0 to 1 in percent, rounded down to `places` decimal places, or `unknown` if the share is not a
/// number.
fn floored(share: f64, places: u32) -> String {
    if !share.is_finite() {
        return "unknown".into();
    }
    let scale = 10u64.pow(places);
    let hundred = 100 * scale;
    // The small addend corrects the rounding of floating-point numbers: 0.57 × 100 gives 56.99999999999999.
    let mut units = (share.clamp(0.0, 1.0) * hundred as f64 + 1e-6).floor() as u64;
    if share < 1.0 {
        units = units.min(hundred - 1);
    }
    match places {
        0 => format!("{units}%"),
        _ => format!("{}.{:0width$}%", units / scale, units % scale, width = places as usize),
    }
}

/// Returns a share from 0 to 1 in percent, rounded down to three decimal places, without trailing zeros. Returns
/// `unknown` if the share is not a number.
pub fn share_percent(share: f64) -> String {
    let full = floored(share, 3);
    match full.strip_suffix('%') {
        Some(digits) => format!("{}%", digits.trim_end_matches('0').trim_end_matches('.')),
        None => full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{LossCounts, LossReason};

    fn seed_example() -> QualityIndicator {
        let mut lost = LossCounts::default();
        lost.add(LossReason::RingFull, 58);
        QualityIndicator {
            installed: true,
            current_completeness: 0.942,
            target_completeness: 0.95,
            trend: CompletenessTrend::Degrading,
            recommendation: "set HEAPLEDGER_MODE=perfect".into(),
            attempted: 1_000,
            recorded: 942,
            lost,
            ..QualityIndicator::default()
        }
    }

    /// Returns the text without pictures, even if the tests run on a terminal.
    fn plain(quality: &QualityIndicator) -> String {
        format!("{quality:#}")
    }

    #[test]
    fn an_indicator_prints_as_promised() {
        let expected = "Data quality: 94.2% (target: 95%)\n  \
            recorded 942 of 1,000 events; 58 lost: ring_full 58; 0 in flight; trend degrading\n  \
            Recommendation: set HEAPLEDGER_MODE=perfect";
        assert_eq!(plain(&seed_example()), expected);
    }

    #[test]
    fn what_the_windows_say_is_shown_next_to_the_lifetime() {
        let mut quality = seed_example();
        quality.windowed_completeness = Some(0.9177);
        assert!(plain(&quality).contains("; 0 in flight; lately 91.7%; trend degrading\n"));
        (quality.windowed_completeness, quality.trend) = (None, CompletenessTrend::Unknown);
        assert!(plain(&quality).contains("; 0 in flight\n"), "nothing is said when nothing is known");
    }

    #[test]
    fn pictures_need_a_terminal_and_a_locale_that_shows_them() {
        let utf8 = Some("de_DE.utf8");
        assert!(shows_emoji(true, Some(""), utf8, Some("C")));
        for (terminal, all, ctype, lang) in
            [(false, utf8, utf8, utf8), (true, None, None, None), (true, None, Some("POSIX"), utf8)]
        {
            assert!(!shows_emoji(terminal, all, ctype, lang));
        }
    }

    #[test]
    fn the_form_with_pictures_says_whether_the_target_is_reached() {
        let mut quality = seed_example();
        assert!(WithEmoji(&quality).to_string().contains("94.2% ⚠️ (target: 95%)"));
        assert!(WithEmoji(&quality).to_string().contains("💡 Recommendation:"));
        quality.current_completeness = 0.96;
        assert!(WithEmoji(&quality).to_string().contains("96.0% ✅"));
    }

    #[test]
    fn figures_after_loss_say_that_they_are_lower_bounds() {
        let mut stats = HeapStats { total_blocks: 460_370, live_blocks: 3, ..HeapStats::default() };
        assert_eq!(
            stats.to_string(),
            "live 3 blocks, 0 B; allocated 460,370 blocks, 0 B; freed 0 blocks, 0 B; peak 0 blocks, 0 B"
        );
        stats.coverage = Coverage { recorded_events: 1_000_000, lost_events: 3_000_000 };
        let text = stats.to_string();
        assert!(text.contains("allocated at least 460,370 blocks"), "{text}");
        assert!(
            text.contains("(lower bounds: 3,000,000 events lost, 25.000 % recorded; live and peak"),
            "{text}"
        );
        let mut estimates = Estimates::default();
        assert!(!estimates.to_string().contains("at least"), "{estimates}");
        estimates.coverage = stats.coverage;
        assert!(estimates.to_string().contains("at least 0 ± 0 blocks"), "{estimates}");
        assert!(estimates.to_string().contains("3,000,000 events lost"), "{estimates}");
    }

    #[test]
    fn nothing_is_claimed_when_no_ledger_is_installed() {
        assert!(plain(&QualityIndicator::default()).starts_with("Data quality: unknown"));
    }

    #[test]
    fn completeness_is_rounded_down_and_decimals_stay_what_they_are() {
        assert_eq!(floored(0.999_999, 1), "99.9%");
        assert_eq!(floored(0.999_999_999_999, 1), "99.9%");
        assert_eq!(floored(1.0, 1), "100.0%");
        assert_eq!((floored(0.57, 0).as_str(), share_percent(0.99999).as_str()), ("57%", "99.999%"));
        assert_eq!((floored(f64::NAN, 1).as_str(), share_percent(0.9).as_str()), ("unknown", "90%"));
    }

    #[test]
    fn one_lost_event_among_the_most_there_can_be_still_shows() {
        assert_eq!(completeness_percent(u64::MAX, 1), "99.999 %");
        assert_eq!(completeness_percent(0, u64::MAX), "0.000 %");
        assert_eq!(completeness_percent(2, 1), "66.666 %");
    }
}
