//! The `heapledger` command.
fn main() {}
