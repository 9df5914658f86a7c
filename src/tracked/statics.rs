//! References to static data, stored as numbers. So they fit into atomics, and an empty table is all zero bytes.

use std::panic::Location;
use std::ptr::with_exposed_provenance;

use crate::sys::sync::{AtomicU64, Ordering};

/// A static text, as its address and length. The address 0 means that there is no text.
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
        // SAFETY: only `set` writes the address and the length, once, from a `&'static str`, and the caller has seen
        // both.
        unsafe {
            let bytes = std::slice::from_raw_parts(with_exposed_provenance(address), length);
            std::str::from_utf8_unchecked(bytes)
        }
    }
}

/// Number of low bits of a [`Pair`] that hold the address of the place. No known system gives programs addresses with
/// more bits. A place with a longer address cannot be stored.
const ADDRESS_BITS: u32 = 48;

/// The owner of a row in the table of places: an atomic word that holds a [`Pair`]. Zero means that the row has no
/// owner.
#[derive(Debug)]
pub(super) struct Owner(AtomicU64);

/// A tracked pointer and a place in the source where its holders were made, as one word. The upper 16 bits are the
/// number of the pointer plus one; the lower 48 bits are the address of the place.
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

    /// Whether the word holds `pair`. If the word is empty, `pair` is stored first.
    pub(super) fn is_or_becomes(&self, pair: Pair) -> bool {
        // relaxed, both: no other data is published with the word, which refers to constant data of the program.
        match self.0.load(Ordering::Relaxed) {
            0 => {
                let taken = self.0.compare_exchange(0, pair.0, Ordering::Relaxed, Ordering::Relaxed);
                taken.is_ok() || taken == Err(pair.0)
            }
            word => word == pair.0,
        }
    }

    /// Returns the pointer and the place, or `None` if the word is empty.
    pub(super) fn get(&self) -> Option<(u32, &'static Location<'static>)> {
        // relaxed: no other data is published with the word.
        let word = self.0.load(Ordering::Relaxed);
        if word == 0 {
            return None;
        }
        let address = (word & ((1 << ADDRESS_BITS) - 1)) as usize;
        // SAFETY: every word except zero is that of a `Pair`, whose address comes from a static reference.
        let place = unsafe { &*with_exposed_provenance::<Location<'static>>(address) };
        Some(((word >> ADDRESS_BITS) as u32 - 1, place))
    }
}
