//! The sections that list: threads, sizes, lifetimes, live blocks, sites, changes.

use std::io;

use super::super::escape::escaped;
use super::super::plot::bar;
use super::super::sheet::Sheet;
use super::super::table::{Align, Table};
use super::super::units::{bytes, bytes_exact, count, duration, share};
use super::subject::{Subject, certainty, none};
use crate::analysis::{
    Bucket, CrossingLine, Figure, SiteOrder, ThreadLine, crossings as crossings_of,
    lifetimes as lifetimes_of, live as live_of, sizes as sizes_of, threads as threads_of, top_sites,
};
use heapledger::profile::Profile;

/// Characters of the longest bar in a distribution.
const BAR_COLUMNS: usize = 24;

pub(in super::super) fn threads(sheet: &mut Sheet<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = threads_of(subject.profile, sheet.layout.rows);
    if found.lines.is_empty() {
        return none(sheet);
    }
    let mut table = Table::new(&[
        ("thread", Align::Left),
        ("id", Align::Right),
        ("blocks", Align::Right),
        ("bytes", Align::Right),
        ("freed", Align::Right),
        ("of others", Align::Right),
        ("events", Align::Right),
        ("lost", Align::Right),
    ])
    .shrinking(0);
    let mut add = |name: String, id: String, line: &ThreadLine| {
        let figures = [line.freed_blocks, line.cross_thread_frees, line.recorded, line.lost].map(count);
        table.row([name, id, count(line.total_blocks), bytes(line.total_bytes)].into_iter().chain(figures));
    };
    for line in &found.lines {
        add(thread_name(line), line.os_id.to_string(), line);
    }
    if let Some(others) = &found.others {
        add(format!("({} others)", count(others.threads)), String::new(), others);
    }
    sheet.table(&table)?;
    sheet.fact(
        "in all",
        &format!("{} of the program", super::super::units::counted(found.threads, "thread", "threads")),
    )?;
    crossings(sheet, subject)?;
    certainty(sheet, subject, Figure::Breakdown)
}

/// Who freed whose blocks.
fn crossings(sheet: &mut Sheet<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = crossings_of(subject.profile, sheet.layout.rows);
    if found.lines.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&[
        ("allocated by", Align::Left),
        ("id", Align::Right),
        ("freed by", Align::Left),
        ("id", Align::Right),
        ("blocks", Align::Right),
        ("bytes", Align::Right),
    ])
    .shrinking(0);
    let name = |name: &str| if name.is_empty() { "(unnamed)".to_string() } else { escaped(name) };
    for CrossingLine { allocated_by, freed_by, blocks, bytes: size } in &found.lines {
        let (from, to) = (name(&allocated_by.0), name(&freed_by.0));
        let ids = [allocated_by.1, freed_by.1].map(|id| id.to_string());
        let [from_id, to_id] = ids;
        table.row([from, from_id, to, to_id, count(*blocks), bytes(*size)]);
    }
    sheet.table(&table)?;
    if found.other_pairs > 0 {
        let pairs = super::super::units::counted(found.other_pairs, "pair", "pairs");
        let sums = format!("{} blocks, {}", count(found.other_blocks), bytes(found.other_bytes));
        sheet.fact("others", &format!("{pairs} of threads: {sums}"))?;
    }
    Ok(())
}

fn thread_name(line: &ThreadLine) -> String {
    let name = if line.name.is_empty() { "(unnamed)".to_string() } else { escaped(&line.name) };
    match (line.own, line.threads) {
        (true, _) => format!("{name} (heapledger)"),
        (false, 0 | 1) => name,
        (false, several) => format!("{name} ({} threads)", count(several)),
    }
}

/// A distribution as a table of ranges, counts, shares and bars.
fn distribution(
    sheet: &mut Sheet<'_>,
    rows: &[Bucket],
    total: u64,
    unit: fn(u64) -> String,
) -> io::Result<()> {
    let unicode = sheet.layout.unicode;
    let largest = rows.iter().map(|row| row.blocks).max().unwrap_or(0);
    let mut table = Table::new(&[
        ("from", Align::Right),
        ("to", Align::Right),
        ("blocks", Align::Right),
        ("share", Align::Right),
        ("", Align::Left),
    ])
    .shrinking(4);
    for row in rows {
        let high = if row.high == u64::MAX { "and more".into() } else { unit(row.high) };
        let drawn = bar(row.blocks, largest, BAR_COLUMNS, unicode);
        table.row([unit(row.low), high, count(row.blocks), share(row.blocks, total), drawn]);
    }
    sheet.table(&table)
}

pub(in super::super) fn sizes(sheet: &mut Sheet<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = sizes_of(subject.profile);
    let Some(median) = found.median_bytes_at_most else { return none(sheet) };
    distribution(sheet, &found.rows, found.blocks, bytes)?;
    sheet.fact("half of them", &format!("at most {}", bytes(median)))?;
    certainty(sheet, subject, Figure::Breakdown)
}

pub(in super::super) fn lifetimes(sheet: &mut Sheet<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = lifetimes_of(subject.profile);
    let (Some(median), Some(p99)) = (found.median_ns_at_most, found.p99_ns_at_most) else {
        return none(sheet);
    };
    distribution(sheet, &found.rows, found.blocks, duration)?;
    sheet.fact("half of them", &format!("at most {}; 99 % at most {}", duration(median), duration(p99)))?;
    certainty(sheet, subject, Figure::Lifetimes)
}

pub(in super::super) fn live(sheet: &mut Sheet<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let found = live_of(subject.profile, sheet.layout.rows);
    if found.groups.is_empty() {
        return none(sheet);
    }
    let right = |title| (title, Align::Right);
    let mut table = Table::new(&[
        right("block size"),
        right("blocks"),
        right("bytes"),
        right("share"),
        right("oldest made after"),
    ]);
    for group in &found.groups {
        let part = share(group.bytes, found.bytes);
        let born = duration(group.oldest_ns);
        table.row([bytes(group.size), count(group.blocks), bytes(group.bytes), part, born]);
    }
    if found.other_blocks > 0 {
        let part = share(found.other_bytes, found.bytes);
        table.row(["(others)".into(), count(found.other_blocks), bytes(found.other_bytes), part]);
    }
    sheet.table(&table)?;
    sheet.fact("in all", &format!("{} blocks, {}", count(found.blocks), bytes_exact(found.bytes)))?;
    certainty(sheet, subject, Figure::LiveBytes)
}

pub(in super::super) fn sites(sheet: &mut Sheet<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let profile = subject.profile;
    if let Some(book) = &subject.book {
        return super::sites::places(sheet, subject, book);
    }
    let found = top_sites(profile, SiteOrder::Total, sheet.layout.rows);
    if found.rows.is_empty() {
        return none(sheet);
    }
    let right = |title| (title, Align::Right);
    let columns = [
        ("innermost frame", Align::Left),
        right("live"),
        right("at peak"),
        right("total"),
        right("blocks"),
        right("temporary"),
    ];
    let mut table = Table::new(&columns).shrinking(0);
    for row in &found.rows {
        let site = &profile.sites[row.site];
        let sizes = [site.live_bytes(), site.at_peak_bytes, site.total_bytes].map(bytes);
        let counts = [site.total_blocks, site.temporary_blocks].map(count);
        table.row([frame(profile, site.stack)].into_iter().chain(sizes).chain(counts));
    }
    if found.other_sites > 0 {
        let name = format!("({} others)", count(found.other_sites));
        table.row([name, String::new(), String::new(), bytes(found.other_value)]);
    }
    sheet.table(&table)?;
    certainty(sheet, subject, Figure::Sites)
}

/// The innermost frame of a stack as an offset into its object.
fn frame(profile: &Profile, stack: u32) -> String {
    let Some(address) = profile.stacks.get(stack as usize).and_then(|stack| stack.frames.first().copied())
    else {
        return "(no stack)".into();
    };
    let holds = |module: &&heapledger::profile::Module| module.start <= address && address < module.end;
    let Some(module) = profile.modules.iter().find(holds) else { return format!("{address:#x}") };
    let file = module.path.rsplit(['/', '\\']).next().unwrap_or_default();
    format!("{}+{:#x}", escaped(file), address.wrapping_sub(module.bias))
}

pub(in super::super) fn changes(sheet: &mut Sheet<'_>, subject: &Subject<'_>) -> io::Result<()> {
    if subject.profile.changes.is_empty() {
        return none(sheet);
    }
    for change in &subject.profile.changes {
        sheet.fact(&format!("after {}", duration(change.at_ns)), &escaped(&change.what))?;
    }
    Ok(())
}
