//! Report of a running process, from the page of figures that the process keeps up to date.

use std::io::{self, Write};

use heapledger::live::{Live, LiveSite};
use heapledger::profile::LossReason;

use super::escape::escaped;
use super::text_page::{Layout, TextPage, Tone};
use super::units::{bytes, bytes_exact, count, counted, duration};
use crate::analysis::LiveNames;

/// Writes the figures of a running process. `now_unix_ns` is the current time in nanoseconds since 1970, for the age of
/// the figures.
///
/// # Errors
///
/// Returns an error if `out` does.
pub fn write_live(
    live: &Live,
    names: &LiveNames,
    now_unix_ns: u64,
    layout: &Layout,
    out: &mut impl Write,
) -> io::Result<()> {
    let page = &mut TextPage::new(out, layout);
    page.line(&title(live, now_unix_ns))?;
    page.heading("Now")?;
    now(page, live)?;
    page.heading("Sites")?;
    sites(page, live, names)?;
    if !live.scopes.is_empty() {
        page.heading("Scopes")?;
        scopes(page, live)?;
    }
    page.line("")?;
    let withheld = "Not known of a running process: live blocks one by one, leaks, lifetimes, threads, and sites beyond these. \
                    A dump has them.";
    page.note(withheld, 0, Tone::Faint)
}

/// Returns the first line of the report: the process, and the age of the figures.
pub fn title(live: &Live, now_unix_ns: u64) -> String {
    let program = if live.program.is_empty() { "process".to_owned() } else { escaped(&live.program) };
    let state = if live.has_ended { "ended" } else { "live" };
    let age = duration(now_unix_ns.saturating_sub(live.written_unix_ns));
    format!("{program} ({}), {state}: recorded for {}, figures of {age} ago", live.pid, duration(live.at_ns))
}

/// Returns the completeness in one sentence.
pub fn completeness(live: &Live) -> String {
    let quality = &live.quality;
    let share = 100.0 * quality.completeness();
    // After a loss, rounding must not yield 100 %.
    let share = if quality.lost.total() > 0 { share.min(99.999) } else { share };
    let mut text = format!("{share:.3} % of {}", counted(quality.attempted, "event", "events"));
    for reason in LossReason::ALL {
        let lost = quality.lost.get(reason);
        if lost > 0 {
            text += &format!("; {} lost as {}", count(lost), reason.name());
        }
    }
    if quality.in_flight > 0 {
        text += &format!("; {} not booked yet", count(quality.in_flight));
    }
    if quality.sampled_out > 0 {
        text +=
            &format!("; {} sampled out: in the totals, not in sites and scopes", count(quality.sampled_out));
    }
    if quality.anomalies.total() > 0 {
        text += &format!("; {}", counted(quality.anomalies.total(), "anomaly", "anomalies"));
    }
    text
}

/// Returns three figures on the last second: blocks allocated per second, bytes allocated per second, and the change of
/// the live bytes. Returns `None` if the process has written fewer than two intervals.
pub fn rates(live: &Live) -> Option<(u64, u64, i64)> {
    let last = live.intervals.last()?;
    let from = live
        .intervals
        .iter()
        .rposition(|interval| last.end_ns.saturating_sub(interval.end_ns) >= 1_000_000_000);
    let from = from.unwrap_or(0);
    let span_ns = last.end_ns.checked_sub(live.intervals.get(from)?.end_ns).filter(|ns| *ns > 0)?;
    let (mut blocks, mut allocated) = (0u64, 0u64);
    for interval in live.intervals.get(from + 1..)? {
        blocks = blocks.saturating_add(interval.allocated_blocks);
        allocated = allocated.saturating_add(interval.allocated_bytes);
    }
    let per_second =
        |sum: u64| u64::try_from(u128::from(sum) * 1_000_000_000 / u128::from(span_ns)).unwrap_or(u64::MAX);
    let change = last.live_bytes.wrapping_sub(live.intervals[from].live_bytes) as i64;
    Some((per_second(blocks), per_second(allocated), change))
}

fn now(page: &mut TextPage<'_>, live: &Live) -> io::Result<()> {
    let (totals, quality) = (&live.totals, &live.quality);
    let tone = if quality.lost.total() > 0 { Tone::Bad } else { Tone::Good };
    page.toned("completeness", &completeness(live), tone)?;
    let blocks = counted(totals.live_blocks, "block", "blocks");
    page.fact("live", &format!("{} in {blocks}", bytes_exact(totals.live_bytes)))?;
    page.fact("peak so far", &bytes_exact(totals.peak_bytes))?;
    let resident = live.resident_bytes.map_or("not known".to_owned(), bytes);
    page.fact("resident", &format!("{resident}, of the whole process"))?;
    let total = counted(totals.total_blocks, "block", "blocks");
    page.fact("allocated", &format!("{} in {total}", bytes_exact(totals.total_bytes)))?;
    if let Some((blocks, allocated, change)) = rates(live) {
        let rate = format!(
            "{} blocks/s, {}/s; live {} a second",
            count(blocks),
            bytes(allocated),
            signed_bytes(change)
        );
        page.fact("last second", &rate)?;
    }
    let cost = format!("{}, {} of processor time", bytes(quality.own_bytes), duration(quality.own_cpu_ns));
    page.fact("heapledger", &cost)
}

/// Returns a change of bytes with its sign.
pub fn signed_bytes(change: i64) -> String {
    let sign = if change < 0 { "-" } else { "+" };
    format!("{sign}{}", bytes(change.unsigned_abs()))
}

/// Returns two texts on a site: the function that a report names for it, and the file and line of that function.
pub fn place_of(site: &LiveSite, names: &LiveNames) -> (String, String) {
    match names.of(site.stack).and_then(|stack| stack.place()) {
        Some(frame) if frame.file.is_empty() => (escaped(&frame.name), String::new()),
        Some(frame) => {
            let file = frame.file.rsplit('/').take(2).collect::<Vec<_>>();
            let file: Vec<&str> = file.into_iter().rev().collect();
            (escaped(&frame.name), escaped(&format!("{}:{}", file.join("/"), frame.line)))
        }
        None => ("(no stack)".to_owned(), String::new()),
    }
}

fn sites(page: &mut TextPage<'_>, live: &Live, names: &LiveNames) -> io::Result<()> {
    if live.sites.is_empty() {
        return page.line("  none");
    }
    page.line(&format!("  {:>11} {:>12} {:>11}  place", "live", "growth", "blocks"))?;
    let shown = page.layout.rows.max(1);
    for site in live.sites.iter().take(shown) {
        let growth = site.growth_bytes.map_or("n/a".to_owned(), signed_bytes);
        let (name, file) = place_of(site, names);
        let place = if file.is_empty() { name } else { format!("{name} ({file})") };
        page.line(&format!(
            "  {:>11} {growth:>12} {:>11}  {place}",
            bytes(site.live_bytes),
            count(site.live_blocks)
        ))?;
    }
    let (all, over) = (counted(live.sites_known, "site", "sites"), duration(live.growth_ns));
    let mut note = format!("{} of {all}; growth over {over}", count(live.sites.len().min(shown) as u64));
    if live.sites_seen < live.sites_known {
        note += &format!(
            "; {} are looked at in each writing, so a new one can be missing",
            count(live.sites_seen)
        );
    }
    page.note(&note, 2, Tone::Faint)
}

fn scopes(page: &mut TextPage<'_>, live: &Live) -> io::Result<()> {
    page.line(&format!("  {:>11} {:>12} {:>11}  scope", "live", "growth", "peak"))?;
    for scope in live.scopes.iter().take(page.layout.rows.max(1)) {
        let (now, growth, peak) =
            (bytes(scope.live_bytes), signed_bytes(scope.growth_bytes), bytes(scope.peak_bytes));
        page.line(&format!("  {now:>11} {growth:>12} {peak:>11}  {}", escaped(&scope.name)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use heapledger::live::{LiveInterval, LiveScope};
    use heapledger::profile::LossCounts;

    use super::*;

    fn live() -> Live {
        let mut live = Live::default();
        (live.pid, live.program) = (7, "app\u{1b}[2J".to_owned());
        (live.at_ns, live.written_unix_ns, live.growth_ns) = (90_000_000_000, 1_000_000_000, 40_000_000_000);
        (live.totals.live_bytes, live.totals.live_blocks) = (2_048, 2);
        (live.quality.attempted, live.quality.recorded) = (1_000_000, 1_000_000);
        live.sites_known = 9;
        live.sites = vec![LiveSite { live_bytes: 2_048, growth_bytes: Some(-100), ..LiveSite::default() }];
        live.scopes = vec![LiveScope { name: "GET /".to_owned(), growth_bytes: 5, ..LiveScope::default() }];
        let at = |end_ns, live_bytes, allocated_blocks| LiveInterval {
            end_ns,
            live_bytes,
            allocated_blocks,
            ..LiveInterval::default()
        };
        live.intervals = vec![at(1, 100, 9), at(1_000_000_001, 50, 4), at(2_000_000_001, 2_048, 10)];
        live
    }

    fn text(live: &Live) -> String {
        let mut out = Vec::new();
        write_live(live, &LiveNames::default(), 1_200_000_000, &Layout::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_running_process_is_called_live_and_what_is_not_known_is_said() {
        let text = text(&live());
        for line in [
            "app\\u{1b}[2J (7), live: recorded for 1 min 30 s, figures of 200.0 ms ago",
            "100.000 % of 1,000,000 events",
            "10 blocks/s, 0 B/s; live +2.0 KiB a second",
            "-100 B",
            "GET /",
            "1 of 9 sites; growth over 40.0 s",
            "Not known of a running process",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("killed") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_lost_event_never_reads_as_all_of_them() {
        let mut live = live();
        let mut lost = LossCounts::default();
        lost.add(LossReason::RingFull, 1);
        (live.quality.lost, live.quality.recorded) = (lost, 999_999_999);
        assert!(completeness(&live).starts_with("99.999 % of 1,000,000 events; 1 lost as ring_full"));
    }

    #[test]
    fn rates_of_any_intervals_are_finite() {
        let mut live = live();
        for interval in &mut live.intervals {
            (interval.end_ns, interval.allocated_blocks) = (u64::MAX, u64::MAX);
        }
        assert_eq!(rates(&live), None);
        live.intervals.clear();
        assert_eq!(rates(&live), None);
    }
}
