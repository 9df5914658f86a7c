//! References to static data, stored as numbers. So they fit into atomics, and an empty table is all zero bytes.

use std::panic::Location;
use std::ptr::with_exposed_provenance;

use crate::sys::sync::{AtomicU64, Ordering};

/// A static text. Zero means that there is none.
#[derive(Debug)]
pub(super) struct Text {
    address: AtomicU64,
    length: AtomicU64,
}

impl Text {
    pub(super) const fn none() -> Text {
        Text { address: AtomicU64::new(0), length: AtomicU64::new(0) }
    }

    /// Sets the text. Must be called once, before the entry that holds the text is published.
    pub(super) fn set(&self, text: &'static str) {
        // relaxed, both: published with the entry.
        self.length.store(text.len() as u64, Ordering::Relaxed);
        self.address.store(text.as_ptr().expose_provenance() as u64, Ordering::Relaxed);
    }

    /// Returns the text, for a caller that has seen the entry published.
    pub(super) fn get(&self) -> &'static str {
        // relaxed, both: published with the entry.
        let address = self.address.load(Ordering::Relaxed) as usize;
        let length = self.length.load(Ordering::Relaxed) as usize;
        if address == 0 {
            return "";
        }
        // SAFETY: only `set` writes the two, once, from a `&'static str`; the caller has seen both.
        unsafe {
            let bytes = std::slice::from_raw_parts(with_exposed_provenance(address), length);
            std::str::from_utf8_unchecked(bytes)
        }
    }
}

/// Number of low bits of an [`Owner`]'s word that hold the address of the place. No known system gives programs
/// addresses with more bits; a place at such an address would not fit.
const ADDRESS_BITS: u32 = 48;

/// The pair of a pointer's number and a place, as one word. Zero means that there is none.
#[derive(Debug)]
pub(super) struct Owner(AtomicU64);

/// The word that an [`Owner`] with a pair holds: the number of a tracked pointer plus one, above the address of a place
/// in the source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair(u64);

impl Pair {
    /// Returns the word for the pair, or `None` if the pair does not fit into one word.
    pub(super) fn new(pointer: u32, place: &'static Location<'static>) -> Option<Pair> {
        let address = std::ptr::from_ref(place).expose_provenance() as u64;
        let fits = address >> ADDRESS_BITS == 0 && pointer < u32::from(u16::MAX);
        fits.then_some(Pair(u64::from(pointer + 1) << ADDRESS_BITS | address))
    }

    /// Returns a hash that spreads the pair over all bits.
    pub(super) fn hash(self) -> u64 {
        (self.0 ^ self.0 >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20
    }
}

impl Owner {
    pub(super) const fn none() -> Owner {
        Owner(AtomicU64::new(0))
    }

    /// Whether the word holds `pair`. An empty word takes `pair` first.
    pub(super) fn is_or_becomes(&self, pair: Pair) -> bool {
        // relaxed, both: nothing else is published with the word; it refers to constant data of the program.
        match self.0.load(Ordering::Relaxed) {
            0 => {
                let taken = self.0.compare_exchange(0, pair.0, Ordering::Relaxed, Ordering::Relaxed);
                taken.is_ok() || taken == Err(pair.0)
            }
            word => word == pair.0,
        }
    }

    /// Returns the pointer and the place, if there are any.
    pub(super) fn get(&self) -> Option<(u32, &'static Location<'static>)> {
        // relaxed: nothing else is published with the word.
        let word = self.0.load(Ordering::Relaxed);
        if word == 0 {
            return None;
        }
        let address = (word & ((1 << ADDRESS_BITS) - 1)) as usize;
        // SAFETY: the only words ever written are zero and those of a `Pair`, which has a static reference inside.
        let place = unsafe { &*with_exposed_provenance::<Location<'static>>(address) };
        Some(((word >> ADDRESS_BITS) as u32 - 1, place))
    }
}
