//! The wrapper of a counted pointer.
//!
//! The part that counts, [`Guard`], is a separate field with a separate `Drop`. So the wrapper itself has no `Drop` and
//! can be destructured without unsafe code. The guard is the first field and so is dropped first: the drop is counted
//! before the pointer, and perhaps the value, is dropped.

use std::any::type_name;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use super::sink::{self, Ticket};
use crate::profile::tracked::PointerKind;

mod sealed {
    pub trait Sealed {}
    impl<T: ?Sized> Sealed for std::rc::Rc<T> {}
    impl<T: ?Sized> Sealed for std::sync::Arc<T> {}
}

/// A pointer that counts its holders: an `Arc` or an `Rc`.
pub trait Counted: Clone + Deref + sealed::Sealed {
    /// Kind of the pointer.
    const KIND: PointerKind;

    /// Returns the strong count of the pointer: the number of holders of the value, wrapped or not.
    fn strong_count(pointer: &Self) -> u64;
}

impl<T: ?Sized> Counted for Arc<T> {
    const KIND: PointerKind = PointerKind::Arc;

    fn strong_count(pointer: &Self) -> u64 {
        Arc::strong_count(pointer) as u64
    }
}

impl<T: ?Sized> Counted for Rc<T> {
    const KIND: PointerKind = PointerKind::Rc;

    fn strong_count(pointer: &Self) -> u64 {
        Rc::strong_count(pointer) as u64
    }
}

/// An `Arc` or `Rc` whose clones and drops are counted. A `Tracked` value dereferences to the pointer inside, and
/// compares, hashes and prints as that pointer does. See [`heapledger::tracked`](crate::tracked()) for the figures.
pub struct Tracked<P: Counted> {
    guard: Guard,
    pointer: P,
}

/// Counts the end of a holder when dropped.
struct Guard {
    ticket: Ticket,
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        sink::dropped(&self.ticket);
    }
}

impl<P: Counted> Tracked<P> {
    /// Wraps a pointer, and lists it under `name` with its type and the place of this call. Clones of the result count
    /// as holders of the same pointer.
    ///
    /// ```
    /// # use {heapledger::Tracked, std::rc::Rc};
    /// let root = Tracked::new(Rc::new(3), "root");
    /// assert_eq!(**root, 3);
    /// ```
    #[track_caller]
    pub fn new(pointer: P, name: &'static str) -> Tracked<P> {
        let (strong, place) = (P::strong_count(&pointer), Location::caller());
        let ticket = sink::listed(name, type_name::<P::Target>(), P::KIND, strong, place);
        Tracked { guard: Guard { ticket }, pointer }
    }

    /// Returns the pointer inside. It still holds the value, but is no longer counted.
    pub fn into_inner(self) -> P {
        let Tracked { guard, pointer } = self;
        sink::unwrapped(&guard.ticket);
        std::mem::forget(guard);
        pointer
    }
}

impl<P: Counted> Clone for Tracked<P> {
    #[inline]
    #[track_caller]
    fn clone(&self) -> Self {
        let pointer = self.pointer.clone();
        let ticket = sink::cloned(&self.guard.ticket, P::strong_count(&pointer), Location::caller());
        Tracked { guard: Guard { ticket }, pointer }
    }
}

impl<P: Counted> Deref for Tracked<P> {
    type Target = P;

    #[inline]
    fn deref(&self) -> &P {
        &self.pointer
    }
}

impl<P: Counted> AsRef<P::Target> for Tracked<P> {
    fn as_ref(&self) -> &P::Target {
        &self.pointer
    }
}

impl<P: Counted + fmt::Debug> fmt::Debug for Tracked<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pointer.fmt(f)
    }
}

impl<P: Counted + fmt::Display> fmt::Display for Tracked<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pointer.fmt(f)
    }
}

impl<P: Counted + fmt::Pointer> fmt::Pointer for Tracked<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pointer.fmt(f)
    }
}

impl<P: Counted + PartialEq> PartialEq for Tracked<P> {
    fn eq(&self, other: &Self) -> bool {
        self.pointer == other.pointer
    }
}

impl<P: Counted + Eq> Eq for Tracked<P> {}

impl<P: Counted + PartialOrd> PartialOrd for Tracked<P> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.pointer.partial_cmp(&other.pointer)
    }
}

impl<P: Counted + Ord> Ord for Tracked<P> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.pointer.cmp(&other.pointer)
    }
}

impl<P: Counted + Hash> Hash for Tracked<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pointer.hash(state);
    }
}
