//! The work under dhat's testing mode, alone in its process, as dhat requires.

use rivals::budget::{Figures, work};

#[global_allocator]
static HEAP: dhat::Alloc = dhat::Alloc;

fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let kept = work();
    let stats = dhat::HeapStats::get();
    drop(kept);
    Figures {
        blocks: Some(stats.total_blocks),
        bytes: Some(stats.total_bytes),
        peak_bytes: Some(stats.max_bytes as u64),
        retained: Some((stats.curr_blocks as u64, stats.curr_bytes as u64)),
    }
    .print();
}
