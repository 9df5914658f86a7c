//! What every strategy books into: one bounded history under one lock, and a line of counters for each producer.
//!
//! The lock is also the token of whoever empties queues: a queue is emptied into a [`History`], and there is only one,
//! so no queue ever has two consumers at a time.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::Limits;
use super::account::Account;
use super::event::{Cause, Event, Losses};
use crate::sys::sync::{AtomicU64, Ordering};

/// A producer's place in a collector. It is no copy: each place has one owner, who may move between threads.
#[derive(Debug)]
pub struct Handle {
    index: usize,
}

impl Handle {
    /// The number of the producer, from 0 on.
    pub const fn index(&self) -> usize {
        self.index
    }
}

/// The counters of one producer, on cache lines of their own.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Line {
    attempted: AtomicU64,
    lost: [AtomicU64; Cause::COUNT],
}

/// The accounts and the history of a collector.
#[derive(Debug)]
pub struct Books {
    lines: Box<[Line]>,
    claimed: AtomicU64,
    history: Mutex<History>,
}

/// The last events that were booked, bounded; older ones are evicted and counted.
#[derive(Debug)]
pub(super) struct History {
    events: Box<[Event]>,
    recorded: u64,
    out_of_order: u64,
    /// The last sequence number of each producer.
    last: Box<[u64]>,
}

impl Books {
    /// Books for a collector, with all the memory that they will ever take.
    pub fn new(limits: &Limits) -> Books {
        let history = History {
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

    /// A place for one more producer.
    pub fn register(&self) -> Option<Handle> {
        // relaxed: the number is all that is taken.
        let index = self.claimed.fetch_add(1, Ordering::Relaxed) as usize;
        (index < self.lines.len()).then_some(Handle { index })
    }

    /// Counts an attempt and writes producer and sequence into the event.
    #[inline]
    pub fn attempt(&self, handle: &mut Handle, event: Event) -> Event {
        let line = &self.lines[handle.index];
        let sequence = step(&line.attempted);
        Event { sequence, producer: handle.index as u32, ..event }
    }

    /// Counts an event as given up.
    pub fn lose(&self, handle: &mut Handle, cause: Cause) {
        step(&self.lines[handle.index].lost[cause as usize]);
    }

    /// Books one event, if no one else is at the books; says whether.
    pub fn try_book(&self, event: Event) -> bool {
        match self.try_open() {
            Some(mut history) => {
                history.book(event);
                true
            }
            None => false,
        }
    }

    /// The history, waiting for whoever has it.
    pub(super) fn open(&self) -> MutexGuard<'_, History> {
        // Nothing panics while it is held; were it so, the figures would still be whole.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The history, if no one has it.
    pub(super) fn try_open(&self) -> Option<MutexGuard<'_, History>> {
        match self.history.try_lock() {
            Ok(history) => Some(history),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(super) fn attempted(&self) -> u64 {
        // relaxed: exact while producers rest, which whoever asks knows.
        self.lines.iter().map(|line| line.attempted.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn losses(&self) -> Losses {
        let mut losses = Losses::default();
        for line in &self.lines {
            for (sum, count) in losses.counts.iter_mut().zip(&line.lost) {
                // relaxed: as in `attempted`.
                *sum += count.load(Ordering::Relaxed);
            }
        }
        losses
    }

    pub(super) fn recorded(&self) -> u64 {
        self.open().recorded
    }

    /// The figures of the history.
    pub(super) fn booked(&self) -> Account {
        let history = self.open();
        let retained = history.retained().count() as u64;
        Account {
            recorded: history.recorded,
            retained,
            evicted: history.recorded.saturating_sub(history.events.len() as u64),
            out_of_order: history.out_of_order,
            ..Account::default()
        }
    }

    /// The events that the history retains, oldest first.
    pub fn retained(&self) -> Vec<Event> {
        self.open().retained().copied().collect()
    }
}

impl History {
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

    fn retained(&self) -> impl Iterator<Item = &Event> {
        let length = self.events.len() as u64;
        let (newer, older) = if self.recorded > length {
            self.events.split_at((self.recorded % length) as usize)
        } else {
            (&self.events[..self.recorded as usize], &[] as &[Event])
        };
        older.iter().chain(newer)
    }
}

/// Counts one more and returns the count.
#[inline]
fn step(counter: &AtomicU64) -> u64 {
    // relaxed: one writer, the owner of the handle; plain load and store, no shared read-modify-write.
    let count = counter.load(Ordering::Relaxed) + 1;
    counter.store(count, Ordering::Relaxed);
    count
}
