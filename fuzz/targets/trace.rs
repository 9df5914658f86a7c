//! Traces of work in scopes, with anything in them changed: they are replayed to something whose figures hang together,
//! and a report can show it.

#![no_main]

use std::io::Cursor;

use heapledger::dumps;
use heapledger::trace::{Replay, Span, SpanProfile, Trace, block_lives, laws};
use heapledger_cli::analysis::{Origin, verify};
use heapledger_cli::report::{Layout, write_report, write_verdict};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    replay(input);
    replay(&heapledger_fuzz::trace::repaired(input));
});

fn replay(file: &[u8]) {
    let Ok(mut trace) = Trace::open(Cursor::new(file)) else { return };
    let dump = trace.dump().expect("it is in memory");
    let dump = dump.and_then(|bytes| dumps::read_bytes(&bytes).ok()).map(|dump| dump.profile);
    let span = |from_ns, to_ns| Span { from_ns, to_ns };
    let middle = trace.frames().map(|frame| frame.head.first_ns).max().unwrap_or(0);
    for span in [Span::WHOLE, span(middle, u64::MAX), span(0, middle)] {
        let mut replay = Replay::of(&mut trace, span, |_| ()).expect("it is in memory");
        if let (Some(counts), Some(dump)) = (trace.counts(), &dump) {
            laws(&mut replay, counts, dump);
        }
        let SpanProfile { profile, damage, notes } = replay.into_profile(dump.as_ref());
        let (stacks, scopes) = (profile.stacks.len(), profile.scopes.len());
        assert!(profile.sites.iter().all(|site| (site.stack as usize) < stacks));
        assert!(profile.live.iter().all(|block| (block.stack as usize) < stacks));
        assert!(profile.scopes.iter().all(|scope| (scope.parent as usize) <= scopes));
        let mut text = Vec::new();
        let origin = Origin::new(damage, notes);
        write_report(&profile, &origin, &Layout::default(), &mut text).expect("it goes into memory");
        let verdict = verify(&profile, &origin);
        write_verdict(&profile, &verdict, &origin, &Layout::default(), &mut text).expect("it goes into memory");
        heapledger_fuzz::harmless(&text);
    }
    block_lives(&mut trace, |_| (), |_| ()).expect("it is in memory");
}
