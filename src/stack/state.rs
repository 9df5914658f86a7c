//! The static of this room, in one place, so that a forked child misses nothing of it.
//!
//! Invariant **Q1**: the unwinder's tables are touched under its latch only.

use std::cell::UnsafeCell;
use std::sync::Arc;

use gimli::{Register, RegisterRule, UnwindContext, UnwindContextStorage, UnwindTableRow};

use super::modules::{Module, Section};
use crate::sys::latch::Latch;
use crate::sys::sync::AtomicU32;

pub(super) static STATE: State = State {
    rules_cleared: AtomicU32::new(0),
    unwinder: Unwinder { latch: Latch::new(), asked: UnsafeCell::new(None) },
};

/// All state of the room that is not in a ledger.
#[repr(C)]
pub(super) struct State {
    /// How often the table of rules was cleared. Read at each walk, so it shares no cache line with the latch.
    pub(super) rules_cleared: AtomicU32,
    pub(super) unwinder: Unwinder,
}

/// The loaded objects and their unwind tables, for all threads.
#[repr(C, align(64))]
pub(super) struct Unwinder {
    pub(super) latch: Latch,
    pub(super) asked: UnsafeCell<Option<Asked>>,
}

// SAFETY: Q1.
unsafe impl Sync for Unwinder {}

/// Resets what does not hold in a forked child. A thread of the parent may have been changing the unwinder's tables: they are
/// read anew, and the old ones are not freed.
pub(crate) fn reset_after_fork() {
    // The count of clearings goes on: the kept walk of the thread is compared with it.
    let State { rules_cleared: _, unwinder } = &STATE;
    let Unwinder { latch, asked } = unwinder;
    latch.open();
    let _taken = latch.take();
    // SAFETY: Q1.
    std::mem::forget(unsafe { (*asked.get()).take() });
}

/// Memory of a lookup, so that it allocates none: registers of a row, and rows on a stack.
pub(super) struct Storage;

impl UnwindContextStorage<usize> for Storage {
    type Rules = [(Register, RegisterRule<usize>); 32];
    type Stack = [UnwindTableRow<usize, Storage>; 4];
}

/// The unwind tables of an object, copied from memory.
pub(super) struct Tables {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) bias: u64,
    pub(super) index: Section,
    pub(super) entries: Section,
}

/// The loaded objects and their unwind tables.
pub(super) struct Asked {
    /// In the order of their addresses.
    pub(super) tables: Vec<Tables>,
    pub(super) context: Box<UnwindContext<usize, Storage>>,
    /// Shared, so that nothing is copied while the latch is held.
    pub(super) modules: Arc<Vec<Module>>,
    pub(super) gone: Arc<Vec<Gone>>,
}

/// An object that was unloaded, and is still in stacks.
#[derive(Debug, Clone)]
pub(crate) struct Gone {
    pub(crate) module: Module,
    /// The time at which it was missing first.
    pub(crate) at_ns: u64,
}

/// Unloaded objects that are kept at most; the oldest are dropped, and stacks through them have no names.
pub(crate) const MODULES_GONE_MAX: usize = 256;
