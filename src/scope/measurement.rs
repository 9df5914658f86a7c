//! Exact figures of one piece of work.

use std::fmt;
use std::panic::Location;

use super::booking::{book, book_all};
use super::place_name::PlaceName;
use super::usage::{Usage, allocated_and_lost};
use crate::aggregator::counters;
use crate::ledger::Ledger;
use crate::ledger::scopes::{SCOPES_PER_NAME_MAX, ScopeKey, ScopeSums, hash_of};
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::scopes::{self, Entry};
use crate::recorder::stamps::EachEventStamped;
use crate::recorder::state::{self, Level};
use crate::recorder::thread;
use crate::ring::lane::Lane;
use crate::text::units::counted;

/// Runs `work`. Returns its result, and the figures of its allocations.
///
/// The work runs in a separate scope, so other threads and earlier blocks do not change the figures. The allocations of
/// another thread count if that thread enters the scope with a token that `work` has made
/// ([`ScopeToken::current`](super::ScopeToken::current)). All figures are zero without an installed
/// [`HeapLedger`](crate::HeapLedger), and incomplete if [`Usage::lost`] is not zero. [`Measurement::end`] also returns
/// the reason why the figures may be wrong.
///
/// The call costs some microseconds, because it books the waiting events of all threads. In a program that has had
/// several threads, each event gets a time stamp while the work runs, and costs some 200 ns instead of 30 ns.
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
    /// The measurement got no scope, because one of these limits was reached: 4,095 scopes, 8 nested scopes, or 64
    /// measurements of the same place that are in progress or whose blocks are still live.
    NoScope,
    /// Some events are not recorded: they are sampled out, or only counted.
    Sampled,
    /// Events could not be booked within a second, because another thread was suspended while it recorded an event
    /// ([`ClockMode::PerEvent`](crate::ClockMode::PerEvent) only).
    InFlight,
    /// Some frees are ambiguous: they fit a block of the work, and also another block that had the same address and
    /// size just before or after it. So the numbers of retained blocks and bytes, and the peak, may be wrong. Such
    /// frees are rare, because each event has a time stamp during a measurement. But the free of a reallocated block
    /// can still be ambiguous.
    Ambiguous {
        /// Number of ambiguous frees.
        frees: u64,
    },
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
            Inconclusive::Ambiguous { frees } => {
                let frees = counted(*frees, "free", "frees");
                write!(f, "{frees} could mean other blocks: `HEAPLEDGER_CLOCK=per-event` stamps every event")
            }
            Inconclusive::Lost { events } => {
                write!(f, "{events} events were lost: see `heapledger::quality()`")
            }
        }
    }
}

/// A measurement in progress on the calling thread. [`Measurement::end`] returns the figures; dropping the value
/// discards them.
#[must_use = "end it to read its figures"]
#[derive(Debug)]
pub struct Measurement {
    place: &'static Location<'static>,
    running: Result<Running, Inconclusive>,
    not_send: std::marker::PhantomData<*const ()>,
}

/// A measurement that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) usage: Usage,
    pub(super) inconclusive: Option<Inconclusive>,
    /// The scope of the measurement. No other measurement takes this scope while this `Ended` exists.
    pub(super) scope: Option<EndedScope>,
}

/// The scope of a measurement that has ended. The message of a failed assertion lists the places that allocated in it.
#[derive(Debug)]
pub(super) struct EndedScope {
    ledger: &'static Ledger,
    pub(super) cell: u32,
    /// Whether the scope also has figures of earlier measurements of the same place.
    pub(super) is_reused: bool,
    is_booked: bool,
}

impl Drop for EndedScope {
    fn drop(&mut self) {
        let is_of_this_process = state::ledger().is_some_and(|now| std::ptr::eq(now, self.ledger));
        if self.is_booked && is_of_this_process {
            self.ledger.scopes.give_back(&self.ledger.pages, self.cell);
        }
    }
}

#[derive(Debug)]
struct Running {
    ledger: &'static Ledger,
    lane: &'static Lane,
    cell: u32,
    entry: Entry,
    before: ScopeSums,
    /// Number of blocks that the process had allocated, and number of events that it had lost, when the measurement
    /// began.
    process: (u64, u64),
    lost_here: u64,
    /// Number of ambiguous frees in the process when the measurement began.
    doubts: u64,
    _stamped: EachEventStamped,
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

    /// Ends the measurement. Returns the figures, and the reason why they may be wrong, if there is such a reason.
    pub fn end(self) -> (Usage, Option<Inconclusive>) {
        let ended = self.end_and_keep();
        (ended.usage, ended.inconclusive)
    }

    /// Ends the measurement. No other measurement takes its scope while the returned value exists.
    pub(super) fn end_and_keep(mut self) -> Ended {
        match std::mem::replace(&mut self.running, Err(Inconclusive::NotRecording)) {
            Ok(running) => running.end(),
            Err(reason) => Ended::without_figures(reason),
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

impl Ended {
    pub(super) fn without_figures(reason: Inconclusive) -> Ended {
        Ended { usage: Usage::default(), inconclusive: Some(reason), scope: None }
    }
}

/// Whether events are sampled out or only counted.
pub(super) fn is_sampling() -> bool {
    matches!(state::level(), Level::Sampled | Level::CountersOnly)
}

/// Returns the calling thread's lane and the ledger. If not every event is recorded, returns the reason.
pub(super) fn recording() -> Result<(&'static Lane, &'static Ledger), Inconclusive> {
    let recording = thread::lane_or_claim().zip(state::ledger()).ok_or(Inconclusive::NotRecording)?;
    match state::current().records() {
        false => Err(Inconclusive::NotRecording),
        true if is_sampling() => Err(Inconclusive::Sampled),
        true => Ok(recording),
    }
}

fn begin(place: &Location<'_>) -> Result<Running, Inconclusive> {
    let (lane, ledger) = recording()?;
    let stamped = EachEventStamped::begin(ledger);
    book_earlier(lane, ledger);
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
            let doubts = ledger.live.anomalies.doubts.count();
            return Ok(Running {
                ledger,
                lane,
                cell,
                entry,
                before,
                process,
                lost_here,
                doubts,
                _stamped: stamped,
            });
        }
    }
    Err(Inconclusive::NoScope)
}

/// Books all events from before the measurement. Their times may be uncertain, so a later fold could pair a free among
/// them with a block of the measurement. Does nothing with the per-event clock, which makes every pairing certain.
fn book_earlier(lane: &Lane, ledger: &Ledger) {
    if !ledger.is_ordered() {
        let internal = InternalScope::enter();
        let _paused = RecordingPaused::enter(&internal);
        ledger.flush(lane);
    }
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

    fn end(self) -> Ended {
        self.leave();
        let Running { ledger, lane, cell, before, .. } = self;
        if !state::ledger().is_some_and(|now| std::ptr::eq(now, ledger)) {
            // This is a forked child, and the measurement belongs to the parent.
            return Ended::without_figures(Inconclusive::NotRecording);
        }
        let internal = InternalScope::enter();
        let _paused = RecordingPaused::enter(&internal);
        let mut is_booked = book(lane, ledger);
        let mut account = ledger.scopes.read(&ledger.pages, cell);
        let is_alone = !ledger.scopes.has_tokens(&ledger.pages, cell);
        let lives = account.sums.total_blocks != account.sums.freed_blocks;
        if !is_alone || lives {
            is_booked &= book_all(lane, ledger);
            account = ledger.scopes.read(&ledger.pages, cell);
        }
        let (blocks, lost) = allocated_and_lost(ledger);
        let mut usage = Usage::of(&account, &before);
        let own = usage.allocations + usage.reallocations;
        usage.outside_allocations = blocks.wrapping_sub(self.process.0).saturating_sub(own);
        usage.lost = if is_alone && !lives {
            counters::lost_on_lane(lane).wrapping_sub(self.lost_here)
        } else {
            lost.wrapping_sub(self.process.1)
        };
        let is_inside = |stack| {
            let scope = ledger.scopes.of_stack(&ledger.pages, stack);
            scope != 0 && ledger.scopes.chain(&ledger.pages, scope).contains(&cell)
        };
        let inconclusive = doubt(is_booked, usage.lost).or_else(|| {
            let frees = ledger.live.anomalies.doubts.since(self.doubts, is_inside);
            (frees > 0).then_some(Inconclusive::Ambiguous { frees })
        });
        let scope = EndedScope { ledger, cell, is_reused: before != ScopeSums::default(), is_booked };
        Ended { usage, inconclusive, scope: Some(scope) }
    }
}

/// Returns the reason why the figures of a measurement may be wrong, if there is such a reason.
pub(super) fn doubt(is_booked: bool, lost: u64) -> Option<Inconclusive> {
    match lost {
        _ if is_sampling() => Some(Inconclusive::Sampled),
        _ if !is_booked => Some(Inconclusive::InFlight),
        _ if !state::current().records() => Some(Inconclusive::NotRecording),
        0 => None,
        events => Some(Inconclusive::Lost { events }),
    }
}
