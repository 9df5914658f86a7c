//! jemalloc. Its environment variable switches sampling on.

#[global_allocator]
static HEAP: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    rivals::child::main(|| (None, None));
}
