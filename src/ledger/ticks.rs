//! Times at which windows end (a window is a run of words behind one time mark).
//!
//! A tick of the background thread ([`Ticks`]) is the time of one of its rounds. A window that stayed open while its
//! thread paused is dated to end at the next tick. That is an estimate, in which a missing tick does no harm.
//!
//! The stamp of an event of heapledger itself ([`Stamps`]) cuts every window that began before it: see
//! `recorder::stamps`. Here a missing stamp would exchange events. So where a stamp may be missing, the folder knows it.

use crate::sys::sync::{AtomicU64, Ordering, fence};

/// The latest `KEPT` ticks; `KEPT` is a power of two. All zero bytes are a valid, empty list. One thread appends ticks;
/// if several did, a search could find a later tick than the next.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Ticks<const KEPT: usize> {
    count: AtomicU64,
    at_ns: [AtomicU64; KEPT],
}

impl<const KEPT: usize> Ticks<KEPT> {
    /// Appends a tick.
    pub(crate) fn push(&self, at_ns: u64) {
        // relaxed: a place that is counted and not stored yet holds an earlier tick, which `next_after` passes over.
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        // Release: pairs with the acquire in `first_after`.
        self.at_ns[number as usize % KEPT].store(at_ns, Ordering::Release);
    }

    /// Returns the first kept tick after `ns`, or `u64::MAX`.
    pub(crate) fn next_after(&self, ns: u64) -> u64 {
        // relaxed: a reader that misses the newest tick finds a later end.
        let count = self.count.load(Ordering::Relaxed);
        first_after(&self.at_ns, count, ns).map_or(u64::MAX, |(_, at_ns)| at_ns)
    }
}

/// The latest `KEPT` stamps of events of heapledger itself; `KEPT` is a power of two. All zero bytes are a valid, empty
/// list.
///
/// ```text
///  thread:  taking += 1 │ fence │ read count, read clock, raise count, store the stamp │ taking -= 1
///  folder:  read head, read clock │ fence │ read count, taking, and count again, then the stamps
/// ```
///
/// Both fences are sequentially consistent. So a stamp that is earlier than the folder's clock reading is either taken
/// by a thread that the folder sees in `taking`, or in the list that the folder sees.
///
/// A thread raises the count only if no other thread has raised it since before the clock reading. So the stamps in the
/// list ascend.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Stamps<const KEPT: usize> {
    /// Number of threads that are taking a stamp. It stays above 0 if such a thread is stopped, or leaves a signal
    /// handler by a jump. Then all cuts are unknown.
    taking: AtomicU64,
    count: AtomicU64,
    at_ns: [AtomicU64; KEPT],
}

impl<const KEPT: usize> Stamps<KEPT> {
    /// Takes a stamp: reads the clock and appends the time to the list. Returns the time.
    pub(crate) fn take(&self, read_clock: impl Fn() -> u64) -> u64 {
        // relaxed: the fence orders it.
        self.taking.fetch_add(1, Ordering::Relaxed);
        // SeqCst: pairs with the fence in `cuts`; see the type's documentation.
        fence(Ordering::SeqCst);
        // The loop ends, because another thread has taken a stamp whenever the exchange fails.
        let at_ns = loop {
            // Acquire: pairs with the exchange; the clock is read after the earlier stamps.
            let number = self.count.load(Ordering::Acquire);
            let at_ns = read_clock();
            // Release: pairs with the acquire above.
            let raised =
                self.count.compare_exchange(number, number + 1, Ordering::Release, Ordering::Relaxed);
            if raised.is_ok() {
                // A maximum, because a later stamp may already be in the place.
                // Release: pairs with the acquire in `first_after`.
                self.at_ns[number as usize % KEPT].fetch_max(at_ns, Ordering::Release);
                break at_ns;
            }
        };
        // Release: pairs with the acquire of `taking` in `cuts`.
        self.taking.fetch_sub(1, Ordering::Release);
        at_ns
    }

    /// Returns the cuts of windows for a folder that has just read a lane's head, and then the clock.
    pub(crate) fn cuts(&self) -> Cuts<'_, KEPT> {
        // SeqCst: pairs with the fence in `take`; see the type's documentation.
        fence(Ordering::SeqCst);
        // Acquire, all: pair with the releases in `take`. If no thread is taking a stamp, every stamp below the first
        // reading of the count is stored. Every stamp that is earlier than the folder's clock reading is below the
        // second.
        let count = self.count.load(Ordering::Acquire);
        let is_taken = self.taking.load(Ordering::Acquire) == 0;
        let is_known = is_taken && self.count.load(Ordering::Acquire) == count;
        Cuts { stamps: self, count, is_known }
    }
}

/// The cuts of windows, as one fold has found them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cuts<'a, const KEPT: usize> {
    stamps: &'a Stamps<KEPT>,
    count: u64,
    is_known: bool,
}

impl<const KEPT: usize> Cuts<'_, KEPT> {
    /// Returns the latest date of an event in a window that began at `began_ns`: just before the first stamp after
    /// `began_ns`, or `u64::MAX` if there is no such stamp. Returns `began_ns`, which is before every stamp that can cut
    /// the window, if the first stamp is unknown: a thread is taking a stamp, or the stamp may have been overwritten.
    #[inline]
    pub(crate) fn latest_ns(&self, began_ns: u64) -> u64 {
        if !self.is_known {
            return began_ns;
        }
        let Some((number, at_ns)) = first_after(&self.stamps.at_ns, self.count, began_ns) else {
            return u64::MAX;
        };
        let is_first = number == 0 || number > self.count.saturating_sub(KEPT as u64);
        // relaxed: the acquire in `first_after` orders it. A place holds a later stamp only after the count of that
        // stamp.
        let is_kept = self.stamps.count.load(Ordering::Relaxed) <= number + KEPT as u64;
        if is_first && is_kept { at_ns - 1 } else { began_ns }
    }
}

/// Returns the first of the latest times in a list that is after `ns`, and its number. `count` is the number of times
/// that were appended.
fn first_after(at_ns: &[AtomicU64], count: u64, ns: u64) -> Option<(u64, u64)> {
    let kept = at_ns.len() as u64;
    // Acquire: pairs with the releases in `push` and `take`.
    let time = |number: u64| at_ns[(number % kept) as usize].load(Ordering::Acquire);
    let (mut from, mut until) = (count.saturating_sub(kept), count);
    // In most cases all times are before `ns`.
    let mut found = time(until.checked_sub(1)?);
    if found <= ns {
        return None;
    }
    until -= 1;
    while from < until {
        let middle = from + (until - from) / 2;
        let at_ns = time(middle);
        if at_ns <= ns { from = middle + 1 } else { (until, found) = (middle, at_ns) }
    }
    Some((from, found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const KEPT: usize = 64;

    fn empty() -> Stamps<KEPT> {
        Stamps {
            taking: AtomicU64::new(0),
            count: AtomicU64::new(0),
            at_ns: [const { AtomicU64::new(0) }; KEPT],
        }
    }

    #[test]
    fn the_next_tick_is_found_among_those_that_are_kept() {
        let ticks = Ticks::<KEPT> { count: AtomicU64::new(0), at_ns: [const { AtomicU64::new(0) }; KEPT] };
        assert_eq!(ticks.next_after(0), u64::MAX);
        (1..=100).for_each(|number| ticks.push(number * 10));
        for ns in 0..1_100u64 {
            let expected = (ns / 10 * 10 + 10).max(370);
            assert_eq!(ticks.next_after(ns), if ns < 1_000 { expected } else { u64::MAX }, "{ns}");
        }
    }

    #[test]
    fn a_window_ends_before_the_next_stamp_and_has_no_span_if_that_stamp_may_be_overwritten() {
        let stamps = empty();
        assert_eq!(stamps.cuts().latest_ns(5), u64::MAX);
        for count in 1..=100 {
            stamps.take(|| count * 10);
            let cuts = stamps.cuts();
            for ns in 0..count * 10 {
                let (next, oldest) = (ns / 10 * 10 + 10, 10 * count.saturating_sub(KEPT as u64 - 1).max(1));
                let is_known = next > oldest || oldest == 10;
                assert_eq!(cuts.latest_ns(ns), if is_known { next - 1 } else { ns }, "{count} {ns}");
            }
            assert_eq!(cuts.latest_ns(count * 10), u64::MAX);
        }
    }

    #[test]
    fn a_window_has_no_span_if_stamps_are_overwritten_after_the_cuts_were_found() {
        let stamps = empty();
        stamps.take(|| 10);
        let cuts = stamps.cuts();
        (2..=KEPT as u64).for_each(|number| _ = stamps.take(|| 10 * number));
        assert_eq!(cuts.latest_ns(5), 9);
        stamps.take(|| 1_000);
        assert_eq!(cuts.latest_ns(5), 5);
    }

    #[test]
    fn while_a_stamp_is_taken_no_window_has_a_span() {
        let stamps = empty();
        stamps.take(|| 10);
        stamps.take(|| {
            assert_eq!(stamps.cuts().latest_ns(15), 15);
            20
        });
        assert_eq!(stamps.cuts().latest_ns(15), 19);
    }

    #[test]
    fn a_clock_is_read_again_if_another_stamp_was_taken_meanwhile() {
        let stamps = empty();
        let now_ns = std::cell::Cell::new(10);
        let at_ns = stamps.take(|| {
            let read_ns = now_ns.replace(30);
            if read_ns == 10 {
                stamps.take(|| 20);
            }
            read_ns
        });
        assert_eq!((at_ns, stamps.cuts().latest_ns(15), stamps.cuts().latest_ns(20)), (30, 19, 29));
    }

    #[test]
    fn stamps_of_many_threads_ascend() {
        let (stamps, begun) = (empty(), Instant::now());
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for _ in 0..5_000 {
                        stamps.take(|| begun.elapsed().as_nanos() as u64);
                    }
                });
            }
        });
        let count = stamps.count.load(Ordering::Relaxed);
        let kept = (count - KEPT as u64..count).map(|number| number as usize % KEPT);
        let kept: Vec<u64> = kept.map(|place| stamps.at_ns[place].load(Ordering::Relaxed)).collect();
        assert!(count == 20_000 && kept.is_sorted(), "{kept:?}");
        assert_eq!(stamps.taking.load(Ordering::Relaxed), 0);
    }
}
