//! Tracked pointers in a process with a ledger: what they said is in the snapshot, the dump and its faces.

use std::sync::Arc;

use heapledger::analysis::Origin;
use heapledger::profile::tracked::Shape;
use heapledger::report::{Layout, write_report};
use heapledger::{Profile, Tracked};

use super::case::{Case, Ended};
use super::laws;

pub const CASES: &[Case] = &[
    Case::new("a_tracked_pointer_that_is_held_at_exit_is_told_with_who_holds_it", hold, told),
    Case::new(
        "without_tracked_pointers_nothing_is_said_of_them",
        || drop(vec![1]),
        |ended| {
            let profile = ended.quietly().dump();
            assert!(profile.tracked.is_empty() && !report(&profile).contains("Tracked pointers"));
            json(&profile, |value| assert!(value["tracked"].is_null()));
        },
    ),
];

const CLONES: usize = 400;

fn hold() {
    let config = Tracked::new(Arc::new([7u8; 100]), "config");
    // A storm: so many clones at once.
    drop((0..CLONES).map(|_| config.clone()).collect::<Vec<_>>());
    let line = line!() + 1;
    let kept: [Tracked<Arc<[u8; 100]>>; 2] = std::array::from_fn(|_| config.clone());
    println!("line={line}");
    drop(config);
    let gone = Tracked::new(std::rc::Rc::new(1), "gone");
    drop(gone);
    let profile = heapledger::snapshot().expect("it is installed");
    assert_eq!(profile.tracked.pointers.len(), 2);
    std::mem::forget(kept);
}

fn told(ended: &Ended) {
    let profile = ended.quietly().dump();
    laws::complete(&profile).unwrap();
    let [config, gone] = profile.tracked.pointers.as_slice() else { panic!("{:?}", profile.tracked) };
    assert_eq!((config.name.as_str(), config.shape, config.held), ("config", Shape::Arc, 2));
    assert_eq!((config.clones, config.drops), (CLONES as u64 + 2, CLONES as u64 + 1));
    assert_eq!((config.storms, config.strong_high_water), (1, CLONES as u64 + 1));
    assert_eq!((gone.name.as_str(), gone.shape, gone.held), ("gone", Shape::Rc, 0));
    let place = format!("pointers.rs:{}:", ended.said("line"));
    assert!(config.holders[0].held == 2 && config.holders[0].place.contains(&place), "{config:?}");
    // Two pointers listed, all clones and all drops.
    assert_eq!(profile.tracked.events_total, 2 + 2 * CLONES as u64 + 2 + 1 + 1);
    let said = report(&profile);
    assert!(said.contains("still held") && said.contains(&place) && said.contains("clone storms"), "{said}");
    json(&profile, |value| assert_eq!(value["tracked"]["pointers"][0]["held"], 2));
}

fn report(profile: &Profile) -> String {
    let mut out = Vec::new();
    write_report(profile, &Origin::default(), &Layout::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Looks at the profile as JSON; without a feature that writes it, at nothing.
pub fn json(profile: &Profile, look: impl FnOnce(&serde_json::Value)) {
    #[cfg(any(feature = "cli", feature = "validation"))]
    look(&exported(profile));
    #[cfg(not(any(feature = "cli", feature = "validation")))]
    let _ = (profile, look);
}

#[cfg(any(feature = "cli", feature = "validation"))]
fn exported(profile: &Profile) -> serde_json::Value {
    use heapledger::export::{Format, export};
    let mut out = Vec::new();
    export(Format::Json, profile, &Origin::default(), &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}
