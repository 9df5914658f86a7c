//! The concurrent benchmark against planted faults and known answers. Most tests run on a virtual clock: twenty seconds
//! of load take milliseconds, with the same result each time.
#![cfg(feature = "validation")]

mod advice;
mod conservation;
mod deadlocks;
mod hangs;
mod latency;
mod other_detector;
mod pool;
mod real;
mod report;
mod scaling;
mod users;
mod wordnet;
mod workloads;

use std::future::Future;

/// Runs a future on a single-threaded runtime with a paused clock.
fn virtually<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}
