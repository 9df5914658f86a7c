//! The last events of all listed pointers. Each event is one word, so a reader never sees half an event.
//!
//! A word holds the low bits of the event's number, the kind of event, the pointer, and the number of holders after the
//! event. A reader uses only words whose numbers are among the last [`EVENTS_KEPT`](super::limits::EVENTS_KEPT). An
//! older number means that a thread was delayed while other threads filled the whole ring, and then overwrote a newer
//! event with its older one. Readers skip such a word.

use crate::profile::tracked::{PointerEvent, TrackedEvent};
use crate::sys::sync::{AtomicU64, Ordering};

const HELD_BITS: u32 = 24;
const POINTER_BITS: u32 = 12;
const EVENT_BITS: u32 = 2;
const NUMBER_BITS: u32 = 26;

const _: () = assert!(HELD_BITS + POINTER_BITS + EVENT_BITS + NUMBER_BITS == 64);
const _: () = assert!(super::limits::POINTERS_LISTED <= 1 << POINTER_BITS);

/// The ring of the last events.
#[derive(Debug)]
pub(super) struct Recent<const EVENTS: usize> {
    words: [AtomicU64; EVENTS],
    next: AtomicU64,
}

impl<const EVENTS: usize> Recent<EVENTS> {
    pub(super) const fn empty() -> Self {
        Recent { words: [const { AtomicU64::new(0) }; EVENTS], next: AtomicU64::new(0) }
    }

    /// Keeps an event among the last events. Returns the number of the event.
    pub(super) fn push(&self, pointer: u32, event: PointerEvent, held: u64) -> u64 {
        // relaxed, both: the number is unique, and one word holds the whole event.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let held = held.min((1 << HELD_BITS) - 1);
        let word = number << (64 - NUMBER_BITS)
            | (event as u64) << (HELD_BITS + POINTER_BITS)
            | u64::from(pointer) << HELD_BITS
            | held;
        self.words[(number % EVENTS as u64) as usize].store(word, Ordering::Relaxed);
        number
    }

    pub(super) fn total(&self) -> u64 {
        // relaxed: a count.
        self.next.load(Ordering::Relaxed)
    }

    /// Returns the kept events, oldest first.
    pub(super) fn all(&self) -> Vec<TrackedEvent> {
        let next = self.total();
        let kept = next.min(EVENTS as u64);
        let mut events: Vec<TrackedEvent> = self.words[..kept as usize]
            .iter()
            .filter_map(|word| {
                // relaxed: one word holds the whole event.
                let word = word.load(Ordering::Relaxed);
                let age = next.wrapping_sub(word >> (64 - NUMBER_BITS)) & ((1 << NUMBER_BITS) - 1);
                let bits = |from: u32, count: u32| (word >> from & ((1 << count) - 1)) as u32;
                let event = PointerEvent::of(bits(HELD_BITS + POINTER_BITS, EVENT_BITS).into())?;
                (1..=kept).contains(&age).then(|| TrackedEvent {
                    number: next - age,
                    pointer: bits(HELD_BITS, POINTER_BITS),
                    event,
                    held: bits(0, HELD_BITS),
                })
            })
            .collect();
        events.sort_unstable_by_key(|event| event.number);
        events
    }
}
