//! Work of queries that serves all threads that ask for it at the same time.
//!
//! A flush visits every lane, and a snapshot holds all lanes while it copies. If each of a thousand threads did that
//! for itself, the work would grow with the square of their number, and the waiting threads would take the processors
//! from the working thread. So one thread works at a time, and a waiting thread returns with the result of work that
//! began after it asked: such work books every event before the call.

use std::sync::Arc;

use super::shared::Shared;
use crate::profile::Profile;
use crate::sys::latch::{self, Latch};
use crate::sys::platform;
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// Steps of waiting without a sleep.
const SPINS: u32 = 64;
/// First pause and longest pause of a waiting thread, in nanoseconds. The pause doubles, so that a thousand waiting
/// threads leave the processors to the working thread.
const PAUSE_NS: u64 = 50_000;
const PAUSE_NS_LONG: u64 = 50_000_000;
/// Maximum number of steps that a thread waits for the latch of the last snapshot, which is held while a pointer is
/// copied.
const COPY_ROUNDS: u32 = 10_000;

/// Work that one thread does at a time.
pub(super) struct Joined {
    latch: Latch,
    /// Number of times that work has begun; `ended` is the number of times that work has ended. The holder of the
    /// latch writes both.
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Joined {
    pub(super) const fn new() -> Joined {
        Joined { latch: Latch::new(), begun: AtomicU64::new(0), ended: AtomicU64::new(0) }
    }

    /// Does `work` and returns its result, or returns `None` as soon as other work that began after the call has ended.
    pub(super) fn run<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        // SeqCst: pairs with the fence below. Work that begins after this load sees all that happened before.
        fence(Ordering::SeqCst);
        let before = self.begun.load(Ordering::Relaxed);
        // Acquire: pairs with the release below; what the work has done is seen.
        let is_done = || self.ended.load(Ordering::Acquire) > before;
        let (mut round, mut pause_ns) = (0, PAUSE_NS);
        while !is_done() {
            if let Some(_taken) = self.latch.try_take() {
                if is_done() {
                    break;
                }
                // relaxed: the holder of the latch is the only writer.
                let number = self.begun.load(Ordering::Relaxed) + 1;
                self.begun.store(number, Ordering::Relaxed);
                // SeqCst: pairs with the fence above.
                fence(Ordering::SeqCst);
                let result = work();
                // Release: pairs with the acquire above.
                self.ended.store(number, Ordering::Release);
                return Some(result);
            }
            if round < SPINS {
                latch::wait(round);
                round += 1;
            } else {
                platform::sleep_ns(pause_ns);
                pause_ns = (2 * pause_ns).min(PAUSE_NS_LONG);
            }
        }
        None
    }

    /// Resets the state in a forked child, where the thread that works does not exist.
    pub(super) fn reset_after_fork(&self) {
        // relaxed: there is one thread.
        self.ended.store(self.begun.load(Ordering::Relaxed), Ordering::Relaxed);
        self.latch.open();
    }
}

/// Makes snapshots, and keeps the last one for the threads that wait for it.
pub(super) struct Snapshots {
    works: Joined,
    /// Number of threads that want a snapshot.
    wanted: AtomicU32,
    last: Shared<Option<Arc<Profile>>>,
}

impl Snapshots {
    pub(super) const fn new() -> Snapshots {
        Snapshots { works: Joined::new(), wanted: AtomicU32::new(0), last: Shared::new(None) }
    }

    /// Returns a snapshot that is begun after the call: `make` runs in this thread or in another one.
    pub(super) fn take(&self, make: impl Fn() -> Profile) -> Profile {
        // relaxed: the fences of `run` order it. If this thread waits for the work of another thread, that work sees
        // the number.
        self.wanted.fetch_add(1, Ordering::Relaxed);
        let made = self.works.run(|| {
            let profile = make();
            if self.wanted.load(Ordering::Relaxed) > 1 {
                self.replace(Some(Arc::new(profile.clone())));
            }
            profile
        });
        let profile = made.or_else(|| {
            let last = self.last.with(COPY_ROUNDS, |last| last.clone()).flatten();
            last.map(|last| Profile::clone(&last))
        });
        if self.wanted.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.replace(None);
        }
        // The copy may be gone: the last of the threads that wanted a snapshot earlier has dropped it.
        profile.unwrap_or_else(make)
    }

    /// Replaces the copy, and drops the previous copy after the latch was opened.
    fn replace(&self, copy: Option<Arc<Profile>>) {
        let _before = self.last.with(COPY_ROUNDS, |last| std::mem::replace(last, copy));
    }

    pub(super) fn reset_after_fork(&self) {
        let Snapshots { works, wanted, last } = self;
        works.reset_after_fork();
        // relaxed: there is one thread.
        wanted.store(0, Ordering::Relaxed);
        last.reset_after_fork(None);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const THREADS: u32 = 300;

    /// Lets `THREADS` threads ask while the work is done for the first time, and returns how many times it was done.
    fn works_of_many(ask: impl Fn(&dyn Fn()) + Sync) -> u32 {
        let (works, asking) = (AtomicU32::new(0), AtomicU32::new(0));
        let work = || {
            if works.fetch_add(1, Ordering::SeqCst) == 0 {
                while asking.load(Ordering::SeqCst) < THREADS {
                    thread::yield_now();
                }
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| ask(&work));
            while works.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            for _ in 0..THREADS {
                scope.spawn(|| {
                    asking.fetch_add(1, Ordering::SeqCst);
                    ask(&work);
                });
            }
        });
        works.into_inner()
    }

    #[test]
    fn hundreds_of_threads_that_ask_at_once_share_the_work() {
        let joined = Joined::new();
        let works = works_of_many(|work| {
            joined.run(work);
        });
        // A thread may count itself as asking and be interrupted before it asks. One in ten is.
        assert!((2..THREADS / 10).contains(&works), "{works}");
    }

    #[test]
    fn hundreds_of_threads_that_want_a_snapshot_share_one_that_is_none_too_old() {
        let (snapshots, clock) = (Snapshots::new(), AtomicU64::new(0));
        let works = works_of_many(|work| {
            let asked = clock.fetch_add(1, Ordering::SeqCst);
            let profile = snapshots.take(|| {
                let began = clock.load(Ordering::SeqCst);
                work();
                let mut profile = Profile::default();
                profile.totals.total_blocks = began;
                profile
            });
            assert!(profile.totals.total_blocks > asked, "the snapshot began before it was asked for");
        });
        assert!((2..THREADS / 10).contains(&works), "{works}");
        assert!(snapshots.last.with(1, |last| last.is_none()).unwrap(), "a copy stays behind");
    }
}
