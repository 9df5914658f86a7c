//! The conservation laws of a profile. The laws are checked before a dump is written and after one is read. A check
//! names each broken law and repairs nothing.

use std::fmt;

use super::model::{HeapStats, Interval, Profile, Site};
use super::scopes::Scope;

/// A conservation law that does not hold for a profile, with the values of both sides of its equation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The law, as an equation.
    pub law: &'static str,
    /// Value of the left side.
    pub left: u128,
    /// Value of the right side.
    pub right: u128,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is not {}", self.law, self.left, self.right)
    }
}

/// Returns the laws that `profile` breaks. Returns an empty list if all laws hold.
///
/// The laws of the counters are always checked. The laws between the totals and the tables (such as `sites`, `live` and
/// `threads`) are checked only if no event was in flight, lost, sampled out or anomalous.
pub fn check(profile: &Profile) -> Vec<Violation> {
    broken(laws(profile))
}

/// Returns the laws that `profile` breaks. `sums` are the sums over the sites and the live blocks of the profile.
pub(crate) fn check_rows(profile: &Profile, sums: &RowSums) -> Vec<Violation> {
    broken(laws_of(profile, sums))
}

fn broken(laws: Vec<Law>) -> Vec<Violation> {
    let broken = laws.into_iter().filter(|law| law.applies && law.left != law.right);
    broken.map(|Law { law, left, right, .. }| Violation { law, left, right }).collect()
}

/// Sums over the rows of the large tables: sites and live blocks. A reader that does not hold all rows in memory checks
/// the laws with these sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RowSums {
    total_blocks: u128,
    total_bytes: u128,
    freed_blocks: u128,
    freed_bytes: u128,
    sizes: u128,
    lifetimes: u128,
    /// Sums over the sites outside scopes, in the order of [`SCOPE_LAWS`].
    outside: [u128; SCOPE_LAWS.len()],
    live_blocks: u128,
    live_bytes: u128,
}

impl RowSums {
    /// Adds the figures of a site. `is_in_scope` says whether the stack of the site is in a scope.
    pub(crate) fn add_site(&mut self, site: &Site, is_in_scope: bool) {
        for (sum, figure) in [
            (&mut self.total_blocks, site.total_blocks),
            (&mut self.total_bytes, site.total_bytes),
            (&mut self.freed_blocks, site.freed_blocks),
            (&mut self.freed_bytes, site.freed_bytes),
            (&mut self.sizes, site.sizes.total()),
            (&mut self.lifetimes, site.lifetimes.total()),
        ] {
            *sum += u128::from(figure);
        }
        if !is_in_scope {
            for (sum, (.., of_site)) in self.outside.iter_mut().zip(SCOPE_LAWS) {
                *sum += u128::from(of_site(site));
            }
        }
    }

    /// Adds a live block of `bytes` bytes.
    pub(crate) fn add_live(&mut self, bytes: u64) {
        self.live_blocks += 1;
        self.live_bytes += u128::from(bytes);
    }
}

/// A conservation law of scopes: the equation, and the functions that read the figure from the totals, from a scope and
/// from a site.
type ScopeLaw = (&'static str, fn(&HeapStats) -> u64, fn(&Scope) -> u64, fn(&Site) -> u64);

const SCOPE_LAWS: [ScopeLaw; 4] = [
    (
        "total_blocks = sum over scopes + outside scopes",
        |totals| totals.total_blocks,
        |scope| scope.total_blocks,
        |site| site.total_blocks,
    ),
    (
        "total_bytes = sum over scopes + outside scopes",
        |totals| totals.total_bytes,
        |scope| scope.total_bytes,
        |site| site.total_bytes,
    ),
    (
        "freed_blocks = sum over scopes + outside scopes",
        |totals| totals.freed_blocks,
        |scope| scope.freed_blocks,
        |site| site.freed_blocks,
    ),
    (
        "freed_bytes = sum over scopes + outside scopes",
        |totals| totals.freed_bytes,
        |scope| scope.freed_bytes,
        |site| site.freed_bytes,
    ),
];

/// A law and the values of its two sides in a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Law {
    /// The law, as an equation.
    pub law: &'static str,
    /// Value of the left side.
    pub left: u128,
    /// Value of the right side.
    pub right: u128,
    /// Whether the law has to hold for this profile.
    pub applies: bool,
}

/// Returns every law with its values, including laws that hold and laws that do not apply to this profile.
pub fn laws(profile: &Profile) -> Vec<Law> {
    let mut sums = RowSums::default();
    let has_scopes = !profile.scopes.is_empty();
    for site in &profile.sites {
        sums.add_site(site, has_scopes && profile.scope_of_stack(site.stack) != 0);
    }
    profile.live.iter().for_each(|block| sums.add_live(block.size));
    laws_of(profile, &sums)
}

fn laws_of(profile: &Profile, sums: &RowSums) -> Vec<Law> {
    let mut laws = Laws { all: Vec::new(), applies: true };
    let (quality, totals) = (&profile.quality, &profile.totals);

    laws.equal(
        "attempted = recorded + lost + in_flight",
        quality.attempted,
        u128::from(quality.recorded) + u128::from(quality.lost.total()) + u128::from(quality.in_flight),
    );
    laws.equal(
        "recorded = retained + evicted",
        quality.recorded,
        u128::from(quality.retained) + u128::from(quality.evicted),
    );
    laws.equal(
        "total_blocks = freed_blocks + live_blocks",
        totals.total_blocks,
        u128::from(totals.freed_blocks) + u128::from(totals.live_blocks),
    );
    laws.equal(
        "total_bytes = freed_bytes + live_bytes",
        totals.total_bytes,
        u128::from(totals.freed_bytes) + u128::from(totals.live_bytes),
    );
    // Sampled blocks, and events that were sampled out, count in the totals, but are in no table.
    laws.applies = quality.in_flight == 0
        && quality.lost.total() == 0
        && profile.events_in_no_table() == 0
        && quality.anomalies.total() == 0;
    laws.equal("total_blocks = sum over sites", totals.total_blocks, sums.total_blocks);
    laws.equal("total_bytes = sum over sites", totals.total_bytes, sums.total_bytes);
    laws.equal("freed_blocks = sum over sites", totals.freed_blocks, sums.freed_blocks);
    laws.equal("freed_bytes = sum over sites", totals.freed_bytes, sums.freed_bytes);
    if !profile.scopes.is_empty() {
        for ((law, total, of_scope, _), outside) in SCOPE_LAWS.into_iter().zip(sums.outside) {
            let parts = profile.over_scopes(of_scope) + outside;
            laws.equal(law, total(totals), parts);
        }
    }
    laws.equal("total_blocks = sum over size histograms", totals.total_blocks, sums.sizes);
    laws.equal(
        "freed_blocks = sum over lifetime histograms + reallocs",
        totals.freed_blocks,
        sums.lifetimes + u128::from(totals.reallocs),
    );
    laws.equal("live_blocks = number of live blocks", totals.live_blocks, sums.live_blocks);
    laws.equal("live_bytes = sum over live blocks", totals.live_bytes, sums.live_bytes);
    let by_thread = profile.threads.iter().map(|row| u128::from(row.total_bytes)).sum();
    laws.equal("total_bytes = sum over threads", totals.total_bytes, by_thread);
    let over_time = |bytes: fn(&Interval) -> u64| {
        profile.timeline.intervals.iter().map(|interval| u128::from(bytes(interval))).sum::<u128>()
    };
    laws.equal("total_bytes = sum over timeline", totals.total_bytes, over_time(|at| at.allocated_bytes));
    laws.equal("freed_bytes = sum over timeline", totals.freed_bytes, over_time(|at| at.freed_bytes));
    laws.all
}

struct Laws {
    all: Vec<Law>,
    applies: bool,
}

impl Laws {
    fn equal(&mut self, law: &'static str, left: u64, right: u128) {
        self.all.push(Law { law, left: u128::from(left), right, applies: self.applies });
    }
}
