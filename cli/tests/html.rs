//! The page for a browser, read by an HTML parser and shown by a browser.
//!
//! The second part needs Chromium. Without it, the test prints that and passes, or fails if
//! `HEAPLEDGER_TEST_BROWSER=required`. `HEAPLEDGER_TEST_PICTURES=DIRECTORY` keeps pictures of the page.

#![cfg(unix)]

#[path = "html/browser.rs"]
mod browser;
#[path = "html/markup.rs"]
mod markup;
#[path = "html/selected.rs"]
mod selected;
#[path = "html/shown.rs"]
mod shown;
#[path = "html/synthetic.rs"]
mod synthetic;
#[cfg(feature = "validation")]
#[path = "html/validation.rs"]
mod validation;
#[cfg(feature = "validation")]
#[path = "../../tests/validation/workloads.rs"]
mod workloads;

use heapledger::Profile;
use heapledger_cli::analysis::{LawState, Origin, verify};
use heapledger_cli::report::html::write_page;

fn page(profile: &Profile) -> String {
    let mut out = Vec::new();
    write_page(profile, &Origin::default(), &mut out).expect("a vector takes everything");
    String::from_utf8(out).expect("text")
}

#[test]
fn the_synthetic_profiles_obey_every_law() {
    let server = synthetic::server(300, 12);
    for profile in
        [synthetic::empty(), server.clone(), synthetic::sampled(server.clone()), synthetic::with_loss(server)]
    {
        let laws = verify(&profile, &Origin::default()).laws;
        let broken: Vec<_> = laws.iter().filter(|law| law.state == LawState::Broken).collect();
        assert!(broken.is_empty(), "{broken:#?}");
    }
}
