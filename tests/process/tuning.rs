//! The tuner in a live process: it sets knobs while four threads allocate, and every event is counted.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use heapledger::quality::{ConfigAdjustment, DecisionLog, Pressure};
use heapledger::{BackgroundAggregator, DataQualityMode, LossReason, TuningGoal};

use super::case::{Case, Ended};
use super::heap::{self, Heap};
use super::tools::{accounted_point, block, free, lossless_point, lost_only, threads};

pub const CASES: &[Case] = &[
    Case::new("a_tuner_turns_knobs_while_four_threads_allocate", tune, changes_are_told).heap(Heap::Tuned),
    Case::new("a_tuner_is_switched_on_and_off_while_the_program_runs", switch_the_tuner, |ended| {
        ended.quietly();
    })
    .heap(Heap::Untuned),
    Case::new("the_background_thread_starts_on_request_with_its_interval", spawn_the_aggregator, |ended| {
        let profile = ended.quietly().dump();
        let lines: Vec<&str> = profile.changes.iter().map(|change| change.what.as_str()).collect();
        assert_eq!(lines, ["floor interval in ns: 20000000 -> 5000000"], "{lines:?}");
    })
    .variables(&[("HEAPLEDGER_INTERVAL", "20ms")]),
    Case::new("settings_that_mean_nothing_are_told_once_and_replaced", fork_and_work, replaced)
        .heap(Heap::Senseless),
];

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn load(_number: *mut c_void) -> *mut c_void {
    while !STOP.load(SeqCst) {
        for _ in 0..1_000 {
            free(block(64), 64);
        }
    }
    null_mut()
}

fn changes(log: &DecisionLog) -> Vec<ConfigAdjustment> {
    let made = log.iter().map(|decision| decision.adjustment);
    made.filter(ConfigAdjustment::is_change).collect()
}

fn tune() {
    // A raw thread takes no closure, and the threads of std would allocate: the load comes from one thread more.
    let loading = std::thread::spawn(|| threads::<4>(load));
    let mut log = heapledger::tuner_log();
    // The first knob is the size of the rings; the second is whatever the first did not mend.
    while changes(&log).len() < 2 {
        // While a snapshot holds the books, rings fill and nobody can empty them: events are lost on any machine.
        drop(heapledger::snapshot());
        std::thread::sleep(std::time::Duration::from_millis(1));
        log = heapledger::tuner_log();
    }
    STOP.store(true, SeqCst);
    loading.join().expect("the load ends");
    let quality = accounted_point();
    assert!(lost_only(&quality, LossReason::RingFull) > 0, "{quality:?}");
    assert_eq!(quality.attempted, quality.recorded + quality.lost.total());
    assert!(quality.turn_times.timed > 0 && quality.turn_times.mean_ns().unwrap() > 0.0, "{quality:?}");
    assert_eq!(quality.turn_times.durations.iter().sum::<u64>(), quality.turn_times.timed);
    let first = log.iter().next().expect("a decision");
    assert_eq!(first.adjustment, ConfigAdjustment::SetRingSegments { from: 6, to: 12 });
    assert_eq!(first.pressure, Pressure::Losing);
    let stats = &first.stats;
    assert!(stats.completeness < 0.9999 && stats.events >= 1_000 && stats.lost.total() > 0, "{stats:?}");
}

fn changes_are_told(ended: &Ended) {
    let profile = ended.quietly().dump();
    let lines: Vec<&str> = profile.changes.iter().map(|change| change.what.as_str()).collect();
    assert!(lines[0].starts_with("tuner: losing events, completeness "), "{lines:?}");
    assert_eq!(lines[1], "ring segments: 6 -> 12", "{lines:?}");
    assert!(lines.len() >= 4 && lines.len().is_multiple_of(2), "{lines:?}");
    assert!(lines.iter().step_by(2).all(|line| line.starts_with("tuner: ")), "{lines:?}");
    let times: Vec<u64> = profile.changes.iter().map(|change| change.at_ns).collect();
    assert!(times.is_sorted() && times[2] - times[1] >= 1_000_000_000, "a cooldown: {times:?}");
    assert!(profile.quality.turn_times.timed > 0, "{:?}", profile.quality);
}

/// Makes events, of which some are lost, until `done`.
fn overload_until(mut done: impl FnMut() -> bool) {
    STOP.store(false, SeqCst);
    let loading = std::thread::spawn(|| threads::<4>(load));
    while !done() {
        // While a snapshot holds the books, rings fill and nobody can empty them.
        drop(heapledger::snapshot());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    STOP.store(true, SeqCst);
    loading.join().expect("the load ends");
}

fn switch_the_tuner() {
    let goal = TuningGoal { target_completeness: 0.9999, budget_ns: 1_000_000, ..TuningGoal::DEFAULT };
    assert!(heapledger::set_auto_tune(Some(TuningGoal { budget_ns: 0, ..goal })).is_err());
    heapledger::set_auto_tune(Some(goal)).expect("a goal");
    overload_until(|| !changes(&heapledger::tuner_log()).is_empty());
    heapledger::set_auto_tune(None).expect("no goal");
    // The thread takes the request at its next sample.
    std::thread::sleep(std::time::Duration::from_millis(400));
    let count = changes(&heapledger::tuner_log()).len();
    let began = std::time::Instant::now();
    overload_until(|| began.elapsed() > std::time::Duration::from_millis(1_300));
    assert_eq!(changes(&heapledger::tuner_log()).len(), count, "a tuner that is off decides nothing");
    accounted_point();
}

fn spawn_the_aggregator() {
    free(block(64), 64);
    let aggregator = BackgroundAggregator::spawn(std::time::Duration::from_millis(5)).expect("an interval");
    assert!(aggregator.is_some());
    let own_cpu = || heapledger::quality().own_cpu_ns;
    while own_cpu() == 0 || heapledger::snapshot().is_some_and(|profile| profile.changes.is_empty()) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(heapledger::set_interval(std::time::Duration::from_secs(2)).is_err());
    lossless_point();
}

fn fork_and_work() {
    free(block(100), 100);
    // SAFETY: the child allocates, which works after a fork here, and exits.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        free(block(100), 100);
        std::process::exit(0);
    }
    let mut status = 0;
    // SAFETY: `status` is valid for writes.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    lossless_point();
    println!("child={pid}");
    println!("validate: {}", heap::senseless());
}

/// Asserts that each invalid setting is reported once, by the parent alone, and replaced by its default.
fn replaced(ended: &Ended) {
    let lines: Vec<&str> = ended.with_code(0).stderr.lines().collect();
    let share = "it takes a share from 0 to 1, such as 0.95; 0.95 is used";
    let expected = [
        format!("heapledger: target_completeness is 1.5: {share}"),
        "heapledger: memory_limit is 0: it takes 1 or more; 17179869184 is used".to_owned(),
        "heapledger: sampling_bytes is 0: it takes 1 or more; 524288 is used".to_owned(),
        format!("heapledger: auto_tune target_completeness is NaN: {share}"),
        "heapledger: auto_tune budget_ns is 0: it takes 1 or more; 200 is used".to_owned(),
    ];
    assert_eq!(lines, expected);
    let said = "validate: target_completeness is 1.5: it takes a share from 0 to 1, such as 0.95";
    assert!(ended.stdout.lines().any(|line| line == said), "{}", ended.stdout);
    let child = ended.said("child");
    for profile in [ended.dump(), ended.dump_named(&format!("{child}.hl"))] {
        assert_eq!(profile.settings.concurrency.target_completeness, 0.95);
        assert_eq!(profile.settings.memory_limit_bytes, 16 << 30);
        assert_eq!((profile.quality.mode, profile.quality.lost.total()), (DataQualityMode::default(), 0));
    }
}
