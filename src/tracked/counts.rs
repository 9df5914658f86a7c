//! The entry of one pointer: its name, type and place, and its counts.
//!
//! All counts use relaxed atomics. A count is exact when all threads that change it have ended and were joined. Name,
//! type and place are written once, before the entry is published.

use std::panic::Location;

use once_cell::race::OnceRef;

use super::limits::{STORM_CLONES, STORM_WINDOW_EVENTS};
use super::statics::Text;
use crate::profile::tracked::{PointerEvent, PointerKind, TrackedPointer};
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

/// The entry of one pointer, on separate cache lines. All zero bytes are an empty entry.
#[repr(align(128))]
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) name: Text,
    pub(super) type_name: Text,
    pub(super) created_at: OnceRef<'static, Location<'static>>,
    /// Kind of the pointer. 0 while the entry is not published.
    kind: AtomicU32,
    clones: AtomicU64,
    drops: AtomicU64,
    unwrapped: AtomicU64,
    held: AtomicU64,
    strong_high: AtomicU64,
    /// Number of a window in the upper 32 bits, and number of clones in this window in the lower 32 bits.
    burst: AtomicU64,
    burst_high: AtomicU64,
    storms: AtomicU64,
}

impl Counts {
    pub(super) const fn empty() -> Counts {
        Counts {
            name: Text::none(),
            type_name: Text::none(),
            created_at: OnceRef::new(),
            kind: AtomicU32::new(0),
            clones: AtomicU64::new(0),
            drops: AtomicU64::new(0),
            unwrapped: AtomicU64::new(0),
            held: AtomicU64::new(0),
            strong_high: AtomicU64::new(0),
            burst: AtomicU64::new(0),
            burst_high: AtomicU64::new(0),
            storms: AtomicU64::new(0),
        }
    }

    /// Publishes the entry to readers. The texts of the entry must be written before.
    pub(super) fn publish(&self, kind: PointerKind, strong: u64) {
        // relaxed, both: published with the kind.
        self.held.store(1, Ordering::Relaxed);
        self.strong_high.store(strong, Ordering::Relaxed);
        // Release: pairs with the acquire in `published`.
        self.kind.store(kind as u32, Ordering::Release);
    }

    fn published(&self) -> Option<PointerKind> {
        // Acquire: pairs with the release in `publish`; the texts are seen.
        match self.kind.load(Ordering::Acquire) {
            0 => None,
            1 => Some(PointerKind::Arc),
            _ => Some(PointerKind::Rc),
        }
    }

    /// Counts a clone. Returns the number of holders after the clone.
    pub(super) fn clone_made(&self, strong: u64) -> u64 {
        // relaxed, all: counts.
        self.clones.fetch_add(1, Ordering::Relaxed);
        // The maximum is read first, so that the shared cache line is written only for a new maximum.
        if self.strong_high.load(Ordering::Relaxed) < strong {
            self.strong_high.fetch_max(strong, Ordering::Relaxed);
        }
        self.held.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts the end of a holder. Returns the number of remaining holders.
    pub(super) fn holder_gone(&self, event: PointerEvent) -> u64 {
        let counter = if event == PointerEvent::Unwrapped { &self.unwrapped } else { &self.drops };
        // relaxed, both: counts.
        counter.fetch_add(1, Ordering::Relaxed);
        self.held.fetch_sub(1, Ordering::Relaxed).saturating_sub(1)
    }

    /// Counts the clone that is event `number`, in the window of this event. Counts a storm if the clone is number
    /// [`STORM_CLONES`] of the window.
    pub(super) fn count_burst(&self, number: u64) {
        let window = (number / STORM_WINDOW_EVENTS) & u64::from(u32::MAX);
        // relaxed, all: counts.
        let word = self.burst.load(Ordering::Relaxed);
        let is_over = word >> 32 != window;
        let opens = |word| {
            let new = window << 32 | 1;
            self.burst.compare_exchange(word, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        // If another thread has just opened a window, this clone counts in that window.
        let clones = if is_over && opens(word) {
            1
        } else {
            (self.burst.fetch_add(1, Ordering::Relaxed) + 1) & u64::from(u32::MAX)
        };
        if clones == STORM_CLONES {
            self.storms.fetch_add(1, Ordering::Relaxed);
        }
        if self.burst_high.load(Ordering::Relaxed) < clones {
            self.burst_high.fetch_max(clones, Ordering::Relaxed);
        }
    }

    /// Returns the entry as plain data, without its holders, or `None` while the entry is not published.
    pub(super) fn read(&self, id: u32) -> Option<TrackedPointer> {
        let kind = self.published()?;
        // relaxed: counts.
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Some(TrackedPointer {
            id,
            name: self.name.get().to_owned(),
            type_name: self.type_name.get().to_owned(),
            kind,
            created_at: self.created_at.get().map(ToString::to_string).unwrap_or_default(),
            clones: read(&self.clones),
            drops: read(&self.drops),
            unwrapped: read(&self.unwrapped),
            held: read(&self.held),
            strong_high_water: read(&self.strong_high),
            storms: read(&self.storms),
            largest_burst_clones: read(&self.burst_high),
            holders: Vec::new(),
        })
    }
}
