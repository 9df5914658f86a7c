//! Any text as a file of suppressions.

#![no_main]

use heapledger_cli::analysis::suppressions;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(list) = suppressions::parse(text) {
        for suppression in &list {
            suppression.matches("alloc::vec::Vec<T>::push at /src/main.rs:7");
            suppression.matches(text);
        }
    }
});
