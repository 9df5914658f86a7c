//! The work under `heapledger::measure`, beside a thread that allocates all the time.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rivals::budget::{Figures, work};

#[global_allocator]
static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system().dump(heapledger::DumpTarget::Off);

fn main() {
    let stops = AtomicBool::new(false);
    let usage = std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stops.load(SeqCst) {
                drop(std::hint::black_box(vec![0u8; 100]));
            }
        });
        let (kept, usage) = heapledger::measure(work);
        stops.store(true, SeqCst);
        drop(kept);
        usage
    });
    Figures {
        blocks: Some(usage.allocations + usage.reallocations),
        bytes: Some(usage.bytes),
        peak_bytes: Some(usage.peak_bytes),
        retained: Some((usage.retained_blocks, usage.retained_bytes)),
    }
    .print();
}
