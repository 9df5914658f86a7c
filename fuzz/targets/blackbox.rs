//! Regions of killed processes, with anything in them changed: they are read to something whose figures hang together,
//! and every face can show it.

#![no_main]

use heapledger_cli::analysis::{Origin, verify};
use heapledger::dumps;
use heapledger_cli::report::{Layout, write_report, write_verdict};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some(bytes) = heapledger_fuzz::region::patched(input) else { return };
    let Ok(dump) = dumps::read_bytes(&bytes) else { return };
    let profile = &dump.profile;
    let says_so = dump.broken_laws.iter().any(|law| law.law.starts_with("attempted"));
    assert!(profile.quality.is_conserved() || says_so, "{:?}", profile.quality);
    let (stacks, threads) = (profile.stacks.len(), profile.threads.len());
    let stands = |stack: u32, thread: u32| (stack as usize) < stacks && (thread as usize) < threads.max(1);
    assert!(profile.sites.iter().all(|site| stands(site.stack, 0)));
    assert!(profile.live.iter().all(|block| stands(block.stack, block.thread)));
    assert!(profile.history.iter().all(|event| stands(event.stack, event.thread)));
    let damage = dump.damage.iter().map(ToString::to_string).collect();
    let origin = Origin::new(damage, dump.notes.clone());
    let mut text = Vec::new();
    write_report(profile, &origin, &Layout::default(), &mut text).expect("it goes into memory");
    let verdict = verify(profile, &origin);
    write_verdict(profile, &verdict, &origin, &Layout::default(), &mut text).expect("it goes into memory");
    heapledger_fuzz::harmless(&text);
    let mut file = Vec::new();
    dumps::write_to(&mut file, profile).expect("it goes into memory");
    let again = dumps::read_bytes(&file).expect("it was just written");
    assert!(again.damage.is_empty(), "{:?}", again.damage);
});
