//! The figures of the program's `Tracked` pointers, as plain data.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The type of a tracked pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum PointerKind {
    /// `std::sync::Arc`.
    Arc = 1,
    /// `std::rc::Rc`.
    Rc = 2,
}

/// An event of a tracked pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum PointerEvent {
    /// The pointer was wrapped by `Tracked::new`.
    Listed = 0,
    /// A holder was cloned.
    Cloned = 1,
    /// A holder was dropped.
    Dropped = 2,
    /// A holder was taken out by `into_inner`.
    Unwrapped = 3,
}

impl PointerEvent {
    /// The pointer event of a number.
    pub(crate) const fn of(number: u64) -> Option<PointerEvent> {
        match number {
            0 => Some(PointerEvent::Listed),
            1 => Some(PointerEvent::Cloned),
            2 => Some(PointerEvent::Dropped),
            3 => Some(PointerEvent::Unwrapped),
            _ => None,
        }
    }
}

impl fmt::Display for PointerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PointerEvent::Listed => "wrapped",
            PointerEvent::Cloned => "cloned",
            PointerEvent::Dropped => "dropped",
            PointerEvent::Unwrapped => "unwrapped",
        })
    }
}

/// A place in the source, and the holders made there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// File and line of the `new` or `clone`.
    pub place: String,
    /// Holders made there.
    pub made: u64,
    /// Holders made there that still exist.
    pub held: u64,
}

/// A pointer and all its clones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedPointer {
    /// Number in the order of `Tracked::new`, from 0 on.
    pub id: u32,
    /// Its name, as given to `Tracked::new`.
    pub name: String,
    /// Type of the value, as the compiler names it.
    pub type_name: String,
    /// Its type.
    #[serde(rename = "shape")]
    pub kind: PointerKind,
    /// File and line of `Tracked::new`.
    pub created_at: String,
    /// Clones of the pointer and of its clones.
    pub clones: u64,
    /// Holders that were dropped.
    pub drops: u64,
    /// Holders that were taken out by `into_inner`.
    pub unwrapped: u64,
    /// Tracked holders now: `1 + clones - drops - unwrapped`.
    pub held: u64,
    /// The highest strong count seen, with holders that are not tracked. A lower bound of the maximum.
    pub strong_high_water: u64,
    /// Windows in which it was cloned [`TrackedReport::storm_clones`] times or more.
    pub storms: u64,
    /// Most clones in one window.
    pub largest_burst_clones: u64,
    /// Its holders by the place where they were made, most held first.
    pub holders: Vec<Holder>,
}

/// One of the last events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedEvent {
    /// Number among all events of listed pointers, from 0.
    pub number: u64,
    /// [`TrackedPointer::id`] of the pointer.
    pub pointer: u32,
    /// The event.
    #[serde(rename = "deed")]
    pub event: PointerEvent,
    /// Tracked holders after it; it stops at 16,777,215.
    pub held: u32,
}

/// Pointers and events for which the table had no room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlisted {
    /// Wrapped pointers that are not listed.
    pub pointers: u64,
    /// Clones of those.
    pub clones: u64,
    /// Drops of those.
    pub drops: u64,
    /// Holders of those that were taken out by `into_inner`.
    pub unwrapped: u64,
    /// Holders of listed pointers whose place found no room; they are counted in their pointer.
    pub holders_without_place: u64,
}

/// The tracked pointers. Exact while no tracked pointer is cloned or dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedReport {
    /// Every listed pointer, in the order of `Tracked::new`.
    pub pointers: Vec<TrackedPointer>,
    /// The last events, newest last.
    pub events: Vec<TrackedEvent>,
    /// All events of listed pointers: `events_recorded + events_unrecorded`, and those in flight.
    pub events_total: u64,
    /// Events that were booked from the rings: with time and stack, in the order of their thread, and in
    /// [`Profile::history`](super::Profile::history) while it reaches back to them.
    pub events_recorded: u64,
    /// Events that were not: there was no ledger, it was closed, the mode shed or sampled them out, or a signal handler made
    /// them while its thread recorded another event. They are counted in their pointer.
    pub events_unrecorded: u64,
    /// Pointers and events without room in the list.
    pub unlisted: Unlisted,
    /// Clones of one pointer in one window that make a storm.
    pub storm_clones: u64,
    /// Length of the window, in events of all listed pointers.
    pub storm_window_events: u64,
}

impl TrackedReport {
    /// Whether no pointer was ever tracked.
    pub fn is_empty(&self) -> bool {
        self.pointers.is_empty() && self.events_total == 0 && self.unlisted.pointers == 0
    }

    /// Pointers with tracked holders, most holders first.
    pub fn still_held(&self) -> Vec<&TrackedPointer> {
        let mut held: Vec<_> = self.pointers.iter().filter(|pointer| pointer.held > 0).collect();
        held.sort_by_key(|pointer| std::cmp::Reverse(pointer.held));
        held
    }

    /// Pointers that were cloned in storms, most storms first.
    pub fn storms(&self) -> Vec<&TrackedPointer> {
        let mut stormy: Vec<_> = self.pointers.iter().filter(|pointer| pointer.storms > 0).collect();
        stormy.sort_by_key(|pointer| std::cmp::Reverse(pointer.storms));
        stormy
    }
}

impl fmt::Display for TrackedPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, type_name, created_at, held, clones, drops, .. } = self;
        write!(
            f,
            "{name}: {kind:?}<{type_name}> of {created_at}: {held} held, {clones} clones, {drops} drops"
        )
    }
}

impl fmt::Display for TrackedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.still_held();
        writeln!(f, "{} tracked pointers, {} still held", self.pointers.len(), held.len())?;
        for pointer in held {
            writeln!(f, "  {pointer}")?;
            for holder in pointer.holders.iter().filter(|holder| holder.held > 0) {
                writeln!(f, "    {} from {}", holder.held, holder.place)?;
            }
        }
        for pointer in self.storms() {
            let TrackedPointer { name, storms, largest_burst_clones, .. } = pointer;
            let window = self.storm_window_events;
            writeln!(
                f,
                "  {name}: {storms} clone storms, up to {largest_burst_clones} clones in {window} events"
            )?;
        }
        if self.unlisted.pointers > 0 {
            writeln!(f, "  {} more pointers found no room in the list", self.unlisted.pointers)?;
        }
        Ok(())
    }
}
