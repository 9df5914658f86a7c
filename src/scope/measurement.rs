//! Exact figures of one piece of work.

use std::fmt::{self, Write};
use std::panic::Location;

use super::usage::{Usage, allocated_and_lost};
use crate::aggregator::counters;
use crate::ledger::Ledger;
use crate::ledger::scopes::{SCOPES_PER_NAME_MAX, ScopeKey, ScopeSums, hash_of};
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::scopes::{self, Entry};
use crate::recorder::state::{self, Level};
use crate::recorder::thread;
use crate::ring::lane::Lane;
use crate::sys::latch;

/// Maximum number of rounds that the end of a measurement waits for events of other threads; about a second.
const BOOKING_ROUNDS_MAX: u32 = 20_000;

/// Runs `work`, and returns its result with what it allocated.
///
/// The work has a scope of its own, so other threads and earlier blocks do not disturb the figures. A thread that works
/// for it takes part by a [`ScopeToken::current`](super::ScopeToken::current) made in the work. All figures are zero without an installed
/// [`HeapLedger`](crate::HeapLedger), and incomplete where [`Usage::lost`] is not zero; [`Measurement`] says more.
///
/// The call costs some microseconds: it books the thread's ring, and the rings of all threads if blocks of the work are
/// live at its end or a token was made.
///
/// ```
/// # #[global_allocator]
/// # static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system().dump(heapledger::DumpTarget::Off);
/// # fn main() {
/// let (numbers, usage) = heapledger::measure(|| std::hint::black_box(vec![7u8; 100]));
/// assert_eq!((usage.allocations, usage.bytes, usage.retained_bytes), (1, 100, 100));
/// # drop(numbers);
/// # }
/// ```
#[track_caller]
pub fn measure<R>(work: impl FnOnce() -> R) -> (R, Usage) {
    let measurement = Measurement::begin();
    let result = work();
    (result, measurement.end().0)
}

/// A reason why the figures of a [`Measurement`] may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inconclusive {
    /// Nothing is recorded: no [`HeapLedger`](crate::HeapLedger) is the global allocator, `HEAPLEDGER=off` is set, the
    /// process is about to end, or another copy of heapledger records.
    NotRecording,
    /// The measurement got no scope: 4,095 scopes exist, 64 measurements of the same place are under way or left blocks
    /// behind, or 8 scopes are nested.
    NoScope,
    /// Events are sampled out, or only counted.
    Sampled,
    /// Events could not be booked within a second, because another thread was stopped within an event
    /// ([`ClockMode::PerEvent`](crate::ClockMode::PerEvent) only).
    InFlight,
    /// Events were lost.
    Lost {
        /// Number of lost events.
        events: u64,
    },
}

impl fmt::Display for Inconclusive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Inconclusive::NotRecording => f.write_str(
                "nothing is recorded: make a HeapLedger the global allocator, and do not set HEAPLEDGER=off",
            ),
            Inconclusive::NoScope => {
                f.write_str("there is no scope left for this measurement: see `docs/LIMITS.md`")
            }
            Inconclusive::Sampled => {
                f.write_str("events are sampled out: use another mode than throughput, and the full level")
            }
            Inconclusive::InFlight => {
                f.write_str("events were still in flight: a thread was stopped within an event")
            }
            Inconclusive::Lost { events } => {
                write!(f, "{events} events were lost: see `heapledger::quality()`")
            }
        }
    }
}

/// A measurement under way on the calling thread. A measurement that is dropped without [`Measurement::end`] has no
/// result.
#[must_use = "end it to read its figures"]
#[derive(Debug)]
pub struct Measurement {
    place: &'static Location<'static>,
    running: Result<Running, Inconclusive>,
    not_send: std::marker::PhantomData<*const ()>,
}

#[derive(Debug)]
struct Running {
    ledger: &'static Ledger,
    lane: &'static Lane,
    cell: u32,
    entry: Entry,
    before: ScopeSums,
    /// Blocks allocated in the process, events lost in it, and events lost on this thread.
    process: (u64, u64),
    lost_here: u64,
}

impl Measurement {
    /// Begins a measurement, named after the caller's file and line.
    #[track_caller]
    pub fn begin() -> Measurement {
        let place = Location::caller();
        let running = begin(place);
        Measurement { place, running, not_send: std::marker::PhantomData }
    }

    /// Returns the place of the measurement in the source.
    pub fn place(&self) -> &'static Location<'static> {
        self.place
    }

    /// Ends the measurement. Returns its figures, and the reason why they may be wrong, if there is one.
    pub fn end(mut self) -> (Usage, Option<Inconclusive>) {
        match std::mem::replace(&mut self.running, Err(Inconclusive::NotRecording)) {
            Ok(running) => running.end(),
            Err(reason) => (Usage::default(), Some(reason)),
        }
    }
}

impl Drop for Measurement {
    fn drop(&mut self) {
        if let Ok(running) = std::mem::replace(&mut self.running, Err(Inconclusive::NotRecording)) {
            running.leave();
            running.give_back();
        }
    }
}

fn is_sampling() -> bool {
    matches!(state::level(), Level::Sampled | Level::CountersOnly)
}

fn begin(place: &Location<'_>) -> Result<Running, Inconclusive> {
    let (lane, ledger) = thread::lane_or_claim().zip(state::ledger()).ok_or(Inconclusive::NotRecording)?;
    if !state::current().records() {
        return Err(Inconclusive::NotRecording);
    }
    if is_sampling() {
        return Err(Inconclusive::Sampled);
    }
    let name = PlaceName::of(place);
    let (name, parent) = (name.as_bytes(), lane.scope());
    let key = |instance| ScopeKey { parent, name: hash_of(name), instance };
    for instance in 1..=SCOPES_PER_NAME_MAX {
        let Some(cell) = scopes::cell(lane, ledger, key(instance), name) else { break };
        let internal = InternalScope::enter();
        let _paused = RecordingPaused::enter(&internal);
        if let Some(account) = ledger.scopes.take(&ledger.pages, cell) {
            let entry = scopes::enter_cell(cell);
            let (before, process) = (account.sums, allocated_and_lost(ledger));
            let lost_here = counters::lost_on_lane(lane);
            return Ok(Running { ledger, lane, cell, entry, before, process, lost_here });
        }
    }
    Err(Inconclusive::NoScope)
}

impl Running {
    fn leave(&self) {
        if !scopes::leave(self.entry) {
            scopes::leave_elsewhere(self.entry);
        }
    }

    fn give_back(&self) {
        self.ledger.scopes.give_back(&self.ledger.pages, self.cell);
    }

    fn end(self) -> (Usage, Option<Inconclusive>) {
        self.leave();
        let Running { ledger, lane, cell, before, .. } = self;
        if !state::ledger().is_some_and(|now| std::ptr::eq(now, ledger)) {
            // A forked child: the measurement was the parent's.
            return (Usage::default(), Some(Inconclusive::NotRecording));
        }
        let internal = InternalScope::enter();
        let _paused = RecordingPaused::enter(&internal);
        let mut is_booked = book(lane, || ledger.fold(lane));
        let mut account = ledger.scopes.read(&ledger.pages, cell);
        let is_alone = !ledger.scopes.has_tokens(&ledger.pages, cell);
        let lives = account.sums.total_blocks != account.sums.freed_blocks;
        if !is_alone || lives {
            is_booked &= book(lane, || ledger.flush(lane));
            account = ledger.scopes.read(&ledger.pages, cell);
        }
        let (blocks, lost) = allocated_and_lost(ledger);
        if is_booked {
            self.give_back();
        }
        let mut usage = Usage::of(&account, &before);
        let own = usage.allocations + usage.reallocations;
        usage.outside_allocations = blocks.wrapping_sub(self.process.0).saturating_sub(own);
        usage.lost = if is_alone && !lives {
            counters::lost_on_lane(lane).wrapping_sub(self.lost_here)
        } else {
            lost.wrapping_sub(self.process.1)
        };
        let inconclusive = match usage.lost {
            _ if is_sampling() => Some(Inconclusive::Sampled),
            _ if !is_booked => Some(Inconclusive::InFlight),
            _ if !state::current().records() => Some(Inconclusive::NotRecording),
            0 => None,
            events => Some(Inconclusive::Lost { events }),
        };
        (usage, inconclusive)
    }
}

/// Books the rings until all events of the calling thread's lane are booked. Where every event has a time stamp, they
/// wait for earlier events of other threads. Returns `false` if they wait for too long.
fn book(lane: &Lane, mut work: impl FnMut()) -> bool {
    for round in 0..BOOKING_ROUNDS_MAX {
        work();
        if lane.folder.tail.observe() == lane.head().own() {
            return true;
        }
        latch::wait(round);
    }
    false
}

/// The name of a measurement: its file and line, made without an allocation.
struct PlaceName {
    bytes: [u8; 512],
    length: usize,
}

impl PlaceName {
    fn of(place: &Location<'_>) -> PlaceName {
        let mut name = PlaceName { bytes: [0; 512], length: 0 };
        // A longer path is cut: `write_str` does not fail.
        let _ = write!(name, "{}:{}", place.file(), place.line());
        name
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}

impl Write for PlaceName {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let length = text.len().min(self.bytes.len() - self.length);
        self.bytes[self.length..self.length + length].copy_from_slice(&text.as_bytes()[..length]);
        self.length += length;
        Ok(())
    }
}
