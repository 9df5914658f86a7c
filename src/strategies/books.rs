//! The state that all strategies share: a bounded history under one lock, and counters per producer.
//!
//! The lock also serializes the consumers of queues: every queue is drained into the single [`BoundedHistory`], so two
//! consumers never drain a queue at the same time.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::account::Account;
use super::event::{Event, LossCause, Losses};
use super::limits::Limits;
use crate::sys::sync::{AtomicU64, Ordering};

/// The registration of a producer at a collector. A handle belongs to one producer, which may move between threads.
#[derive(Debug)]
pub struct Handle {
    index: usize,
}

impl Handle {
    /// Returns the number of the producer, from 0.
    pub const fn index(&self) -> usize {
        self.index
    }
}

/// The counters of one producer, on separate cache lines.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Line {
    attempted: AtomicU64,
    lost: [AtomicU64; LossCause::COUNT],
}

/// The counters and the history of a collector.
#[derive(Debug)]
pub struct Books {
    lines: Box<[Line]>,
    claimed: AtomicU64,
    history: Mutex<BoundedHistory>,
}

/// A history of the last booked events, bounded by [`Limits::history_events`]. Older events are evicted and counted.
///
/// The history of a recorded program is [`heapledger::history`](crate::history), bounded by
/// [`HistoryLimits`](crate::HistoryLimits) in events, bytes and age.
#[derive(Debug)]
pub struct BoundedHistory {
    events: Box<[Event]>,
    recorded: u64,
    out_of_order: u64,
    /// Highest sequence number that was booked, for each producer.
    last: Box<[u64]>,
}

impl Books {
    /// Allocates the state of a collector.
    pub fn new(limits: &Limits) -> Books {
        let history = BoundedHistory {
            events: vec![Event::default(); limits.history_events.max(1)].into_boxed_slice(),
            recorded: 0,
            out_of_order: 0,
            last: vec![0; limits.producers].into_boxed_slice(),
        };
        Books {
            lines: (0..limits.producers).map(|_| Line::default()).collect(),
            claimed: AtomicU64::new(0),
            history: Mutex::new(history),
        }
    }

    /// Registers a producer; returns `None` beyond the limit.
    pub fn register(&self) -> Option<Handle> {
        // relaxed: only the number is used.
        let index = self.claimed.fetch_add(1, Ordering::Relaxed) as usize;
        (index < self.lines.len()).then_some(Handle { index })
    }

    /// Counts an attempt. Returns the event with its producer and sequence number set.
    #[inline]
    pub fn attempt(&self, handle: &mut Handle, event: Event) -> Event {
        let line = &self.lines[handle.index];
        let sequence = step(&line.attempted);
        Event { sequence, producer: handle.index as u32, ..event }
    }

    /// Counts an event as lost.
    pub fn lose(&self, handle: &mut Handle, cause: LossCause) {
        step(&self.lines[handle.index].lost[cause as usize]);
    }

    /// Books one event if the history is not locked. Returns whether it was booked.
    pub fn try_book(&self, event: Event) -> bool {
        match self.try_open() {
            Some(mut history) => {
                history.book(event);
                true
            }
            None => false,
        }
    }

    /// Locks the history.
    pub(super) fn open(&self) -> MutexGuard<'_, BoundedHistory> {
        // A poisoned lock is used all the same: no code panics while it holds the lock, and the counters would be
        // complete.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the history if it is free; returns `None` if it is not.
    pub(super) fn try_open(&self) -> Option<MutexGuard<'_, BoundedHistory>> {
        match self.history.try_lock() {
            Ok(history) => Some(history),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(super) fn attempted(&self) -> u64 {
        // relaxed: the sum is exact while no producer records.
        self.lines.iter().map(|line| line.attempted.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn losses(&self) -> Losses {
        let mut losses = Losses::default();
        for line in &self.lines {
            for (sum, count) in losses.counts.iter_mut().zip(&line.lost) {
                // relaxed: the sum is exact while no producer records.
                *sum += count.load(Ordering::Relaxed);
            }
        }
        losses
    }

    pub(super) fn recorded(&self) -> u64 {
        self.open().recorded
    }

    /// Returns an account with the counters of the history. All other counters are 0.
    pub(super) fn booked(&self) -> Account {
        let history = self.open();
        let retained = history.retained().count() as u64;
        Account {
            recorded: history.recorded,
            retained,
            evicted: history.evicted(),
            out_of_order: history.out_of_order,
            ..Account::default()
        }
    }

    /// Calls `read` with the history. The history is locked during the call.
    ///
    /// ```
    /// use heapledger::strategies::{Collector, Event, Limits, SharedLock};
    ///
    /// let collector = SharedLock::new(&Limits { history_events: 2, ..Limits::default() });
    /// let mut producer = collector.register().expect("room for a producer");
    /// (1..=3).for_each(|n| drop(collector.record(&mut producer, Event::alloc(n << 12, 64))));
    /// let (recorded, evicted) = collector.books().history(|h| (h.recorded(), h.evicted()));
    /// assert_eq!((recorded, evicted), (3, 1));
    /// ```
    pub fn history<R>(&self, read: impl FnOnce(&BoundedHistory) -> R) -> R {
        read(&self.open())
    }

    /// Returns the retained events, oldest first.
    pub fn retained(&self) -> Vec<Event> {
        self.open().retained().copied().collect()
    }
}

impl BoundedHistory {
    /// Books one event.
    #[inline]
    pub(super) fn book(&mut self, event: Event) {
        let place = self.recorded % self.events.len() as u64;
        self.events[place as usize] = event;
        self.recorded += 1;
        let last = &mut self.last[event.producer as usize];
        self.out_of_order += u64::from(event.sequence <= *last);
        *last = event.sequence.max(*last);
    }

    /// Returns the number of events that were booked, including evicted events.
    pub const fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Returns the number of events that were evicted by newer events.
    pub const fn evicted(&self) -> u64 {
        self.recorded.saturating_sub(self.events.len() as u64)
    }

    /// Returns the retained events, oldest first.
    pub fn retained(&self) -> impl Iterator<Item = &Event> {
        let length = self.events.len() as u64;
        let (newer, older) = if self.recorded > length {
            self.events.split_at((self.recorded % length) as usize)
        } else {
            (&self.events[..self.recorded as usize], &[] as &[Event])
        };
        older.iter().chain(newer)
    }
}

/// Increments a counter and returns the new count.
#[inline]
fn step(counter: &AtomicU64) -> u64 {
    // relaxed: only the owner of the handle writes the counter, so a load and a store suffice.
    let count = counter.load(Ordering::Relaxed) + 1;
    counter.store(count, Ordering::Relaxed);
    count
}
