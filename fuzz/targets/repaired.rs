//! Forged sections behind right checksums: what is read can be written, and read again as it was.

#![no_main]

use heapledger::dumps;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((profile, _)) = heapledger_fuzz::profile(bytes) else { return };
    let mut file = Vec::new();
    let written = dumps::write_to(&mut file, &profile).expect("it goes into memory");
    let again = dumps::read_bytes(&file).expect("it was just written");
    assert!(again.damage.is_empty(), "{:?}", again.damage);
    // What had to be cut is noted; without a note nothing was. Compared as text, because not a number is not itself.
    if written.notes.is_empty() {
        assert_eq!(format!("{profile:?}"), format!("{:?}", again.profile));
    }
});
