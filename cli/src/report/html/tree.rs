//! Packed call stacks: a table of texts, a table of frames, and one tree of calls.
//!
//! Stacks share their outer frames, so all stacks form one tree. Below the root are `main` and the start functions of
//! threads; the leaves are the functions that allocate. A *node* is a frame below its callers. Nodes are numbered in
//! preorder, so a parent has a lower number than its children, and a subtree is a range of numbers. For a node, only
//! the distance to its parent (mostly 1) and the number of its frame are stored. 100,000 stacks of 40 frames take some
//! megabytes instead of hundreds.

use std::collections::HashMap;

use serde::Serialize;

use super::super::escape::escaped;
use crate::analysis::interner::Interner;
use crate::analysis::name_simplify::without_generics;
use crate::analysis::{CodeOwner, CodeOwners};
use crate::analysis::{Frame, StackReader};
use heapledger::profile::{Profile, scope_of_address};

/// Maximum number of frames of a stack that are kept. Of a deeper stack, the outermost frames are dropped.
const DEEPEST: usize = 512;

/// Name of the node that replaces dropped outermost frames.
const LEFT_OUT: &str = "(outer frames left out)";

/// Name of the outermost node of a stack that is incomplete because the walk ended early.
const CUT_SHORT: &str = "(stack ends early)";

/// Name of the node for blocks without a stack.
pub(super) const NO_STACK: &str = "(no stack)";

/// Packed call stacks of the page.
#[derive(Debug, Default, Serialize)]
pub(super) struct Calls {
    /// Texts of the page, each stored once.
    strings: Vec<String>,
    /// Name of each frame, as an index into `strings`.
    names: Vec<u32>,
    /// Name of each frame without generic arguments, as an index into `strings`.
    shorts: Vec<u32>,
    /// File of each frame, as an index into `strings`.
    files: Vec<u32>,
    /// Line of each frame; 0 if the line is unknown.
    lines: Vec<u32>,
    /// Kind of each frame: 0 for a function of the program, 1 for a function of the standard library, 2 for a frame
    /// without a name, 3 for a marker such as [`NO_STACK`], 4 for a function of a dependency, 5 for a scope.
    kinds: Vec<u8>,
    /// Distance from the number of each node to that of its parent. Node 0 is the root, which has no frame.
    up: Vec<u32>,
    /// Index of the frame of each node in the table of frames.
    frames: Vec<u32>,
    /// Node of the innermost frame of each packed stack, in the order in which the stacks were packed.
    #[serde(skip)]
    pub(super) ends: Vec<u32>,
    /// Whether at least one frame has a name.
    #[serde(skip)]
    pub(super) named: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct FrameEntry {
    name: String,
    file: String,
    line: u32,
    kind: u8,
}

/// Node of the tree while it is built, before nodes are numbered in preorder.
struct Node {
    frame: u32,
    children: Vec<u32>,
}

struct Packer<'a> {
    calls: Calls,
    reader: StackReader<'a>,
    owners: CodeOwners,
    strings: Interner<String>,
    frames: Interner<FrameEntry>,
    /// Maps function, file, line and address of each frame to its number in the table of frames, so that each frame is
    /// formatted only once.
    met: HashMap<(&'a str, &'a str, u32, u64), u32>,
    /// Parent and frame of each node except the root. The number of an edge, plus 1, is the number of the node below
    /// it.
    edges: Interner<(u32, u32)>,
    nodes: Vec<Node>,
}

/// Packs the given stacks of `profile` in the given order. The crates named in `own` count as part of the program.
pub(super) fn pack(profile: &Profile, own: &[String], stacks: impl Iterator<Item = u32>) -> Calls {
    let mut packer = Packer {
        calls: Calls::default(),
        reader: StackReader::new(profile),
        owners: CodeOwners::with(profile, own),
        strings: Interner::default(),
        frames: Interner::default(),
        met: HashMap::new(),
        edges: Interner::default(),
        nodes: vec![Node { frame: 0, children: Vec::new() }],
    };
    packer.string("");
    let ends = stacks.map(|stack| packer.stack(profile, stack)).collect();
    packer.finish(ends)
}

impl<'a> Packer<'a> {
    /// Adds a stack to the tree, and returns the node of its innermost frame.
    fn stack(&mut self, profile: &'a Profile, stack: u32) -> u32 {
        let found = self.reader.frames(stack);
        if found.is_empty() {
            let none = self.frame(marker(NO_STACK));
            return self.child(0, none);
        }
        let mut node = 0;
        if profile.stacks.get(stack as usize).is_some_and(|stack| stack.truncated) {
            let cut = self.frame(marker(CUT_SHORT));
            node = self.child(node, cut);
        }
        if found.len() > DEEPEST {
            let left_out = self.frame(marker(LEFT_OUT));
            node = self.child(node, left_out);
        }
        for frame in found.iter().take(DEEPEST).rev() {
            self.calls.named |= !frame.function.is_empty();
            let number = self.known(frame);
            node = self.child(node, number);
        }
        node
    }

    fn string(&mut self, text: &str) -> u32 {
        self.strings.number_with(text, str::to_owned)
    }

    fn known(&mut self, frame: &Frame<'a>) -> u32 {
        // The address identifies a frame only if the frame has no name.
        let address = if frame.function.is_empty() { frame.address } else { 0 };
        let key = (frame.function, frame.file, frame.line, address);
        if let Some(number) = self.met.get(&key) {
            return *number;
        }
        let number = self.frame(entry(frame, &self.owners));
        self.met.insert(key, number);
        number
    }

    fn frame(&mut self, entry: FrameEntry) -> u32 {
        self.frames.number(entry)
    }

    fn child(&mut self, parent: u32, frame: u32) -> u32 {
        let node = self.edges.number((parent, frame)) + 1;
        if node as usize == self.nodes.len() {
            self.nodes.push(Node { frame, children: Vec::new() });
            self.nodes[parent as usize].children.push(node);
        }
        node
    }

    /// Numbers the nodes in preorder and returns the packed stacks.
    fn finish(mut self, ends: Vec<u32>) -> Calls {
        let mut numbers = vec![0u32; self.nodes.len()];
        let mut waiting = vec![(0u32, 0u32)];
        while let Some((node, parent)) = waiting.pop() {
            let number = self.calls.up.len() as u32;
            numbers[node as usize] = number;
            self.calls.up.push(number - parent);
            self.calls.frames.push(self.nodes[node as usize].frame);
            let children = self.nodes[node as usize].children.iter().rev();
            waiting.extend(children.map(|child| (*child, number)));
        }
        for FrameEntry { name, file, line, kind } in std::mem::take(&mut self.frames).into_items() {
            let texts = [name.as_str(), &file, &without_generics(&name)].map(|text| self.string(text));
            let [name, file, short] = texts;
            self.calls.names.push(name);
            self.calls.shorts.push(short);
            self.calls.files.push(file);
            self.calls.lines.push(line);
            self.calls.kinds.push(kind);
        }
        self.calls.strings = self.strings.into_items();
        self.calls.ends = ends.into_iter().map(|end| numbers[end as usize]).collect();
        self.calls
    }
}

fn marker(name: &str) -> FrameEntry {
    FrameEntry { name: name.into(), file: String::new(), line: 0, kind: 3 }
}

fn entry(frame: &Frame<'_>, owners: &CodeOwners) -> FrameEntry {
    if frame.function.is_empty() {
        let file = frame.module.map_or(String::new(), |module| escaped(&module.path));
        return FrameEntry { name: place(frame), file, line: 0, kind: 2 };
    }
    if scope_of_address(frame.address).is_some() {
        return FrameEntry { name: escaped(frame.function), file: String::new(), line: 0, kind: 5 };
    }
    let kind = match owners.owner(frame) {
        CodeOwner::Program => 0,
        CodeOwner::Library => 1,
        CodeOwner::Dependency => 4,
    };
    FrameEntry { name: escaped(&frame.display_name()), file: escaped(frame.file), line: frame.line, kind }
}

/// Returns the name to show for a frame without a name: its object with the offset in it, or the address if the object
/// is unknown.
fn place(frame: &Frame<'_>) -> String {
    let Some(module) = frame.module else { return format!("{:#x}", frame.address) };
    let file = module.path.rsplit(['/', '\\']).next().unwrap_or_default();
    format!("{}+{:#x}", escaped(file), frame.address.wrapping_sub(module.bias))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::sample;
    use heapledger::profile::{Stack, SymbolFrame};

    /// Returns the names on the path from the root to a node, decoded as the page does.
    fn path(calls: &Calls, mut node: u32) -> Vec<&str> {
        let mut names = Vec::new();
        while node != 0 {
            let frame = calls.frames[node as usize] as usize;
            names.push(calls.strings[calls.names[frame] as usize].as_str());
            node -= calls.up[node as usize];
        }
        names.reverse();
        names
    }

    #[test]
    fn stacks_share_their_outer_frames_and_can_be_read_back() {
        let mut profile = sample::empty();
        for frames in [vec![1, 2, 9], vec![3, 2, 9], vec![2, 9], vec![1, 8]] {
            profile.stacks.push(Stack { frames, truncated: false });
        }
        let calls = pack(&profile, &[], [1, 2, 3, 4, 0, 77].into_iter());
        assert_eq!(calls.up.len(), 8, "the root, 9, 2, 1, 3, 8, 1 and the empty stack: {:?}", calls.up);
        let paths: Vec<_> = calls.ends.iter().map(|end| path(&calls, *end).join(" ")).collect();
        let none = NO_STACK;
        assert_eq!(paths, ["0x9 0x2 0x1", "0x9 0x2 0x3", "0x9 0x2", "0x8 0x1", none, none]);
        let before = |(node, up): (usize, &u32)| node == 0 || (*up > 0 && *up as usize <= node);
        assert!(calls.up.iter().enumerate().all(before), "a parent comes first: {:?}", calls.up);
    }

    #[test]
    fn very_deep_and_broken_off_stacks_say_so() {
        let mut profile = sample::empty();
        profile.stacks.push(Stack { frames: (1..=600).collect(), truncated: true });
        let calls = pack(&profile, &[], [1].into_iter());
        let names = path(&calls, calls.ends[0]);
        assert_eq!((names.len(), names[0], names[1]), (DEEPEST + 2, CUT_SHORT, LEFT_OUT));
        assert_eq!(names.last().copied(), Some("0x1"));
    }

    #[test]
    fn library_functions_are_told_from_the_programs_and_names_are_escaped() {
        let mut profile = sample::empty();
        profile.stacks.push(Stack { frames: vec![5, 6], truncated: false });
        let texts = [
            "",
            "app::\u{1b}load",
            "app.rs",
            "alloc::vec::Vec<T>::push",
            "/rustc/1/library/alloc/src/vec.rs",
        ];
        profile.symbols.strings = texts.map(str::to_owned).to_vec();
        let symbol = |function, file| vec![SymbolFrame { function, file, line: 3, inlined: false }];
        profile.symbols.frames.insert(5, symbol(3, 4));
        profile.symbols.frames.insert(6, symbol(1, 2));
        let calls = pack(&profile, &[], [1].into_iter());
        assert!(calls.named);
        assert_eq!(path(&calls, calls.ends[0]), ["app::\\u{1b}load", "alloc::vec::Vec<T>::push"]);
        assert_eq!(calls.kinds, [0, 1]);
    }
}
