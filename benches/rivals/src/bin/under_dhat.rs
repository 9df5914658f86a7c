//! dhat: records every block with a backtrace, under one lock.

#[global_allocator]
static HEAP: dhat::Alloc = dhat::Alloc;

fn main() {
    let path = std::env::var("RIVALS_FILE").unwrap_or_else(|_| String::from("dhat-heap.json"));
    let _profiler = dhat::Profiler::builder().file_name(path).build();
    rivals::child::main(|| (Some(dhat::HeapStats::get().total_blocks), None));
}
