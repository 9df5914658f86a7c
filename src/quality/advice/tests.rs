use super::*;
use crate::profile::{Anomalies, ConcurrencyConfig, ForkPolicy, LossCounts, Stacks};
use crate::quality::cause::LAG_NS_MAX;

fn settings() -> Settings {
    Settings {
        mode: DataQualityMode::BestEffort,
        stacks: Stacks::Off,
        clock: ClockMode::Batched,
        history: HistoryLimits::DEFAULT,
        concurrency: ConcurrencyConfig::DEFAULT,
        fork: ForkPolicy::Off,
        memory_limit_bytes: 1 << 30,
    }
}

/// Returns an indicator of 40,000 events, of which 480 were lost for one reason.
fn lossy(reason: LossReason) -> QualityIndicator {
    let mut lost = LossCounts::default();
    lost.add(reason, 480);
    QualityIndicator {
        installed: true,
        attempted: 40_000,
        recorded: 39_520,
        target_completeness: 0.99,
        lost,
        ..QualityIndicator::default()
    }
}

fn anomalous(anomalies: Anomalies) -> QualityIndicator {
    QualityIndicator { installed: true, recorded: 40_000, anomalies, ..QualityIndicator::default() }
}

fn sentence(quality: &QualityIndicator, settings: &Settings) -> String {
    advice(quality, settings, None).to_string()
}

#[test]
fn each_loss_has_its_own_knob_and_value() {
    use LossReason::*;
    let table = [
        (
            RingFull,
            "ring_full lost 1.2% of 40,000 events: use DataQualityMode::PerfectAccuracy (HEAPLEDGER_MODE=perfect), \
             which waits rather than sheds, or larger rings with HistoryLimits { events: 16384, bytes: 1048576, .. }",
        ),
        (
            Reentrant,
            "reentrant lost 1.2% of 40,000 events: let signal handlers and the inner allocator allocate nothing, or \
             accept it with ConcurrencyConfig { target_completeness: 0.988, .. }",
        ),
        (
            TlsTeardown,
            "tls_teardown lost 1.2% of 40,000 events: drop what thread-local destructors hold before the thread \
             ends, or accept it with ConcurrencyConfig { target_completeness: 0.988, .. }",
        ),
        (
            NoMemory,
            "no_memory lost 1.2% of 40,000 events: use smaller rings with HistoryLimits { events: 2048, bytes: \
             1048576, .. }",
        ),
        (
            TableFull,
            "table_full lost 1.2% of 40,000 events: raise HeapLedger::memory_limit to 2147483648 bytes",
        ),
        (
            AfterShutdown,
            "after_shutdown lost 1.2% of 40,000 events: drop what is left before main returns, or accept it with \
             ConcurrencyConfig { target_completeness: 0.988, .. }",
        ),
        (
            ForkedChild,
            "forked_child lost 1.2% of 40,000 events: use HeapLedger::fork(ForkPolicy::Fresh), which gives a child \
             its own ledger",
        ),
    ];
    assert_eq!(table.each_ref().map(|(reason, _)| *reason), LossReason::ALL);
    for (reason, expected) in table {
        assert_eq!(sentence(&lossy(reason), &settings()), expected);
    }
}

#[test]
fn each_other_cause_has_its_own_knob_and_value() {
    let none = Anomalies::default();
    let calm = anomalous(none);
    let table = [
        (calm.clone(), ""),
        (
            QualityIndicator::default(),
            "make a HeapLedger the global allocator: #[global_allocator] static HEAP: heapledger::HeapLedger = \
             heapledger::HeapLedger::system();",
        ),
        (
            anomalous(Anomalies { ambiguous_pairings: 7, ..none }),
            "7 frees could belong to either of two blocks: use ClockMode::PerEvent (HEAPLEDGER_CLOCK=per-event), \
             which stamps every event with its own time",
        ),
        (
            anomalous(Anomalies { double_allocations: 7, ..none }),
            "7 allocations were of an address that was still taken: use ClockMode::PerEvent \
             (HEAPLEDGER_CLOCK=per-event), which stamps every event with its own time",
        ),
        (
            anomalous(Anomalies { unmatched_frees: 7, ..none }),
            "7 frees have no allocation: call heapledger::flush() to match those that wait, and look for memory of \
             another allocator among the rest",
        ),
        (
            anomalous(Anomalies { layout_mismatches: 7, ..none }),
            "7 frees gave another size than the allocation: look for dealloc, from_raw or from_raw_parts with a \
             wrong size, which no setting can put right",
        ),
        (
            QualityIndicator { sampled_out: 7_000, ..calm.clone() },
            "sampling left out 7,000 events, so that only totals are exact: use DataQualityMode::PerfectAccuracy \
             (HEAPLEDGER_MODE=perfect) for every event",
        ),
        (
            QualityIndicator { waits: 50, ..calm.clone() },
            "threads waited 50 times in 40,000 events: use larger rings with HistoryLimits { events: 16384, bytes: \
             1048576, .. }",
        ),
        (
            QualityIndicator { in_flight: 7, lag_ns: LAG_NS_MAX + 2_000_000_000, ..calm },
            "7 events are not booked yet, the oldest for 12 s: call heapledger::flush() before reading figures, and \
             keep HeapLedger::background(true)",
        ),
    ];
    for (quality, expected) in table {
        assert_eq!(sentence(&quality, &settings()), expected);
    }
}

#[test]
fn an_advice_never_names_the_value_that_is_in_force() {
    let perfect = Settings { mode: DataQualityMode::PerfectAccuracy, ..settings() };
    assert!(sentence(&lossy(LossReason::RingFull), &perfect).contains("from the start"));
    let largest = HistoryLimits { events: 32_768, ..HistoryLimits::DEFAULT };
    let largest = Settings { history: largest, ..settings() };
    assert!(sentence(&lossy(LossReason::RingFull), &largest).ends_with("as large as they can be"));

    let per_event = Settings { clock: ClockMode::PerEvent, ..settings() };
    let ambiguous = anomalous(Anomalies { ambiguous_pairings: 1, ..Anomalies::default() });
    assert!(sentence(&ambiguous, &per_event).contains("is in force"));

    let waiting = QualityIndicator { waits: 50, ..anomalous(Anomalies::default()) };
    assert!(sentence(&waiting, &largest).contains("DataQualityMode::HighAccuracy"));
    let mut strict = settings();
    strict.concurrency.enable_overflow_buffer = false;
    assert!(sentence(&waiting, &strict).contains("enable_overflow_buffer: true"));

    let smallest = HistoryLimits { events: 1_000, ..HistoryLimits::DEFAULT };
    let smallest = Settings { history: smallest, ..settings() };
    assert!(sentence(&lossy(LossReason::NoMemory), &smallest).contains("32 KiB a thread"));
    let mut full = lossy(LossReason::NoMemory);
    full.own_bytes = 1 << 30;
    assert!(sentence(&full, &smallest).contains("memory_limit to 2147483648 bytes"));

    let mut met = lossy(LossReason::Reentrant);
    met.target_completeness = 0.95;
    assert!(sentence(&met, &settings()).ends_with("or leave it: target_completeness is met"));
}

#[test]
fn what_happened_lately_is_said_with_the_figures_of_the_window() {
    let mut lost = LossCounts::default();
    lost.add(LossReason::RingFull, 500);
    let window = QualityWindow { recorded: 500, lost, ..QualityWindow::default() };
    let text = advice(&lossy(LossReason::Reentrant), &settings(), Some(&window)).to_string();
    assert!(text.starts_with("ring_full lost 50% of the newest 1,000 events: "), "{text}");
}

#[test]
fn every_advice_is_one_sentence_and_none_asks_for_fewer_threads() {
    let anomalies = [
        QualityCause::UnmatchedFrees,
        QualityCause::DoubleAllocations,
        QualityCause::AmbiguousPairings,
        QualityCause::LayoutMismatches,
        QualityCause::SampledOut,
        QualityCause::Waits,
        QualityCause::Lag,
        QualityCause::NotInstalled,
    ];
    let causes = LossReason::ALL.map(QualityCause::Lost).into_iter().chain(anomalies);
    for cause in causes {
        for mode in DataQualityMode::ALL {
            let settings = Settings { mode, ..settings() };
            // The text must be valid even if the counters do not show the cause.
            let text = advice_for(cause, &QualityIndicator::default(), &settings, None).to_string();
            assert!(!text.is_empty() && !text.contains('\n'), "{text}");
            assert!(!text.replace(", .. }", "").contains(". "), "one sentence: {text}");
            assert!(!text.contains("fewer threads") && !text.contains("thread count"), "{text}");
        }
    }
    let none = advice_for(QualityCause::None, &QualityIndicator::default(), &settings(), None);
    assert_eq!((none, none.to_string().as_str()), (Advice::Nothing, ""));
}
