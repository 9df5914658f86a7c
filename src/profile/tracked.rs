//! The figures of the `Tracked` pointers of a program, as plain data. A *holder* is one `Tracked` value: the one that
//! `Tracked::new` returned, or a clone.

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
    /// Returns the pointer event with this number, or `None` if there is none.
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

/// A place in the source, with the number of holders made there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// File and line of the call of `new` or `clone`.
    pub place: String,
    /// Number of holders made at the place.
    pub made: u64,
    /// Number of holders made at the place that still exist.
    pub held: u64,
}

/// A tracked pointer together with all its clones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedPointer {
    /// Number of the pointer in the order of `Tracked::new`, from 0.
    pub id: u32,
    /// Name of the pointer, as given to `Tracked::new`.
    pub name: String,
    /// Type of the value, as the compiler names it.
    pub type_name: String,
    /// Type of the pointer.
    #[serde(rename = "shape")]
    pub kind: PointerKind,
    /// File and line of the call of `Tracked::new`.
    pub created_at: String,
    /// Number of clones made, including clones of clones.
    pub clones: u64,
    /// Number of holders that were dropped.
    pub drops: u64,
    /// Number of holders that were taken out by `into_inner`.
    pub unwrapped: u64,
    /// Number of tracked holders now: `1 + clones - drops - unwrapped`.
    pub held: u64,
    /// Highest strong count that was observed, including holders that are not tracked. It is a lower bound of the true
    /// maximum.
    pub strong_high_water: u64,
    /// Number of clone storms: windows in which the pointer was cloned [`TrackedReport::storm_clones`] times or more.
    pub storms: u64,
    /// Maximum number of clones in one window of [`TrackedReport::storm_window_events`] events.
    pub largest_burst_clones: u64,
    /// Holders of the pointer, by the place where they were made, in descending order of existing holders.
    pub holders: Vec<Holder>,
}

/// One of the last events of tracked pointers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedEvent {
    /// Number of the event among all events of listed pointers, from 0.
    pub number: u64,
    /// [`TrackedPointer::id`] of the pointer.
    pub pointer: u32,
    /// Kind of the event.
    #[serde(rename = "deed")]
    pub event: PointerEvent,
    /// Number of tracked holders after the event. The count saturates at 16,777,215.
    pub held: u32,
}

/// Counts of pointers and holders for which the table had no room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlisted {
    /// Number of wrapped pointers that are not listed.
    pub pointers: u64,
    /// Number of clones of the pointers in `pointers`.
    pub clones: u64,
    /// Number of drops of holders of the pointers in `pointers`.
    pub drops: u64,
    /// Number of holders of the pointers in `pointers` that were taken out by `into_inner`.
    pub unwrapped: u64,
    /// Number of holders of listed pointers whose place (file and line) had no room in the table. The figures of the
    /// pointer include these holders.
    pub holders_without_place: u64,
}

/// The figures of all tracked pointers. The figures are exact if no tracked pointer is cloned or dropped while they are
/// read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedReport {
    /// Every listed pointer, in the order of `Tracked::new`.
    pub pointers: Vec<TrackedPointer>,
    /// The last events, oldest first.
    pub events: Vec<TrackedEvent>,
    /// Number of all events of listed pointers: `events_recorded + events_unrecorded`, plus the events in flight.
    pub events_total: u64,
    /// Number of events that were booked from the rings. A booked event has a time and a stack, and keeps its position
    /// among the events of its thread. It is in [`Profile::history`](super::Profile::history) until newer events
    /// replace it.
    pub events_recorded: u64,
    /// Number of events that were not booked. Either no ledger was open, or the mode shed the event or sampled it out,
    /// or a signal handler made the event while its thread recorded another event. The figures of the pointers include
    /// these events.
    pub events_unrecorded: u64,
    /// Counts of pointers and holders for which the table had no room.
    pub unlisted: Unlisted,
    /// Minimum number of clones of one pointer that makes a window a clone storm.
    pub storm_clones: u64,
    /// Length of a window, in events of all listed pointers.
    pub storm_window_events: u64,
}

impl TrackedReport {
    /// Whether no pointer was ever tracked.
    pub fn is_empty(&self) -> bool {
        self.pointers.is_empty() && self.events_total == 0 && self.unlisted.pointers == 0
    }

    /// Returns the pointers that have tracked holders, in descending order of holders.
    pub fn still_held(&self) -> Vec<&TrackedPointer> {
        let mut held: Vec<_> = self.pointers.iter().filter(|pointer| pointer.held > 0).collect();
        held.sort_by_key(|pointer| std::cmp::Reverse(pointer.held));
        held
    }

    /// Returns the pointers that were cloned in storms, in descending order of storms.
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
