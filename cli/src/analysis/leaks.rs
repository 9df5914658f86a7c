//! Blocks that were not freed, by call path, except the blocks that a suppression matches.
//!
//! A block that is live at the snapshot is not necessarily a leak. Statics and the runtime keep blocks to the end, and
//! the ledger does not know which blocks are still reachable. The user lists expected live blocks as suppressions. The
//! finding counts the blocks that each suppression matches.

use std::collections::HashMap;

use super::arithmetic::saturating_sum;
use super::interner::Interner;
use super::paths::{Function, PathStep, Paths, Reading, View};
use super::suppressions::Suppression;
use heapledger::profile::Profile;

/// Blocks of one call path that were not freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// Number of blocks.
    pub blocks: u64,
    /// Number of bytes in these blocks.
    pub bytes: u64,
    /// Allocation time of the oldest block, in nanoseconds since the start.
    pub oldest_ns: u64,
    /// Functions of the path, innermost first.
    pub path: Vec<PathStep>,
    /// Source line of each function; 0 if unknown.
    pub lines: Vec<u32>,
}

/// Blocks that one suppression matched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suppressed {
    /// Pattern of the suppression, as written.
    pub pattern: String,
    /// Whether the suppression is built in.
    pub is_built_in: bool,
    /// Number of matched blocks.
    pub blocks: u64,
    /// Number of matched bytes.
    pub bytes: u64,
}

/// Blocks that were not freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeakFinding {
    /// Functions that occur in the paths.
    pub functions: Vec<Function>,
    /// Leaks, those with the most bytes first.
    pub leaks: Vec<Leak>,
    /// Number of blocks in all leaks.
    pub blocks: u64,
    /// Number of bytes in all leaks.
    pub bytes: u64,
    /// Blocks that each suppression matched, in the order of the suppressions. A suppression without a match has zeros;
    /// a built-in suppression without a match is omitted.
    pub suppressed: Vec<Suppressed>,
    /// Number of blocks that the filters of the view leave out.
    pub unseen_blocks: u64,
}

/// Returns the live blocks of `profile` that pass the filters of the view and match no suppression.
pub fn leaks(profile: &Profile, view: &View<'_>, suppressions: &[Suppression]) -> LeakFinding {
    let mut paths = Paths::new(profile, view, suppressions);
    let mut by_stack: HashMap<u32, (u64, u64, u64)> = HashMap::new();
    let mut stacks = Vec::new();
    for block in &profile.live {
        let (blocks, bytes, oldest) = by_stack.entry(block.stack).or_insert_with(|| {
            stacks.push(block.stack);
            (0, 0, u64::MAX)
        });
        *blocks += 1;
        *bytes = bytes.saturating_add(block.size);
        *oldest = (*oldest).min(block.born_ns);
    }
    let none = |known: &Suppression| Suppressed {
        pattern: known.pattern.clone(),
        is_built_in: known.is_built_in,
        ..Suppressed::default()
    };
    let mut suppressed: Vec<Suppressed> = suppressions.iter().map(none).collect();
    let mut unseen_blocks = 0u64;
    let mut path_numbers: Interner<Vec<PathStep>> = Interner::default();
    let mut found: Vec<Leak> = Vec::new();
    for stack in stacks {
        let (blocks, bytes, oldest_ns) = by_stack[&stack];
        let Reading { path, lines, is_seen, suppression } = paths.read(stack);
        if !is_seen {
            unseen_blocks += blocks;
            continue;
        }
        if let Some(known) = suppression.and_then(|at| suppressed.get_mut(at)) {
            known.blocks += blocks;
            known.bytes = known.bytes.saturating_add(bytes);
            continue;
        }
        let at = path_numbers.number(path) as usize;
        if at == found.len() {
            found.push(Leak { blocks: 0, bytes: 0, oldest_ns, path: Vec::new(), lines });
        }
        let leak = &mut found[at];
        leak.blocks += blocks;
        leak.bytes = leak.bytes.saturating_add(bytes);
        leak.oldest_ns = leak.oldest_ns.min(oldest_ns);
    }
    suppressed.retain(|known| !known.is_built_in || known.blocks > 0);
    found.iter_mut().zip(path_numbers.into_items()).for_each(|(leak, path)| leak.path = path);
    found.sort_by_key(|leak| (std::cmp::Reverse(leak.bytes), std::cmp::Reverse(leak.blocks)));
    LeakFinding {
        blocks: found.iter().map(|leak| leak.blocks).sum(),
        bytes: saturating_sum(found.iter().map(|leak| leak.bytes)),
        functions: paths.into_functions(),
        leaks: found,
        suppressed,
        unseen_blocks,
    }
}

#[cfg(test)]
mod tests {
    use super::super::paths::named;
    use super::super::suppressions::parse;
    use super::*;
    use heapledger::profile::LiveBlock;

    #[test]
    fn leaks_are_by_path_and_what_is_suppressed_is_counted() {
        let mut profile = named(&[
            &[("demo::keep", "keep.rs", 1), ("demo::main", "main.rs", 8)],
            &[("demo::keep", "keep.rs", 1), ("demo::main", "main.rs", 9)],
            &[("demo::cache::fill", "cache.rs", 2)],
        ]);
        let block = |stack, size, born_ns| LiveBlock { stack, size, born_ns, ..LiveBlock::default() };
        profile.live =
            vec![block(1, 10, 5), block(2, 20, 3), block(3, 100, 1), block(3, 100, 1), block(0, 7, 9)];
        let all = leaks(&profile, &View::default(), &[]);
        let read: Vec<_> = all.leaks.iter().map(|leak| (leak.blocks, leak.bytes, leak.oldest_ns)).collect();
        assert_eq!(read, [(2, 200, 1), (2, 30, 3), (1, 7, 9)]);
        assert_eq!((all.blocks, all.bytes), (5, 237));

        let known = parse("leak:nothing\nleak:^demo::cache::*\nleak:cache.rs\nleak:main.rs$").unwrap();
        let rest = leaks(&profile, &View::default(), &known);
        let taken: Vec<_> = rest.suppressed.iter().map(|taken| (taken.blocks, taken.bytes)).collect();
        assert_eq!(taken, [(0, 0), (2, 200), (0, 0), (2, 30)]);
        assert_eq!((rest.blocks, rest.bytes), (1, 7), "a block without a stack cannot be suppressed");
    }
}
