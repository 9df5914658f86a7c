//! Work for queries (flushes and snapshots), done once for all threads that ask at the same time.
//!
//! A flush visits every lane, and a snapshot holds all lanes while it copies. If each of a thousand threads did this
//! work, the amount of work would grow with the square of their number, and the waiting threads would take the
//! processors from the working thread. So one thread works at a time. A waiting thread uses the result of work that
//! began after the thread asked, because that work books every event before the call.

use std::sync::Arc;

use super::shared::Shared;
use crate::profile::Profile;
use crate::sys::latch::{self, Latch};
use crate::sys::platform;
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// Number of waiting steps before a thread begins to sleep.
const SPINS: u32 = 64;
/// First pause of a waiting thread, in nanoseconds. `PAUSE_NS_LONG` is its longest pause. The pause doubles, so that a
/// thousand waiting threads leave the processors to the working thread.
const PAUSE_NS: u64 = 50_000;
const PAUSE_NS_LONG: u64 = 50_000_000;
/// Maximum number of steps that a thread waits for the latch of the last snapshot, which is held while a pointer is
/// copied.
const COPY_ROUNDS: u32 = 10_000;

/// Work that one thread does at a time.
pub(super) struct Joined {
    latch: Latch,
    /// Number of times that work has begun; `ended` is the number of times that work has ended. Only the holder of the
    /// latch writes both.
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Joined {
    pub(super) const fn new() -> Joined {
        Joined { latch: Latch::new(), begun: AtomicU64::new(0), ended: AtomicU64::new(0) }
    }

    /// Does `work` and returns its result. If another thread has done work that began after the call, returns `None`
    /// instead.
    pub(super) fn run<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        // SeqCst: pairs with the fence below. Work that begins after this load sees everything that happened before the
        // load.
        fence(Ordering::SeqCst);
        let before = self.begun.load(Ordering::Relaxed);
        // Acquire: pairs with the release below, so this thread sees the effects of the work.
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

    /// Resets the state in a forked child, where the working thread does not exist.
    pub(super) fn reset_after_fork(&self) {
        // relaxed: there is one thread.
        self.ended.store(self.begun.load(Ordering::Relaxed), Ordering::Relaxed);
        self.latch.open();
    }
}

/// Makes snapshots, and keeps the last snapshot for the threads that wait for it.
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

    /// Returns a snapshot that is begun after the call. `make` runs in this thread or in another thread.
    pub(super) fn take(&self, make: impl Fn() -> Profile) -> Profile {
        // relaxed: the fences of `run` order it. If this thread waits for the work of another thread, the other thread
        // sees the raised number.
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
        // The copy may be gone, because the last thread of an earlier group of waiting threads has dropped it.
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

    /// Lets `THREADS` threads ask while the work is done for the first time. Returns the number of times that the work
    /// was done.
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
        // A thread may count itself as asking, and be interrupted before it asks. The limit allows one thread in ten.
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
