//! Sections on call stacks: ranked places, the call tree, and blocks that were not freed. A place is a line of a
//! [`SiteBook`].

use std::collections::HashMap;
use std::io;

use super::super::escape::escaped;
use super::super::table::Table;
use super::super::text_page::{TextPage, Tone};
use super::super::units::{NOT_AVAILABLE, bytes, bytes_exact, count, counted, duration, share};
use super::places::{INDENT, ShownPath, place, table_of_places};
use super::subject::{Subject, certainty};
use crate::analysis::book::Ranking;
use crate::analysis::course::{CourseKind, courses};
use crate::analysis::paths::{Function, PathStep, place_in};
use crate::analysis::{
    CodeOwner, Direction, FigureGroup, GroupBy, SiteBook, SiteOrder, Tree, View, estimated_bytes, is_known,
    leaks as leaks_of, site_book, tree as tree_of,
};
use heapledger::profile::{Stacks, Symbols};

/// Maximum number of shown notes on symbols. One more line counts the remaining notes.
const NOTES: usize = 6;
/// Maximum number of lines of a call tree for each listed place. With n places listed, the tree has at most n times as
/// many lines.
const TREE_LINES: usize = 8;
/// Divisor of the root's figure. The tree omits branches with less than 1 / TREE_SHARE of it.
const TREE_SHARE: u64 = 200;
/// Maximum indentation of a call tree, in characters.
const TREE_INDENT: usize = 40;

/// Returns the name of the figure that ranks the places.
fn ranked_by(order: SiteOrder) -> &'static str {
    match order {
        SiteOrder::Live => "bytes live at the end",
        SiteOrder::Peak => "bytes live at the peak of the process",
        SiteOrder::Total => "bytes allocated",
        SiteOrder::Count => "blocks allocated",
        SiteOrder::Temporaries => "temporary blocks",
        SiteOrder::Copied => "bytes that reallocs copied",
    }
}

fn figure(order: SiteOrder, value: u64) -> String {
    if order.is_in_bytes() { bytes(value) } else { count(value) }
}

fn shown<'a>(book: &'a SiteBook, line: usize) -> ShownPath<'a> {
    let line = &book.lines[line];
    ShownPath { functions: &book.functions, path: &line.path, lines: &line.lines, label: &line.label }
}

/// Writes the section on the places with the largest figures.
pub(super) fn places(page: &mut TextPage<'_>, subject: &Subject<'_>, book: &SiteBook) -> io::Result<()> {
    let order = subject.detail.order;
    let ranking = book.ranking(order, subject.detail.top);
    let listed = ranking.rows.len() as u64;
    let all = listed.saturating_add(ranking.other_lines);
    let (one, many) = match book.group {
        GroupBy::Scope => ("scope", "scopes"),
        GroupBy::Thread => ("thread", "threads"),
        _ => ("place", "places"),
    };
    let head = format!("by {}: {listed} of {}", ranked_by(order), counted(all, one, many));
    page.fact("ranked", &head)?;
    looked_at(page, subject, book)?;
    let titles = "#|share|total|blocks|live|at peak|temporary|copied|freed elsewhere";
    let mut table = Table::new(titles);
    for (at, row) in ranking.rows.iter().enumerate() {
        let account = &book.lines[*row].account;
        let part = share(order.value(account), ranking.total);
        let known = |order: SiteOrder, value| {
            let is_known = book.group != GroupBy::Thread || is_known(subject.profile, order);
            if is_known { figure(order, value) } else { NOT_AVAILABLE.to_owned() }
        };
        table.row([
            (at + 1).to_string(),
            part,
            bytes(account.total_bytes),
            count(account.total_blocks),
            known(SiteOrder::Live, account.live_bytes()),
            known(SiteOrder::Peak, account.at_peak_bytes),
            known(SiteOrder::Temporaries, account.temporary_blocks),
            known(SiteOrder::Copied, account.reallocs.copied_bytes),
            count(account.cross_thread_frees),
        ]);
    }
    let growing = growing(subject, book);
    table_of_places(page, &table, |page, at| {
        let Some(row) = ranking.rows.get(at) else { return Ok(()) };
        let place = shown(book, *row);
        if subject.detail.overview {
            place.write_short(page, book.group, book.lines[*row].sites)?;
        } else {
            place.write(page, book.group)?;
        }
        growing.get(row).map_or(Ok(()), |kind| {
            let text = format!("{:INDENT$}  live bytes over time: {}", "", kind.name());
            page.toned_line(&text, Tone::Plain)
        })
    })?;
    sampled(page, subject, book, &ranking.rows)?;
    if ranking.other_lines > 0 {
        let others = counted(ranking.other_lines, one, many);
        let part = share(ranking.other_value, ranking.total);
        page.fact("others", &format!("{others} with {} ({part})", figure(order, ranking.other_value)))?;
    }
    one_crate(page, book, &ranking)?;
    names(page, &subject.profile.symbols)?;
    let figures = if book.group == GroupBy::Thread { FigureGroup::Breakdown } else { FigureGroup::Sites };
    certainty(page, subject, figures)
}

/// Returns the lines of the book whose live bytes rose through most of the run, whether or not they were freed at the
/// end.
fn growing(subject: &Subject<'_>, book: &SiteBook) -> HashMap<usize, CourseKind> {
    let is_growing = |kind| matches!(kind, CourseKind::KeepsGrowing | CourseKind::GivenBack);
    let courses = if book.group.is_place() { courses(subject.profile, book) } else { Vec::new() };
    courses.iter().filter(|course| is_growing(course.kind)).map(|course| (course.line, course.kind)).collect()
}

/// Divisor of the sum of the ranked figure. The first place has nearly all if the other places together have at most 1
/// / REST_SHARE of the sum.
const REST_SHARE: u64 = 10;

/// Writes advice if one place has nearly the whole figure and calls another crate: which flag shows the places in that
/// crate.
fn one_crate(page: &mut TextPage<'_>, book: &SiteBook, ranking: &Ranking) -> io::Result<()> {
    let Some(line) = ranking.rows.first().map(|row| &book.lines[*row]) else { return Ok(()) };
    let value = ranking.order.value(&line.account);
    if !matches!(book.group, GroupBy::Line | GroupBy::Function)
        || ranking.total.saturating_sub(value) > ranking.total / REST_SHARE
    {
        return Ok(());
    }
    let function = |step: &PathStep| book.functions.get(step.function as usize);
    let own = place_in(&line.path, &book.functions);
    let called = line.path[..own.min(line.path.len())].iter().rev().filter_map(function);
    let mut called = called.filter(|function| function.owner == CodeOwner::Dependency);
    match called.next().map(Function::crate_name).filter(|name| !name.is_empty()) {
        Some(name) => {
            let name = escaped(name);
            let text = format!(
                "nearly all is of one place, which calls {name}: --own {name} shows the places in it"
            );
            page.fact("one place", &text)
        }
        None => Ok(()),
    }
}

/// Writes the estimated bytes of each ranked place, if stacks were sampled: the figures in the table then contain only
/// the blocks with a stack.
fn sampled(
    page: &mut TextPage<'_>,
    subject: &Subject<'_>,
    book: &SiteBook,
    rows: &[usize],
) -> io::Result<()> {
    let Stacks::Sampled { bytes: mean } = subject.profile.settings.stacks else { return Ok(()) };
    let how = format!("one stack in {} allocated; the figures above are of blocks that got one", bytes(mean));
    page.fact("sampled", &how)?;
    let whole = |value: f64| bytes(value.round() as u64);
    for (at, row) in rows.iter().enumerate() {
        if let Some(estimate) = estimated_bytes(subject.profile, &book.lines[*row].account) {
            let (value, error) = (whole(estimate.value), whole(estimate.standard_error));
            page.fact("", &format!("#{}: {value} in all, standard error {error}", at + 1))?;
        }
    }
    Ok(())
}

/// Writes the filters of the view, and the sums of the sites that they leave out. Writes nothing without filters.
fn looked_at(page: &mut TextPage<'_>, subject: &Subject<'_>, book: &SiteBook) -> io::Result<()> {
    if subject.detail.looked_at.is_empty() {
        return Ok(());
    }
    page.fact("looked at", &escaped(&subject.detail.looked_at))?;
    let unseen = &book.unseen;
    let left_out = format!(
        "{} of {}, with {} in {} allocated; shares are of everything",
        counted(book.unseen_sites, "site", "sites"),
        count(book.sites),
        bytes(unseen.total_bytes),
        counted(unseen.total_blocks, "block", "blocks")
    );
    page.fact("not looked at", &left_out)
}

/// Writes the notes on addresses that have no name.
fn names(page: &mut TextPage<'_>, symbols: &Symbols) -> io::Result<()> {
    for (index, note) in symbols.notes.iter().take(NOTES).enumerate() {
        page.fact(if index == 0 { "names" } else { "" }, &escaped(note))?;
    }
    let more = symbols.notes.len().saturating_sub(NOTES) as u64;
    if more > 0 {
        page.fact("", &format!("and {}", counted(more, "further note", "further notes")))
    } else {
        Ok(())
    }
}

/// Writes the section with the call tree.
pub(in super::super) fn call_tree(
    page: &mut TextPage<'_>,
    subject: &Subject<'_>,
    direction: Direction,
) -> io::Result<()> {
    if subject.book.is_none() {
        return page.note("none: no call stacks were taken", 2, Tone::Plain);
    }
    let view = View { group: GroupBy::Stack, ..subject.detail.view.clone() };
    let book = &site_book(subject.profile, &view);
    let order = subject.detail.order;
    let tree = tree_of(book, direction, order);
    let way = match direction {
        Direction::Callees => "from the outermost function to those that it calls",
        Direction::Callers => "from the allocating function to those that call it",
    };
    page.fact("tree", &format!("{way}, by {}", ranked_by(order)))?;
    looked_at(page, subject, book)?;
    let rest = branches(page, book, &tree, subject.detail.top.saturating_mul(TREE_LINES))?;
    let left_out = format!("branches below {} of the root", share(1, TREE_SHARE));
    let full = if rest > 0 {
        format!(", and {} for want of room", counted(rest, "line", "lines"))
    } else {
        String::new()
    };
    page.fact("left out", &format!("{left_out}{full}"))?;
    if tree.cut > 0 {
        page.fact("cut", &format!("{} are counted above where they belong", figure(order, tree.cut)))?;
    }
    certainty(page, subject, FigureGroup::Sites)
}

/// Writes up to `most` lines of a tree. Returns the number of lines that are left out.
fn branches(page: &mut TextPage<'_>, book: &SiteBook, tree: &Tree, most: usize) -> io::Result<u64> {
    let whole = tree.nodes[0].value;
    let (mut open, mut written, mut left) = (vec![0u32], 0usize, 0u64);
    while let Some(at) = open.pop() {
        let Some(node) = tree.nodes.get(at as usize) else { continue };
        if node.value == 0 || u128::from(node.value) * u128::from(TREE_SHARE) < u128::from(whole) {
            continue;
        }
        open.extend(node.children.iter().rev());
        if written >= most.max(1) {
            left += 1;
            continue;
        }
        written += 1;
        let indent = (node.depth as usize).min(TREE_INDENT);
        let front = format!(
            "  {:>8}  {:>10}  {:indent$}",
            share(node.value, whole),
            figure(tree.order, node.value),
            ""
        );
        let room = page.layout.columns().saturating_sub(front.chars().count()).max(20);
        let function = book.functions.get(node.function as usize).filter(|_| at > 0);
        let name = if at == 0 { "all".into() } else { place(function, 0, room) };
        let own = if node.own > 0 && !node.children.is_empty() && at > 0 {
            format!(", {} of it here", figure(tree.order, node.own))
        } else {
            String::new()
        };
        page.line(&format!("{front}{name}{own}"))?;
    }
    Ok(left)
}

/// Writes the section on blocks that were not freed, by place.
pub(in super::super) fn leaks(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let detail = subject.detail;
    let found = leaks_of(subject.profile, &detail.view, detail.suppressions);
    let places = counted(found.leaks.len() as u64, "place", "places");
    let blocks = counted(found.blocks, "block", "blocks");
    page.fact("not freed", &format!("{blocks}, {}, from {places}", bytes_exact(found.bytes)))?;
    if subject.profile.process.reason != "exit" {
        let reason = escaped(&subject.profile.process.reason);
        page.fact("taken", &format!("before the end ({reason}): blocks still in use are among them"))?;
    }
    if !detail.looked_at.is_empty() {
        page.fact("looked at", &escaped(&detail.looked_at))?;
        page.fact("not looked at", &counted(found.unseen_blocks, "block", "blocks"))?;
    }
    let mut table = Table::new("#|bytes|share|blocks|oldest made after");
    let (listed, others) = found.leaks.split_at(detail.top.min(found.leaks.len()));
    for (at, leak) in listed.iter().enumerate() {
        let part = share(leak.bytes, found.bytes);
        table.row([
            (at + 1).to_string(),
            bytes(leak.bytes),
            part,
            count(leak.blocks),
            duration(leak.oldest_ns),
        ]);
    }
    if !listed.is_empty() {
        table_of_places(page, &table, |page, at| {
            let Some(leak) = listed.get(at) else { return Ok(()) };
            let place =
                ShownPath { functions: &found.functions, path: &leak.path, lines: &leak.lines, label: "" };
            place.write(page, GroupBy::Stack)
        })?;
    }
    if !others.is_empty() {
        let size = others.iter().fold(0u64, |sum, leak| sum.saturating_add(leak.bytes));
        let places = counted(others.len() as u64, "place", "places");
        page.fact("others", &format!("{places} with {}", bytes(size)))?;
    }
    for known in &found.suppressed {
        let taken = format!("{}, {}", counted(known.blocks, "block", "blocks"), bytes(known.bytes));
        let origin = if known.is_built_in { " (built in)" } else { "" };
        page.fact("suppressed", &format!("{taken} by leak:{}{origin}", escaped(&known.pattern)))?;
    }
    certainty(page, subject, FigureGroup::LiveBytes)
}
