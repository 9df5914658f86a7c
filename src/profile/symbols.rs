//! Source names for the addresses of a profile.
//!
//! The live side never fills them: the command finds them later, from the modules and their build ids, or they are part of a
//! bundled dump.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Functions at one address, at most: calls inlined into each other.
pub const INLINED_MAX: usize = 256;

/// A function at an address. Where calls were inlined, one address is in several functions.
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
    /// Every text once. Number 0, if there is one, is the empty text.
    pub strings: Vec<String>,
    /// The functions at each frame of [`Stack::frames`](super::Stack::frames), innermost first. A frame without a name is
    /// absent.
    pub frames: BTreeMap<u64, Vec<SymbolFrame>>,
    /// Reasons for missing names, in sentences with a remedy.
    pub notes: Vec<String>,
}

impl Symbols {
    /// The functions at a frame, innermost first; empty when there is no name.
    pub fn at(&self, frame: u64) -> &[SymbolFrame] {
        self.frames.get(&frame).map_or(&[], Vec::as_slice)
    }

    /// A text by its number; empty for an unknown number.
    pub fn text(&self, number: u32) -> &str {
        self.strings.get(number as usize).map_or("", String::as_str)
    }

    /// Whether there are no names at all.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

/// The method by which the stacks of a profile were taken, and its counters. Unit: allocations and reallocs, unless stated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackFigures {
    /// `frame pointers`, `dwarf` or `off`.
    pub walker: String,
    /// The reason for it.
    pub why: String,
    /// Stacks taken.
    pub taken: u64,
    /// Stacks that ended before the outermost frame was reached. Part of `taken`.
    pub truncated: u64,
    /// Walks without a frame, or abandoned because other threads held a latch for too long; the event has stack 0.
    pub failed: u64,
    /// Stacks that were taken but found no room in the table; the event has stack 0.
    pub table_full: u64,
    /// Allocations without a stack because stacks are sampled, or the level of recording is lower.
    pub left_out: u64,
    /// Stacks walked a second time with the DWARF unwinder, to check the frame pointers.
    pub checked: u64,
    /// Checked stacks that earlier walks had mistaken for another one, so blocks may be at the wrong site. A difference in a new
    /// stack does not count: its frames, and those of all later stacks, come from the unwind tables.
    pub check_failed: u64,
}
