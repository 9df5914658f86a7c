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
use crate::sys::loaded_object::{self, HEAD_BYTES, LoadedObject, NAME_BYTES_MAX};
use crate::sys::platform;

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
    /// Whether an object is gone through which caches kept stacks.
    has_lost_kept: bool,
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
        NotedObjects { objects: [const { Noted::new() }; NOTED_OBJECTS_MAX], count: 0, has_lost_kept: false }
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

    /// Notes the object around the return address of a call that the calling thread is in. Returns `None` if there is
    /// no object, or no room for it. `number` returns the number of a new object.
    pub(super) fn note(&mut self, address: u64, now_ns: u64, number: impl FnOnce() -> u16) -> Option<Note> {
        // SAFETY: the calling thread returns to the address later, so the object stays loaded.
        let found = unsafe { loaded_object::around(address.wrapping_sub(1)) }?;
        self.lose(&found, now_ns);
        let known = self.iter().position(|noted| noted.is(&found));
        let place = match known {
            Some(place) => place,
            None if self.count < NOTED_OBJECTS_MAX => {
                self.objects.get_mut(self.count)?.begin(&found, now_ns, number)?;
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
        Some(Note { number: noted.number, is_kept: noted.is_kept() })
    }

    /// Marks other objects at the addresses of `found` as gone.
    fn lose(&mut self, found: &LoadedObject<'_>, now_ns: u64) {
        let overlaps = |noted: &Noted| noted.start < found.end && found.start < noted.end;
        let others = self.objects.iter_mut().take(self.count);
        for noted in others.filter(|noted| noted.gone_ns == 0 && overlaps(noted) && !noted.is(found)) {
            self.has_lost_kept |= noted.lose(now_ns);
        }
    }

    /// Looks whether the watched objects are still at their addresses. Looks only if the calling thread is the only
    /// thread, because another thread could unload an object meanwhile.
    pub(super) fn watch(&mut self, now_ns: u64) {
        if loaded_object::is_single_threaded() {
            let all = self.objects.iter_mut().take(self.count);
            for noted in all.filter(|noted| noted.is_watched()) {
                // SAFETY: the calling thread is the only thread.
                if unsafe { loaded_object::around(noted.start) }.is_some_and(|found| noted.is(&found)) {
                    noted.seen_ns = now_ns;
                } else {
                    self.has_lost_kept |= noted.lose(now_ns);
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
    }

    pub(super) fn has_watched(&self) -> bool {
        self.iter().any(Noted::is_watched)
    }

    /// Returns whether caches must forget stacks, because an object through which they kept stacks is gone.
    pub(super) fn take_has_lost_kept(&mut self) -> bool {
        std::mem::take(&mut self.has_lost_kept)
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
    fn begin(&mut self, found: &LoadedObject<'_>, now_ns: u64, number: impl FnOnce() -> u16) -> Option<()> {
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
        (self.number, self.checks) = (number(), 0);
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

    /// Marks the object as gone. Returns whether caches kept stacks through it. If they did not, each stack until now
    /// leads to the right object.
    fn lose(&mut self, now_ns: u64) -> bool {
        self.gone_ns = now_ns;
        if !self.is_kept() {
            self.seen_ns = now_ns;
        }
        self.is_kept()
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

#[cfg(all(test, target_os = "linux", target_env = "gnu", target_arch = "x86_64", not(heapledger_portable)))]
mod tests {
    use super::super::modules::loaded;
    use super::*;

    /// An address in the C library, which stays loaded.
    fn address() -> u64 {
        libc::getpid as unsafe extern "C" fn() -> i32 as usize as u64 + 1
    }

    #[test]
    fn an_object_keeps_its_number_and_becomes_the_module_that_is_listed() {
        loaded_object::prepare();
        let mut objects = Box::new(NotedObjects::new());
        let first = objects.note(address(), 5, || 5).unwrap();
        assert!(first.number == 5 && !first.is_kept);
        let again = objects.note(address() + 1, 7, || 7).unwrap();
        assert_eq!((again.number, objects.len()), (first.number, 1));
        let noted = objects.iter().next().unwrap();
        assert_eq!((noted.since_ns, noted.seen_ns, noted.gone_ns), (5, 7, 0));
        let module = noted.module().unwrap();
        let listed = loaded(&[]).unwrap().into_iter().find(|listed| listed.has_code_at(address())).unwrap();
        assert!(module.has_head_of(&listed) && module.has_code_at(address()));
        assert_eq!((module.path, module.build_id, module.end), (listed.path, listed.build_id, listed.end));
        assert!(objects.note(8, 9, || 9).is_none(), "no object is there");
        let taken: Vec<Noted> = objects.iter().cloned().collect();
        objects.remove(&taken);
        assert_eq!(objects.len(), 0);
    }

    #[test]
    fn caches_keep_stacks_after_many_checks_and_another_object_at_the_addresses_is_found() {
        loaded_object::prepare();
        let mut objects = Box::new(NotedObjects::new());
        let number = objects.note(address(), 1, || 1).unwrap().number;
        // Another object was there.
        objects.objects[0].head[100] ^= 1;
        let next = objects.note(address(), 2, || 2).unwrap();
        assert!(next.number != number && !objects.take_has_lost_kept());
        let times: Vec<_> = objects.iter().map(|noted| (noted.seen_ns, noted.gone_ns)).collect();
        assert_eq!(times, [(2, 2), (2, 0)], "no stack of the first object is uncertain");
        for _ in 2..CHECKS_BEFORE_KEPT {
            assert!(!objects.note(address(), 3, || 3).unwrap().is_kept);
        }
        assert!(objects.note(address(), 4, || 4).unwrap().is_kept && objects.has_watched());
        // The first object is back.
        let [first, second, ..] = &mut objects.objects;
        (first.head, second.head) = (second.head, first.head);
        let back = objects.note(address(), 5, || 5).unwrap();
        assert_eq!((back.number, back.is_kept, objects.len()), (number, false, 2));
        assert!(objects.take_has_lost_kept() && !objects.has_watched());
        let times: Vec<_> = objects.iter().map(|noted| (noted.seen_ns, noted.gone_ns)).collect();
        assert_eq!(
            times,
            [(5, 0), (4, 5)],
            "stacks of the second object are uncertain from the last check on"
        );
    }
}
