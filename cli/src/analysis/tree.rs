//! Call trees in both directions: from `main` to the allocations, and from the allocations to `main`.

use std::collections::HashMap;

use super::{SiteBook, SiteOrder};

/// Maximum number of nodes of a tree. At the limit, a path ends at its last existing node.
pub const NODES_MAX: usize = 1 << 20;

/// Direction of a call tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the outermost function to the functions that it calls.
    Callees,
    /// From the allocating function to the functions that call it.
    Callers,
}

/// Node of a tree: a function, reached through the functions of its ancestors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Function of the node, as an index into [`SiteBook::functions`]; meaningless for the root.
    pub function: u32,
    /// Sum of the tree's figure ([`Tree::order`]) over all paths through this node.
    pub value: u64,
    /// Sum of the tree's figure over the paths that end at this node.
    pub own: u64,
    /// Child nodes as indices into [`Tree::nodes`], the largest figure first.
    pub children: Vec<u32>,
    /// Distance from the root; 0 for the root.
    pub depth: u32,
}

/// Tree of functions, with the sum of one figure at each node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Direction of the tree.
    pub direction: Direction,
    /// Figure that the tree sums.
    pub order: SiteOrder,
    /// Nodes of the tree; node 0 is the root, which is no function.
    pub nodes: Vec<Node>,
    /// Sum of the figure over the paths that end early because of [`NODES_MAX`].
    pub cut: u64,
}

/// Builds the call tree of the paths of `book`. Sites without a stack belong to the root.
pub fn tree(book: &SiteBook, direction: Direction, order: SiteOrder) -> Tree {
    let root = Node { function: 0, value: 0, own: 0, children: Vec::new(), depth: 0 };
    let mut tree = Tree { direction, order, nodes: vec![root], cut: 0 };
    let mut below: HashMap<(u32, u32), u32> = HashMap::new();
    // The largest paths are added first, so that the limit cuts the smallest ones.
    for line in book.ranking(order, usize::MAX).rows {
        let line = &book.lines[line];
        let value = order.value(&line.account);
        let mut at = 0u32;
        tree.nodes[0].value = tree.nodes[0].value.saturating_add(value);
        for index in 0..line.path.len() {
            let step = match direction {
                Direction::Callers => line.path[index],
                Direction::Callees => line.path[line.path.len() - 1 - index],
            };
            let Some(next) = tree.child(&mut below, at, step.function) else {
                tree.cut = tree.cut.saturating_add(value);
                break;
            };
            at = next;
            let node = &mut tree.nodes[at as usize];
            node.value = node.value.saturating_add(value);
        }
        let end = &mut tree.nodes[at as usize];
        end.own = end.own.saturating_add(value);
    }
    for at in 0..tree.nodes.len() {
        let mut children = std::mem::take(&mut tree.nodes[at].children);
        children.sort_by_key(|child| std::cmp::Reverse(tree.nodes[*child as usize].value));
        tree.nodes[at].children = children;
    }
    tree
}

impl Tree {
    fn child(&mut self, below: &mut HashMap<(u32, u32), u32>, at: u32, function: u32) -> Option<u32> {
        if let Some(child) = below.get(&(at, function)) {
            return Some(*child);
        }
        if self.nodes.len() >= NODES_MAX {
            return None;
        }
        let child = self.nodes.len() as u32;
        let depth = self.nodes[at as usize].depth + 1;
        self.nodes.push(Node { function, value: 0, own: 0, children: Vec::new(), depth });
        self.nodes[at as usize].children.push(child);
        below.insert((at, function), child);
        Some(child)
    }
}

#[cfg(test)]
mod tests {
    use super::super::paths::{GroupBy, View, named};
    use super::super::site_book;
    use super::*;
    use heapledger::profile::Site;

    /// Returns the tree as lines of text, indented by depth.
    fn drawn(direction: Direction) -> Vec<String> {
        let f = |name: &'static str| (name, "a.rs", 0);
        let mut profile = named(&[
            &[f("leaf"), f("left"), f("main")],
            &[f("leaf"), f("right"), f("main")],
            &[f("leaf"), f("leaf"), f("right"), f("main")],
        ]);
        let site = |stack, total_bytes| Site { stack, total_bytes, ..Site::default() };
        profile.sites = vec![site(1, 5), site(2, 10), site(3, 2), site(0, 1)];
        let book = site_book(&profile, &View { group: GroupBy::Stack, ..View::default() });
        let tree = tree(&book, direction, SiteOrder::Total);
        let (mut lines, mut open) = (Vec::new(), vec![0u32]);
        while let Some(at) = open.pop() {
            let node = &tree.nodes[at as usize];
            let name = if at == 0 { "all" } else { &book.functions[node.function as usize].name };
            lines.push(format!("{:1$}{name} {2} {3}", "", node.depth as usize, node.value, node.own));
            open.extend(node.children.iter().rev());
        }
        lines
    }

    #[test]
    fn both_ways_add_up_and_the_largest_comes_first() {
        let callees = [
            "all 18 1",
            " main 17 0",
            "  right 12 0",
            "   leaf 12 10",
            "    leaf 2 2",
            "  left 5 0",
            "   leaf 5 5",
        ];
        assert_eq!(drawn(Direction::Callees), callees);
        let callers = [
            "all 18 1",
            " leaf 17 0",
            "  right 10 0",
            "   main 10 10",
            "  left 5 0",
            "   main 5 5",
            "  leaf 2 0",
            "   right 2 0",
            "    main 2 2",
        ];
        assert_eq!(drawn(Direction::Callers), callers);
    }
}
