//! Sections with tables: threads, sizes, lifetimes, live blocks, sites, changes.

use std::io;

use super::super::escape::escaped;
use super::super::plot::bar;
use super::super::table::Table;
use super::super::text_page::TextPage;
use super::super::units::{bytes, bytes_exact, count, counted, duration, share};
use super::subject::{Subject, certainty, none};
use crate::analysis::{
    Bucket, CrossingLine, FigureGroup, crossings as crossings_of, lifetimes as lifetimes_of, live as live_of,
    sizes as sizes_of, threads as threads_of,
};
use heapledger::profile::{Site, ThreadRow};

/// Length of the longest bar in a distribution, in characters.
const BAR_COLUMNS: usize = 24;

pub(in super::super) fn threads(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = threads_of(subject.profile, page.layout.rows);
    if found.lines.is_empty() {
        return none(page);
    }
    let mut table = Table::new("<thread|id|blocks|bytes|freed|of others|events|lost").shrinking(0);
    let mut add = |name: String, id: String, line: &ThreadRow| {
        let figures =
            [line.freed_blocks, line.cross_thread_frees, line.recorded, line.lost.total()].map(count);
        table.row([name, id, count(line.total_blocks), bytes(line.total_bytes)].into_iter().chain(figures));
    };
    for line in &found.lines {
        add(thread_name(line), line.os_id.to_string(), line);
    }
    if let Some(others) = &found.others {
        add(format!("({} others)", count(others.threads)), String::new(), others);
    }
    page.table(&table)?;
    page.fact("in all", &format!("{} of the program", counted(found.threads, "thread", "threads")))?;
    crossings(page, subject)?;
    certainty(page, subject, FigureGroup::Breakdown)
}

/// Writes the blocks that one thread allocated and another thread freed, for each pair of threads.
fn crossings(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = crossings_of(subject.profile, page.layout.rows);
    if found.lines.is_empty() {
        return Ok(());
    }
    let mut table = Table::new("<allocated by|id|<freed by|id|blocks|bytes").shrinking(0);
    let name = |name: &str| if name.is_empty() { "(unnamed)".to_string() } else { escaped(name) };
    for CrossingLine { allocated_by, freed_by, blocks, bytes: size } in &found.lines {
        let (from, to) = (name(&allocated_by.0), name(&freed_by.0));
        let ids = [allocated_by.1, freed_by.1].map(|id| id.to_string());
        let [from_id, to_id] = ids;
        table.row([from, from_id, to, to_id, count(*blocks), bytes(*size)]);
    }
    page.table(&table)?;
    if found.other_pairs > 0 {
        let pairs = counted(found.other_pairs, "pair", "pairs");
        let sums = format!("{} blocks, {}", count(found.other_blocks), bytes(found.other_bytes));
        page.fact("others", &format!("{pairs} of threads: {sums}"))?;
    }
    Ok(())
}

fn thread_name(line: &ThreadRow) -> String {
    let name = if line.name.is_empty() { "(unnamed)".to_string() } else { escaped(&line.name) };
    match (line.own, line.threads) {
        (true, _) => format!("{name} (heapledger)"),
        (false, 0 | 1) => name,
        (false, several) => format!("{name} ({} threads)", count(several)),
    }
}

/// Writes a histogram as a table: ranges, numbers of blocks, shares and bars.
fn distribution(
    page: &mut TextPage<'_>,
    rows: &[Bucket],
    total: u64,
    unit: fn(u64) -> String,
) -> io::Result<()> {
    let unicode = page.layout.unicode;
    let largest = rows.iter().map(|row| row.blocks).max().unwrap_or(0);
    let mut table = Table::new("from|to|blocks|share|<").shrinking(4);
    for row in rows {
        let high = if row.high == u64::MAX { "and more".into() } else { unit(row.high) };
        let drawn = bar(row.blocks, largest, BAR_COLUMNS, unicode);
        table.row([unit(row.low), high, count(row.blocks), share(row.blocks, total), drawn]);
    }
    page.table(&table)
}

pub(in super::super) fn sizes(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = sizes_of(subject.profile);
    let Some(median) = found.median_bytes_at_most else { return none(page) };
    distribution(page, &found.rows, found.blocks, bytes)?;
    page.fact("half of them", &format!("at most {}", bytes(median)))?;
    certainty(page, subject, FigureGroup::Breakdown)
}

pub(in super::super) fn lifetimes(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = lifetimes_of(subject.profile);
    let (Some(median), Some(p99)) = (found.median_ns_at_most, found.p99_ns_at_most) else {
        return none(page);
    };
    distribution(page, &found.rows, found.blocks, duration)?;
    page.fact("half of them", &format!("at most {}; 99 % at most {}", duration(median), duration(p99)))?;
    certainty(page, subject, FigureGroup::Lifetimes)
}

pub(in super::super) fn live(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = live_of(subject.profile, page.layout.rows);
    if found.by_size.is_empty() {
        return none(page);
    }
    let mut table = Table::new("block size|blocks|bytes|share|oldest made after");
    for group in &found.by_size {
        let part = share(group.bytes, found.bytes);
        let born = duration(group.oldest_born_ns);
        table.row([bytes(group.size_bytes), count(group.blocks), bytes(group.bytes), part, born]);
    }
    if found.other_blocks > 0 {
        let part = share(found.other_bytes, found.bytes);
        table.row(["(others)".into(), count(found.other_blocks), bytes(found.other_bytes), part]);
    }
    page.table(&table)?;
    page.fact("in all", &format!("{} blocks, {}", count(found.blocks), bytes_exact(found.bytes)))?;
    certainty(page, subject, FigureGroup::LiveBytes)
}

pub(in super::super) fn sites(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let profile = subject.profile;
    if let Some(book) = &subject.book {
        return super::sites::places(page, subject, book);
    }
    // Without stacks, the sum over all sites is written as one row.
    let sum = |figure: fn(&Site) -> u64| profile.sites.iter().map(figure).fold(0, u64::saturating_add);
    if sum(|site| site.total_bytes) == 0 {
        return none(page);
    }
    let mut table = Table::new("<innermost frame|live|at peak|total|blocks|temporary");
    table.row([
        "(no stack)".into(),
        bytes(sum(Site::live_bytes)),
        bytes(sum(|site| site.at_peak_bytes)),
        bytes(sum(|site| site.total_bytes)),
        count(sum(|site| site.total_blocks)),
        count(sum(|site| site.temporary_blocks)),
    ]);
    page.table(&table)?;
    certainty(page, subject, FigureGroup::Sites)
}

pub(in super::super) fn changes(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    if subject.profile.changes.is_empty() {
        return none(page);
    }
    for change in &subject.profile.changes {
        page.fact(&format!("after {}", duration(change.at_ns)), &escaped(&change.what))?;
    }
    Ok(())
}
