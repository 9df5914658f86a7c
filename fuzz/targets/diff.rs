//! Two forged files, compared.

#![no_main]

use heapledger_cli::analysis::{Side, SiteOrder, diff};
use heapledger_cli::export::export_diff;
use heapledger_cli::report::diff::html::write_diff_html;
use heapledger_cli::report::{Layout, write_diff};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The second file is the first with its bytes changed where the last one says.
    let Some((&change, first)) = bytes.split_last() else { return };
    let mut second = first.to_vec();
    for byte in second.iter_mut().skip(64).step_by(usize::from(change) + 61) {
        *byte = byte.wrapping_add(change);
    }
    let (Some(before), Some(after)) = (heapledger_fuzz::profile(first), heapledger_fuzz::profile(&second)) else {
        return;
    };
    let (before, after) = (side(&before), side(&after));
    let diff = diff(before, after);
    let mut out = Vec::new();
    write_diff(&diff, before, after, None, 10, &Layout::default(), &mut out).expect("memory");
    heapledger_fuzz::harmless(&out);
    out.clear();
    write_diff_html(&diff, before, after, SiteOrder::Live, &mut out).expect("memory");
    export_diff(&diff, before, after, &mut out).expect("memory");
});

fn side(read: &(heapledger::Profile, heapledger_cli::analysis::Origin)) -> Side<'_> {
    Side { profile: &read.0, origin: &read.1 }
}
