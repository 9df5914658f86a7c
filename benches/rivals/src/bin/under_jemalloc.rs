//! jemalloc. Its environment variable says whether it samples.

#[global_allocator]
static HEAP: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    rivals::child::main(|| (None, None));
}
