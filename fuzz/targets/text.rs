//! The report and the verdict of a forged file: they end, and hold nothing that a terminal would obey.

#![no_main]

use heapledger_cli::analysis::verify;
use heapledger_cli::report::{Layout, write_report, write_verdict};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((profile, origin)) = heapledger_fuzz::profile(bytes) else { return };
    let mut text = Vec::new();
    write_report(&profile, &origin, &Layout::default(), &mut text).expect("it goes into memory");
    let verdict = verify(&profile, &origin);
    write_verdict(&profile, &verdict, &origin, &Layout::default(), &mut text).expect("it goes into memory");
    heapledger_fuzz::harmless(&text);
});
