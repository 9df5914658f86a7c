//! All process-wide state of the module `stack`, in two statics, so that the reset in a forked child covers all of it.
//! The second static holds only zeros at the start, so it takes no room in the program's file.
//!
//! Invariant **Q1**: the unwinder's tables and the noted objects are accessed only under the unwinder's latch.

use std::cell::UnsafeCell;
use std::sync::Arc;

use gimli::{Register, RegisterRule, UnwindContext, UnwindContextStorage, UnwindTableRow};

use super::modules::{Module, Section};
use super::noted::NotedObjects;
use crate::sys::latch::{Latch, Taken};
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

pub(super) static STATE: State = State {
    rules_cleared: AtomicU32::new(0),
    reused: AtomicU32::new(0),
    last_number: AtomicU32::new(0),
    watched_ns: AtomicU64::new(0),
    unwinder: Unwinder { latch: Latch::new(), asked: UnsafeCell::new(None) },
};

/// All state of the module that is not in a ledger.
#[repr(C)]
pub(super) struct State {
    /// Number of times that the table of rules was cleared. Each walk reads this number, so it shares no cache line
    /// with the latch.
    pub(super) rules_cleared: AtomicU32,
    /// Number of times that a new object was found whose addresses may have belonged to another object.
    pub(super) reused: AtomicU32,
    /// Number of the last new object ([`Module::number`]); 0 before the first new object.
    pub(super) last_number: AtomicU32,
    /// Time at which the noted objects were last watched, in nanoseconds; 0 while none is watched.
    pub(super) watched_ns: AtomicU64,
    pub(super) unwinder: Unwinder,
}

/// The loaded objects and their unwind tables, for all threads.
#[repr(C, align(64))]
pub(super) struct Unwinder {
    pub(super) latch: Latch,
    pub(super) asked: UnsafeCell<Option<Asked>>,
}

// SAFETY: Q1, the cell is accessed only under the latch.
unsafe impl Sync for Unwinder {}

/// The noted objects.
pub(super) static NOTED: NotedCell = NotedCell(UnsafeCell::new(NotedObjects::new()));

pub(super) struct NotedCell(UnsafeCell<NotedObjects>);

// SAFETY: Q1, the cell is accessed only under the unwinder's latch.
unsafe impl Sync for NotedCell {}

impl NotedCell {
    /// Returns the noted objects, for the holder of the unwinder's latch.
    pub(super) fn get<'a>(&'static self, _taken: &'a mut Taken<'_>) -> &'a mut NotedObjects {
        // SAFETY: Q1, the latch is held, and its token is borrowed.
        unsafe { &mut *self.0.get() }
    }
}

/// Resets the state that is invalid in a forked child. A thread of the parent may have been changing the unwinder's
/// tables. So the child reads the tables anew, and does not free the old ones.
pub(crate) fn reset_after_fork() {
    // The two numbers continue, because the thread's kept walk and cache are compared with them.
    let State { rules_cleared: _, reused: _, last_number, watched_ns, unwinder } = &STATE;
    let Unwinder { latch, asked } = unwinder;
    latch.open();
    // relaxed, both: there is one thread.
    last_number.store(0, Ordering::Relaxed);
    watched_ns.store(0, Ordering::Relaxed);
    let mut taken = latch.take();
    NOTED.get(&mut taken).clear();
    // SAFETY: Q1, the latch is held.
    std::mem::forget(unsafe { (*asked.get()).take() });
}

/// The memory of a lookup in the unwind tables: the registers of a row, and a stack of rows. It is preallocated, so
/// that a lookup does not allocate.
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

/// The loaded objects and their unwind tables, in the form that the unwinder reads.
pub(super) struct Asked {
    /// The unwind tables of each object, in the order of the objects' addresses.
    pub(super) tables: Vec<Tables>,
    pub(super) context: Box<UnwindContext<usize, Storage>>,
    /// The loaded objects. A reader shares the list, so that it copies nothing while it holds the latch.
    pub(super) modules: Arc<Vec<Module>>,
    pub(super) gone: Arc<Vec<Gone>>,
    /// Time at which the list of objects was last found to be up to date, in nanoseconds.
    pub(super) seen_ns: u64,
}

/// An object that was unloaded, but may still occur in stacks.
#[derive(Debug, Clone)]
pub(crate) struct Gone {
    pub(crate) module: Module,
    /// Time at which the object was last known to be loaded, in nanoseconds.
    pub(crate) seen_ns: u64,
    /// Time at which the object was first found missing, in nanoseconds.
    pub(crate) at_ns: u64,
}

/// Maximum number of unloaded objects that are kept. At the limit the oldest are dropped; stacks through them then have
/// no names.
pub(crate) const MODULES_GONE_MAX: usize = 256;
