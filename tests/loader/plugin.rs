//! A library with a separate global allocator and a separate copy of the crate. `tests/process/loader.rs` loads it.

#![allow(unsafe_code, reason = "functions that are found by their names")]

use std::hint::black_box;

#[global_allocator]
static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system();

/// Allocates and frees `rounds` times. One block of a unique size stays live.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_work(rounds: u32) {
    for round in 0..rounds {
        black_box(vec![0u8; 16 + round as usize % 500]);
    }
    std::mem::forget(black_box(vec![0u8; 77_777]));
}

/// Whether this copy of the crate records.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_records() -> bool {
    heapledger::flush();
    heapledger::is_installed()
}

/// Whether a heap budget of this copy is inconclusive because another copy records.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_is_inconclusive() -> bool {
    let measurement = heapledger::scope::Measurement::begin();
    drop(black_box(vec![0u8; 100]));
    measurement.end().1 == Some(heapledger::scope::Inconclusive::NotRecording)
}

/// Calls `back`, a function of the program, so that the library's frame lies between two frames of the program.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_call(back: extern "C" fn(usize), size: usize) {
    back(size);
    black_box(size);
}
