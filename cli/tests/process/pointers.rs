//! Tracked pointers in a process with a ledger: their events are in the snapshot, in the dump, and in the reports and
//! exports.

use std::sync::Arc;

use heapledger::profile::tracked::{PointerEvent, PointerKind, TrackedReport};
use heapledger::profile::{Event, EventKind};
use heapledger::{DataQualityMode, Profile, Tracked};
use heapledger_cli::analysis::Origin;
use heapledger_cli::export::{Format, export};
use heapledger_cli::report::{Layout, write_report};

use super::case::{Case, Ended};
use super::laws;

pub const CASES: &[Case] = &[
    Case::new("a_tracked_pointer_that_is_held_at_exit_is_told_with_who_holds_it", hold, told),
    Case::new("clones_and_drops_are_events_among_those_of_the_heap", act_in_order, |ended| {
        let profile = ended.quietly().dump();
        laws::complete(&profile).unwrap();
        in_order(&profile.history, ended);
        conserved(&profile.tracked, 0);
    })
    .variables(&[("HEAPLEDGER_STACKS", "auto")]),
    Case::new("four_threads_clone_at_once_and_every_event_is_accounted_for", clone_at_once, |ended| {
        let profile = ended.quietly().dump();
        laws::complete(&profile).unwrap();
        conserved(&profile.tracked, 0);
        assert!(profile.tracked.events_recorded > 4 * 2 * u64::from(AT_ONCE));
    }),
    Case::new("what_a_mode_leaves_out_of_tracked_pointers_is_counted", clone_while_sampling, |ended| {
        let profile = ended.quietly().dump();
        conserved(&profile.tracked, ended.said("left_out"));
        let said = report(&profile);
        let words: Vec<_> = said.split_whitespace().collect();
        assert!(words.join(" ").contains("0 of them recorded with time and stack, 3 only counted"), "{said}");
    }),
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
    assert_eq!((config.name.as_str(), config.kind, config.held), ("config", PointerKind::Arc, 2));
    assert_eq!((config.clones, config.drops), (CLONES as u64 + 2, CLONES as u64 + 1));
    assert_eq!((config.storms, config.strong_high_water), (1, CLONES as u64 + 1));
    assert_eq!((gone.name.as_str(), gone.kind, gone.held), ("gone", PointerKind::Rc, 0));
    let place = format!("pointers.rs:{}:", ended.said("line"));
    assert!(config.holders[0].held == 2 && config.holders[0].place.contains(&place), "{config:?}");
    // Two pointers listed, all clones and all drops.
    assert_eq!(profile.tracked.events_total, 2 + 2 * CLONES as u64 + 2 + 1 + 1);
    let said = report(&profile);
    assert!(said.contains("still held") && said.contains(&place) && said.contains("clone storms"), "{said}");
    json(&profile, |value| assert_eq!(value["tracked"]["pointers"][0]["held"], 2));
}

/// Asserts that each event is either recorded or counted as unrecorded.
fn conserved(report: &TrackedReport, unrecorded: u64) {
    assert_eq!(report.events_unrecorded, unrecorded, "{report:?}");
    assert_eq!(report.events_total, report.events_recorded + report.events_unrecorded, "{report:?}");
}

/// Size of the block that the order test allocates between two clones.
const MARKER: usize = 12_345;

fn act_in_order() {
    let first = Tracked::new(Arc::new(1), "first");
    let marker = vec![0u8; MARKER];
    println!("marker={}", marker.as_ptr().addr());
    let second = first.clone();
    drop(marker);
    drop(second);
    assert_eq!(*first.into_inner(), 1);
    heapledger::flush();
    conserved(&heapledger::tracked(), 0);
    let history = heapledger::history();
    let pointer_events =
        history.iter().filter(|event| matches!(event.kind, EventKind::Tracked { .. })).count();
    assert_eq!(pointer_events, 4, "{history:?}");
}

/// Asserts the order of the events: pointer wrapped, marker allocated, pointer cloned, marker freed, clone dropped,
/// pointer unwrapped, all by one thread, with the clone's stack.
fn in_order(history: &[Event], ended: &Ended) {
    let marker = ended.said("marker");
    let mut seen = Vec::new();
    for event in history {
        match event.kind {
            EventKind::Tracked { pointer: 0, event: what, held } => {
                assert_ne!(event.stack, 0, "{event:?}");
                seen.push(format!("{what} {held}"));
            }
            EventKind::Alloc { address, size, .. } if address == marker && size == MARKER as u64 => {
                seen.push("marker".to_owned());
            }
            EventKind::Free { address } if address == marker && !seen.is_empty() => {
                seen.push("no marker".to_owned());
            }
            _ => {}
        }
    }
    let event = |what: PointerEvent, held| format!("{what} {held}");
    let expected = [
        event(PointerEvent::Listed, 1),
        "marker".to_owned(),
        event(PointerEvent::Cloned, 2),
        "no marker".to_owned(),
        event(PointerEvent::Dropped, 1),
        event(PointerEvent::Unwrapped, 0),
    ];
    assert_eq!(seen, expected);
}

/// Number of clones of each thread.
const AT_ONCE: u32 = 20_000;

fn clone_at_once() {
    let shared = Tracked::new(Arc::new(1), "shared");
    let started: Vec<_> = (0..4)
        .map(|_| {
            let mine = shared.clone();
            std::thread::spawn(move || (0..AT_ONCE).for_each(|_| drop(mine.clone())))
        })
        .collect();
    // Each has ended when it was joined, which a scope does not promise.
    started.into_iter().for_each(|thread| thread.join().unwrap());
    heapledger::flush();
    conserved(&heapledger::tracked(), 0);
}

fn clone_while_sampling() {
    heapledger::set_mode(DataQualityMode::HighThroughput);
    // Each lane follows at its next turn.
    (0..1000).for_each(|number: u32| drop(vec![number]));
    let left_out = heapledger::tracked().events_unrecorded;
    let shared = Tracked::new(Arc::new(1), "left out");
    drop(shared.clone());
    std::mem::forget(shared);
    let left_out = heapledger::tracked().events_unrecorded - left_out;
    assert_eq!(left_out, 3, "wrapped, cloned, dropped");
    println!("left_out={left_out}");
}

fn report(profile: &Profile) -> String {
    let mut out = Vec::new();
    write_report(profile, &Origin::default(), &Layout::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Calls `look` with the profile as JSON.
pub fn json(profile: &Profile, look: impl FnOnce(&serde_json::Value)) {
    let mut out = Vec::new();
    export(Format::Json, profile, &Origin::default(), &mut out).unwrap();
    look(&serde_json::from_slice(&out).unwrap());
}
