//! Reads the bytes of a black box into a profile. Passes any other file to the reader of dumps.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::image::Image;
use super::lanes::{self, LaneImage};
use super::live::{LiveReader, writer_of};
use super::unbooked::{EventSums, Figures, Unbooked};
use crate::aggregator::counters::{bytes_in_no_peak, finish_totals};
use crate::aggregator::description::{changes_of, last_mode};
use crate::aggregator::history::is_of_the_heap;
use crate::aggregator::snapshot::sort_curves;
use crate::aggregator::{monitor, rows, scopes};
use crate::dump::{self, Dump, ReadError};
use crate::ledger::Ledger;
use crate::ledger::curves::Curve;
use crate::ledger::entry::ROW_OF_OTHERS;
use crate::ledger::fold_state::{LaneCounters, LaneFigures};
use crate::ledger::history::LaneWords;
use crate::ledger::rows::Row;
use crate::ledger::scopes::ScopeCell;
use crate::ledger::site_cell::SiteCell;
use crate::ledger::site_delta::IN_SCOPE;
use crate::ledger::site_figures::SiteFigures;
use crate::ledger::site_units::Unit;
use crate::ledger::timeline::INTERVALS;
use crate::live::page;
use crate::profile::{
    Anomalies, HeapStats, LossCounts, Profile, QualityIndicator, SiteCurve, Stack, ThreadRow, check,
};
use crate::recorder::latency;
use crate::recorder::region_abi::{LAYOUT, VERSION};
use crate::replay::{BlockKind, Blocks, Heap};
use crate::stack::intern::{Node, Store, frames_of};
use crate::sys::box_file::MAGIC;
use crate::sys::mapped_file::MappedFile;
use crate::sys::sync::{AtomicU64, Ordering};

/// Maximum length of a black box that is read, in bytes.
const BOX_BYTES_MAX: u64 = 64 << 30;

/// Reads the dump or the black box at `path`.
///
/// # Errors
///
/// Returns a [`ReadError`] if the file is neither a dump nor a black box, has an unknown version, or cannot be read.
/// The black box of a running process is an error too, because its tables cannot be read consistently
/// ([`ReadError::BeingWritten`]). A cut or corrupt file is no error: its intact parts are returned, with a list of the
/// damage.
///
/// # Examples
///
/// ```no_run
/// let dump = heapledger::dumps::read("heapledger.app.1234.hl")?;
/// for damage in &dump.damage {
///     eprintln!("warning: {damage}");
/// }
/// println!("{} bytes are live", dump.profile.totals.live_bytes);
/// # Ok::<(), heapledger::dumps::ReadError>(())
/// ```
pub fn read(path: impl AsRef<Path>) -> Result<Dump, ReadError> {
    let path = path.as_ref();
    let (file, start) = match opened(path) {
        Some((file, start)) if start == MAGIC || start == page::MAGIC => (file, start),
        _ => return dump::read(path),
    };
    if start == page::MAGIC {
        let pid = LiveReader::open(path)?.read()?.pid;
        return Err(ReadError::BeingWritten { pid });
    }
    if let Some(pid) = writer_of(&file) {
        return Err(ReadError::BeingWritten { pid });
    }
    let failed = |source| ReadError::Io { path: Some(path.to_owned()), source };
    let length = file.metadata().map_err(failed)?.len().min(BOX_BYTES_MAX);
    let mapped = MappedFile::open(&file, 0, usize::try_from(length).unwrap_or(usize::MAX)).map_err(failed)?;
    read_bytes(mapped.as_slice())
}

/// Whether the file at `path` is a black box. Its process may have ended or may be running.
pub fn is_black_box(path: impl AsRef<Path>) -> bool {
    opened(path.as_ref()).is_some_and(|(_, start)| start == MAGIC)
}

/// Opens a regular file, and returns it with its first bytes.
fn opened(path: &Path) -> Option<(File, [u8; MAGIC.len()])> {
    let mut start = [0; MAGIC.len()];
    let mut file = path.is_file().then(|| File::open(path).ok()).flatten()?;
    file.read_exact(&mut start).ok()?;
    Some((file, start))
}

/// Reads a dump or a black box from a stream, up to the end of the stream.
///
/// # Errors
///
/// Returns an error under the same conditions as [`read`].
pub fn read_from(mut from: impl Read) -> Result<Dump, ReadError> {
    let mut start = Vec::new();
    let failed = |source| ReadError::Io { path: None, source };
    from.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start).map_err(failed)?;
    let whole = start.as_slice().chain(from);
    if start == MAGIC {
        return read_bytes(&everything(whole).map_err(failed)?);
    }
    dump::read_from(whole)
}

/// Reads a dump or a black box from memory.
///
/// # Errors
///
/// Returns an error under the same conditions as [`read`].
pub fn read_bytes(bytes: &[u8]) -> Result<Dump, ReadError> {
    if !bytes.starts_with(&MAGIC) {
        return dump::read_bytes(bytes);
    }
    let image = Image::new(bytes);
    let seal: [u64; 3] = image.copy(0, 0).ok_or(ReadError::TooShort { bytes: bytes.len() as u64 })?;
    let version: Vec<u8> = bytes.iter().skip(16).take(16).copied().collect();
    if seal[1] == 0 {
        let note = "the process ended while it made its black box, before its first event".to_owned();
        return Ok(Dump::of_black_box(Profile::default(), Vec::new(), vec![note]));
    }
    if seal[1] != LAYOUT || version != VERSION {
        let version = version.iter().take_while(|byte| byte.is_ascii_graphic());
        return Err(ReadError::OtherBuild { version: version.map(|byte| char::from(*byte)).collect() });
    }
    let ledger: Box<Ledger> = image.copy_boxed(0).ok_or(ReadError::TooShort { bytes: bytes.len() as u64 })?;
    Ok(Reader::new(image, &ledger).dump())
}

fn everything(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(BOX_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

struct Reader<'a> {
    image: Image<'a>,
    ledger: &'a Ledger,
    lanes: Vec<LaneImage>,
    notes: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(image: Image<'a>, ledger: &'a Ledger) -> Reader<'a> {
        // The process has ended, so the reader takes over the latches that it may have held.
        ledger.peak.take_over();
        ledger.changes.take_over();
        let (lanes, unreadable) = lanes::lanes(image, ledger);
        let mut notes = Vec::new();
        if unreadable > 0 {
            notes.push(format!("{unreadable} rings in the black box make no sense and were left out"));
        }
        Reader { image, ledger, lanes, notes }
    }

    fn dump(mut self) -> Dump {
        let mut profile = self.metadata();
        let sites_max = self.ledger.sites.place().1;
        let timeline_is_sound = self.ledger.timeline.take_over();
        let blank = zeroed_timeline();
        let timeline = if timeline_is_sound { &self.ledger.timeline } else { &*blank };
        let figures = Figures::new(self.sites(), timeline, sites_max);
        let mut unbooked = Unbooked::new(self.image, self.ledger, &self.lanes, figures);
        let (mut added, mut torn) = (EventSums::default(), EventSums::default());
        let mut of_lanes = vec![EventSums::default(); self.lanes.len()];
        for (lane, of_lane) in self.lanes.iter().zip(&mut of_lanes) {
            let sums = unbooked.replay(lane);
            *of_lane = sums.added;
            added.merge(&sums.added);
            let figures = LaneFigures::read(&lane.copy.lane);
            let lost = figures.lost.iter().copied().fold(0, u64::wrapping_add);
            let unbooked = figures.attempted.wrapping_sub(figures.recorded.wrapping_add(lost));
            // If fewer events are unbooked, the process ended after it had added the batch to the sums, and before it
            // moved the tail.
            if unbooked >= sums.torn.recorded.wrapping_add(sums.added.recorded) {
                torn.merge(&sums.torn);
            }
        }
        added.merge(&unbooked.finish());
        let Heap { sums: figures, blocks, size_mismatches, .. } = unbooked.heap;
        let last_ns = self.last_ns(figures.last_ns);
        profile.process.duration_ns = last_ns;
        self.totals(&mut profile, &added, &torn);
        self.quality(&mut profile.quality, &added, &blocks);
        let mismatches = &mut profile.quality.anomalies.layout_mismatches;
        *mismatches = mismatches.saturating_add(size_mismatches);
        let mut intervals = Vec::with_capacity(INTERVALS);
        profile.timeline.interval_ns = timeline.copy(last_ns, &mut intervals);
        profile.timeline.intervals = intervals;
        profile.curves = self.curves(profile.timeline.interval_ns, last_ns);
        self.blocks(&mut profile, &blocks, torn.recorded > 0);
        self.peak(&mut profile, &added, &torn);
        let at_peak = self.peak_number(&profile);
        let sites = figures.sites.iter().filter(|(_, figures)| !figures.is_empty());
        profile.sites = sites.map(|(stack, figures)| figures.to_site(*stack, at_peak)).collect();
        profile.threads = self.threads(&of_lanes);
        profile.crossings = rows::crossings(self.ledger).collect();
        rows::finish_crossings(&mut profile.crossings, &mut profile.threads);
        self.stacks(&mut profile);
        self.scopes(&mut profile);
        profile.changes = changes_of(&self.ledger.changes);
        self.history(&mut profile);
        // The metadata has the settings at the start of the process. Later settings are in the list of changes.
        let (settings, quality) = (&mut profile.settings, &mut profile.quality);
        settings.mode = last_mode(&self.ledger.changes).unwrap_or(settings.mode);
        (quality.mode, quality.target_completeness) =
            (settings.mode, settings.concurrency.target_completeness);
        *quality = monitor::of_ended(std::mem::take(quality), settings);
        self.finish(profile, &torn, timeline_is_sound)
    }

    /// Returns the profile that the process wrote as metadata: its name, settings and modules.
    fn metadata(&mut self) -> Profile {
        let (page, bytes) = self.ledger.facts.metadata();
        let metadata = self.image.bytes(page, bytes as usize).filter(|bytes| !bytes.is_empty());
        let mut profile = match metadata.and_then(|bytes| dump::read_bytes(bytes).ok()) {
            Some(dump) => dump.profile,
            None => {
                self.notes
                    .push("the process ended before it had said who it is and what it had loaded".to_owned());
                Profile::default()
            }
        };
        let facts = &self.ledger.facts;
        // relaxed: the copy is not shared.
        let forked_from = facts.forked_from.load(Ordering::Relaxed);
        let process = &mut profile.process;
        process.pid = facts.process_id.load(Ordering::Relaxed);
        process.forked_from = (forked_from != 0).then_some(forked_from);
        process.started_unix_ns = facts.started_unix_ns.load(Ordering::Relaxed);
        let has_ended = facts.ended.load(Ordering::Relaxed) != 0;
        process.reason =
            if has_ended { "exit, from a black box" } else { "killed, from a black box" }.to_owned();
        let clock = &self.ledger.clock;
        profile.clock.source = clock.choice().source().to_owned();
        profile.clock.why = clock.choice().why().to_owned();
        profile
    }

    /// Returns the time of the last known event, in nanoseconds since the start.
    fn last_ns(&self, replayed_ns: u64) -> u64 {
        let booked = self.lanes.iter().map(|lane| lane.copy.state.span_ns);
        booked.max().unwrap_or(0).max(replayed_ns).min(crate::ledger::history::TIME_NS_BOUND)
    }

    /// Returns the figures of all sites, including changes of site figures that the lanes had not added to the sites.
    fn sites(&self) -> BTreeMap<u32, SiteFigures> {
        let (page, capacity, count) = self.ledger.sites.place();
        let count = count.min(capacity).min(self.image.room::<SiteCell>(page) as u32);
        let (units, units_taken) = self.ledger.sites.units().place();
        let mut sites = BTreeMap::new();
        for number in 0..count {
            let Some(cell) = self.image.copy::<SiteCell>(page, number as usize) else { break };
            let unit =
                |unit: u32| self.image.copy::<Unit>(units, unit as usize).filter(|_| unit < units_taken);
            sites.insert(number, cell.figures(unit));
        }
        for lane in &self.lanes {
            let of_table = lane.deltas(self.image);
            for delta in of_table.iter().chain(std::iter::once(&lane.copy.state.delta)) {
                if !delta.is_empty() {
                    let site = (delta.stack & !IN_SCOPE).min(capacity.saturating_sub(1));
                    sites.entry(site).or_insert(SiteFigures::EMPTY).add(delta);
                }
            }
        }
        sites
    }

    /// Returns the curves of the sites. The curves lack changes of site figures that the lanes had not added to the
    /// sites.
    fn curves(&self, interval_ns: u64, last_ns: u64) -> Vec<SiteCurve> {
        let (sites, capacity, _) = self.ledger.sites.place();
        let (units, units_taken) = self.ledger.sites.units().place();
        let found = self.ledger.sites.curve_units().filter(|unit| *unit < units_taken).filter_map(|unit| {
            let curve: Curve = self.image.copy_behind(units, unit as usize * size_of::<Unit>(), 0)?;
            let site = curve.site();
            let cell: SiteCell = self.image.copy(sites, site as usize).filter(|_| site < capacity)?;
            (cell.curve == unit).then(|| curve.to_profile(interval_ns, last_ns))
        });
        let mut curves: Vec<SiteCurve> = found.collect();
        sort_curves(&mut curves);
        curves
    }

    fn totals(&self, profile: &mut Profile, added: &EventSums, torn: &EventSums) {
        let (mut totals, mut restored) = (HeapStats::default(), (0u64, 0u64));
        let add = |sum: &mut u64, more: u64| *sum = sum.wrapping_add(more);
        for LaneImage { copy, .. } in &self.lanes {
            let (counters, sampled_out) = (&copy.counters, &copy.lane.cold.sampled_out);
            let sampled = counters.sampled.read();
            for (sum, figures) in [
                (&mut totals.total_blocks, [&counters.total_blocks, &sampled_out.allocs.events]),
                (&mut totals.total_bytes, [&counters.total_bytes, &sampled_out.allocs.bytes]),
                (&mut totals.freed_blocks, [&counters.freed_blocks, &sampled_out.frees.events]),
                (&mut totals.freed_bytes, [&counters.freed_bytes, &sampled_out.frees.bytes]),
            ] {
                figures.into_iter().for_each(|figure| add(sum, LaneCounters::read(figure)));
            }
            add(&mut totals.total_blocks, sampled.raw_blocks);
            add(&mut totals.total_bytes, sampled.raw_bytes);
            add(&mut totals.freed_blocks, sampled.raw_freed_blocks);
            add(&mut totals.freed_bytes, sampled.raw_freed_bytes);
            add(&mut restored.0, LaneCounters::read(&sampled_out.restored.events));
            add(&mut restored.1, LaneCounters::read(&sampled_out.restored.bytes));
            add(&mut totals.reallocs, LaneCounters::read(&counters.reallocs));
            add(&mut totals.failed, LaneCounters::read(&copy.lane.cold.failed));
        }
        let anomalies = &self.ledger.live.anomalies;
        add(&mut totals.freed_blocks, LaneCounters::read(&anomalies.sampled_out_frees));
        add(&mut totals.freed_bytes, LaneCounters::read(&anomalies.sampled_out_freed_bytes));
        for more in [added, torn] {
            add(&mut totals.total_blocks, more.total_blocks);
            add(&mut totals.total_bytes, more.total_bytes);
            add(&mut totals.freed_blocks, more.freed_blocks);
            add(&mut totals.freed_bytes, more.freed_bytes);
            add(&mut totals.reallocs, more.reallocs);
        }
        finish_totals(&mut totals, restored);
        profile.totals = totals;
    }

    fn quality(&self, quality: &mut QualityIndicator, added: &EventSums, blocks: &Blocks) {
        let unlaned = &self.ledger.facts.unlaned;
        let mut lost =
            LossCounts::from_counts(std::array::from_fn(|reason| LaneCounters::read(&unlaned[reason])));
        let mut attempted = lost.total();
        quality.installed = true;
        for LaneImage { copy, .. } in &self.lanes {
            let (figures, lane) = (LaneFigures::read(&copy.lane), &copy.lane);
            let read = LaneCounters::read;
            attempted = attempted.saturating_add(figures.attempted);
            quality.recorded = quality.recorded.wrapping_add(figures.recorded);
            lost.merge(&LossCounts::from_counts(figures.lost));
            let sampled_out = &lane.cold.sampled_out;
            quality.sampled_out = quality
                .sampled_out
                .saturating_add(read(&sampled_out.allocs.events))
                .saturating_add(read(&sampled_out.frees.events));
            quality.own_events = quality.own_events.wrapping_add(read(&copy.counters.own_events));
            quality.ring_high_water_words = quality.ring_high_water_words.max(read(&lane.folder.high_water));
            quality.folds_at_home = quality.folds_at_home.wrapping_add(read(&lane.cold.folds_at_home));
            quality.folds_away = quality.folds_away.wrapping_add(read(&lane.folder.folds_away));
            quality.waits = quality.waits.wrapping_add(read(&lane.cold.waits));
            quality.spare_segments = quality.spare_segments.wrapping_add(read(&lane.cold.overflow_segments));
            quality.turn_times.add(&latency::of_lane(lane));
        }
        quality.recorded = quality.recorded.wrapping_add(added.recorded);
        quality.own_events = quality.own_events.wrapping_add(added.own_events).min(quality.recorded);
        // A corrupt file may have more recorded events than attempted ones.
        quality.recorded = quality.recorded.min(attempted.saturating_sub(lost.total()));
        quality.attempted = attempted;
        quality.in_flight = attempted.saturating_sub(quality.recorded).saturating_sub(lost.total());
        quality.lost = lost;
        quality.current_completeness =
            QualityIndicator::completeness_of(quality.recorded, quality.lost.total());
        let anomalies = &self.ledger.live.anomalies;
        quality.anomalies = Anomalies {
            unmatched_frees: blocks.unmatched().saturating_add(LaneCounters::read(&anomalies.unmatched)),
            double_allocations: blocks.overlapping(),
            ambiguous_pairings: LaneCounters::read(&anomalies.ambiguous),
            layout_mismatches: LaneCounters::read(&anomalies.layout_mismatches),
        };
        quality.own_memory = self.ledger.own_memory();
        quality.own_bytes = quality.own_memory.total();
    }

    /// Sets the live blocks of the profile. If a batch is torn, the number of freed blocks is derived from the live
    /// blocks, because the sums do not show which frees of the batch were booked.
    fn blocks(&self, profile: &mut Profile, blocks: &Blocks, is_torn: bool) {
        profile.live = blocks.live(|block| block.kind != BlockKind::Internal);
        let totals = &mut profile.totals;
        if is_torn && profile.quality.sampled_out == 0 && profile.quality.lost.total() == 0 {
            let bytes = profile.live.iter().fold(0u64, |sum, block| sum.saturating_add(block.size));
            totals.live_blocks = (profile.live.len() as u64).min(totals.total_blocks);
            totals.live_bytes = bytes.min(totals.total_bytes);
            totals.freed_blocks = totals.total_blocks - totals.live_blocks;
            totals.freed_bytes = totals.total_bytes - totals.live_bytes;
        }
    }

    fn peak(&self, profile: &mut Profile, added: &EventSums, torn: &EventSums) {
        let (bytes, blocks, at_ns) = self.ledger.peak.get();
        let (peak, totals) = (&mut profile.peak, &mut profile.totals);
        (peak.bytes, peak.blocks, peak.at_ns) = (bytes, blocks, at_ns);
        if totals.live_bytes > bytes {
            (peak.bytes, peak.blocks) = (totals.live_bytes, totals.live_blocks);
            peak.at_ns = profile.process.duration_ns;
        }
        let rises = self.lanes.iter().map(|lane| LaneCounters::read(&lane.copy.counters.high_water_bytes));
        let rises = rises.fold(0u64, u64::saturating_add);
        let in_no_peak = self.lanes.iter().map(|lane| bytes_in_no_peak(&lane.copy.lane));
        let known = in_no_peak.fold(rises, u64::saturating_add);
        peak.uncertainty_bytes = known.saturating_add(added.total_bytes).saturating_add(torn.total_bytes);
        (totals.peak_bytes, totals.peak_blocks) = (peak.bytes, peak.blocks);
    }

    /// Returns the number of the latest peak; sites store this number with their figures at the peak. If the peak is at
    /// the end of the process, returns a number that no site has.
    fn peak_number(&self, profile: &Profile) -> u64 {
        let number = self.ledger.peak.number();
        if profile.peak.bytes > self.ledger.peak.bytes() { number.wrapping_add(1) } else { number }
    }

    fn threads(&self, of_lanes: &[EventSums]) -> Vec<ThreadRow> {
        let page = self.ledger.rows.page();
        let count = self.ledger.rows.count().min(ROW_OF_OTHERS);
        let all = (0..count).chain(std::iter::once(ROW_OF_OTHERS));
        let mut threads: Vec<ThreadRow> = all
            .filter_map(|number| {
                let row: Row = self.image.copy(page, number as usize)?;
                let mut shown = rows::copied(number, &row);
                rows::identify(&mut shown, &row);
                (number != ROW_OF_OTHERS || shown.threads > 0).then_some(shown)
            })
            .collect();
        for (LaneImage { copy, .. }, added) in self.lanes.iter().zip(of_lanes) {
            let share = LaneFigures::read(&copy.lane).since(&copy.state.inherited);
            let Some(row) = threads.iter_mut().find(|row| row.index == copy.state.row) else { continue };
            let sums = [
                (&mut row.attempted, share.attempted),
                (&mut row.recorded, share.recorded.wrapping_add(added.recorded)),
                (&mut row.total_blocks, share.total_blocks.wrapping_add(added.total_blocks)),
                (&mut row.total_bytes, share.total_bytes.wrapping_add(added.total_bytes)),
                (&mut row.freed_blocks, share.freed_blocks.wrapping_add(added.freed_blocks)),
                (&mut row.freed_bytes, share.freed_bytes.wrapping_add(added.freed_bytes)),
                (&mut row.cross_thread_frees, share.cross_thread_frees),
            ];
            for (sum, value) in sums {
                *sum = sum.wrapping_add(value);
            }
            row.lost.merge(&LossCounts::from_counts(share.lost));
        }
        threads
    }

    fn stacks(&self, profile: &mut Profile) {
        profile.stacks = vec![Stack::default()];
        let figures = &mut profile.stack_figures;
        (figures.taken, figures.truncated, figures.failed) = (0, 0, 0);
        (figures.table_full, figures.left_out) = (0, 0);
        let read = |figure: &AtomicU64| LaneCounters::read(figure);
        for LaneImage { copy, .. } in &self.lanes {
            let walker = &copy.lane.cold.walker;
            figures.taken = figures.taken.wrapping_add(read(&walker.taken));
            figures.truncated = figures.truncated.wrapping_add(read(&walker.truncated));
            figures.failed = figures.failed.wrapping_add(read(&walker.failed));
            figures.table_full = figures.table_full.wrapping_add(read(&walker.full));
            figures.left_out = figures.left_out.wrapping_add(read(&walker.sampled_out));
        }
        let store = self.ledger.facts.stacks().and_then(|(page, _)| self.image.copy::<Store>(page, 0));
        let Some(store) = store else { return };
        let ((stacks, nodes), (nodes_page, stacks_page)) = (store.counts(), store.places());
        let nodes = (nodes as usize).min(self.image.room::<Node>(nodes_page));
        let nodes: Vec<Node> = (0..nodes).filter_map(|node| self.image.copy(nodes_page, node)).collect();
        let stacks = (stacks as usize).min(self.image.room::<u32>(stacks_page).saturating_sub(1));
        for number in 1..=stacks {
            let leaf = self.image.copy::<u32>(stacks_page, number).unwrap_or(0);
            let (frames, truncated) = frames_of(&nodes, leaf);
            profile.stacks.push(Stack { frames, truncated });
        }
    }

    /// Adds the scopes. The name and the peak of a scope come from the table of scopes. Its sums come from its sites,
    /// because only the sites include the events that the replay has booked.
    fn scopes(&self, profile: &mut Profile) {
        profile.scope_counts = scopes::counts(&self.ledger.scopes);
        let (page, count) = self.ledger.scopes.place();
        let count = count.min(self.image.room::<ScopeCell>(page).saturating_sub(1) as u32);
        for number in 1..=count {
            let Some(cell) = self.image.copy::<ScopeCell>(page, number as usize) else { break };
            // The parent of a scope is an older scope. Another number comes from a corrupt file.
            let parent = Some(cell.parent()).filter(|parent| *parent < number).unwrap_or(0);
            profile.scopes.push(scopes::row(scopes::shown(cell.name()), parent, cell.account()));
        }
        profile.sum_scopes();
        for scope in &mut profile.scopes {
            scope.peak_bytes = scope.peak_bytes.max(scope.live_bytes());
        }
    }

    fn history(&self, profile: &mut Profile) {
        let mut events = Vec::new();
        for lane in &self.lanes {
            let until_ns = lane.copy.state.span_ns;
            LaneWords::of(lane.first, lane.words.clone(), lane.copy.state.row, until_ns)
                .events(|event| events.push(event));
        }
        events.sort_by_key(|event| event.at_ns);
        let limit = usize::try_from(profile.settings.history.events).unwrap_or(usize::MAX);
        events.drain(..events.len().saturating_sub(limit));
        let of_the_heap = events.iter().filter(|event| is_of_the_heap(event)).count() as u64;
        profile.quality.retained = of_the_heap.min(profile.quality.recorded);
        profile.quality.evicted = profile.quality.recorded - profile.quality.retained;
        profile.history = events;
    }

    fn finish(mut self, mut profile: Profile, torn: &EventSums, timeline_is_sound: bool) -> Dump {
        let dangling = dump::redirect_dangling(&mut profile);
        if dangling > 0 {
            self.notes.push(format!("{dangling} references in the black box lead nowhere"));
        }
        if !timeline_is_sound {
            self.notes.push("the timeline of the black box makes no sense and was left out".to_owned());
        }
        if torn.recorded > 0 {
            let events = torn.recorded;
            self.notes.push(format!(
                "{events} events were just being booked when the process ended: they are in flight; live blocks and \
                 totals have them, the figures of sites and the timeline may lack them"
            ));
        }
        let broken_laws = check(&profile);
        Dump::of_black_box(profile, broken_laws, self.notes)
    }
}

/// Returns an empty timeline.
fn zeroed_timeline() -> Box<crate::ledger::timeline::Timeline> {
    // SAFETY: all zero bytes are a valid, empty timeline.
    unsafe { Box::new_zeroed().assume_init() }
}
