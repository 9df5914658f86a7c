//! Times at which windows end (a window is a run of words behind one time stamp). A tick of the background thread is the
//! time of one of its rounds: a window that stayed open while its thread paused is dated to end at the next tick. The
//! events of heapledger itself end all windows: see `recorder::stamps`.

use crate::sys::sync::{AtomicU64, Ordering};

/// Number of places by which two ticks of different threads may be exchanged.
const EXCHANGED: u64 = 8;

/// The latest `KEPT` ticks; `KEPT` is a power of two. All zero bytes are a valid, empty list.
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
        self.at_ns[number as usize % KEPT].store(at_ns, Ordering::Release);
    }

    /// Returns the first kept tick after `ns`, or `u64::MAX`.
    pub(crate) fn next_after(&self, ns: u64) -> u64 {
        // relaxed: a reader that misses the newest tick finds a later end, which is also true.
        let count = self.count.load(Ordering::Relaxed);
        // Acquire: pairs with the release in `push`.
        let tick = |number: u64| self.at_ns[number as usize % KEPT].load(Ordering::Acquire);
        let (mut from, mut until) = (count.saturating_sub(KEPT as u64), count);
        let oldest = from;
        while from < until {
            let middle = from + (until - from) / 2;
            if tick(middle) <= ns { from = middle + 1 } else { until = middle }
        }
        let near = from.saturating_sub(EXCHANGED).max(oldest)..(from + EXCHANGED).min(count);
        near.map(tick).filter(|at_ns| *at_ns > ns).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_tick_is_found_among_those_that_are_kept_also_where_two_threads_exchanged_them() {
        let ticks = Ticks::<64> { count: AtomicU64::new(0), at_ns: [const { AtomicU64::new(0) }; 64] };
        assert_eq!(ticks.next_after(0), u64::MAX);
        // 20, 10, 40, 30, ...
        (1..=100u64).for_each(|number| ticks.push((number + number % 2 * 2 - 1) * 10 + 10 - number % 2 * 10));
        let pushed: Vec<u64> = (1..=100u64).map(|n| (n + n % 2 * 2 - 1) * 10 + 10 - n % 2 * 10).collect();
        for ns in 0..1_100 {
            let kept = &pushed[36..];
            let expected = kept.iter().copied().filter(|at_ns| *at_ns > ns).min().unwrap_or(u64::MAX);
            assert_eq!(ticks.next_after(ns), expected, "{ns}");
        }
    }
}
