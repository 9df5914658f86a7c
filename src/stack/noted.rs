//! Objects that a walk has met, and that the list of loaded objects lacks.
//!
//! The list of loaded objects is read from files of the system, which no event may do. In a program without background
//! thread, a library may so be loaded, called and unloaded, and another one may be loaded at its addresses, before the
//! list is read again. So a walk that ends in code of no listed object asks the loader for the object
//! (`sys::loaded_object`), *notes* what tells it from others, and gives it a number at once. The next reading of the
//! list takes the noted objects over.
//!
//! A thread's cache finds a stack by its addresses, and would give the stacks of one object to the next one. So caches
//! do not keep the stacks through a noted object: each of them is taken in full, which finds another object. A program
//! that calls through the object all the time would pay for that, so after [`CHECKS_BEFORE_KEPT`] stacks caches keep
//! them, and the object is *watched*: a thread that is the only one looks at new windows whether it is still there.

use super::modules::Module;
use super::state::STATE;
use super::unwind::{forget_stacks, next_number};
use crate::sys::loaded_object::{self, HEAD_BYTES, LoadedObject, NAME_BYTES_MAX};
use crate::sys::platform;
use crate::sys::sync::Ordering;

/// Maximum number of noted objects. The stacks through any further object are as uncertain as without notes.
pub(crate) const NOTED_OBJECTS_MAX: usize = 16;
/// Maximum length of a path in bytes: the working directory and the name.
const PATH_BYTES: usize = 2 * NAME_BYTES_MAX;
/// Number of stacks through an object that are taken in full before caches keep them.
const CHECKS_BEFORE_KEPT: u32 = 1_000;

/// The noted objects. All zero bytes are a valid, empty list.
pub(super) struct NotedObjects {
    objects: [Noted; NOTED_OBJECTS_MAX],
    count: usize,
}

/// A noted object.
#[derive(Clone)]
pub(super) struct Noted {
    start: u64,
    end: u64,
    head: [u8; HEAD_BYTES],
    /// The path, which ends with the name that the loader knows.
    path: [u8; PATH_BYTES],
    path_bytes: usize,
    name_bytes: usize,
    pub(super) number: u16,
    /// Number of stacks through the object that were taken in full.
    checks: u32,
    /// Time at which the object was first met, in nanoseconds.
    pub(super) since_ns: u64,
    /// Time at which the object was last found at its addresses, in nanoseconds.
    pub(super) seen_ns: u64,
    /// Time at which another object was found at these addresses; 0 before that.
    pub(super) gone_ns: u64,
}

impl NotedObjects {
    pub(super) const fn new() -> NotedObjects {
        NotedObjects { objects: [const { Noted::new() }; NOTED_OBJECTS_MAX], count: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Noted> {
        self.objects.iter().take(self.count)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Noted> {
        self.objects.iter_mut().take(self.count)
    }

    /// Notes the object around the return address of a call that the calling thread is in. Returns `None` if there is
    /// no object, or no room for it.
    pub(super) fn note(&mut self, address: u64, now_ns: u64) -> Option<Note> {
        // SAFETY: the calling thread returns to the address later, so the object stays loaded.
        let found = unsafe { loaded_object::around(address.wrapping_sub(1)) }?;
        self.lose(&found, now_ns);
        let known = self.iter().position(|noted| noted.is(&found));
        let place = match known {
            Some(place) => place,
            None if self.count < NOTED_OBJECTS_MAX => {
                self.objects.get_mut(self.count)?.begin(&found, now_ns)?;
                self.count += 1;
                self.count - 1
            }
            None => return None,
        };
        let noted = self.objects.get_mut(place)?;
        if noted.gone_ns != 0 {
            (noted.gone_ns, noted.checks) = (0, 0);
        }
        noted.checks = noted.checks.saturating_add(1);
        noted.seen_ns = now_ns;
        if noted.checks == CHECKS_BEFORE_KEPT {
            // relaxed: a hint; the latch protects the objects.
            STATE.watched_ns.store(now_ns.max(1), Ordering::Relaxed);
        }
        Some(Note { number: noted.number, is_kept: noted.is_kept() })
    }

    /// Marks other objects at the addresses of `found` as gone.
    fn lose(&mut self, found: &LoadedObject<'_>, now_ns: u64) {
        let overlaps = |noted: &Noted| noted.start < found.end && found.start < noted.end;
        for noted in self.iter_mut().filter(|noted| noted.gone_ns == 0 && overlaps(noted) && !noted.is(found))
        {
            noted.lose(now_ns);
        }
    }

    /// Looks whether the watched objects are still at their addresses. Looks only if the calling thread is the only
    /// thread, because another thread could unload an object meanwhile.
    pub(super) fn watch(&mut self, now_ns: u64) {
        if loaded_object::is_single_threaded() {
            for noted in self.iter_mut().filter(|noted| noted.is_watched()) {
                // SAFETY: the calling thread is the only thread.
                if unsafe { loaded_object::around(noted.start) }.is_some_and(|found| noted.is(&found)) {
                    noted.seen_ns = now_ns;
                } else {
                    noted.lose(now_ns);
                }
            }
        }
    }

    /// Removes the objects that `taken` contains.
    pub(super) fn remove(&mut self, taken: &[Noted]) {
        let mut kept = 0;
        for place in 0..self.count {
            let number = self.objects.get(place).map(|noted| noted.number);
            if !taken.iter().any(|taken| Some(taken.number) == number) {
                self.objects.swap(kept, place);
                kept += 1;
            }
        }
        self.count = kept;
        if !self.iter().any(Noted::is_watched) {
            // relaxed: a hint.
            STATE.watched_ns.store(0, Ordering::Relaxed);
        }
    }
}

/// What is known of the object of a stack's last frame.
pub(super) struct Note {
    pub(super) number: u16,
    /// Whether caches keep stacks through the object.
    pub(super) is_kept: bool,
}

impl Noted {
    const fn new() -> Noted {
        Noted {
            start: 0,
            end: 0,
            head: [0; HEAD_BYTES],
            path: [0; PATH_BYTES],
            path_bytes: 0,
            name_bytes: 0,
            number: 0,
            checks: 0,
            since_ns: 0,
            seen_ns: 0,
            gone_ns: 0,
        }
    }

    /// Notes `found` in this place. Returns `None` if its path is unknown.
    fn begin(&mut self, found: &LoadedObject<'_>, now_ns: u64) -> Option<()> {
        let mut length = 0;
        if found.name.first() != Some(&b'/') {
            length = platform::working_directory(self.path.get_mut(..NAME_BYTES_MAX - 1)?)?;
            *self.path.get_mut(length)? = b'/';
            length += 1;
        }
        self.name_bytes = found.name.len();
        self.path_bytes = length + self.name_bytes;
        self.path.get_mut(length..self.path_bytes)?.copy_from_slice(found.name);
        self.head = *found.head;
        (self.start, self.end) = (found.start, found.end);
        (self.number, self.checks) = (next_number(), 0);
        (self.since_ns, self.seen_ns, self.gone_ns) = (now_ns, now_ns, 0);
        Some(())
    }

    fn is(&self, found: &LoadedObject<'_>) -> bool {
        (self.start, self.end) == (found.start, found.end)
            && self.head == *found.head
            && self.path_bytes.checked_sub(self.name_bytes).and_then(|at| self.path.get(at..self.path_bytes))
                == Some(found.name)
    }

    fn is_kept(&self) -> bool {
        self.checks >= CHECKS_BEFORE_KEPT
    }

    fn is_watched(&self) -> bool {
        self.is_kept() && self.gone_ns == 0
    }

    /// Marks the object as gone.
    fn lose(&mut self, now_ns: u64) {
        self.gone_ns = now_ns;
        if self.is_kept() {
            forget_stacks();
        } else {
            // Each stack until now leads to the right object.
            self.seen_ns = now_ns;
        }
    }

    /// Returns the object as a module. Returns `None` if its headers are not those of an object. Allocates, so it is
    /// called in an internal scope.
    pub(super) fn module(&self) -> Option<Module> {
        let path = self.path.get(..self.path_bytes)?;
        let mut module = Module::of_head(self.start, &self.head, path)?;
        (module.number, module.since_ns) = (self.number, self.since_ns);
        Some(module)
    }
}
