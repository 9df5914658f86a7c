//! Any bytes: the reader says what is whole, and never fails otherwise.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = heapledger::dumps::read_bytes(bytes);
});
