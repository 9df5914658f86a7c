//! Converts the words of a live page to plain data. No value is trusted, because any program may have written the file
//! of a page.

use super::model::{Live, LiveInterval, LiveQuality, LiveScope, LiveSite};
use super::page::{
    Content, IntervalWords, LIVE_INTERVALS_MAX, Quality, ScopeWords, SiteWords, UNKNOWN, UNKNOWN_GROWTH,
};
use crate::profile::{Anomalies, Coverage, HeapStats, LossCounts};

/// Returns the figures in the content of a page. The name of the program and the loaded objects are not in the page, so
/// they stay empty.
pub(crate) fn decode(content: &Content, writes: u64, has_ended: bool) -> Live {
    let quality = quality(&content.quality);
    let mut sites: Vec<LiveSite> = kept(&content.sites, content.site_count).iter().map(site).collect();
    sites.sort_by_key(|site| (u64::MAX - site.live_bytes, site.stack));
    let mut scopes: Vec<LiveScope> = kept(&content.scopes, content.scope_count).iter().map(scope).collect();
    scopes.sort_by_key(|scope| (u64::MAX - scope.live_bytes, scope.number));
    Live {
        pid: content.pid as u32,
        program: String::new(),
        started_unix_ns: content.started_unix_ns,
        at_ns: content.at_ns,
        written_unix_ns: content.written_unix_ns,
        writes,
        interval_ns: content.interval_ns,
        cost_ns: content.cost_ns,
        has_ended,
        totals: totals(&content.totals, &quality),
        quality,
        resident_bytes: known(content.resident_bytes),
        sites_known: content.sites_known,
        sites_seen: content.sites_seen,
        scopes_known: content.scopes_known,
        growth_ns: content.growth_ns,
        sites,
        scopes,
        intervals: intervals(content),
        modules: Vec::new(),
    }
}

fn kept<T>(rows: &[T], count: u64) -> &[T] {
    &rows[..usize::try_from(count).unwrap_or(usize::MAX).min(rows.len())]
}

fn known(figure: u64) -> Option<u64> {
    (figure != UNKNOWN).then_some(figure)
}

fn totals(words: &[u64; 10], quality: &LiveQuality) -> HeapStats {
    let [total_blocks, total_bytes, freed_blocks, freed_bytes, ..] = *words;
    let [.., live_blocks, live_bytes, peak_blocks, peak_bytes, reallocs, failed] = *words;
    let coverage = Coverage { recorded_events: quality.recorded, lost_events: quality.lost.total() };
    HeapStats {
        total_blocks,
        total_bytes,
        freed_blocks,
        freed_bytes,
        live_blocks,
        live_bytes,
        peak_blocks,
        peak_bytes,
        reallocs,
        failed,
        coverage,
    }
}

/// Returns totals as the words of a page.
pub(crate) fn words_of(totals: &HeapStats) -> [u64; 10] {
    [
        totals.total_blocks,
        totals.total_bytes,
        totals.freed_blocks,
        totals.freed_bytes,
        totals.live_blocks,
        totals.live_bytes,
        totals.peak_blocks,
        totals.peak_bytes,
        totals.reallocs,
        totals.failed,
    ]
}

fn quality(words: &Quality) -> LiveQuality {
    let [unmatched_frees, double_allocations, ambiguous_pairings, layout_mismatches] = words.anomalies;
    LiveQuality {
        attempted: words.attempted,
        recorded: words.recorded,
        in_flight: words.in_flight,
        lost: LossCounts::from_counts(words.lost),
        sampled_out: words.sampled_out,
        anomalies: Anomalies { unmatched_frees, double_allocations, ambiguous_pairings, layout_mismatches },
        own_bytes: words.own_bytes,
        own_cpu_ns: words.own_cpu_ns,
    }
}

fn site(words: &SiteWords) -> LiveSite {
    LiveSite {
        stack: words.stack_and_scope as u32,
        scope: (words.stack_and_scope >> 32) as u32,
        total_blocks: words.total_blocks,
        total_bytes: words.total_bytes,
        live_blocks: words.live_blocks,
        live_bytes: words.live_bytes,
        growth_bytes: (words.growth_bytes != UNKNOWN_GROWTH).then_some(words.growth_bytes as i64),
        frames: kept(&words.frames, words.frame_count & u64::from(u32::MAX)).to_vec(),
        is_cut: words.frame_count >> 32 != 0,
    }
}

fn scope(words: &ScopeWords) -> LiveScope {
    let name = String::from_utf8_lossy(kept(&words.name, words.name_bytes));
    LiveScope {
        number: words.number_and_parent as u32,
        parent: (words.number_and_parent >> 32) as u32,
        // A name that is too long is cut at its start, perhaps within a character.
        name: name.trim_start_matches(char::REPLACEMENT_CHARACTER).to_owned(),
        total_blocks: words.total_blocks,
        total_bytes: words.total_bytes,
        live_blocks: words.live_blocks,
        live_bytes: words.live_bytes,
        peak_bytes: words.peak_bytes,
        growth_bytes: words.growth_bytes as i64,
    }
}

fn intervals(content: &Content) -> Vec<LiveInterval> {
    let count = content.interval_count;
    let first = count.saturating_sub(LIVE_INTERVALS_MAX as u64);
    (first..count)
        .map(|number| interval(&content.intervals[(number % LIVE_INTERVALS_MAX as u64) as usize]))
        .collect()
}

fn interval(words: &IntervalWords) -> LiveInterval {
    LiveInterval {
        end_ns: words.end_ns,
        live_bytes: words.live_bytes,
        allocated_blocks: words.allocated_blocks,
        allocated_bytes: words.allocated_bytes,
        freed_blocks: words.freed_blocks,
        freed_bytes: words.freed_bytes,
        lost: words.lost,
        resident_bytes: known(words.resident_bytes),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::page::LivePage;
    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_newest_minute_is_kept() {
        let (page, mut content, mut read) = (LivePage::zeroed(), Content::zeroed(), Content::zeroed());
        page.begin();
        content.pid = 7;
        content.totals =
            words_of(&HeapStats { total_blocks: 3, live_bytes: 5, failed: 9, ..HeapStats::default() });
        content.quality.recorded = 3;
        content.site_count = 2;
        content.sites[0].live_bytes = 10;
        (content.sites[1].live_bytes, content.sites[1].stack_and_scope) = (20, 4 << 32 | 6);
        (content.sites[1].frames[0], content.sites[1].frame_count) = (0xF00, 1 << 32 | 1);
        content.sites[1].growth_bytes = -5i64 as u64;
        content.interval_count = 241;
        content.intervals[0].end_ns = 240;
        content.intervals[1].end_ns = 1;
        content.resident_bytes = UNKNOWN;
        page.write(&content);
        let writes = page.read(&mut read).unwrap();
        let live = decode(&read, writes, page.has_ended());
        assert!(live.writes == 1 && !live.has_ended);
        assert_eq!(
            (live.pid, live.totals.total_blocks, live.totals.live_bytes, live.totals.failed),
            (7, 3, 5, 9)
        );
        assert_eq!((live.quality.completeness(), live.resident_bytes), (1.0, None));
        let first = &live.sites[0];
        assert_eq!((first.live_bytes, first.stack, first.scope, first.growth_bytes), (20, 6, 4, Some(-5)));
        assert!(first.frames == [0xF00] && first.is_cut);
        assert_eq!(live.intervals.len(), 240);
        assert_eq!((live.intervals[0].end_ns, live.intervals[239].end_ns), (1, 240));
    }

    #[test]
    fn any_words_decode() {
        let mut content = Content::zeroed();
        for fill in [1, u64::MAX / 2, u64::MAX] {
            content.fill_with(fill);
            let live = decode(&content, fill, true);
            assert!(live.sites.len() <= 64 && live.intervals.len() <= 240);
        }
    }

    #[test]
    fn a_page_of_another_layout_and_one_without_content_are_told_apart() {
        use super::super::page::Unread;
        let (page, mut content) = (LivePage::zeroed(), Content::zeroed());
        assert_eq!(page.read(&mut content), Err(Unread::OtherLayout));
        page.begin();
        assert_eq!(page.read(&mut content), Err(Unread::Unwritten));
        page.change_layout();
        assert_eq!(page.read(&mut content), Err(Unread::OtherLayout));
    }
}
