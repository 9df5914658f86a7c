//! Source names for the addresses of a profile.
//!
//! The recorder's side never fills the names. The command looks them up later, from the modules and their build ids, or
//! a bundled dump contains them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Maximum number of functions at one address. Several functions share an address if calls were inlined.
pub const INLINED_MAX: usize = 256;

/// A function at an address. If calls were inlined, one address is in several functions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SymbolFrame {
    /// Index into [`Symbols::strings`] of the function's name, demangled.
    pub function: u32,
    /// Index into [`Symbols::strings`] of the source file. 0 if the file is unknown.
    pub file: u32,
    /// Line in the source file, from 1. 0 if the line is unknown.
    pub line: u32,
    /// Whether the function was inlined into the next function of the same address.
    pub inlined: bool,
}

/// Names for the addresses of a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbols {
    /// The texts, each of them once. Text 0, if present, is the empty text.
    pub strings: Vec<String>,
    /// Maps each frame of [`Stack::frames`](super::Stack::frames) to its functions, innermost first. A frame without a
    /// name is absent.
    pub frames: BTreeMap<u64, Vec<SymbolFrame>>,
    /// Reasons for missing names: sentences, each with a remedy.
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

/// The method by which the stacks of a profile were taken, and its counters. The unit is allocations and reallocs,
/// unless stated otherwise.
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
    /// Number of walks without a stack: the walk found no frame, or was abandoned because other threads held a latch
    /// for too long. The event has stack 0.
    pub failed: u64,
    /// Number of stacks that were taken but found no room in the table. The event has stack 0.
    pub table_full: u64,
    /// Number of allocations without a stack because stacks are sampled, or because the level of recording is lower.
    pub left_out: u64,
    /// Number of stacks that were walked a second time by DWARF unwind tables, to check the frame pointers.
    pub checked: u64,
    /// Number of checked stacks that earlier walks had mistaken for another stack, so blocks may be at the wrong site.
    /// A difference in a new stack does not count: its frames, and those of all later stacks, come from the unwind
    /// tables.
    pub check_failed: u64,
}
