//! Source names for the addresses of a profile.
//!
//! The recorder leaves the names empty. The command `heapledger` looks the names up later, from the modules and their
//! build ids. A bundled dump already contains names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Maximum number of functions at one address. An address has several functions if calls were inlined.
pub const INLINED_MAX: usize = 256;

/// A function at an address. If calls were inlined, an address has several functions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SymbolFrame {
    /// Index into [`Symbols::strings`] of the function's name, demangled.
    pub function: u32,
    /// Index into [`Symbols::strings`] of the source file. 0 if the file is unknown.
    pub file: u32,
    /// Line in the source file, from 1. 0 if the line is unknown.
    pub line: u32,
    /// Whether the function was inlined into the next function in the list of the same address.
    pub inlined: bool,
}

/// Names for the addresses of a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbols {
    /// The texts, without duplicates. Text 0, if present, is the empty text.
    pub strings: Vec<String>,
    /// Maps each frame of [`Stack::frames`](super::Stack::frames) to its functions, innermost first. A frame without a
    /// name is absent.
    pub frames: BTreeMap<u64, Vec<SymbolFrame>>,
    /// Sentences that say why names are missing, each with a remedy.
    pub notes: Vec<String>,
}

impl Symbols {
    /// Returns the functions at a frame, innermost first. Returns an empty list if the frame has no name.
    pub fn at(&self, frame: u64) -> &[SymbolFrame] {
        self.frames.get(&frame).map_or(&[], Vec::as_slice)
    }

    /// Returns the text with this number, or an empty text if the number is unknown.
    pub fn text(&self, number: u32) -> &str {
        self.strings.get(number as usize).map_or("", String::as_str)
    }

    /// Whether no frame has a name.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

/// The method by which the stacks of a profile were taken, and its counters. A stack is taken at an allocation or a
/// realloc, so the counters count allocations and reallocs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackFigures {
    /// Name of the method: `frame pointers`, `dwarf` or `off`.
    pub walker: String,
    /// Reason why this method was used.
    pub why: String,
    /// Number of stacks taken.
    pub taken: u64,
    /// Number of stacks in `taken` that ended before the outermost frame.
    pub truncated: u64,
    /// Number of walks that gave no stack. Either the walk found no frame, or the thread gave up the walk because other
    /// threads held a latch for too long. The event has stack 0, or in a scope the stack of the scope's frames alone.
    pub failed: u64,
    /// Number of stacks that were taken but found no room in the table. The event has stack 0.
    pub table_full: u64,
    /// Number of allocations for which no stack was taken, because stacks are sampled or because the level of recording
    /// excludes stacks.
    pub left_out: u64,
    /// Number of stacks that were walked a second time, by DWARF unwind tables, to check the walk by frame pointers.
    pub checked: u64,
    /// Number of checks which showed that earlier walks had mistaken the stack for another stack. Blocks of these walks
    /// may be at the wrong site. The counter does not include differences that are found at the first walk of a stack.
    /// No block is at a wrong site then, because this stack and all later ones are taken by unwind tables.
    pub check_failed: u64,
}
