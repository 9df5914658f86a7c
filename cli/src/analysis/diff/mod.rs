//! Differences between two profiles, by site.
//!
//! Two sites match if their stacks have the same function names, from the innermost to the outermost. Line numbers and
//! the hashes that a compiler appends are ignored, so that a site still matches after an edit elsewhere. A frame
//! without a name is matched by object and offset, which identify the same function only in the same build.
//!
//! Any two profiles can be subtracted, but a difference of incomplete figures, or of two programs, means nothing.
//! [`issues`] lists the reasons against a comparison; those that forbid it come first.

mod comparability;
mod places;
mod scopes;

use std::rc::Rc;

pub use comparability::{ComparabilityIssue, Side, issues};
pub use places::PlaceChange;
pub use scopes::{ScopeChange, ScopeFigures, path as scope_path};

use super::SiteOrder;
use super::arithmetic::saturating_sum;
use super::code_owner::{CodeOwner, CodeOwners};
use super::frames::Frame;
use super::grouping::{Group, group_by};
use super::interner::Interner;
use heapledger::profile::{Profile, Site};
use serde::Serialize;

/// Figures of one site, or of a whole process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Bytes live at the end.
    pub live_bytes: u64,
    /// Blocks live at the end.
    pub live_blocks: u64,
    /// Bytes live when the whole process was at its peak.
    pub peak_bytes: u64,
    /// Bytes allocated.
    pub total_bytes: u64,
    /// Blocks allocated.
    pub total_blocks: u64,
    /// Temporary blocks: those freed soon after their allocation.
    pub temporary_blocks: u64,
    /// Bytes that reallocs copied.
    pub copied_bytes: u64,
}

impl Figures {
    /// Returns the figure that `order` ranks by.
    pub fn of(&self, order: SiteOrder) -> u64 {
        match order {
            SiteOrder::Live => self.live_bytes,
            SiteOrder::Peak => self.peak_bytes,
            SiteOrder::Total => self.total_bytes,
            SiteOrder::Count => self.total_blocks,
            SiteOrder::Temporaries => self.temporary_blocks,
            SiteOrder::Copied => self.copied_bytes,
        }
    }

    fn of_group(profile: &Profile, group: &Group) -> Self {
        let sum = |figure: fn(&Site) -> u64| group.sum(profile, figure);
        Figures {
            live_bytes: sum(Site::live_bytes),
            live_blocks: sum(Site::live_blocks),
            peak_bytes: sum(|site| site.at_peak_bytes),
            total_bytes: sum(|site| site.total_bytes),
            total_blocks: sum(|site| site.total_blocks),
            temporary_blocks: sum(|site| site.temporary_blocks),
            copied_bytes: sum(|site| site.reallocs.copied_bytes),
        }
    }

    fn add(&mut self, more: &Figures) {
        for (sum, value) in [
            (&mut self.live_bytes, more.live_bytes),
            (&mut self.live_blocks, more.live_blocks),
            (&mut self.peak_bytes, more.peak_bytes),
            (&mut self.total_bytes, more.total_bytes),
            (&mut self.total_blocks, more.total_blocks),
            (&mut self.temporary_blocks, more.temporary_blocks),
            (&mut self.copied_bytes, more.copied_bytes),
        ] {
            *sum = sum.saturating_add(value);
        }
    }

    fn of_process(profile: &Profile) -> Self {
        let totals = &profile.totals;
        Figures {
            live_bytes: totals.live_bytes,
            live_blocks: totals.live_blocks,
            peak_bytes: totals.peak_bytes,
            total_bytes: totals.total_bytes,
            total_blocks: totals.total_blocks,
            temporary_blocks: saturating_sum(profile.sites.iter().map(|site| site.temporary_blocks)),
            copied_bytes: saturating_sum(profile.sites.iter().map(|site| site.reallocs.copied_bytes)),
        }
    }
}

/// Returns `after` minus `before`, without overflow.
pub fn change(before: u64, after: u64) -> i128 {
    i128::from(after) - i128::from(before)
}

/// Which of the two profiles contain a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Both profiles contain the site.
    Both,
    /// Only the second profile contains the site.
    New,
    /// Only the first profile contains the site.
    Gone,
}

impl Presence {
    /// Returns the word used in reports and exports.
    pub const fn name(self) -> &'static str {
        match self {
            Presence::Both => "both",
            Presence::New => "new",
            Presence::Gone => "gone",
        }
    }
}

/// Figures of a site in both profiles; zeros for a profile that does not contain the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteChange {
    /// Stack as indices into [`Diff::functions`], innermost first; empty for blocks without a stack.
    pub stack: Rc<[u32]>,
    /// Which of the profiles contain the site.
    pub presence: Presence,
    /// Figures of the site in the first profile.
    pub before: Figures,
    /// Figures of the site in the second profile.
    pub after: Figures,
}

impl SiteChange {
    /// Returns how much the figure of `order` grew from the first to the second profile; negative if the figure shrank.
    pub fn change(&self, order: SiteOrder) -> i128 {
        change(self.before.of(order), self.after.of(order))
    }
}

/// Differences between two profiles.
#[derive(Debug, Clone, PartialEq)]
pub struct Diff {
    /// Names of the functions, each stored once. Stacks refer to them by index.
    pub functions: Vec<String>,
    /// Owner of each function of `functions`.
    pub owners: Vec<CodeOwner>,
    /// Sites of both profiles: first the sites of the first profile in its order, then the sites that only the second
    /// profile contains.
    pub sites: Vec<SiteChange>,
    /// Scopes whose figures differ, the largest change first.
    pub scopes: Vec<ScopeChange>,
    /// Figures of the first process.
    pub before: Figures,
    /// Figures of the second process.
    pub after: Figures,
    /// Reasons against comparing the two profiles.
    pub issues: Vec<ComparabilityIssue>,
}

impl Diff {
    /// Whether the profiles can be compared: no issue forbids the comparison.
    pub fn is_comparable(&self) -> bool {
        !self.issues.iter().any(ComparabilityIssue::forbids)
    }

    /// Returns the function names of a stack, innermost first.
    pub fn names(&self, stack: &[u32]) -> impl DoubleEndedIterator<Item = &str> {
        stack.iter().filter_map(|function| self.functions.get(*function as usize)).map(String::as_str)
    }

    /// Returns the sites whose figure changed, the largest change first, be it growth or shrinkage.
    pub fn by_change(&self, order: SiteOrder) -> Vec<&SiteChange> {
        let mut changed: Vec<_> = self.sites.iter().filter(|site| site.change(order) != 0).collect();
        changed.sort_by_key(|site| std::cmp::Reverse(site.change(order).unsigned_abs()));
        changed
    }
}

/// Compares two profiles by site and by scope.
pub fn diff(before: Side<'_>, after: Side<'_>) -> Diff {
    let mut functions: Interner<String> = Interner::default();
    let mut owners: Vec<CodeOwner> = Vec::new();
    let mut stacks: Interner<Rc<[u32]>> = Interner::default();
    let mut sites: Vec<SiteChange> = Vec::new();
    for (profile, presence) in [(before.profile, Presence::Gone), (after.profile, Presence::New)] {
        let rule = CodeOwners::of(profile);
        let key = |frame: &Frame<'_>| (without_hash(&frame.display_name()).to_owned(), rule.owner(frame));
        let found = group_by(profile, key);
        let mut number = |(name, owner)| {
            let function = functions.number(name);
            // A name in both profiles keeps the owner from the first profile.
            if function as usize == owners.len() {
                owners.push(owner);
            }
            function
        };
        let keys: Vec<u32> = found.keys.into_iter().map(&mut number).collect();
        for group in &found.groups {
            let stack: Rc<[u32]> = group.frames.iter().map(|frame| keys[*frame as usize]).collect();
            let figures = Figures::of_group(profile, group);
            let at = stacks.number(Rc::clone(&stack)) as usize;
            if at == sites.len() {
                let (before, after) = Default::default();
                sites.push(SiteChange { stack, presence, before, after });
            }
            let site = &mut sites[at];
            match presence {
                Presence::Gone => site.before.add(&figures),
                _ => site.after.add(&figures),
            }
            if site.presence != presence {
                site.presence = Presence::Both;
            }
        }
    }
    Diff {
        functions: functions.into_items(),
        owners,
        sites,
        scopes: scopes::changed(before.profile, after.profile),
        before: Figures::of_process(before.profile),
        after: Figures::of_process(after.profile),
        issues: issues(before, after),
    }
}

/// Returns a name without the hash `::h…` of 16 digits that the legacy mangling of Rust appends.
fn without_hash(name: &str) -> &str {
    let Some((before, hash)) = name.rsplit_once("::h") else { return name };
    let is_hash = hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { before } else { name }
}

#[cfg(test)]
mod tests {
    use super::super::{Origin, sample};
    use super::*;

    fn compared(before: &Profile, after: &Profile) -> Diff {
        let origin = Origin::default();
        diff(Side { profile: before, origin: &origin }, Side { profile: after, origin: &origin })
    }

    fn named(diff: &Diff, site: &SiteChange) -> String {
        diff.names(&site.stack).collect::<Vec<_>>().join(" < ")
    }

    #[test]
    fn a_profile_does_not_differ_from_itself() {
        let profile = sample::named();
        let diff = compared(&profile, &profile);
        assert!(SiteOrder::ALL.iter().all(|order| diff.by_change(*order).is_empty()));
        assert!(diff.sites.iter().all(|site| site.presence == Presence::Both));
        assert_eq!((diff.issues.len(), diff.before), (0, diff.after));
    }

    #[test]
    fn sites_are_matched_by_name_and_the_rest_is_new_or_gone() {
        let before = sample::named();
        let mut after = sample::named();
        // In the second profile: other addresses and lines, one stack less, a new hash, and a function with another
        // name.
        after.stacks[2].frames = vec![0xe000];
        after.symbols.frames.get_mut(&0x1010).expect("a call")[1].line = 99;
        after.symbols.strings[5] = "main::h0123456789abcdef".into();
        let diff = compared(&before, &after);
        let changed = diff.by_change(SiteOrder::Total);
        let shown: Vec<_> = changed
            .iter()
            .map(|site| (named(&diff, site), site.presence, site.change(SiteOrder::Total)))
            .collect();
        assert_eq!(
            shown,
            [
                ("Vec<T>::push < parse < main".into(), Presence::Both, -300),
                ("0xdfff".into(), Presence::New, 300),
            ]
        );
        let back = compared(&after, &before);
        assert_eq!(back.by_change(SiteOrder::Total)[1].presence, Presence::Gone);
    }

    #[test]
    fn changes_of_the_sites_add_up_to_that_of_the_totals() {
        let before = sample::named();
        let mut after = sample::named();
        after.sites[1].total_bytes += 5_000;
        after.totals.total_bytes += 5_000;
        let diff = compared(&before, &after);
        for order in SiteOrder::ALL {
            let sum: i128 = diff.sites.iter().map(|site| site.change(order)).sum();
            let expected = if order == SiteOrder::Total || order == SiteOrder::Live { 5_000 } else { 0 };
            assert_eq!(sum, expected, "{order:?}");
        }
        assert_eq!(change(diff.before.total_bytes, diff.after.total_bytes), 5_000);
    }

    #[test]
    fn only_what_looks_like_a_hash_is_cut() {
        assert_eq!(without_hash("a::b::h0123456789abcdef"), "a::b");
        assert_eq!(without_hash("a::hello"), "a::hello");
        assert_eq!(without_hash("a::h0123456789abcdeg"), "a::h0123456789abcdeg");
    }
}
