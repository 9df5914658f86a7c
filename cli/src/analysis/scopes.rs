//! Scopes of a profile, and the sums of the blocks outside all scopes.

use super::arithmetic::saturating_sum;
use heapledger::profile::{Profile, Scope};

/// Scope with its place in the tree of scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeLine {
    /// Number of the scope in [`Profile::scopes`], from 1.
    pub number: u32,
    /// Number of scopes in which the scope is nested.
    pub depth: usize,
    /// Figures of the scope, including those of the scopes nested in it.
    pub scope: Scope,
}

/// All scopes that allocated or freed blocks, and the sums outside all scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeFinding {
    /// Scopes as a tree, in depth-first order. Scopes nested in the same scope are sorted by bytes allocated, the
    /// largest first.
    pub lines: Vec<ScopeLine>,
    /// Number of scopes that are not in `lines`, because they have no events or the list was full.
    pub others: u64,
    /// Number of blocks allocated outside scopes.
    pub outside_blocks: u64,
    /// Bytes allocated outside scopes.
    pub outside_bytes: u64,
    /// Bytes that were allocated outside scopes and are still live.
    pub outside_live_bytes: u64,
}

/// Returns the tree of scopes, with at most `limit` lines.
pub fn scopes(profile: &Profile, limit: usize) -> ScopeFinding {
    let mut children: Vec<Vec<u32>> = vec![Vec::new(); profile.scopes.len() + 1];
    for (number, scope) in (1u32..).zip(&profile.scopes) {
        // Only an earlier scope can be the parent. A corrupt file could name a later one, which would form a cycle.
        let parent = if scope.parent < number { scope.parent } else { 0 };
        if scope.total_blocks | scope.freed_blocks != 0 {
            children[parent as usize].push(number);
        }
    }
    let figures = |number: &u32| &profile.scopes[*number as usize - 1];
    for numbers in &mut children {
        numbers.sort_by_key(|number| (std::cmp::Reverse(figures(number).total_bytes), *number));
    }
    let (mut lines, mut next) = (Vec::new(), Vec::new());
    next.extend(children[0].iter().rev().map(|number| (*number, 0)));
    while let Some((number, depth)) = next.pop() {
        lines.push(ScopeLine { number, depth, scope: figures(&number).clone() });
        next.extend(children[number as usize].iter().rev().map(|number| (*number, depth + 1)));
    }
    let outermost = |figure: fn(&Scope) -> u64| {
        saturating_sum(profile.scopes.iter().filter(|scope| scope.parent == 0).map(figure))
    };
    lines.truncate(limit);
    ScopeFinding {
        others: (profile.scopes.len() - lines.len()) as u64,
        lines,
        outside_blocks: profile.totals.total_blocks.saturating_sub(outermost(|scope| scope.total_blocks)),
        outside_bytes: profile.totals.total_bytes.saturating_sub(outermost(|scope| scope.total_bytes)),
        outside_live_bytes: profile.totals.live_bytes.saturating_sub(outermost(Scope::live_bytes)),
    }
}

/// Returns the names of the nested scopes of a stack, outermost first, as in `request > parse`.
pub fn scope_path(profile: &Profile, stack: u32) -> String {
    let (mut names, mut number) = (Vec::new(), profile.scope_of_stack(stack));
    while let Some(scope) = profile.scope(number) {
        names.push(scope.name.as_str());
        // Only an earlier scope can be the parent. A corrupt file could name a later one, which would form a cycle.
        number = if scope.parent < number { scope.parent } else { 0 };
    }
    names.reverse();
    if names.is_empty() { "(outside scopes)".to_owned() } else { names.join(" > ") }
}

/// Removes the sites, live blocks and events of `profile` that are outside the scope with this name.
pub fn keep(profile: &mut Profile, name: &str) {
    let is_inside: Vec<bool> = (0..profile.stacks.len() as u32)
        .map(|stack| {
            let mut number = profile.scope_of_stack(stack);
            while let Some(scope) = profile.scope(number) {
                if scope.name == name {
                    return true;
                }
                // Only an earlier scope can be the parent. A corrupt file could name a later one, which would form a
                // cycle.
                number = if scope.parent < number { scope.parent } else { 0 };
            }
            false
        })
        .collect();
    let is_kept = |stack: u32| is_inside.get(stack as usize) == Some(&true);
    profile.sites.retain(|site| is_kept(site.stack));
    profile.live.retain(|block| is_kept(block.stack));
    profile.history.retain(|event| is_kept(event.stack));
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_scope_stands_behind_the_one_around_it_and_the_rest_is_outside() {
        let scope = |name: &str, parent, bytes| Scope {
            name: name.into(),
            parent,
            total_blocks: bytes / 10,
            total_bytes: bytes,
            ..Scope::default()
        };
        let mut profile = sample::empty();
        profile.totals.total_bytes = 1000;
        profile.scopes =
            vec![scope("(others)", 0, 0), scope("a", 0, 100), scope("b", 0, 500), scope("c", 2, 30)];
        let found = scopes(&profile, 10);
        let lines: Vec<_> = found.lines.iter().map(|line| (line.scope.name.as_str(), line.depth)).collect();
        assert_eq!(lines, [("b", 0), ("a", 0), ("c", 1)]);
        assert_eq!((found.outside_bytes, found.others), (400, 1));
        profile.scopes[1].parent = 7;
        assert_eq!(scopes(&profile, 2).lines.len(), 2, "a damaged parent makes no circle");
    }
}
