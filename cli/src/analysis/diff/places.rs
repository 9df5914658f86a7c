//! Changes by place: the sites of a comparison, summed by the function that a report names.

use std::collections::HashMap;

use super::{Diff, Figures, Presence, SiteChange, SiteOrder, change};
use crate::analysis::CodeOwner;

/// Sites of one function in both profiles, summed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceChange {
    /// Function as an index into [`Diff::functions`]: the innermost function of the program on the stacks, else the
    /// innermost function of a dependency, else the innermost function. `None` for blocks without a stack.
    pub function: Option<u32>,
    /// Figures in the first profile.
    pub before: Figures,
    /// Figures in the second profile.
    pub after: Figures,
    /// Which of the profiles contain the place.
    pub presence: Presence,
    /// Number of sites in this sum.
    pub sites: u64,
    /// For each figure of [`SiteOrder::ALL`]: the largest change of a site, and the index of that site in
    /// [`Diff::sites`].
    largest: [(u128, usize); SiteOrder::ALL.len()],
}

impl PlaceChange {
    /// Returns how much the figure of `order` grew from the first to the second profile; negative if the figure shrank.
    pub fn change(&self, order: SiteOrder) -> i128 {
        change(self.before.of(order), self.after.of(order))
    }

    /// Returns the index in [`Diff::sites`] of the site whose figure changed most.
    pub fn largest(&self, order: SiteOrder) -> usize {
        let at = SiteOrder::ALL.iter().position(|one| *one == order).unwrap_or(0);
        self.largest[at].1
    }
}

impl Diff {
    /// Returns the index, in the stack of a site, of the function that a report names for the site.
    pub fn place_of(&self, site: &SiteChange) -> usize {
        let owner = |function: &u32| self.owners.get(*function as usize).copied();
        let first = |wanted| site.stack.iter().position(|function| owner(function) == Some(wanted));
        first(CodeOwner::Program).or_else(|| first(CodeOwner::Dependency)).unwrap_or(0)
    }

    /// Returns the places whose figure changed, the largest change first.
    pub fn places(&self, order: SiteOrder) -> Vec<PlaceChange> {
        let mut places: Vec<PlaceChange> = Vec::new();
        let mut by_function: HashMap<Option<u32>, usize> = HashMap::new();
        for (index, site) in self.sites.iter().enumerate() {
            let function = site.stack.get(self.place_of(site)).copied();
            let at = *by_function.entry(function).or_insert(places.len());
            if at == places.len() {
                let (before, after) = Default::default();
                let (presence, largest) = (site.presence, [(0, index); SiteOrder::ALL.len()]);
                places.push(PlaceChange { function, before, after, presence, sites: 0, largest });
            }
            let place = &mut places[at];
            place.before.add(&site.before);
            place.after.add(&site.after);
            place.sites += 1;
            if place.presence != site.presence {
                place.presence = Presence::Both;
            }
            for (largest, order) in place.largest.iter_mut().zip(SiteOrder::ALL) {
                *largest = (*largest).max((site.change(order).unsigned_abs(), index));
            }
        }
        places.retain(|place| place.change(order) != 0);
        places.sort_by_key(|place| std::cmp::Reverse(place.change(order).unsigned_abs()));
        places
    }

    /// Returns the figure of the whole process with the largest relative change: the peak, the live bytes, the bytes
    /// allocated or the number of blocks. If changes are equal, the peak is preferred. The change of the live bytes is
    /// relative to the peak, because few bytes are live at the end of a program, so small differences would look large.
    pub fn most_changed(&self) -> SiteOrder {
        let share = |order: &SiteOrder| {
            let (before, after) = (self.before.of(*order), self.after.of(*order));
            let peak = if *order == SiteOrder::Live { self.before.of(SiteOrder::Peak) } else { 0 };
            change(before, after).unsigned_abs().saturating_mul(1_000_000)
                / u128::from(before.max(peak).max(1))
        };
        let orders = [SiteOrder::Count, SiteOrder::Total, SiteOrder::Live, SiteOrder::Peak];
        orders.into_iter().max_by_key(share).unwrap_or(SiteOrder::Peak)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::paths::named;
    use super::super::super::{Origin, Side, diff};
    use super::*;
    use heapledger::profile::{Profile, Site};

    const LIBRARY: &str = "/rustc/1/library/alloc/src/vec/mod.rs";

    fn profile(figures: [(u64, u64); 3]) -> Profile {
        let mut profile = named(&[
            &[("finish_grow<Global>", LIBRARY, 1), ("demo::add", "a.rs", 4), ("demo::main", "a.rs", 6)],
            &[("with_capacity<u8>", LIBRARY, 1), ("demo::add", "a.rs", 5), ("demo::main", "a.rs", 6)],
            &[("finish_grow<Global>", LIBRARY, 1), ("demo::read", "a.rs", 9), ("demo::main", "a.rs", 7)],
        ]);
        let site = |(at, (total_bytes, total_blocks)): (usize, &(u64, u64))| Site {
            stack: at as u32 + 1,
            total_bytes: *total_bytes,
            total_blocks: *total_blocks,
            ..Site::default()
        };
        profile.sites = figures.iter().enumerate().map(site).collect();
        profile.totals.total_bytes = figures.iter().map(|(bytes, _)| bytes).sum();
        profile.totals.total_blocks = figures.iter().map(|(_, blocks)| blocks).sum();
        profile.totals.live_bytes = profile.totals.total_bytes;
        profile
    }

    fn compared(before: &Profile, after: &Profile) -> Diff {
        let origin = Origin::default();
        diff(Side { profile: before, origin: &origin }, Side { profile: after, origin: &origin })
    }

    #[test]
    fn a_few_live_bytes_at_the_end_do_not_hide_what_changed() {
        let (mut before, mut after) =
            (profile([(10, 100), (0, 0), (0, 0)]), profile([(10, 107), (0, 0), (0, 0)]));
        for (profile, live_bytes) in [(&mut before, 8), (&mut after, 1)] {
            (profile.totals.live_bytes, profile.peak.bytes, profile.totals.peak_bytes) =
                (live_bytes, 3_000, 3_000);
        }
        assert_eq!(compared(&before, &after).most_changed(), SiteOrder::Count);
        after.totals.live_bytes = 2_000;
        assert_eq!(compared(&before, &after).most_changed(), SiteOrder::Live);
    }

    #[test]
    fn sites_of_one_function_are_one_place_and_the_function_that_changed_is_first() {
        let (before, after) = (profile([(10, 1), (20, 1), (500, 5)]), profile([(40, 1), (90, 1), (500, 5)]));
        let diff = compared(&before, &after);
        let places = diff.places(SiteOrder::Total);
        let read: Vec<_> = places
            .iter()
            .map(|place| {
                (
                    diff.functions[place.function.unwrap() as usize].as_str(),
                    place.change(SiteOrder::Total),
                    place.sites,
                )
            })
            .collect();
        assert_eq!(read, [("demo::add", 100, 2)]);
        assert_eq!(places[0].largest(SiteOrder::Total), 1);
        let sum: i128 = diff.sites.iter().map(|site| site.change(SiteOrder::Total)).sum();
        assert_eq!(sum, 100);
    }

    #[test]
    fn the_figure_that_moved_most_is_chosen() {
        let before = profile([(1_000, 1), (1_000, 1), (1_000, 100)]);
        let more_blocks = profile([(1_000, 1), (1_000, 1), (1_010, 300)]);
        assert_eq!(compared(&before, &more_blocks).most_changed(), SiteOrder::Count);
        let more_bytes = profile([(1_000, 1), (9_000, 1), (1_000, 100)]);
        assert_eq!(compared(&before, &more_bytes).most_changed(), SiteOrder::Live);
        assert_eq!(compared(&before, &before).most_changed(), SiteOrder::Peak);
    }
}
