//! Models of the ring's protocols. loom explores them on the real cursors, latch and registry.
//!
//! ```text
//! RUSTC_WORKSPACE_WRAPPER=$PWD/.ci/loom-rustc cargo test --all-features --lib
//! ```
//!
//! Three rules prevent that a model passes without exploration:
//!
//! * Every side is a spawned thread. With one side on the main thread, loom explored only one order.
//! * Every model has a floor: a minimum number of executions. The floor is about half of the number that was counted
//!   when the model was written. It shows that loom has explored the model.
//! * Every ordering has a copy with too weak an ordering. The model must detect this copy, by the message of the
//!   assertion that fails. This shows that the model detects errors.
//!
//! loom does not explore load buffering: a relaxed load never sees a store that comes after it in a cycle of other
//! relaxed accesses. So where an ordering must keep a *read* before a later store (`Tail::release`, the latch), the
//! words are loom's `UnsafeCell`s. For these, loom reports every unordered pair of accesses. That is a stronger
//! requirement than for the real words, which are atomics.
//!
//! Models with three threads are explored up to [`PREEMPTIONS`] preemptions per execution; all other models are
//! explored completely.

mod history;
mod latch;
mod publication;
mod registry;
mod sequence;
mod stamping;
mod words;

use loom::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Maximum number of preemptions in one execution of a model with three threads.
const PREEMPTIONS: usize = 3;

/// Explores all executions of a model, and asserts that their number is at least `floor`.
fn explore(floor: usize, model: impl Fn() + Send + Sync + 'static) {
    explore_within(None, floor, model);
}

/// Explores a model with three threads, like [`explore`], up to `PREEMPTIONS` preemptions per execution.
fn explore_three(floor: usize, model: impl Fn() + Send + Sync + 'static) {
    explore_within(Some(PREEMPTIONS), floor, model);
}

fn explore_within(preemptions: Option<usize>, floor: usize, model: impl Fn() + Send + Sync + 'static) {
    let executions = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&executions);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let executions = executions.load(Ordering::Relaxed);
    println!("{executions} executions");
    assert!(executions >= floor, "only {executions} executions, fewer than {floor}");
}

/// Spawns all threads of a model and joins them.
fn run_all<const N: usize>(threads: [Box<dyn FnOnce() + Send>; N]) {
    let handles = threads.map(loom::thread::spawn);
    for handle in handles {
        handle.join().unwrap();
    }
}

/// A plain variable that loom checks: of two accesses, one of which writes, one must happen before the other.
struct Plain(UnsafeCell<u64>);

impl Plain {
    fn new(value: u64) -> Plain {
        Plain(UnsafeCell::new(value))
    }

    fn get(&self) -> u64 {
        // SAFETY: loom runs one thread at a time, and fails the model when this read is not ordered.
        self.0.with(|value| unsafe { *value })
    }

    fn set(&self, new: u64) {
        // SAFETY: loom runs one thread at a time, and fails the model when this write is not ordered.
        self.0.with_mut(|value| unsafe { *value = new });
    }
}

// SAFETY: loom runs one thread at a time and reports every pair of accesses that is not ordered.
unsafe impl Sync for Plain {}
// SAFETY: loom runs one thread at a time and reports every pair of accesses that is not ordered.
unsafe impl Send for Plain {}
