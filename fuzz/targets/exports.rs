//! Every export of a forged file: it ends, in an error at worst.

#![no_main]

use heapledger_cli::analysis::SiteOrder;
use heapledger_cli::export::{Format, export};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((profile, origin)) = heapledger_fuzz::profile(bytes) else { return };
    // heaptrack's format has a line for each block that was ever made: a forged count would fill the memory.
    let is_modest = profile.totals.total_blocks < 10_000
        && profile.sites.iter().all(|site| site.total_blocks < 10_000 && site.freed_blocks < 10_000);
    let all = [
        Format::Json,
        Format::Csv,
        Format::Pprof,
        Format::Dhat,
        Format::Collapsed(SiteOrder::Live),
        Format::Speedscope,
        Format::Firefox,
    ];
    for format in all.into_iter().chain(is_modest.then_some(Format::Heaptrack)) {
        let mut out = Vec::new();
        let _ = export(format, &profile, &origin, &mut out);
    }
});
