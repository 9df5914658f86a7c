//! Data of the page: one value with all findings, which is written as JSON.
//!
//! Long tables are stored by column: one list for each figure, all of the same length. Figures are whole numbers in
//! blocks, bytes and nanoseconds. JavaScript reads numbers as floating point and rounds integers above 2^53; the page
//! marks rounded figures.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::super::detail::Detail;
use super::super::escape::escaped;
use super::super::sections::findings::{resident, sentence};
use super::super::sections::heap::advice as advice_of;
use super::super::units::{bytes, counted, duration};
use super::key_figures::{self, Banner, CertaintyLine, Fact, Law, Tile};
use super::selection::{self, CourseRow, LiveCells, ScopeRow, Source, live_cells};
use super::tree::{Calls, pack};
use crate::analysis::paths::Paths;
use crate::analysis::{
    Bucket, Column, CrossingLine, FigureGroup, GroupBy, Origin, SiteBook, Suppressed, TimelineFinding,
    Verification, View, crossings as crossings_of, estimated_bytes, findings as findings_of, leaks,
    lifetimes as lifetimes_of, live as live_of, site_book, sizes as sizes_of, threads as threads_of,
    timeline as timeline_of, verify,
};
use heapledger::profile::{Profile, Site, Stacks, ThreadRow};

/// Maximum number of columns of the timeline. A profile of the recorder has fewer intervals.
const TIMELINE_COLUMNS: usize = 4_096;
/// Maximum number of lines in the table of threads. One more line sums the remaining threads.
const THREAD_LINES: usize = 2_000;
/// Maximum number of listed sizes of live blocks.
const LIVE_SIZES: usize = 200;
/// Maximum number of listed places with advice on reallocs.
const ADVICE: usize = 20;
/// Maximum number of listed changes of the recording's state. The newest changes are listed.
const CHANGES: usize = 500;

/// All data of the page.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    program: String,
    about: Vec<String>,
    banner: Banner,
    certainties: Vec<CertaintyLine>,
    tiles: Vec<Tile>,
    /// Findings, each as its kind, its sentence, and the index of the largest site of its place in `sites`.
    findings: Vec<(&'static str, String, Option<usize>)>,
    timeline: Timeline,
    calls: Option<Calls>,
    /// Note on missing call stacks or names; empty if nothing is missing.
    calls_note: String,
    metrics: Vec<Metric>,
    sites: Sites,
    /// Note on the sites that the filters leave out; empty without filters.
    sites_note: String,
    /// Note on sampling of stacks; empty if every block has a stack.
    sites_sampled: String,
    live: Live,
    live_cells: LiveCells,
    courses: Vec<CourseRow>,
    scopes: Vec<ScopeRow>,
    sources: Vec<Source>,
    threads: Threads,
    sizes: Distribution,
    lifetimes: Distribution,
    reallocs: Vec<Fact>,
    /// Places where a larger initial capacity would save reallocs, each with the savings.
    advice: Vec<(String, String)>,
    reallocs_certainty: CertaintyLine,
    laws: Vec<Law>,
    changes: Vec<(String, String)>,
}

/// Figure that the user of the page can select for the flame graph and for the order of the table.
#[derive(Debug, Serialize)]
struct Metric {
    key: &'static str,
    label: &'static str,
    unit: &'static str,
    certainty: CertaintyLine,
}

#[derive(Debug, Default, Serialize)]
struct Timeline {
    interval_ns: u64,
    length_ns: u64,
    peak_at_ns: u64,
    peak_bytes: u64,
    /// One list of values for each of [`TIMELINE_FIGURES`].
    #[serde(flatten)]
    figures: Columns,
    /// Highest resident memory that was read in each column of the timeline, in bytes; 0 for a column without a
    /// reading.
    resident_bytes: Vec<u64>,
    /// Periods with lost events: start and end in nanoseconds, and number of lost events.
    losses: Vec<(u64, u64, u64)>,
    resolution: String,
    certainty: Option<CertaintyLine>,
}

/// Name of a figure in the JSON, and the function that returns the figure.
type NamedFigure<T> = (&'static str, fn(&T) -> u64);

const TIMELINE_FIGURES: [NamedFigure<Column>; 9] = [
    ("start_ns", |column| column.start_ns),
    ("length_each_ns", |column| column.length_ns),
    ("highest_bytes", |column| column.highest_bytes),
    ("live_bytes", |column| column.live_bytes),
    ("allocated_blocks", |column| column.allocated_blocks),
    ("allocated_bytes", |column| column.allocated_bytes),
    ("freed_blocks", |column| column.freed_blocks),
    ("freed_bytes", |column| column.freed_bytes),
    ("lost", |column| column.lost),
];

/// Values of several figures: one list for each name of a figure.
type Columns = BTreeMap<&'static str, Vec<u64>>;

/// Sites on the page, as one list for each figure. The key of a [`Metric`] is the name of one of these lists.
#[derive(Debug, Default, Serialize)]
struct Sites {
    /// Index of the node of each site's innermost frame in the tree of calls; empty without call stacks.
    node: Vec<u32>,
    /// One list of values for each of [`SITE_COLUMNS`].
    #[serde(flatten)]
    figures: Columns,
    /// Estimated bytes of each site, `null` if the site has no estimate. Empty unless stacks are sampled.
    /// `estimated_error` has one standard error for each entry.
    estimated: Vec<Option<u64>>,
    estimated_error: Vec<Option<u64>>,
    /// Allocation time of the oldest live block of each site, in nanoseconds since the start; `null` if the site has no
    /// live block in the list of the profile.
    oldest_ns: Vec<Option<u64>>,
    /// Number of the innermost scope of each site, from 1; 0 outside all scopes.
    scope: Vec<u32>,
    /// 1 for each site that a suppression matches, else 0. The page leaves matched sites out of its live figures.
    suppressed: Vec<u8>,
}

const SITE_COLUMNS: [NamedFigure<Site>; 15] = [
    ("live", Site::live_bytes),
    ("live_blocks", Site::live_blocks),
    ("peak", |site| site.at_peak_bytes),
    ("peak_blocks", |site| site.at_peak_blocks),
    ("own_peak", |site| site.own_peak_bytes),
    ("total", |site| site.total_bytes),
    ("count", |site| site.total_blocks),
    ("temporary", |site| site.temporary_blocks),
    ("cross_thread", |site| site.cross_thread_frees),
    ("reallocs", |site| site.reallocs.count),
    ("moved", |site| site.reallocs.moved),
    ("copied", |site| site.reallocs.copied_bytes),
    ("chains", |site| site.reallocs.chains),
    ("chain_links", |site| site.reallocs.chain_links),
    ("longest_chain", |site| site.reallocs.longest_chain),
];

/// Returns the list of values of each figure in `columns`, with one value for each of `rows`.
fn columns<'a, T: 'a>(columns: &[NamedFigure<T>], rows: impl Iterator<Item = &'a T> + Clone) -> Columns {
    columns.iter().map(|(key, figure)| (*key, rows.clone().map(figure).collect())).collect()
}

#[derive(Debug, Serialize)]
struct Live {
    blocks: u64,
    bytes: u64,
    /// Groups of live blocks of the same size: size, number of blocks, bytes, allocation time of the oldest block.
    groups: Vec<(u64, u64, u64, u64)>,
    other_blocks: u64,
    other_bytes: u64,
    /// Suppressions with the live blocks that they match: pattern, number of blocks, bytes.
    suppressed: Vec<(String, u64, u64)>,
    certainty: CertaintyLine,
}

#[derive(Debug, Serialize)]
struct Thread {
    /// Index of the thread in the profile; `None` for a sum of threads.
    row: Option<u32>,
    name: String,
    os_id: String,
    ended: bool,
    own: bool,
    total_blocks: u64,
    total_bytes: u64,
    freed_blocks: u64,
    cross_thread_frees: u64,
    recorded: u64,
    lost: u64,
}

#[derive(Debug, Serialize)]
struct Threads {
    threads: u64,
    lines: Vec<Thread>,
    crossings: Vec<Crossing>,
    other_crossings: u64,
    certainty: CertaintyLine,
}

/// Blocks that one particular thread allocated and another particular thread freed.
#[derive(Debug, Serialize)]
struct Crossing {
    allocated_by: String,
    freed_by: String,
    blocks: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Distribution {
    /// Rows of the histogram: smallest value, largest value, number of blocks.
    rows: Vec<(String, String, u64)>,
    blocks: u64,
    summary: String,
    certainty: CertaintyLine,
}

pub(super) fn document(profile: &Profile, origin: &Origin, detail: &Detail<'_>) -> Document {
    let verdict = verify(profile, origin);
    let chosen = choose(profile, detail);
    let time = timeline_of(profile, TIMELINE_COLUMNS);
    let about = |figure| key_figures::certainty(&verdict, figure);
    let calls = has_stacks(profile)
        .then(|| pack(profile, &detail.view.own, chosen.sites.iter().map(|site| site.stack)));
    let calls_note = calls_note(calls.as_ref(), profile, &verdict);
    let sites = sites(profile, &chosen, calls.as_ref());
    let group = if detail.view.group.is_place() { detail.view.group } else { GroupBy::Line };
    let view = View { group, ..detail.view.clone() };
    let book = calls.is_some().then(|| site_book(profile, &view));
    Document {
        program: named(&profile.process.program, "unnamed program"),
        about: lines_about(profile),
        banner: key_figures::banner(profile, origin, &verdict),
        certainties: key_figures::certainties(&verdict),
        tiles: key_figures::tiles(profile, &verdict),
        findings: book.as_ref().map_or(Vec::new(), |book| findings(profile, book, &chosen)),
        courses: book.as_ref().map_or(Vec::new(), |book| selection::courses(profile, book, &chosen.sites)),
        live_cells: live_cells(profile, &chosen.sites, &time.columns),
        scopes: selection::scopes(profile),
        sources: selection::sources(&detail.sources),
        timeline: timeline(profile, time, about(FigureGroup::Lifetimes)),
        calls,
        calls_note,
        metrics: metrics(&verdict),
        sites,
        sites_note: chosen.note,
        sites_sampled: sites_sampled(profile),
        live: live(profile, detail, about(FigureGroup::LiveBytes)),
        threads: threads(profile, about(FigureGroup::Breakdown)),
        sizes: sizes(profile, about(FigureGroup::Breakdown)),
        lifetimes: lifetimes(profile, about(FigureGroup::Lifetimes)),
        reallocs: key_figures::realloc_facts(profile),
        advice: book.as_ref().map_or(Vec::new(), |book| advice_of(book, ADVICE, usize::MAX)),
        reallocs_certainty: about(FigureGroup::Reallocs),
        laws: key_figures::laws(&verdict),
        changes: changes(profile),
    }
}

fn named(text: &str, unnamed: &str) -> String {
    if text.is_empty() { unnamed.into() } else { escaped(text) }
}

fn lines_about(profile: &Profile) -> Vec<String> {
    let process = &profile.process;
    let mut lines = vec![format!(
        "pid {}, {} recorded, snapshot made by: {}",
        process.pid,
        duration(process.duration_ns),
        named(&process.reason, "unknown")
    )];
    if !process.command_line.is_empty() {
        let words: Vec<String> = process.command_line.iter().map(|word| escaped(word)).collect();
        lines.push(words.join(" "));
    }
    if !process.directory.is_empty() {
        lines.push(format!("started in {}", escaped(&process.directory)));
    }
    lines.extend(process.unread.iter().map(|source| format!("could not be read: {}", escaped(source))));
    if let Some(parent) = process.forked_from {
        lines.push(format!("forked from pid {parent}"));
    }
    let platform = named(&process.platform, "unknown platform");
    let version = named(&process.heapledger_version, "(unknown)");
    lines.push(format!("{platform}, recorded by heapledger {version}"));
    lines
}

fn has_stacks(profile: &Profile) -> bool {
    let stack = |site: &Site| profile.stacks.get(site.stack as usize);
    profile.sites.iter().any(|site| stack(site).is_some_and(|stack| !stack.frames.is_empty()))
}

fn calls_note(calls: Option<&Calls>, profile: &Profile, verdict: &Verification) -> String {
    match calls {
        None if key_figures::is_unknown(verdict, FigureGroup::Sites) => {
            "No call stacks were taken, so all blocks belong to one site. Let the program take them: \
             run it with HEAPLEDGER_STACKS=auto."
                .into()
        }
        None => "No call stack was recorded.".into(),
        Some(calls) if !calls.named => {
            let mut note =
                String::from("No frame has a name yet; addresses are shown as offsets into their objects.");
            profile.symbols.notes.iter().for_each(|more| {
                note.push(' ');
                note.push_str(&escaped(more));
            });
            note
        }
        Some(_) => profile.symbols.notes.iter().map(|note| escaped(note)).collect::<Vec<_>>().join(" "),
    }
}

fn metrics(verdict: &Verification) -> Vec<Metric> {
    let metric = |key, label, unit, figure| Metric {
        key,
        label,
        unit,
        certainty: key_figures::certainty(verdict, figure),
    };
    vec![
        metric("live", "live", "bytes", FigureGroup::LiveBytes),
        metric("peak", "peak", "bytes", FigureGroup::Peak),
        metric("total", "total", "bytes", FigureGroup::Breakdown),
        metric("count", "count", "blocks", FigureGroup::Breakdown),
        metric("temporary", "temporary", "blocks", FigureGroup::Temporaries),
    ]
}

/// Sites that pass the filters of the view.
struct Chosen<'a> {
    sites: Vec<&'a Site>,
    suppressed: Vec<u8>,
    note: String,
}

fn choose<'a>(profile: &'a Profile, detail: &Detail<'_>) -> Chosen<'a> {
    let view = &detail.view;
    let looks_at_all = view.focus.is_empty() && view.ignore.is_empty() && view.scope.is_none();
    if looks_at_all && detail.suppressions.is_empty() {
        let suppressed = vec![0; profile.sites.len()];
        return Chosen { sites: profile.sites.iter().collect(), suppressed, note: String::new() };
    }
    let mut paths = Paths::new(profile, view, detail.suppressions);
    let mut chosen = Chosen { sites: Vec::new(), suppressed: Vec::new(), note: String::new() };
    let (mut others, mut other_bytes) = (0u64, 0u64);
    for site in &profile.sites {
        let reading = paths.read(site.stack);
        if reading.is_seen {
            chosen.sites.push(site);
            chosen.suppressed.push(u8::from(reading.suppression.is_some()));
        } else {
            others += 1;
            other_bytes = other_bytes.saturating_add(site.total_bytes);
        }
    }
    if !looks_at_all {
        chosen.note = format!(
            "Flame graph and tables of sites look at {} only; {} with {} allocated are left out of them.",
            escaped(&detail.looked_at),
            counted(others, "site", "sites"),
            bytes(other_bytes)
        );
    }
    chosen
}

fn findings(
    profile: &Profile,
    book: &SiteBook,
    chosen: &Chosen<'_>,
) -> Vec<(&'static str, String, Option<usize>)> {
    let found = findings_of(profile, book);
    let all = found.iter().map(|finding| {
        let (kind, text) = sentence(profile, book, finding, usize::MAX);
        let stack = book.lines[finding.line].account.stack;
        (kind, text, chosen.sites.iter().position(|site| site.stack == stack))
    });
    all.chain(resident(profile).map(|text| ("resident", text, None))).collect()
}

fn sites(profile: &Profile, chosen: &Chosen<'_>, calls: Option<&Calls>) -> Sites {
    let mut oldest: HashMap<u32, u64> = HashMap::new();
    for block in &profile.live {
        let born = oldest.entry(block.stack).or_insert(u64::MAX);
        *born = block.born_ns.min(*born);
    }
    let (estimated, estimated_error) = estimated(profile, chosen);
    Sites {
        node: calls.map_or(Vec::new(), |calls| calls.ends.clone()),
        figures: columns(&SITE_COLUMNS, chosen.sites.iter().copied()),
        estimated,
        estimated_error,
        scope: chosen.sites.iter().map(|site| profile.scope_of_stack(site.stack)).collect(),
        oldest_ns: chosen.sites.iter().map(|site| oldest.get(&site.stack).copied()).collect(),
        suppressed: chosen.suppressed.clone(),
    }
}

fn sites_sampled(profile: &Profile) -> String {
    let Stacks::Sampled { bytes: mean } = profile.settings.stacks else { return String::new() };
    format!(
        "One stack in {} allocated: figures of sites are of the blocks that got one. What a site truly allocated is \
         estimated, with one standard error.",
        bytes(mean)
    )
}

/// Values of a figure that some sites lack; `None` for such a site.
type Optional = Vec<Option<u64>>;

fn estimated(profile: &Profile, chosen: &Chosen<'_>) -> (Optional, Optional) {
    if !matches!(profile.settings.stacks, Stacks::Sampled { .. }) {
        return (Vec::new(), Vec::new());
    }
    let whole = |value: f64| value.round().max(0.0) as u64;
    let both = chosen.sites.iter().map(|site| match estimated_bytes(profile, site) {
        Some(estimate) => (Some(whole(estimate.value)), Some(whole(estimate.standard_error))),
        None => (None, None),
    });
    both.unzip()
}

fn timeline(profile: &Profile, found: TimelineFinding, certainty: CertaintyLine) -> Timeline {
    let longest = found.columns.iter().map(|column| column.length_ns).max().unwrap_or(0);
    Timeline {
        interval_ns: found.interval_ns,
        length_ns: found.length_ns,
        peak_at_ns: profile.peak.at_ns,
        peak_bytes: profile.peak.bytes,
        figures: columns(&TIMELINE_FIGURES, found.columns.iter()),
        resident_bytes: found.columns.iter().map(|column| resident_in(profile, column)).collect(),
        losses: found.losses.iter().map(|window| (window.start_ns, window.end_ns, window.lost)).collect(),
        resolution: format!("{} a step, {} recorded", duration(longest), duration(found.interval_ns)),
        certainty: Some(certainty),
    }
}

/// Returns the highest resident memory that was read in a column of the timeline, in bytes.
fn resident_in(profile: &Profile, column: &Column) -> u64 {
    let interval_ns = profile.timeline.interval_ns.max(1);
    let (first, count) = (column.start_ns / interval_ns, column.length_ns / interval_ns);
    let read = profile.memory.resident_by_interval.iter().skip(first as usize).take(count as usize);
    read.copied().max().unwrap_or(0)
}

fn live(profile: &Profile, detail: &Detail<'_>, certainty: CertaintyLine) -> Live {
    let found = live_of(profile, LIVE_SIZES);
    let known = |one: &Suppressed| {
        let origin = if one.is_built_in { " (built in)" } else { "" };
        (format!("{}{origin}", escaped(&one.pattern)), one.blocks, one.bytes)
    };
    let suppressed = match detail.suppressions {
        [] => Vec::new(),
        known_ones => leaks(profile, &detail.view, known_ones).suppressed.iter().map(known).collect(),
    };
    let group = |group: &crate::analysis::SizeGroup| {
        (group.size_bytes, group.blocks, group.bytes, group.oldest_born_ns)
    };
    Live {
        blocks: found.blocks,
        bytes: found.bytes,
        groups: found.by_size.iter().map(group).collect(),
        other_blocks: found.other_blocks,
        other_bytes: found.other_bytes,
        suppressed,
        certainty,
    }
}

fn threads(profile: &Profile, certainty: CertaintyLine) -> Threads {
    let found = threads_of(profile, THREAD_LINES);
    let line = |line: &ThreadRow, name: String, row| Thread {
        row,
        name,
        os_id: if line.threads > 1 { String::new() } else { line.os_id.to_string() },
        ended: line.ended_ns.is_some(),
        own: line.own,
        total_blocks: line.total_blocks,
        total_bytes: line.total_bytes,
        freed_blocks: line.freed_blocks,
        cross_thread_frees: line.cross_thread_frees,
        recorded: line.recorded,
        lost: line.lost.total(),
    };
    let name = |line: &ThreadRow| match (named(&line.name, "(unnamed)"), line.threads) {
        (name, 0 | 1) => name,
        (name, several) => format!("{name} ({several} threads)"),
    };
    let mut lines: Vec<Thread> =
        found.lines.iter().map(|found| line(found, name(found), Some(found.index))).collect();
    lines
        .extend(found.others.iter().map(|others| line(others, format!("({} others)", others.threads), None)));
    let pairs = crossings_of(profile, THREAD_LINES);
    let who = |(name, id): &(String, u64)| format!("{} ({id})", named(name, "(unnamed)"));
    let crossing = |line: &CrossingLine| Crossing {
        allocated_by: who(&line.allocated_by),
        freed_by: who(&line.freed_by),
        blocks: line.blocks,
        bytes: line.bytes,
    };
    let crossings = pairs.lines.iter().map(crossing).collect();
    Threads { threads: found.threads, lines, crossings, other_crossings: pairs.other_blocks, certainty }
}

fn rows(buckets: &[Bucket], unit: fn(u64) -> String) -> Vec<(String, String, u64)> {
    let high = |high| if high == u64::MAX { "and more".into() } else { unit(high) };
    buckets.iter().map(|row| (unit(row.low), high(row.high), row.blocks)).collect()
}

fn sizes(profile: &Profile, certainty: CertaintyLine) -> Distribution {
    let found = sizes_of(profile);
    let half = found.median_bytes_at_most.map(|most| format!("Half of the blocks: at most {}.", bytes(most)));
    Distribution {
        rows: rows(&found.rows, bytes),
        blocks: found.blocks,
        summary: half.unwrap_or_default(),
        certainty,
    }
}

fn lifetimes(profile: &Profile, certainty: CertaintyLine) -> Distribution {
    let found = lifetimes_of(profile);
    let most = found.median_ns_at_most.zip(found.p99_ns_at_most).map(|(half, p99)| {
        format!("Half of the freed blocks: at most {}; 99 %: at most {}.", duration(half), duration(p99))
    });
    Distribution {
        rows: rows(&found.rows, duration),
        blocks: found.blocks,
        summary: most.unwrap_or_default(),
        certainty,
    }
}

fn changes(profile: &Profile) -> Vec<(String, String)> {
    let newest = profile.changes.len().saturating_sub(CHANGES);
    let line = |change: &heapledger::profile::Change| (duration(change.at_ns), escaped(&change.what));
    profile.changes[newest..].iter().map(line).collect()
}
