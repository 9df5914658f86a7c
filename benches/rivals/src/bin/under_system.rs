//! The bare system allocator, with which the others are compared.

fn main() {
    rivals::child::main(|| (None, None));
}
