//! The figures of scopes, and queries that return them.

use super::booking;
use crate::aggregator::{counters, snapshot};
use crate::ledger::Ledger;
use crate::ledger::scopes::{ScopeAccount, ScopeSums};
use crate::profile::{Module, Profile, Site, scope_of_address};
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::{background_thread, scopes, state};

/// Figures of a scope, including the scopes nested in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Number of blocks allocated, without reallocs.
    pub allocations: u64,
    /// Number of successful reallocs.
    pub reallocations: u64,
    /// Bytes allocated. A realloc counts with its whole new size.
    pub bytes: u64,
    /// Number of blocks that are still live.
    pub retained_blocks: u64,
    /// Bytes that are still live.
    pub retained_bytes: u64,
    /// Maximum of the live bytes.
    pub peak_bytes: u64,
    /// Bytes by which the true peak can exceed `peak_bytes`. 0 if only one thread has worked in the scope.
    pub peak_uncertainty_bytes: u64,
    /// Number of blocks that the program allocated outside the scope in the same time. Blocks that are not booked do
    /// not count.
    pub outside_allocations: u64,
    /// Number of events that were lost or sampled out and may belong to the scope.
    pub lost: u64,
    /// Number of threads that allocated or freed blocks of the scope. All threads beyond the twelfth count as one. If
    /// the scope is nested in several other scopes, each nesting has a separate number, and the largest number is
    /// returned.
    pub threads: u32,
}

/// A [`Usage`] divided by a number of iterations, for benchmarks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct PerIteration {
    /// Mean number of blocks allocated, without reallocs.
    pub allocations: f64,
    /// Mean number of reallocs.
    pub reallocations: f64,
    /// Mean number of bytes allocated.
    pub bytes: f64,
}

/// Figures of one call stack in a scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SiteUsage {
    /// Return addresses, innermost first. The artificial frames that mark scopes in a stack are left out.
    pub frames: Vec<u64>,
    /// Number of blocks allocated, without reallocs.
    pub allocations: u64,
    /// Number of successful reallocs.
    pub reallocations: u64,
    /// Bytes allocated.
    pub bytes: u64,
    /// Number of blocks that are still live.
    pub retained_blocks: u64,
    /// Bytes that are still live.
    pub retained_bytes: u64,
    /// Maximum of the live bytes of the call stack.
    pub peak_bytes: u64,
}

impl Usage {
    /// Returns the figures divided by `iterations`, for a benchmark. All figures are zero if `iterations` is 0.
    pub fn per(&self, iterations: u64) -> PerIteration {
        let mean = |sum: u64| if iterations == 0 { 0.0 } else { sum as f64 / iterations as f64 };
        PerIteration {
            allocations: mean(self.allocations),
            reallocations: mean(self.reallocations),
            bytes: mean(self.bytes),
        }
    }

    /// Returns the figures of `account`, minus the sums in `before`.
    pub(super) fn of(account: &ScopeAccount, before: &ScopeSums) -> Usage {
        let sums = account.sums.since(before);
        // The sums of frees can exceed the sums of allocations, because a free counts even if the allocation of its
        // block was lost.
        let peak_bytes = account.peak_bytes.saturating_sub(before.live_bytes()).max(0) as u64;
        Usage {
            allocations: sums.total_blocks.saturating_sub(sums.reallocs),
            reallocations: sums.reallocs,
            bytes: sums.total_bytes,
            retained_blocks: (sums.total_blocks.wrapping_sub(sums.freed_blocks) as i64).max(0) as u64,
            retained_bytes: sums.live_bytes().max(0) as u64,
            peak_bytes,
            peak_uncertainty_bytes: account.uncertainty_bytes(),
            threads: account.threads,
            ..Usage::default()
        }
    }

    fn add(&mut self, more: &Usage) {
        for (sum, more) in [
            (&mut self.allocations, more.allocations),
            (&mut self.reallocations, more.reallocations),
            (&mut self.bytes, more.bytes),
            (&mut self.retained_blocks, more.retained_blocks),
            (&mut self.retained_bytes, more.retained_bytes),
        ] {
            *sum = sum.wrapping_add(more);
        }
        // The two peaks may have been at different times. The common peak is at least the higher peak, and at most the
        // sum of both.
        let highest =
            self.peak_bytes + self.peak_uncertainty_bytes + more.peak_bytes + more.peak_uncertainty_bytes;
        self.peak_bytes = self.peak_bytes.max(more.peak_bytes).max(self.retained_bytes);
        self.peak_uncertainty_bytes = highest.saturating_sub(self.peak_bytes);
        self.threads = self.threads.max(more.threads);
    }
}

/// Returns the combined figures of all scopes with this name. A scope that is nested in another scope of this name is
/// left out, because the outer scope includes its figures.
pub(super) fn of_name(name: u64) -> Usage {
    let Some(ledger) = state::ledger() else { return Usage::default() };
    background_thread::request();
    let scope = InternalScope::enter();
    let Some(lane) = scope.lane() else { return Usage::default() };
    let _paused = RecordingPaused::enter(&scope);
    // If the rings cannot be booked within a second, the figures lack the events that remain in them.
    booking::book_all(lane, ledger);
    let mut usage: Option<Usage> = None;
    for number in 1..=ledger.scopes.count() {
        let parent = ledger.scopes.parent_of(&ledger.pages, number);
        let is_of_name = scopes::is_named(ledger, number, name);
        if is_of_name && !scopes::is_inside(ledger, parent, name) {
            let more = Usage::of(&ledger.scopes.read(&ledger.pages, number), &ScopeSums::default());
            match &mut usage {
                None => usage = Some(more),
                Some(usage) => usage.add(&more),
            }
        }
    }
    let mut usage = usage.unwrap_or_default();
    let (blocks, lost) = allocated_and_lost(ledger);
    usage.outside_allocations = blocks.saturating_sub(usage.allocations + usage.reallocations);
    usage.lost = lost;
    usage
}

/// Returns the number of blocks that the process has allocated, and the number of its events that were lost or sampled
/// out.
pub(super) fn allocated_and_lost(ledger: &Ledger) -> (u64, u64) {
    let lost = ledger.lanes().map(counters::lost_on_lane).fold(0, u64::wrapping_add);
    (counters::stats(ledger).total_blocks, lost.wrapping_add(state::lost_without_lane().total()))
}

/// Returns the sites in all scopes with this name, in descending order of bytes.
pub(super) fn sites_of_name(name: u64) -> Vec<SiteUsage> {
    let Some(ledger) = state::ledger() else { return Vec::new() };
    background_thread::request();
    let internal = InternalScope::enter();
    let profile = snapshot::profile(ledger, &internal, "request");
    let is_inside = |site: &&Site| scopes::is_inside(ledger, profile.scope_of_stack(site.stack), name);
    let mut sites: Vec<SiteUsage> =
        profile.sites.iter().filter(is_inside).map(|site| site_usage(&profile, site)).collect();
    sites.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.frames.cmp(&other.frames)));
    sites
}

/// Returns the sites of the scope with this cell and of the scopes nested in it, and the loaded objects of the process.
pub(super) fn sites_of_cell(cell: u32) -> (Vec<SiteUsage>, Vec<Module>) {
    let Some(ledger) = state::ledger() else { return Default::default() };
    let internal = InternalScope::enter();
    let profile = snapshot::profile(ledger, &internal, "request");
    let is_inside = |site: &&Site| {
        let scope = profile.scope_of_stack(site.stack);
        ledger.scopes.chain(&ledger.pages, scope).contains(&cell)
    };
    let sites = profile.sites.iter().filter(is_inside).map(|site| site_usage(&profile, site)).collect();
    (sites, profile.modules)
}

fn site_usage(profile: &Profile, site: &Site) -> SiteUsage {
    let frames = profile.stacks.get(site.stack as usize).map_or(&[][..], |stack| &stack.frames);
    SiteUsage {
        frames: frames.iter().copied().filter(|address| scope_of_address(*address).is_none()).collect(),
        allocations: site.total_blocks.saturating_sub(site.reallocs.count),
        reallocations: site.reallocs.count,
        bytes: site.total_bytes,
        retained_blocks: site.live_blocks(),
        retained_bytes: site.live_bytes(),
        peak_bytes: site.own_peak_bytes,
    }
}
