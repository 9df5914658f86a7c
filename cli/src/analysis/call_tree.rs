//! Call stacks as one tree, which stores the outer frames that several stacks share only once.
//!
//! A program with deep recursion has stacks of some hundred frames that differ only in the innermost few frames. As
//! lists, these stacks take hundreds of times the memory of the tree.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::grouping::Group;

/// Tree of calls. Node 0 is the root, which represents no call. The parent of a node has a lower number than the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallTree {
    /// Parent of each node; the root is its own parent.
    pub parents: Vec<u32>,
    /// Key of each node, as an index into [`Groups::keys`](super::Groups::keys); 0 for the root.
    pub keys: Vec<u32>,
    /// Node of the innermost frame of each [`Group`]; the root for a group without a stack.
    pub ends: Vec<u32>,
}

/// Builds the tree of the stacks of `groups`.
pub fn call_tree(groups: &[Group]) -> CallTree {
    let mut tree = CallTree { parents: vec![0], keys: vec![0], ends: Vec::with_capacity(groups.len()) };
    let mut children: HashMap<u64, u32, BuildHasherDefault<EdgeHasher>> = HashMap::default();
    // Nodes of the previous stack, with their keys. Neighbouring stacks share most outer frames, so those need no
    // lookup in `children`.
    let mut last: Vec<(u32, u32)> = Vec::new();
    for group in groups {
        let mut node = 0;
        let shared =
            group.frames.iter().rev().zip(&last).take_while(|(key, (known, _))| *key == known).count();
        last.truncate(shared);
        if let Some((_, end)) = last.last() {
            node = *end;
        }
        for &key in group.frames.iter().rev().skip(shared) {
            node = *children.entry(u64::from(node) << 32 | u64::from(key)).or_insert_with(|| {
                tree.parents.push(node);
                tree.keys.push(key);
                tree.parents.len() as u32 - 1
            });
            last.push((key, node));
        }
        tree.ends.push(node);
    }
    tree
}

/// Hasher of an edge: the number of a node and the key of its child. A fast hash is safe, because this module assigns
/// the numbers, so a hostile file cannot choose them.
#[derive(Default)]
struct EdgeHasher(u64);

impl Hasher for EdgeHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, edge: u64) {
        let mixed = (self.0 ^ edge).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ mixed >> 29;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_share_their_outer_frames_and_can_be_read_back() {
        let stacks: [&[u32]; 6] = [&[1, 2, 9], &[3, 2, 9], &[], &[2, 9], &[1, 8], &[1, 2, 9, 9]];
        let groups: Vec<Group> =
            stacks.iter().map(|frames| Group { frames: (*frames).into(), sites: Vec::new() }).collect();
        let tree = call_tree(&groups);
        assert_eq!(tree.parents.len(), 10, "the root, 9 2 1, 3, 8 1, and 9 2 1 below another 9: {tree:?}");
        for (stack, end) in stacks.iter().zip(&tree.ends) {
            let (mut read, mut node) = (Vec::new(), *end);
            while node != 0 {
                read.push(tree.keys[node as usize]);
                assert!(tree.parents[node as usize] < node);
                node = tree.parents[node as usize];
            }
            assert_eq!(read, *stack);
        }
    }
}
