//! The work under `alloc_tracker`, which measures the current thread.

use rivals::budget::{Figures, work};

#[global_allocator]
static HEAP: alloc_tracker::Allocator<std::alloc::System> = alloc_tracker::Allocator::system();

fn main() {
    let session = alloc_tracker::Session::new().no_stdout().no_file();
    let kept = {
        let operation = session.operation("work");
        let _span = operation.measure_thread().iterations(1);
        work()
    };
    let report = session.to_report();
    let (_, operation) = report.operations().next().expect("the operation");
    Figures {
        blocks: Some(operation.total_allocations_count()),
        bytes: Some(operation.total_bytes_allocated()),
        peak_bytes: operation.peak_outstanding_bytes().map(|bytes| bytes as u64),
        // alloc_tracker does not report live blocks.
        retained: None,
    }
    .print();
    drop(kept);
}
