//! Hundreds of thousands of sites: every report and export ends, has the right sums, and takes memory in proportion.

use std::collections::BTreeMap;

use heapledger::Profile;
use heapledger::profile::{LiveBlock, Module, Site, Stack, SymbolFrame};
use heapledger_cli::analysis::{
    Direction, GroupBy, Origin, SiteOrder, View, growth, leaks, site_book, suppressions, tree, verify,
};
use heapledger_cli::report::{Detail, Layout, write_report_with};

const SITES: u32 = 100_000;
const FRAMES: u64 = 40;

/// Returns a profile with sites of 40 frames at `addresses` addresses. A quarter of the addresses have names: 1,000
/// names with control characters and brackets; some addresses have many inlined functions.
fn many(sites: u32, addresses: u64) -> Profile {
    let mut profile = heapledger::Profile::default();
    profile.quality.installed = true;
    profile.settings.stacks = heapledger::Stacks::Auto;
    profile.modules = (0..64u64)
        .map(|n| Module {
            path: format!("/opt/lib{n}.so\u{1b}[2J"),
            start: n << 24,
            end: (n + 1) << 24,
            ..Module::default()
        })
        .collect();
    let name = |n: u32| format!("demo<{}>::{{closure#{n}}}\u{1b}[31m\n\u{202e}", "<".repeat(n as usize % 50));
    profile.symbols.strings = (0..1000).map(|n| if n == 0 { String::new() } else { name(n) }).collect();
    profile.stacks = vec![Stack::default()];
    let mut frames = BTreeMap::new();
    for stack in 1..=sites {
        // The innermost address is the stack's own, as a call site is; those above it are shared.
        let mixed = |at: u64| (u64::from(stack) * FRAMES + at).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let address = |at| if at == 0 { u64::from(stack) } else { mixed(at) % addresses };
        let list: Vec<u64> = (0..FRAMES).map(address).collect();
        for at in list.iter().filter(|at| **at % 4 == 0) {
            let inlined = if at % 4096 == 0 { 256 } else { 1 };
            let frame = SymbolFrame { function: (at % 1200) as u32, file: 3, line: 7, inlined: true };
            frames.insert(*at, vec![frame; inlined]);
        }
        profile.stacks.push(Stack { frames: list, truncated: false });
        let mut site = Site { stack, total_blocks: 1, total_bytes: u64::from(stack), ..Site::default() };
        site.sizes.add(u64::from(stack), 1);
        profile.sites.push(site);
        profile.live.push(LiveBlock { size: u64::from(stack), stack, ..LiveBlock::default() });
        profile.totals.total_bytes += u64::from(stack);
    }
    profile.symbols.frames = frames;
    profile
}

/// Returns the number of addresses of a large program, or the value of `SITES_ADDRESSES`, up to one address per frame.
fn addresses() -> u64 {
    std::env::var("SITES_ADDRESSES").map_or(50_000, |given| given.parse().expect("a number"))
}

#[test]
fn every_sum_over_many_sites_is_that_of_all() {
    let profile = many(SITES / 10, addresses());
    let book = site_book(&profile, &View { group: GroupBy::Stack, ..View::default() });
    let total: u64 = book.lines.iter().map(|line| line.account.total_bytes).sum();
    assert_eq!(total, profile.totals.total_bytes);
    let ranking = book.ranking(SiteOrder::Total, 10);
    assert_eq!(
        (ranking.rows.len() as u64 + ranking.other_lines, ranking.total),
        (book.lines.len() as u64, total)
    );
    for direction in [Direction::Callees, Direction::Callers] {
        let tree = tree(&book, direction, SiteOrder::Total);
        assert_eq!(tree.nodes[0].value, total);
        assert_eq!(tree.nodes.iter().map(|node| node.own).sum::<u64>(), total, "every path ends somewhere");
    }
    assert_eq!(growth(&book, 5), []);
    let known = suppressions::parse("leak:*closure#1*7*$\nleak:lib9.so").unwrap();
    let found = leaks(&profile, &View::default(), &known);
    let taken: u64 = found.suppressed.iter().map(|known| known.blocks).sum();
    assert!(taken > 0 && found.blocks + taken == u64::from(SITES / 10), "{taken}");
}

#[test]
fn a_report_of_a_hundred_thousand_sites_is_no_longer_than_asked() {
    let profile = many(SITES, addresses());
    let known = suppressions::parse("leak:nothing").unwrap();
    let detail = Detail {
        tree: Some(Direction::Callees),
        leaks: true,
        suppressions: &known,
        top: 3,
        view: View { group: GroupBy::Stack, ..View::default() },
        ..Detail::default()
    };
    let mut out = Vec::new();
    let origin = Origin::default();
    write_report_with(&profile, &origin, &Layout::default(), &detail, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.lines().count() < 250, "{} lines", text.lines().count());
    assert!(!text.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'));
    assert!(text.contains("3 of 100,000 places"), "{text}");
    assert_eq!(
        verify(&profile, &origin).certainty(heapledger_cli::analysis::FigureGroup::Sites).causes.len(),
        1
    );
}
