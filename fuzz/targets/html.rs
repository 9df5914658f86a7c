//! The page of a forged file: it ends, and no name in it becomes an element.

#![no_main]

use heapledger_cli::report::html::write_page;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((profile, origin)) = heapledger_fuzz::profile(bytes) else { return };
    let mut page = Vec::new();
    write_page(&profile, &origin, &mut page).expect("it goes into memory");
    let page = String::from_utf8(page).expect("text");
    // The page has scripts of its own, so many and no more.
    let scripts = page.matches("<script").count();
    let mut empty = Vec::new();
    let plain = heapledger::Profile::default();
    write_page(&plain, &heapledger_cli::analysis::Origin::default(), &mut empty).expect("it goes into memory");
    let expected = String::from_utf8(empty).expect("text").matches("<script").count();
    assert!(scripts <= expected, "{scripts} scripts");
});
