//! Differences between two profiles, by scope.

use std::collections::BTreeMap;

use heapledger::profile::{Profile, Scope};
use serde::Serialize;

/// Figures of a scope, including those of the scopes nested in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ScopeFigures {
    /// Bytes live at the end.
    pub live_bytes: u64,
    /// Blocks live at the end.
    pub live_blocks: u64,
    /// Maximum of the scope's live bytes. If several scopes have the same path, the largest of their maxima.
    pub peak_bytes: u64,
    /// Bytes allocated.
    pub total_bytes: u64,
    /// Blocks allocated.
    pub total_blocks: u64,
}

/// Figures of a scope in both profiles; zeros for a profile that does not contain the scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeChange {
    /// Names of the scope and of the scopes around it, outermost first, as `server > GET /search`.
    pub path: String,
    /// Figures in the first profile.
    pub before: ScopeFigures,
    /// Figures in the second profile.
    pub after: ScopeFigures,
}

impl ScopeChange {
    /// Returns how much the live bytes grew; negative if they shrank.
    pub fn live_bytes(&self) -> i128 {
        growth(self.before.live_bytes, self.after.live_bytes)
    }
}

fn growth(before: u64, after: u64) -> i128 {
    i128::from(after) - i128::from(before)
}

/// Returns the scopes whose figures differ, the largest change of the live bytes first, then the largest change of the
/// bytes allocated.
pub(super) fn changed(before: &Profile, after: &Profile) -> Vec<ScopeChange> {
    let mut scopes: BTreeMap<String, (ScopeFigures, ScopeFigures)> = BTreeMap::new();
    for (profile, is_after) in [(before, false), (after, true)] {
        for (number, scope) in (1u32..).zip(&profile.scopes) {
            let both = scopes.entry(path(profile, number)).or_default();
            let sums = if is_after { &mut both.1 } else { &mut both.0 };
            sums.live_bytes = sums.live_bytes.saturating_add(scope.live_bytes());
            sums.live_blocks = sums.live_blocks.saturating_add(scope.live_blocks());
            sums.peak_bytes = sums.peak_bytes.max(scope.peak_bytes);
            sums.total_bytes = sums.total_bytes.saturating_add(scope.total_bytes);
            sums.total_blocks = sums.total_blocks.saturating_add(scope.total_blocks);
        }
    }
    let changes = scopes.into_iter().map(|(path, (before, after))| ScopeChange { path, before, after });
    let mut changes: Vec<_> = changes.filter(|scope| scope.before != scope.after).collect();
    changes.sort_by_key(|scope| {
        let allocated = growth(scope.before.total_bytes, scope.after.total_bytes);
        std::cmp::Reverse((scope.live_bytes().unsigned_abs(), allocated.unsigned_abs()))
    });
    changes
}

/// Returns the names of a scope and of the scopes around it, outermost first.
pub fn path(profile: &Profile, number: u32) -> String {
    let around = |number: &u32| {
        let parent = profile.scope(*number)?.parent;
        // Only an earlier scope can be the parent. A corrupt file could name a later one, which would form a cycle.
        (parent != 0 && parent < *number).then_some(parent)
    };
    let numbers = std::iter::successors(Some(number), around);
    let names = numbers.filter_map(|number| profile.scope(number)).map(|scope: &Scope| scope.name.as_str());
    let mut names: Vec<&str> = names.collect();
    names.reverse();
    names.join(" > ")
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;

    #[test]
    fn scopes_are_matched_by_their_paths() {
        let scope = |name: &str, parent, bytes| Scope {
            name: name.into(),
            parent,
            total_bytes: bytes,
            total_blocks: 1,
            peak_bytes: bytes,
            ..Scope::default()
        };
        let (mut before, mut after) = (sample::empty(), sample::empty());
        before.scopes = vec![scope("a", 0, 10), scope("b", 0, 5), scope("b", 1, 7)];
        after.scopes = vec![scope("b", 0, 5), scope("a", 0, 10), scope("b", 2, 900), scope("c", 9, 1)];
        let changes = changed(&before, &after);
        let shown: Vec<_> = changes.iter().map(|scope| (scope.path.as_str(), scope.live_bytes())).collect();
        assert_eq!(shown, [("a > b", 893), ("c", 1)]);
        assert!(changed(&before, &before).is_empty());
    }
}
