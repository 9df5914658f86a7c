//! Tests that counts are exact, with and without threads, that existing holders are listed, and that events beyond the
//! table are counted.

use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use super::sink::Table;
use super::*;

/// Returns the entry with this name. Tests run at the same time and share one table, so each test uses different names.
fn named(name: &str) -> TrackedPointer {
    report().pointers.into_iter().find(|pointer| pointer.name == name).expect("it is listed")
}

#[test]
fn clones_and_drops_of_eight_threads_are_counted_exactly() {
    const EACH: u64 = 10_000;
    let shared = Tracked::new(Arc::new([0u8; 16]), "exact over threads");
    thread::scope(|scope| {
        for _ in 0..8 {
            let mine = shared.clone();
            scope.spawn(move || {
                for _ in 0..EACH {
                    drop(mine.clone());
                }
            });
        }
    });
    let seen = named("exact over threads");
    assert_eq!((seen.clones, seen.drops, seen.held), (8 * EACH + 8, 8 * EACH + 8, 1));
    assert!((2..=17).contains(&seen.strong_high_water), "{seen:?}");
    assert_eq!((seen.kind, seen.type_name.as_str()), (PointerKind::Arc, "[u8; 16]"));
    // There are three places: the constructor, the clone for each thread, the clones in the threads.
    let holders: Vec<(u64, u64)> = seen.holders.iter().map(|holder| (holder.made, holder.held)).collect();
    assert_eq!(holders, [(1, 1), (8 * EACH, 0), (8, 0)]);
    drop(shared);
    assert_eq!(named("exact over threads").held, 0);
}

#[test]
fn an_rc_is_counted_on_its_thread_and_untracked_clones_show_in_the_strong_count_only() {
    let line = line!() + 1;
    let first = Tracked::new(Rc::<str>::from("text"), "rc");
    let (untracked, second) = (Rc::clone(&first), first.clone());
    let seen = named("rc");
    assert_eq!((seen.clones, seen.drops, seen.held, seen.strong_high_water), (1, 0, 2, 3));
    assert_eq!((seen.kind, seen.type_name.as_str()), (PointerKind::Rc, "str"));
    assert!(seen.created_at.contains(&format!("tests.rs:{line}:")), "{}", seen.created_at);
    drop((untracked, first));
    let inner = second.into_inner();
    let seen = named("rc");
    assert_eq!((seen.clones, seen.drops, seen.unwrapped, seen.held), (1, 1, 1, 0));
    assert_eq!(Rc::strong_count(&inner), 1);
}

#[test]
fn what_is_still_held_is_listed_with_where_it_was_cloned() {
    let held = Tracked::new(Arc::new(1), "held on");
    let line = line!() + 1;
    let kept: Vec<_> = (0..3).map(|_| held.clone()).collect();
    drop(held);
    let report = report();
    let seen = report.still_held().into_iter().find(|pointer| pointer.name == "held on").expect("held");
    let holder = &seen.holders[0];
    assert_eq!((seen.held, holder.made, holder.held), (3, 3, 3));
    assert!(holder.place.contains(&format!("tests.rs:{line}:")), "{holder:?}");
    let text = report.to_string();
    assert!(text.contains("held on: Arc<i32>") && text.contains("    3 from "), "{text}");
    drop(kept);
    assert!(super::report().still_held().iter().all(|pointer| pointer.name != "held on"));
}

/// Returns the place in the source where this function is called.
#[track_caller]
fn here() -> &'static Location<'static> {
    Location::caller()
}

#[test]
fn pointers_and_places_beyond_the_table_are_counted() {
    let table = Table::<4, 2, 8>::empty();
    let tickets: Vec<_> = (0..6).map(|_| table.list(("a", "b"), PointerKind::Arc, 1, here())).collect();
    let clones: Vec<_> = tickets.iter().map(|ticket| table.clone_made(ticket, 2, here())).collect();
    for ticket in tickets.iter().chain(&clones[..5]) {
        table.holder_gone(ticket, PointerEvent::Dropped);
    }
    table.holder_gone(&clones[5], PointerEvent::Unwrapped);
    let report = table.report();
    assert_eq!(report.pointers.len(), 4);
    assert!(report.pointers.iter().all(|one| (one.clones, one.drops, one.held) == (1, 2, 0)), "{report:?}");
    let unlisted = Unlisted { pointers: 2, clones: 2, drops: 3, unwrapped: 1, holders_without_place: 6 };
    assert_eq!(report.unlisted, unlisted);
    assert!(report.to_string().contains("2 more pointers found no room"), "{report}");
}

#[test]
fn the_last_events_are_kept_in_order() {
    let table = Table::<8, 8, 8>::empty();
    let first = table.list(("a", "b"), PointerKind::Rc, 1, here());
    for _ in 0..10 {
        let clone = table.clone_made(&first, 2, here());
        table.holder_gone(&clone, PointerEvent::Dropped);
    }
    let report = table.report();
    assert_eq!((report.events_total, report.events.len()), (21, 8));
    for (number, kept) in (13..).zip(&report.events) {
        let (event, held) =
            if number % 2 == 1 { (PointerEvent::Cloned, 2) } else { (PointerEvent::Dropped, 1) };
        assert_eq!(*kept, TrackedEvent { number, pointer: 0, event, held });
    }
}

#[test]
fn a_storm_is_a_window_with_many_clones_of_one_pointer() {
    let table = Table::<8, 8, 8>::empty();
    let calm = table.list(("calm", "b"), PointerKind::Arc, 1, here());
    let stormy = table.list(("stormy", "b"), PointerKind::Arc, 1, here());
    let clone_and_drop =
        |ticket| table.holder_gone(&table.clone_made(ticket, 2, here()), PointerEvent::Dropped);
    // There are four windows. In the first and the third, 400 of the 1,024 events are clones of one pointer.
    for window in 0..4 {
        let busy = if window % 2 == 0 { 400 } else { 100 };
        (0..busy).for_each(|_| clone_and_drop(&stormy));
        let quiet: Vec<_> = (0..60).map(|_| table.clone_made(&calm, 2, here())).collect();
        quiet.iter().for_each(|ticket| table.holder_gone(ticket, PointerEvent::Dropped));
        // Fills the rest of the window with events of another pointer.
        let other = table.list(("other", "b"), PointerKind::Arc, 1, here());
        while !table.report().events_total.is_multiple_of(STORM_WINDOW_EVENTS) {
            table.holder_gone(&other, PointerEvent::Dropped);
        }
    }
    let report = table.report();
    let storms: Vec<_> = report.storms().iter().map(|one| (one.name.as_str(), one.storms)).collect();
    assert_eq!(storms, [("stormy", 2)]);
    let calm = &report.pointers[0];
    assert_eq!((calm.storms, calm.largest_burst_clones), (0, 60));
}

#[test]
fn a_tracked_pointer_compares_and_prints_like_the_one_inside() {
    let (one, two) = (Tracked::new(Arc::new(1), "one"), Tracked::new(Arc::new(2), "two"));
    assert!(one == one.clone() && one != two && one < two);
    assert_eq!((format!("{one}"), format!("{one:?}")), ("1".to_owned(), "1".to_owned()));
    assert_eq!(format!("{one:p}"), format!("{:p}", *one));
    assert_eq!((**one, *one.as_ref()), (1, 1));
    let set: std::collections::HashSet<_> = [one.clone(), one, two].into_iter().collect();
    assert_eq!(set.len(), 2);
}

#[test]
fn a_report_is_data() {
    let report = TrackedReport { events_total: 3, ..TrackedReport::default() };
    let text = serde_json::to_string(&report).expect("it can be written");
    assert_eq!(serde_json::from_str::<TrackedReport>(&text).expect("it can be read"), report);
}
