//! What the addresses of a profile are called in the source of the program.
//!
//! The live side never fills this: names are found later, by the command, from the modules and their build ids, or they
//! come with a bundled dump. Plain data, so that every face of the file side can show them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Functions that one address may lie in, at most: calls inlined into each other.
pub const INLINED_MAX: usize = 256;

/// A function that an address lies in. Where calls were inlined, one address lies in several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SymbolFrame {
    /// Name of the function, demangled: index into [`Symbols::strings`].
    pub function: u32,
    /// Source file: index into [`Symbols::strings`]; 0 when it is not known.
    pub file: u32,
    /// Line in that file, from 1; 0 when it is not known.
    pub line: u32,
    /// Whether the function was inlined into the next one of the same address.
    pub inlined: bool,
}

/// Names for addresses of a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbols {
    /// Every text once. Number 0, if there are any, is the empty one.
    pub strings: Vec<String>,
    /// By frame of a stack, as it stands in [`Stack::frames`](super::Stack::frames): the functions there, innermost
    /// first. A frame that has no name is absent.
    pub frames: BTreeMap<u64, Vec<SymbolFrame>>,
    /// What stood in the way, in sentences that say what to do.
    pub notes: Vec<String>,
}

impl Symbols {
    /// The functions at a frame, innermost first; empty when nothing is known of it.
    pub fn at(&self, frame: u64) -> &[SymbolFrame] {
        self.frames.get(&frame).map_or(&[], Vec::as_slice)
    }

    /// A text by its number; empty for a number that there is not.
    pub fn text(&self, number: u32) -> &str {
        self.strings.get(number as usize).map_or("", String::as_str)
    }

    /// Whether there are no names at all.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

/// How the stacks of a profile were taken, and how well that went. Unit: allocations and reallocs, unless said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackFigures {
    /// `frame pointers`, `dwarf` or `off`.
    pub walker: String,
    /// Why that one.
    pub why: String,
    /// Stacks taken.
    pub taken: u64,
    /// Stacks that ended before the outermost frame was reached. Part of `taken`.
    pub truncated: u64,
    /// Walks that gave no frame at all, or could not be ended because other threads held what they needed for too long;
    /// the event went to stack 0.
    pub failed: u64,
    /// Stacks that were taken but found no room in the table; the event went to stack 0.
    pub table_full: u64,
    /// Allocations for which no stack was taken by choice: sampling of stacks, or a lower level of recording.
    pub left_out: u64,
    /// Stacks walked a second time with the DWARF unwinder, to check the frame pointers.
    pub checked: u64,
    /// Those of them that had been taken for another stack before: blocks may stand at the wrong one. A difference in a
    /// stack that is new is none of these: its frames are those of the unwind tables, and so are all from then on.
    pub check_failed: u64,
}
