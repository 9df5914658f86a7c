//! memscope-rs with its feature `tracking-allocator`, which installs itself.

fn main() {
    rivals::child::main(|| {
        let stats = memscope_rs::get_tracker().get_stats();
        (stats.ok().map(|stats| stats.total_allocations as u64), None)
    });
}
