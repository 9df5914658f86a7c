//! A bounded queue of events with one producer and one consumer at a time.
//!
//! Slots are atomic words with relaxed accesses, which are plain moves on common processors, so no reader sees half a
//! word. The two cursors, head and tail, give the order:
//!
//! | access | by | pairs with | guarantees |
//! | --- | --- | --- | --- |
//! | `Cursor::publish` of the head | producer | `Cursor::observe`, consumer | the slots below it are visible |
//! | `Cursor::publish` of the tail | consumer | `Cursor::observe`, producer | the slots below it may be reused |
//!
//! The producer caches the last tail that it read, so it reads the consumer's cache line only once per pass through the
//! queue.

use super::event::{EVENT_WORDS, Event};
use crate::sys::sync::{AtomicU64, Ordering};

/// A count that one side of the queue, its owner, writes and the other side reads.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Cursor {
    count: AtomicU64,
    /// Last value that the owner read from the other cursor; used by the owner only.
    seen: AtomicU64,
}

impl Cursor {
    /// Returns the count. Called by the owner.
    #[inline]
    fn own(&self) -> u64 {
        // relaxed: read by its only writer; the lock of the history orders consumers.
        self.count.load(Ordering::Relaxed)
    }

    /// Publishes all slots below `count`. Called by the owner.
    #[inline]
    fn publish(&self, count: u64) {
        // Release: pairs with `observe`.
        self.count.store(count, Ordering::Release);
    }

    /// Returns the count. Called by the other side.
    #[inline]
    fn observe(&self) -> u64 {
        // Acquire: pairs with `publish`.
        self.count.load(Ordering::Acquire)
    }

    #[inline]
    fn seen(&self) -> u64 {
        // relaxed: used by the owner only.
        self.seen.load(Ordering::Relaxed)
    }

    #[inline]
    fn see(&self, count: u64) {
        // relaxed: used by the owner only.
        self.seen.store(count, Ordering::Relaxed);
    }
}

/// A bounded queue of events. The caller guarantees one producer, and one consumer at a time.
#[derive(Debug)]
pub(super) struct Queue {
    slots: Box<[[AtomicU64; EVENT_WORDS]]>,
    head: Cursor,
    tail: Cursor,
}

impl Queue {
    pub(super) fn new(events: usize) -> Queue {
        let slots = (0..events.max(4).next_power_of_two()).map(|_| Default::default()).collect();
        Queue { slots, head: Cursor::default(), tail: Cursor::default() }
    }

    pub(super) fn capacity(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Returns the number of events in the queue. Exact while both sides are idle.
    pub(super) fn len(&self) -> u64 {
        let tail = self.tail.observe();
        self.head.observe().saturating_sub(tail)
    }

    #[inline]
    fn slot(&self, number: u64) -> &[AtomicU64; EVENT_WORDS] {
        &self.slots[number as usize & (self.slots.len() - 1)]
    }

    /// Pushes an event. Returns `false` if the queue is full. Called by the producer.
    #[inline]
    pub(super) fn push(&self, event: Event) -> bool {
        let head = self.head.own();
        if head - self.head.seen() >= self.capacity() {
            self.head.see(self.tail.observe());
            if head - self.head.seen() >= self.capacity() {
                return false;
            }
        }
        for (slot, word) in self.slot(head).iter().zip(event.to_words()) {
            // relaxed: published with the head.
            slot.store(word, Ordering::Relaxed);
        }
        self.head.publish(head + 1);
        true
    }

    /// Whether to wake a consumer: `true` once per quarter of the queue if at least half of the queue is used. Called
    /// by the producer.
    #[inline]
    pub(super) fn should_wake(&self) -> bool {
        let quarter = self.capacity() / 4;
        self.head.own().is_multiple_of(quarter) && self.len() >= 2 * quarter
    }

    /// Returns the oldest event without removing it. Called by the consumer.
    #[inline]
    pub(super) fn first(&self) -> Option<Event> {
        let tail = self.tail.own();
        (tail < self.head.observe()).then(|| self.read(tail))
    }

    /// Removes the oldest event. The queue must not be empty. Called by the consumer.
    #[inline]
    pub(super) fn skip(&self) {
        self.tail.publish(self.tail.own() + 1);
    }

    /// Removes all events that are in the queue at the call, and passes them to `book`, oldest first. Called by the
    /// consumer.
    pub(super) fn drain(&self, mut book: impl FnMut(Event)) {
        let (tail, head) = (self.tail.own(), self.head.observe());
        for number in tail..head {
            book(self.read(number));
        }
        self.tail.publish(head);
    }

    #[inline]
    fn read(&self, number: u64) -> Event {
        // relaxed: the head that covers the slot was observed.
        Event::from_words(self.slot(number).each_ref().map(|word| word.load(Ordering::Relaxed)))
    }
}

/// The number of events that a producer has pushed to several queues, published as one count.
#[derive(Debug, Default)]
pub(super) struct Admitted(Cursor);

impl Admitted {
    /// Counts one more event in one of the queues. Called by the producer.
    #[inline]
    pub(super) fn one_more(&self) {
        self.0.publish(self.0.own() + 1);
    }

    /// Returns the number of pushed events that are visible to the consumer. Called by the consumer.
    #[inline]
    pub(super) fn observe(&self) -> u64 {
        self.0.observe()
    }
}
