//! The table of tracked pointers, which counts their events and gives the report.
//!
//! The table has a fixed size and lies in static memory. Each event has constant cost: a holder stores the numbers of
//! its pointer's entry and of its row, and the event itself takes one word. A forked child keeps the table, because it
//! has the same pointers.

use std::panic::Location;

use super::counts::Counts;
use super::limits::{EVENTS_KEPT, PLACES_LISTED, POINTERS_LISTED, STORM_CLONES, STORM_WINDOW_EVENTS};
use super::places::Places;
use super::recent::Recent;
use crate::profile::tracked::{Holder, PointerEvent, PointerKind, TrackedReport, Unlisted};
use crate::recorder::pointer_events;
use crate::sys::sync::{AtomicU64, Ordering};

/// The number stored for a pointer or place that the table has no room for.
const NONE: u32 = u32::MAX;

static TABLE: Table<POINTERS_LISTED, PLACES_LISTED, EVENTS_KEPT> = Table::empty();

/// The numbers that a holder stores: that of its pointer's entry, and that of its row in the table of places.
#[derive(Debug)]
pub(super) struct Ticket {
    pointer: u32,
    row: u32,
}

/// Records that a pointer was wrapped.
pub(super) fn listed(
    name: &'static str,
    type_name: &'static str,
    kind: PointerKind,
    strong: u64,
    place: &'static Location<'static>,
) -> Ticket {
    TABLE.list((name, type_name), kind, strong, place)
}

/// Records that a holder was cloned. `strong` is the strong count of the pointer after the clone.
#[inline]
pub(super) fn cloned(of: &Ticket, strong: u64, place: &'static Location<'static>) -> Ticket {
    TABLE.clone_made(of, strong, place)
}

/// Records that a holder is about to be dropped.
#[inline]
pub(super) fn dropped(ticket: &Ticket) {
    TABLE.holder_gone(ticket, PointerEvent::Dropped);
}

/// Records that a holder is no longer tracked.
pub(super) fn unwrapped(ticket: &Ticket) {
    TABLE.holder_gone(ticket, PointerEvent::Unwrapped);
}

/// Returns the figures of all tracked pointers.
pub(crate) fn report() -> TrackedReport {
    TABLE.report()
}

/// The table of tracked pointers. All zero bytes are an empty table.
#[derive(Debug)]
pub(super) struct Table<const POINTERS: usize, const ROWS: usize, const EVENTS: usize> {
    /// Number of pointers wrapped so far, including pointers without an entry.
    wrapped: AtomicU64,
    entries: [Counts; POINTERS],
    places: Places<ROWS>,
    recent: Recent<EVENTS>,
    /// Number of events that are in the ring of no thread.
    unrecorded: AtomicU64,
    unlisted_clones: AtomicU64,
    unlisted_drops: AtomicU64,
    unlisted_unwrapped: AtomicU64,
}

impl<const POINTERS: usize, const ROWS: usize, const EVENTS: usize> Table<POINTERS, ROWS, EVENTS> {
    pub(super) const fn empty() -> Self {
        Table {
            wrapped: AtomicU64::new(0),
            entries: [const { Counts::empty() }; POINTERS],
            places: Places::empty(),
            recent: Recent::empty(),
            unrecorded: AtomicU64::new(0),
            unlisted_clones: AtomicU64::new(0),
            unlisted_drops: AtomicU64::new(0),
            unlisted_unwrapped: AtomicU64::new(0),
        }
    }

    pub(super) fn list(
        &self,
        (name, type_name): (&'static str, &'static str),
        kind: PointerKind,
        strong: u64,
        place: &'static Location<'static>,
    ) -> Ticket {
        // relaxed: only the number is used.
        let number = self.wrapped.fetch_add(1, Ordering::Relaxed);
        let entry = usize::try_from(number).ok().and_then(|number| self.entries.get(number));
        let Some(entry) = entry else {
            return Ticket { pointer: NONE, row: NONE };
        };
        entry.name.set(name);
        entry.type_name.set(type_name);
        // Only this call has the number, so the place is not set yet.
        let _ = entry.created_at.set(place);
        entry.publish(kind, strong);
        let pointer = number as u32;
        self.note(pointer, PointerEvent::Listed, 1);
        Ticket { pointer, row: self.places.enter(pointer, place).unwrap_or(NONE) }
    }

    #[inline]
    pub(super) fn clone_made(&self, of: &Ticket, strong: u64, place: &'static Location<'static>) -> Ticket {
        let Some(entry) = self.entries.get(of.pointer as usize) else {
            // relaxed: a count.
            self.unlisted_clones.fetch_add(1, Ordering::Relaxed);
            return Ticket { pointer: NONE, row: NONE };
        };
        let held = entry.clone_made(strong);
        entry.count_burst(self.note(of.pointer, PointerEvent::Cloned, held));
        Ticket { pointer: of.pointer, row: self.places.enter(of.pointer, place).unwrap_or(NONE) }
    }

    #[inline]
    pub(super) fn holder_gone(&self, ticket: &Ticket, event: PointerEvent) {
        let Some(entry) = self.entries.get(ticket.pointer as usize) else {
            let is_drop = event == PointerEvent::Dropped;
            let counter = if is_drop { &self.unlisted_drops } else { &self.unlisted_unwrapped };
            // relaxed: a count.
            counter.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let held = entry.holder_gone(event);
        self.note(ticket.pointer, event, held);
        if ticket.row != NONE {
            self.places.leave(ticket.row);
        }
    }

    /// Records an event among the last events and in the thread's ring. Returns the number of the event.
    fn note(&self, pointer: u32, event: PointerEvent, held: u64) -> u64 {
        // The event gets its number first, so the sum of recorded and unrecorded events never exceeds the number of all
        // events.
        let number = self.recent.push(pointer, event, held);
        if !pointer_events::record(event, pointer, held) {
            // relaxed: a count.
            self.unrecorded.fetch_add(1, Ordering::Relaxed);
        }
        number
    }

    pub(super) fn report(&self) -> TrackedReport {
        // relaxed: counts.
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let events = self.recent.all();
        // Entries are used in order. Unused entries are not read, so their pages stay unmapped.
        let entered = usize::try_from(read(&self.wrapped)).unwrap_or(usize::MAX);
        let numbered = (0..).zip(&self.entries).take(entered);
        let mut pointers: Vec<_> = numbered.filter_map(|(id, entry)| entry.read(id)).collect();
        let places = (entered > 0).then(|| self.places.all());
        for (id, place, made, held) in places.into_iter().flatten() {
            // The entries are in the order of their numbers. An entry is missing if it was not published yet when it
            // was read.
            if let Ok(at) = pointers.binary_search_by_key(&id, |pointer| pointer.id) {
                pointers[at].holders.push(Holder { place: place.to_string(), made, held });
            }
        }
        for pointer in &mut pointers {
            pointer
                .holders
                .sort_unstable_by(|a, b| (b.held, b.made, &a.place).cmp(&(a.held, a.made, &b.place)));
        }
        TrackedReport {
            pointers,
            events,
            events_total: self.recent.total(),
            // The caller sets this figure, from the counters of the rings.
            events_recorded: 0,
            events_unrecorded: read(&self.unrecorded),
            unlisted: Unlisted {
                pointers: read(&self.wrapped).saturating_sub(POINTERS as u64),
                clones: read(&self.unlisted_clones),
                drops: read(&self.unlisted_drops),
                unwrapped: read(&self.unlisted_unwrapped),
                holders_without_place: self.places.unplaced(),
            },
            storm_clones: STORM_CLONES,
            storm_window_events: STORM_WINDOW_EVENTS,
        }
    }
}
