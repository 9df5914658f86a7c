//! The environment: each variable overrides the builder, and a value that cannot be read is reported once and ignored.

use heapledger::profile::{ClockMode, DataQualityMode};
use heapledger::{HeapStats, LossReason};

use super::case::{Case, Ended};
use super::heap::Heap;
use super::laws::complete;
use super::tools::{block, free, lossless_point};

pub const CASES: &[Case] = &[
    Case::new("switched_off_nothing_is_recorded_or_written", switched_off, |ended| {
        assert_eq!(ended.quietly().names(), [""; 0]);
    })
    .variables(&[("HEAPLEDGER", "off")]),
    Case::new("on_request_nothing_is_recorded_that_was_not_asked_for", switched_off, |ended| {
        assert_eq!(ended.quietly().names(), [""; 0]);
    })
    .heap(Heap::OnRequest)
    .variables(&[("HEAPLEDGER", "on")]),
    Case::new("on_request_everything_is_recorded_that_was_asked_for", work, |ended| {
        complete(&ended.quietly().dump()).unwrap();
    })
    .heap(Heap::OnRequest)
    .variables(&[("HEAPLEDGER", "always")]),
    Case::new("values_that_cannot_be_read_are_reported_once_each", work, reported_once).variables(&[
        ("HEAPLEDGER", "perhaps"),
        ("HEAPLEDGER_WARN", "loudly"),
        ("HEAPLEDGER_MODE", "best\teffort"),
        ("HEAPLEDGER_CLOCK", "sundial"),
        ("HEAPLEDGER_STACKS", "deep"),
    ]),
    Case::new("a_dump_name_that_is_too_long_is_reported_and_ignored", work, |ended| {
        let lines: Vec<_> = ended.with_code(0).stderr.lines().collect();
        assert!(lines.len() == 1 && lines[0].starts_with("heapledger: HEAPLEDGER_DUMP=xxx"), "{lines:?}");
        assert!(
            ended.names().len() == 1 && ended.names()[0].starts_with("heapledger."),
            "{:?}",
            ended.names()
        );
    })
    .variables(&[("HEAPLEDGER_DUMP", TOO_LONG)]),
    Case::new("a_clock_is_chosen_by_the_environment", work, |ended| {
        let profile = ended.quietly().dump();
        complete(&profile).unwrap();
        assert_eq!(profile.settings.clock, ClockMode::Monotonic);
        assert_eq!(profile.clock.source, "monotonic");
    })
    .variables(&[("HEAPLEDGER_CLOCK", "monotonic")]),
    Case::new("a_mode_is_chosen_by_the_environment", idle, |ended| {
        let profile = ended.quietly().dump();
        assert_eq!(
            (profile.settings.mode, profile.quality.mode),
            (DataQualityMode::HighAccuracy, profile.settings.mode)
        );
        complete(&profile).unwrap();
    })
    .variables(&[("HEAPLEDGER_MODE", "high")]),
    Case::new("without_variables_the_defaults_hold", work, |ended| {
        let profile = ended.quietly().dump();
        complete(&profile).unwrap();
        assert_eq!(
            (profile.settings.mode, profile.settings.clock),
            (DataQualityMode::default(), ClockMode::default())
        );
    }),
    Case::new("without_a_ledger_every_query_says_so", without_a_ledger, |ended| {
        assert_eq!(ended.quietly().names(), [""; 0]);
    })
    .heap(Heap::Bare),
];

const TOO_LONG: &str = {
    const BYTES: [u8; 1001] = [b'x'; 1001];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};

fn idle() {
    free(block(100), 100);
}

fn work() {
    for round in 0..5000 {
        free(block(16 + round), 16 + round);
    }
    assert!(heapledger::is_installed());
    lossless_point();
}

fn reported_once(ended: &Ended) {
    complete(&ended.with_code(0).dump()).unwrap();
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let expected = [
        "heapledger: HEAPLEDGER=perhaps is ignored: it takes on, off or always",
        "heapledger: HEAPLEDGER_WARN=loudly is ignored: it takes on or off",
        "heapledger: HEAPLEDGER_MODE=best?effort is ignored: it takes perfect, high, throughput or best-effort",
        "heapledger: HEAPLEDGER_CLOCK=sundial is ignored: it takes batched, per-event or monotonic",
        "heapledger: HEAPLEDGER_STACKS=deep is ignored: it takes auto, fp, dwarf, sampled:BYTES or off",
    ];
    assert_eq!(lines, expected);
}

fn switched_off() {
    for round in 0..5000 {
        free(block(16 + round), 16 + round);
    }
    std::thread::spawn(|| drop(vec![1u8; 100])).join().unwrap();
    without_a_ledger();
    // The allocator inside has served all of it.
    assert!(super::inner::served() >= 10_000);
}

fn without_a_ledger() {
    heapledger::flush();
    assert!(!heapledger::is_installed());
    let quality = heapledger::quality();
    assert!(!quality.installed && quality.is_conserved());
    assert_eq!((quality.attempted, quality.recorded, quality.own_bytes), (0, 0, 0));
    assert!(LossReason::ALL.into_iter().all(|reason| quality.lost.get(reason) == 0));
    assert_eq!(heapledger::stats(), HeapStats::default());
    assert!(heapledger::snapshot().is_none() && heapledger::history().is_empty());
    let error = heapledger::dump("never.hl").unwrap_err();
    assert!(error.to_string().contains("nothing was recorded"), "{error}");
}
