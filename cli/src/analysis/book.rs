//! Sites of a profile, summed by a key such as the line of the program that allocates.
//!
//! In a profile, a stack of addresses identifies a site. This module reads the stack as a path of functions
//! ([`paths`](super::paths)), computes a key from the path, and sums the sites with the same key. The [`View`] chooses
//! the key: by default the line of the program that allocates, or else the function, the crate, or the whole path.

use std::collections::HashMap;

use super::SiteOrder;
use super::arithmetic::saturating_sum;
use super::interner::Interner;
use super::paths::{Function, GroupBy, PathStep, Paths, Reading, View, place_in};
use super::scopes::scope_path;
use heapledger::profile::{Profile, ReallocStats, Site};

/// Sum of the sites that have the same key: one row of a report. Other modules call it a *place*.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteLine {
    /// Sum of the figures of the sites. Two fields differ: `stack` is the stack of the site with the most bytes.
    /// `own_peak_bytes` is the sum of the peaks of the single sites, which is an upper bound of their common peak.
    pub account: Site,
    /// Number of sites of the profile with this key.
    pub sites: u64,
    /// Functions on the path of the site with the most bytes, innermost first.
    pub path: Vec<PathStep>,
    /// Source line of each function of `path`; 0 if the line is unknown.
    pub lines: Vec<u32>,
    /// Name of the thread, or names of the nested scopes, if the sites are summed by thread or scope; else empty.
    pub label: String,
}

/// All sites of a profile, summed by key.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteBook {
    /// Functions that occur in the paths.
    pub functions: Vec<Function>,
    /// Key by which the sites are summed.
    pub group: GroupBy,
    /// Sums by key, over the sites that pass the filters of the view. The order is that of the first site with each key
    /// in the profile.
    pub lines: Vec<SiteLine>,
    /// Maps each stack that passes the filters to its index in `lines`.
    pub line_of_stack: HashMap<u32, usize>,
    /// Number of sites of the profile, including those that the view filters out.
    pub sites: u64,
    /// Sum of the sites that the view filters out.
    pub unseen: Site,
    /// Number of sites that the view filters out.
    pub unseen_sites: u64,
}

/// Ranking of the lines of a `SiteBook` by one figure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranking {
    /// Figure that ranks the lines.
    pub order: SiteOrder,
    /// Indices into [`SiteBook::lines`], the largest figure first. Lines whose figure is zero are omitted.
    pub rows: Vec<usize>,
    /// Number of lines with a figure above zero that are not in `rows`, because the ranking has a maximum length.
    pub other_lines: u64,
    /// Sum of the figures of these `other_lines`.
    pub other_value: u64,
    /// Sum of the figure over all sites of the profile, including those that the view filters out.
    pub total: u64,
}

/// Key by which sites are summed into one line.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    Path(Vec<PathStep>),
    Step(Option<PathStep>),
    Named(String),
}

impl Key {
    fn of(reading: &Reading, group: GroupBy, functions: &[Function]) -> Key {
        let at = place_in(&reading.path, functions);
        let line = reading.lines.get(at).copied().unwrap_or(0);
        let step = reading.path.get(at).map(|step| PathStep { line, ..*step });
        match group {
            GroupBy::Stack => Key::Path(reading.path.clone()),
            GroupBy::Line => Key::Step(step),
            GroupBy::Function => Key::Step(step.map(|step| PathStep { line: 0, ..step })),
            // `Scope` gets here only if a scope has an empty name, and `Thread` never: `thread_book` sums by thread.
            GroupBy::Crate | GroupBy::Scope | GroupBy::Thread => {
                let function = step.and_then(|step| functions.get(step.function as usize));
                Key::Named(function.map_or(String::new(), |function| function.crate_name().to_owned()))
            }
        }
    }
}

/// Simplifies, filters and sums the sites of `profile`, as `view` says.
pub fn site_book(profile: &Profile, view: &View<'_>) -> SiteBook {
    let mut paths = Paths::new(profile, view, &[]);
    let mut keys: Interner<Key> = Interner::default();
    let mut book = SiteBook {
        functions: Vec::new(),
        group: view.group,
        lines: Vec::new(),
        line_of_stack: HashMap::new(),
        sites: profile.sites.len() as u64,
        unseen: Site::default(),
        unseen_sites: 0,
    };
    let mut heaviest: Vec<u64> = Vec::new();
    for site in &profile.sites {
        let reading = paths.read(site.stack);
        if !reading.is_seen {
            book.unseen_sites += 1;
            add(&mut book.unseen, site);
            continue;
        }
        let label = match view.group {
            GroupBy::Scope => scope_path(profile, site.stack),
            _ => String::new(),
        };
        let key = match label.is_empty() {
            true => Key::of(&reading, view.group, paths.functions()),
            false => Key::Named(label.clone()),
        };
        let at = keys.number(key) as usize;
        book.line_of_stack.insert(site.stack, at);
        let Reading { path, lines, .. } = reading;
        if at == book.lines.len() {
            heaviest.push(site.total_bytes);
            book.lines.push(SiteLine { account: site.clone(), sites: 1, path, lines, label });
            continue;
        }
        let line = &mut book.lines[at];
        add(&mut line.account, site);
        line.sites += 1;
        if site.total_bytes > heaviest[at] {
            heaviest[at] = site.total_bytes;
            line.account.stack = site.stack;
            (line.path, line.lines) = (path, lines);
        }
    }
    book.functions = paths.into_functions();
    book
}

impl SiteBook {
    /// Returns the `limit` lines with the highest figure. Lines with the same figure keep their order.
    pub fn ranking(&self, order: SiteOrder, limit: usize) -> Ranking {
        let value = |line: &usize| order.value(&self.lines[*line].account);
        let mut rows: Vec<usize> = (0..self.lines.len()).filter(|line| value(line) > 0).collect();
        rows.sort_by_key(|line| std::cmp::Reverse(value(line)));
        let seen = saturating_sum(rows.iter().map(value));
        let others = rows.split_off(limit.min(rows.len()));
        Ranking {
            order,
            other_lines: others.len() as u64,
            other_value: saturating_sum(others.iter().map(value)),
            total: seen.saturating_add(order.value(&self.unseen)),
            rows,
        }
    }
}

/// Adds the figures of a site to `sum`; the stack of `sum` is unchanged.
#[rustfmt::skip]
fn add(sum: &mut Site, site: &Site) {
    let Site {
        stack: _, total_blocks, total_bytes, freed_blocks, freed_bytes, own_peak_bytes, at_peak_bytes, at_peak_blocks,
        temporary_blocks, temporary_bytes, cross_thread_frees, reallocs, ref sizes, ref lifetimes,
    } = *site;
    let ReallocStats { count, moved, copied_bytes, chains, chain_links, longest_chain } = reallocs;
    for (sum, value) in [
        (&mut sum.total_blocks, total_blocks), (&mut sum.total_bytes, total_bytes),
        (&mut sum.freed_blocks, freed_blocks), (&mut sum.freed_bytes, freed_bytes),
        (&mut sum.own_peak_bytes, own_peak_bytes), (&mut sum.at_peak_bytes, at_peak_bytes),
        (&mut sum.at_peak_blocks, at_peak_blocks), (&mut sum.temporary_blocks, temporary_blocks),
        (&mut sum.temporary_bytes, temporary_bytes), (&mut sum.cross_thread_frees, cross_thread_frees),
        (&mut sum.reallocs.count, count), (&mut sum.reallocs.moved, moved),
        (&mut sum.reallocs.copied_bytes, copied_bytes), (&mut sum.reallocs.chains, chains),
        (&mut sum.reallocs.chain_links, chain_links),
    ] {
        *sum = sum.saturating_add(value);
    }
    sum.reallocs.longest_chain = sum.reallocs.longest_chain.max(longest_chain);
    sum.sizes.merge(sizes);
    sum.lifetimes.merge(lifetimes);
}

#[cfg(test)]
mod tests {
    use super::super::code_owner::crate_of;
    use super::super::paths::named;
    use super::*;

    fn site(stack: u32, total_bytes: u64) -> Site {
        let mut site = Site { stack, total_bytes, total_blocks: 1, ..Site::default() };
        site.sizes.add(total_bytes, 1);
        site
    }

    #[test]
    fn sites_that_read_the_same_are_one_line_and_nothing_is_lost() {
        let mut profile = named(&[
            &[("demo::add", "a.rs", 1), ("demo::main", "a.rs", 8)],
            &[("demo::add", "a.rs", 1), ("demo::main", "a.rs", 9)],
            &[("demo::get", "a.rs", 2)],
        ]);
        profile.sites = vec![site(0, 1), site(1, 10), site(2, 20), site(3, 5), site(99, 2)];
        let book = site_book(&profile, &View::default());
        let totals: Vec<_> = book.lines.iter().map(|line| (line.account.total_bytes, line.sites)).collect();
        assert_eq!(totals, [(3, 2), (30, 2), (5, 1)], "a stack that does not exist reads as none");
        assert_eq!([0, 1, 2, 3].map(|stack| book.line_of_stack[&stack]), [0, 1, 1, 2]);
        assert_eq!((book.lines[1].account.stack, &book.lines[1].lines[..]), (2, &[1, 9][..]));
        assert_eq!(book.lines[1].account.sizes.total(), 2);
        let ranking = book.ranking(SiteOrder::Total, 1);
        assert_eq!(
            (ranking.rows, ranking.other_lines, ranking.other_value, ranking.total),
            (vec![1], 2, 8, 38)
        );
    }

    #[test]
    fn a_line_sums_the_sites_with_its_key() {
        let grow = ("alloc::vec::Vec<T>::push", "/rustc/1/library/alloc/src/vec/mod.rs", 3);
        let serde = ("serde_json::parse", "/c/registry/src/i/serde_json-1/src/de.rs", 4);
        let mut profile = named(&[
            &[grow, ("demo::add", "a.rs", 1), ("demo::main", "a.rs", 8)],
            &[serde, ("demo::add", "a.rs", 1), ("demo::main", "a.rs", 9)],
            &[grow, ("demo::add", "a.rs", 2), ("demo::main", "a.rs", 8)],
            &[grow, ("demo::run", "a.rs", 5)],
            &[grow, serde],
        ]);
        profile.sites = (1..6).map(|stack| site(stack, u64::from(stack))).collect();
        let of = |group| {
            let book = site_book(&profile, &View { group, ..View::default() });
            book.lines.iter().map(|line| line.account.total_bytes).collect::<Vec<_>>()
        };
        assert_eq!(of(GroupBy::Stack), [1, 2, 3, 4, 5]);
        assert_eq!(of(GroupBy::Line), [3, 3, 4, 5], "a dependency only where nothing is the program's");
        assert_eq!(of(GroupBy::Function), [6, 4, 5]);
        assert_eq!(of(GroupBy::Crate), [10, 5]);
    }

    #[test]
    fn sites_are_summed_by_the_innermost_scope() {
        use heapledger::profile::{Scope, scope_address};
        let mut profile = named(&[&[("demo::add", "a.rs", 1)], &[("demo::add", "a.rs", 1)]]);
        let scope = |name: &str, parent| Scope { name: name.into(), parent, ..Scope::default() };
        profile.scopes = vec![scope("request", 0), scope("parse", 1)];
        let frame = profile.stacks[1].frames[0];
        profile.stacks[1].frames = vec![frame, scope_address(2), scope_address(1)];
        profile
            .stacks
            .push(heapledger::profile::Stack { frames: vec![frame, scope_address(1)], truncated: false });
        profile.sites = (0..4).map(|stack| site(stack, u64::from(stack) + 1)).collect();
        let book = site_book(&profile, &View { group: GroupBy::Scope, ..View::default() });
        let read: Vec<_> =
            book.lines.iter().map(|line| (line.label.as_str(), line.account.total_bytes)).collect();
        assert_eq!(read, [("(outside scopes)", 4), ("request > parse", 2), ("request", 4)]);
    }

    #[test]
    fn the_crate_is_the_first_component_of_a_name() {
        for (name, expected) in [
            ("demo::add", "demo"),
            ("<serde_json::Value as core::clone::Clone>::clone", "serde_json"),
            ("<&mut dyn demo::T as F>::go", "demo"),
            ("inflate", "inflate"),
            ("", ""),
        ] {
            assert_eq!(crate_of(name), expected);
        }
    }

    #[test]
    fn what_the_view_does_not_look_at_is_summed_apart() {
        let mut profile = named(&[&[("demo::add", "a.rs", 1)], &[("demo::get", "a.rs", 2)]]);
        profile.sites = vec![site(1, 10), site(2, 20)];
        let wanted = |text: &str| text.contains("add");
        let view = View { focus: vec![&wanted], ..View::default() };
        let book = site_book(&profile, &view);
        assert_eq!((book.lines.len(), book.unseen_sites, book.unseen.total_bytes, book.sites), (1, 1, 20, 2));
        assert_eq!(book.ranking(SiteOrder::Total, 9).total, 30);
    }

    #[test]
    fn absurd_counts_saturate() {
        let mut profile = named(&[&[("a", "", 0)]]);
        let mut absurd = site(1, u64::MAX);
        absurd.reallocs.copied_bytes = u64::MAX;
        profile.sites = vec![absurd.clone(), absurd];
        let book = site_book(&profile, &View::default());
        for order in SiteOrder::ALL {
            let ranking = book.ranking(order, 0);
            assert_eq!(ranking.total, order.value(&book.lines[0].account));
        }
        assert_eq!(book.lines[0].account.total_bytes, u64::MAX);
    }
}
