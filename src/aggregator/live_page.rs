//! The writer of the live page (`crate::live`), on the background thread.
//!
//! The live page has figures of the running process, which other processes read. To write the page, the writer flushes
//! the ledger, so that the totals have every event whose call has returned. Then the writer reads the sums of sites and
//! scopes one by one, and publishes all figures. It reads no more than [`LIVE_SITES_SEEN_MAX`] sites for one writing.
//! The pause after a writing is at least a hundred times the writing's processor time, so the page costs at most a
//! hundredth of a processor. If nothing has changed and nobody reads, the page is not written for some seconds
//! ([`Schedule`]).

use super::background::{self, BACKGROUND};
use super::counters;
use super::highest::{Growth, Highest};
use super::live_file::LiveFile;
use super::live_schedule::{READ_INTERVAL_NS, Schedule};
use super::snapshot;
use crate::dump;
use crate::fold::state::Fold;
use crate::ledger::Ledger;
use crate::ledger::scopes::SCOPES_MAX;
use crate::live::decode::words_of;
use crate::live::page::{
    Content, IntervalWords, LIVE_FRAMES_MAX, LIVE_INTERVALS_MAX, LIVE_PAGE_BYTES, LIVE_SCOPES_MAX,
    LIVE_SITES_MAX, LivePage, NAME_BYTES, Quality, ScopeWords, SiteWords, UNKNOWN, UNKNOWN_GROWTH,
};
#[cfg(feature = "serve")]
use crate::live::{Live, decode::decode};
use crate::profile::{HeapStats, LossReason, QualityIndicator, scope_of_address};
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::state;
use crate::stack::intern::Store;
use crate::sys::pages::{For, PAGE_BYTES};
use crate::sys::platform;
use crate::sys::sync::Ordering;

/// Maximum number of sites that are read for one writing. The other sites are read for the next writings.
const LIVE_SITES_SEEN_MAX: u32 = 8_192;
/// Maximum number of sites whose growth is measured (24 bytes each).
const GROWTH_SITES_MAX: usize = 65_536;
/// Maximum number of steps that a thread waits for the latch of the page's file.
const FILE_ROUNDS: u32 = 2_000;

/// The writer of the live page.
pub(super) struct LiveWriter {
    page: &'static LivePage,
    /// The copy of the page in a separate file, if there is such a file. The copy stays mapped.
    page_in_file: Option<&'static LivePage>,
    content: Box<Content>,
    sites: Growth,
    scopes: Growth,
    /// Number of the first site that is read for the next writing.
    next_site: u32,
    schedule: Schedule,
    /// Whether events were recorded, or objects loaded, since the last writing.
    is_changed: bool,
    /// The latest time at which nothing had changed since the last writing, in nanoseconds.
    unchanged_ns: u64,
    before: (HeapStats, u64),
}

impl LiveWriter {
    /// Makes the page and its writer, if the settings ask for a page. Allocates, so the function must be called in an
    /// internal scope.
    pub(super) fn begin(ledger: &'static Ledger) -> Option<LiveWriter> {
        if !state::options().has_live_page() {
            return None;
        }
        let number = ledger.pages.take((LIVE_PAGE_BYTES / PAGE_BYTES) as u32, For::Tables)?;
        // SAFETY: P2, the run is ours, zeroed, as long as a live page, and never given back.
        let page: &'static LivePage = unsafe { &*ledger.pages.at(number).cast::<LivePage>() };
        page.begin();
        ledger.facts.publish_live_page(number);
        // relaxed: written before the ledger was published.
        let is_child = ledger.facts.forked_from.load(Ordering::Relaxed) != 0;
        let file = LiveFile::open(is_child);
        let mut content = Content::zeroed();
        content.pid = u64::from(platform::process_id());
        content.interval_ns = READ_INTERVAL_NS;
        let page_in_file = file.as_ref().map(LiveFile::page);
        BACKGROUND.live_file.with(FILE_ROUNDS, |live| *live = file);
        let mut writer = LiveWriter {
            page,
            page_in_file,
            content,
            sites: Growth::new(GROWTH_SITES_MAX),
            scopes: Growth::new(SCOPES_MAX as usize + 1),
            next_site: 0,
            schedule: Schedule::default(),
            is_changed: true,
            unchanged_ns: 0,
            before: Default::default(),
        };
        writer.write_metadata(ledger);
        Some(writer)
    }

    /// Writes the name and the loaded objects of the process into the page's separate file. A black box contains them
    /// in any case.
    fn write_metadata(&mut self, ledger: &'static Ledger) {
        BACKGROUND.live_file.with(1, |file| {
            let Some(file) = file else { return };
            let mut bytes = Vec::new();
            if dump::write_to(&mut bytes, &snapshot::metadata(ledger)).is_ok() {
                (self.content.metadata_start, self.content.metadata_bytes) = file.set_metadata(&bytes);
            }
        });
    }

    /// Returns the pause between two writings if somebody reads the page, in nanoseconds.
    pub(super) fn pause_for_reader_ns(&self) -> Option<u64> {
        self.schedule.interval_of_reader_ns()
    }

    /// Writes the page, if it is time to do so. Writes the metadata, if objects were loaded or unloaded. The caller
    /// holds the latch of the background thread.
    pub(super) fn write(
        &mut self,
        ledger: &'static Ledger,
        scope: &InternalScope,
        are_events_new: bool,
        are_objects_new: bool,
    ) {
        if are_objects_new {
            self.write_metadata(ledger);
        }
        self.is_changed |= are_events_new || are_objects_new;
        let now_ns = ledger.clock.now_ns();
        let readings = |page: &LivePage| page.readings();
        let in_file = self.page_in_file.map_or(0, readings);
        self.schedule.look(now_ns, readings(self.page).wrapping_add(in_file));
        if !self.schedule.may_be_due(now_ns) {
            return;
        }
        let have_changed = self.have_figures_changed(ledger);
        if !have_changed {
            self.unchanged_ns = now_ns;
        }
        if self.schedule.is_due(now_ns, have_changed) {
            self.write_now(ledger, scope, now_ns);
        }
    }

    /// Whether a figure of the program has changed since the last writing. The totals are compared as well, because
    /// events that are only counted write nothing to a lane.
    fn have_figures_changed(&self, ledger: &Ledger) -> bool {
        let has_changed = || {
            let (stats, before) = (counters::stats(ledger), &self.before.0);
            words_of(&stats) != words_of(before) || stats.coverage.lost_events != before.coverage.lost_events
        };
        self.is_changed || has_changed()
    }

    fn write_now(&mut self, ledger: &'static Ledger, scope: &InternalScope, now_ns: u64) {
        let cpu_ns = platform::thread_cpu_ns();
        background::flush(ledger, scope);
        self.sites.begin(now_ns, ledger.sites.count() as usize);
        self.scopes.begin(now_ns, ledger.scopes.count() as usize + 1);
        self.is_changed = false;
        self.add_unchanged_interval(now_ns);
        self.content.resident_bytes = platform::resident_bytes().unwrap_or(UNKNOWN);
        {
            let _paused = RecordingPaused::enter(scope);
            commit_sites(ledger);
            self.copy(ledger, now_ns);
        }
        self.page.write(&self.content);
        BACKGROUND.live_file.with(1, |file| {
            if let Some(file) = file {
                file.page().write(&self.content);
            }
        });
        let cost_ns = platform::thread_cpu_ns().saturating_sub(cpu_ns);
        self.schedule.note_writing(now_ns, cost_ns);
        (self.content.cost_ns, self.content.interval_ns) = (cost_ns, self.schedule.interval_ns());
    }

    /// Copies all figures into `content`. Allocates nothing.
    fn copy(&mut self, ledger: &Ledger, now_ns: u64) {
        let (stats, quality) = (counters::stats(ledger), counters::quality(ledger));
        let content = &mut *self.content;
        // relaxed: written before the ledger was published.
        content.started_unix_ns = ledger.facts.started_unix_ns.load(Ordering::Relaxed);
        content.written_unix_ns = platform::unix_time_ns();
        content.at_ns = now_ns;
        content.totals = words_of(&stats);
        content.quality = quality_words(&quality);
        content.growth_ns = self.sites.over_ns(now_ns);
        self.add_interval(&stats, quality.lost.total());
        self.copy_sites(ledger);
        self.copy_scopes(ledger);
    }

    /// Adds an interval from the last writing to the latest time at which nothing had changed, so that the changes are
    /// in the interval after that time.
    fn add_unchanged_interval(&mut self, now_ns: u64) {
        let content = &mut *self.content;
        if content.interval_count > 0 && (content.at_ns + 1..now_ns).contains(&self.unchanged_ns) {
            push_interval(
                content,
                IntervalWords {
                    end_ns: self.unchanged_ns,
                    live_bytes: self.before.0.live_bytes,
                    resident_bytes: content.resident_bytes,
                    ..IntervalWords::default()
                },
            );
        }
    }

    fn add_interval(&mut self, stats: &HeapStats, lost: u64) {
        let content = &mut *self.content;
        let (before, lost_before) = &self.before;
        let interval = IntervalWords {
            end_ns: content.at_ns,
            live_bytes: stats.live_bytes,
            allocated_blocks: stats.total_blocks.wrapping_sub(before.total_blocks),
            allocated_bytes: stats.total_bytes.wrapping_sub(before.total_bytes),
            freed_blocks: stats.freed_blocks.wrapping_sub(before.freed_blocks),
            freed_bytes: stats.freed_bytes.wrapping_sub(before.freed_bytes),
            lost: lost.saturating_sub(*lost_before),
            resident_bytes: content.resident_bytes,
        };
        push_interval(content, interval);
        self.before = (*stats, lost);
    }

    fn copy_sites(&mut self, ledger: &Ledger) {
        let count = ledger.sites.count();
        let seen = count.min(LIVE_SITES_SEEN_MAX);
        let (mut by_live, mut by_growth) =
            (Highest::<LIVE_SITES_MAX>::new(), Highest::<LIVE_SITES_MAX>::new());
        let content = &mut *self.content;
        let (pages, growth) = (&ledger.pages, &mut self.sites);
        let begin = if count == 0 { 0 } else { self.next_site % count };
        // First the sites that the page listed last, then the next sites.
        let mut listed = [0u32; 2 * LIVE_SITES_MAX];
        let kept = content.site_count as usize;
        for (number, site) in listed.iter_mut().zip(&content.sites[..kept]) {
            *number = site.stack_and_scope as u32;
        }
        let next = (0..seen).map(|step| (begin + step) % count);
        let is_next = |site: u32| (site + count - begin) % count.max(1) < seen;
        let earlier = listed[..kept].iter().copied().filter(|site| !is_next(*site));
        for site in earlier.chain(next) {
            let Some(sums) = ledger.sites.sums(pages, site) else { continue };
            let live = sums.live_bytes();
            by_live.offer(live, site);
            by_growth.offer(growth.of(site, live).unwrap_or(0), site);
        }
        self.next_site = begin + seen;
        (content.sites_known, content.sites_seen) = (u64::from(count), u64::from(seen));
        content.site_count = 0;
        for site in by_live.rows().chain(by_growth.rows()) {
            let at = content.site_count as usize;
            if content.sites[..at].iter().any(|other| other.stack_and_scope as u32 == site) {
                continue;
            }
            let Some(sums) = ledger.sites.sums(pages, site) else { continue };
            let words = &mut content.sites[at];
            words.stack_and_scope = u64::from(site);
            (words.total_blocks, words.total_bytes) = (sums.total_blocks, sums.total_bytes);
            words.live_blocks = sums.live_blocks().max(0) as u64;
            words.live_bytes = sums.live_bytes().max(0) as u64;
            words.growth_bytes =
                growth.of(site, sums.live_bytes()).map_or(UNKNOWN_GROWTH, |growth| growth as u64);
            copy_frames(ledger, site, words);
            content.site_count += 1;
        }
    }

    fn copy_scopes(&mut self, ledger: &Ledger) {
        let (pages, count) = (&ledger.pages, ledger.scopes.count());
        let (mut by_live, mut by_growth) =
            (Highest::<LIVE_SCOPES_MAX>::new(), Highest::<LIVE_SCOPES_MAX>::new());
        for number in 1..=count {
            let live = ledger.scopes.read(pages, number).sums.live_bytes();
            by_live.offer(live, number);
            by_growth.offer(self.scopes.of(number, live).unwrap_or(0), number);
        }
        let content = &mut *self.content;
        content.scopes_known = u64::from(count);
        content.scope_count = 0;
        for number in by_live.rows().chain(by_growth.rows()) {
            let at = content.scope_count as usize;
            if content.scopes[..at].iter().any(|other| other.number_and_parent as u32 == number) {
                continue;
            }
            let account = ledger.scopes.read(pages, number);
            let (words, sums) = (&mut content.scopes[at], &account.sums);
            words.number_and_parent =
                u64::from(number) | u64::from(ledger.scopes.parent_of(pages, number)) << 32;
            (words.total_blocks, words.total_bytes) = (sums.total_blocks, sums.total_bytes);
            words.live_blocks = sums.total_blocks.saturating_sub(sums.freed_blocks);
            words.live_bytes = sums.live_bytes().max(0) as u64;
            words.peak_bytes = account.peak_bytes.max(0) as u64;
            words.growth_bytes = self.scopes.of(number, sums.live_bytes()).unwrap_or(0) as u64;
            copy_name(ledger, number, words);
            content.scope_count += 1;
        }
    }
}

fn push_interval(content: &mut Content, interval: IntervalWords) {
    content.intervals[content.interval_count as usize % LIVE_INTERVALS_MAX] = interval;
    content.interval_count += 1;
}

/// Commits the site deltas of all lanes.
fn commit_sites(ledger: &Ledger) {
    for lane in ledger.lanes() {
        let taken = lane.folder.latch.take();
        Fold::begin(ledger, lane, &taken).commit_deltas();
    }
}

fn quality_words(quality: &QualityIndicator) -> Quality {
    let anomalies = &quality.anomalies;
    Quality {
        attempted: quality.attempted,
        recorded: quality.recorded,
        in_flight: quality.in_flight,
        lost: std::array::from_fn(|at| quality.lost.get(LossReason::ALL[at])),
        sampled_out: quality.sampled_out,
        anomalies: [
            anomalies.unmatched_frees,
            anomalies.double_allocations,
            anomalies.ambiguous_pairings,
            anomalies.layout_mismatches,
        ],
        own_bytes: quality.own_bytes,
        own_cpu_ns: quality.own_cpu_ns,
    }
}

/// Copies the innermost frames of a site's stack; frames of scopes become the number of the innermost scope.
fn copy_frames(ledger: &Ledger, site: u32, words: &mut SiteWords) {
    words.frame_count = 0;
    let Some(page) = ledger.facts.store_of_stacks() else { return };
    let (count, is_cut) = Store::at(&ledger.pages, page).frames(&ledger.pages, site, &mut words.frames);
    let mut kept = 0;
    let mut scope = 0;
    for at in 0..count.min(LIVE_FRAMES_MAX) {
        match scope_of_address(words.frames[at]) {
            Some(number) if scope == 0 => scope = number,
            Some(_) => {}
            None => {
                words.frames[kept] = words.frames[at];
                kept += 1;
            }
        }
    }
    if scope == 0 {
        scope = ledger.scopes.of_stack(&ledger.pages, site);
    }
    words.stack_and_scope |= u64::from(scope) << 32;
    words.frame_count = kept as u64 | u64::from(is_cut) << 32;
}

fn copy_name(ledger: &Ledger, number: u32, words: &mut ScopeWords) {
    words.name_bytes = 0;
    ledger.scopes.with_name(&ledger.pages, number, |name| {
        let length = name.len().min(NAME_BYTES);
        words.name[..length].copy_from_slice(&name[..length]);
        words.name_bytes = length as u64;
    });
}

/// Returns the figures of the page, without name and loaded objects. Returns `None` if there is no page, or the page
/// was not written yet.
#[cfg(feature = "serve")]
pub(crate) fn current(ledger: &'static Ledger) -> Option<Live> {
    let number = ledger.facts.live_page()?;
    // SAFETY: P2, the run is a live page and is never given back.
    let page = unsafe { &*ledger.pages.at(number).cast::<LivePage>() };
    page.note_reading();
    let mut content = Content::zeroed();
    let writes = page.read(&mut content).ok()?;
    Some(decode(&content, writes, page.has_ended()))
}

/// Notes the end of the recording in the page, and removes the page's file.
pub(crate) fn end(ledger: &Ledger) {
    if let Some(number) = ledger.facts.live_page() {
        // SAFETY: P2, as above.
        unsafe { &*ledger.pages.at(number).cast::<LivePage>() }.end();
    }
    BACKGROUND.live_file.with(FILE_ROUNDS, |file| {
        if let Some(file) = file.take() {
            file.remove();
        }
    });
}
