//! The bare system allocator: what the others are compared with.

fn main() {
    rivals::child::main(|| (None, None));
}
