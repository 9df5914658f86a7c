//! Sums by thread, as a [`SiteBook`].
//!
//! A site belongs to a call stack, not to a thread, so the sums come from the profile's rows of threads. A row has the
//! blocks and bytes that the thread allocated. How many of these are live is known only if the list of live blocks is
//! complete. [`is_known`] tells which figures are recorded by thread; the other figures are 0 in the book.

use std::collections::HashMap;

use super::arithmetic::saturating_sum;
use super::book::{SiteBook, SiteLine, site_book};
use super::paths::{GroupBy, View};
use super::site_order::SiteOrder;
use heapledger::profile::{Profile, Site, ThreadRow};

/// Whether a figure is recorded by thread.
pub fn is_known(profile: &Profile, order: SiteOrder) -> bool {
    match order {
        SiteOrder::Total | SiteOrder::Count => true,
        SiteOrder::Live => lists_all_live_blocks(profile),
        SiteOrder::Peak | SiteOrder::Temporaries | SiteOrder::Copied => false,
    }
}

/// Whether the list of live blocks is complete: its sums equal the totals of the profile.
pub fn lists_all_live_blocks(profile: &Profile) -> bool {
    let bytes = saturating_sum(profile.live.iter().map(|block| block.size));
    bytes == profile.totals.live_bytes && profile.live.len() as u64 == profile.totals.live_blocks
}

/// Returns the sums by thread if `view` groups by thread, and else the sums of [`site_book`].
pub fn grouped_book(profile: &Profile, view: &View<'_>) -> SiteBook {
    if view.group == GroupBy::Thread { thread_book(profile) } else { site_book(profile, view) }
}

/// Returns the sums by thread, with one line for each thread of the program.
fn thread_book(profile: &Profile) -> SiteBook {
    let mut live: HashMap<u32, (u64, u64)> = HashMap::new();
    let listed = if lists_all_live_blocks(profile) { &profile.live[..] } else { &[] };
    for block in listed {
        let (blocks, bytes) = live.entry(block.thread).or_default();
        (*blocks, *bytes) = (*blocks + 1, bytes.saturating_add(block.size));
    }
    let line = |row: &ThreadRow| {
        let (blocks, bytes) = live.get(&row.index).copied().unwrap_or_default();
        let elsewhere = profile.crossings.iter().filter(|crossing| crossing.allocated_by == row.index);
        let account = Site {
            total_blocks: row.total_blocks,
            total_bytes: row.total_bytes,
            freed_blocks: row.total_blocks.saturating_sub(blocks),
            freed_bytes: row.total_bytes.saturating_sub(bytes),
            cross_thread_frees: saturating_sum(elsewhere.map(|crossing| crossing.blocks)),
            ..Site::default()
        };
        SiteLine { account, sites: 1, path: Vec::new(), lines: Vec::new(), label: name(row) }
    };
    let lines: Vec<SiteLine> = profile.threads.iter().filter(|row| !row.own).map(line).collect();
    SiteBook {
        functions: Vec::new(),
        group: GroupBy::Thread,
        sites: lines.len() as u64,
        lines,
        line_of_stack: HashMap::new(),
        unseen: Site::default(),
        unseen_sites: 0,
    }
}

fn name(row: &ThreadRow) -> String {
    let name = if row.name.is_empty() { "(unnamed)" } else { &row.name };
    match row.threads {
        0 | 1 => format!("{name} ({})", row.os_id),
        several => format!("{name} ({several} threads)"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn each_thread_is_a_line_and_only_known_figures_are_shown() {
        let mut profile = sample::complete();
        let view = View { group: GroupBy::Thread, ..View::default() };
        let book = grouped_book(&profile, &view);
        let read = |book: &SiteBook| -> Vec<_> {
            let line =
                |line: &SiteLine| (line.label.clone(), line.account.total_bytes, line.account.live_bytes());
            book.lines.iter().map(line).collect()
        };
        let total: u64 = read(&book).iter().map(|(_, bytes, _)| bytes).sum();
        assert_eq!(total, profile.totals.total_bytes);
        let live: u64 = read(&book).iter().map(|(.., live)| live).sum();
        assert_eq!(live, profile.totals.live_bytes);
        assert!(is_known(&profile, SiteOrder::Live) && !is_known(&profile, SiteOrder::Peak));
        profile.live.pop();
        assert!(!is_known(&profile, SiteOrder::Live) && is_known(&profile, SiteOrder::Count));
    }
}
