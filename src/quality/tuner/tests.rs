//! Tests of the tuner: with literal figures, with a simulated process under load, and with invalid figures.

use proptest::prelude::*;

use super::*;
use crate::profile::{DataQualityMode, Degradation, LossCounts, LossReason, QualityIndicator, TurnTimes};

const SECOND: u64 = 1_000_000_000;
const BUDGET: Duration = Duration::from_nanos(100);

fn lost(reason: LossReason, events: u64) -> LossCounts {
    let mut lost = LossCounts::default();
    lost.add(reason, events);
    lost
}

fn stats(second: u64) -> TrackingStats {
    TrackingStats { at_ns: second * SECOND, events: 100_000, ..TrackingStats::default() }
}

/// Returns the decision of the tuner after the same figures in `CONFIRMATIONS` intervals.
fn confirmed(tuner: &mut AutoTuner, figures: TrackingStats) -> ConfigAdjustment {
    let start = figures.at_ns / SECOND;
    let answers: Vec<_> = (0..u64::from(CONFIRMATIONS))
        .map(|round| tuner.optimize(&TrackingStats { at_ns: (start + round) * SECOND, ..figures }))
        .collect();
    let (last, before) = answers.split_last().unwrap();
    assert!(before.iter().all(|answer| *answer == ConfigAdjustment::Maintain));
    *last
}

fn starting_from(knobs: Knobs) -> AutoTuner {
    AutoTuner::with_knobs(0.95, BUDGET, knobs, KnobBounds::DEFAULT).unwrap()
}

#[test]
fn each_pressure_turns_the_knob_that_bears_on_it() {
    use DataQualityMode::*;
    let with = |mode| Knobs { mode, ..Knobs::DEFAULT };
    let largest = |mode| Knobs { mode, ring_segments: 48, drain_threshold_words: 128, ..Knobs::DEFAULT };
    let fastest = Knobs { floor_interval_ns: 250_000, ..largest(BestEffort) };
    let ladder = |degradation| Knobs { degradation, ..Knobs::DEFAULT };
    let losing = |reason| TrackingStats { completeness: 0.5, lost: lost(reason, 50_000), ..stats(1) };
    let slow = TrackingStats { avg_latency_ns: 101.0, ..stats(1) };
    let stalls = TrackingStats { p99_latency_ns: 2_001, ..stats(1) };
    let waiting = TrackingStats { waits: 11, ..slow };
    let lagging = TrackingStats { lag_ns: SECOND + 1, ..stats(1) };
    let ring_full = losing(LossReason::RingFull);
    let both = TrackingStats { avg_latency_ns: 101.0, ..ring_full };
    let table = [
        (with(BestEffort), ring_full, "ring_segments: 6 -> 12"),
        (Knobs { ring_segments: 48, ..with(BestEffort) }, ring_full, "drain_threshold_words: 512 -> 256"),
        (largest(BestEffort), ring_full, "floor_interval_ns: 1000000 -> 500000"),
        (fastest, ring_full, "mode: best-effort -> high"),
        (fastest, both, "degradation: full -> no-stacks"),
        (largest(HighAccuracy), ring_full, "mode: high -> perfect"),
        (largest(HighAccuracy), both, "degradation: full -> no-stacks"),
        (
            Knobs { mode: HighThroughput, degradation: Degradation::NoStacks, ..fastest },
            ring_full,
            "bytes between samples: 524288 -> 1048576",
        ),
        (with(PerfectAccuracy), losing(LossReason::NoMemory), "ring_segments: 6 -> 4"),
        (with(PerfectAccuracy), losing(LossReason::TableFull), "degradation: full -> no-stacks"),
        (with(PerfectAccuracy), losing(LossReason::Reentrant), "maintain"),
        (with(PerfectAccuracy), losing(LossReason::ForkedChild), "maintain"),
        (with(PerfectAccuracy), slow, "degradation: full -> no-stacks"),
        (with(PerfectAccuracy), stalls, "degradation: full -> no-stacks"),
        (with(PerfectAccuracy), waiting, "ring_segments: 6 -> 12"),
        (largest(PerfectAccuracy), waiting, "mode: perfect -> high"),
        (ladder(Degradation::NoStacks), slow, "degradation: no-stacks -> sampled"),
        (ladder(Degradation::Sampled), slow, "bytes between samples: 524288 -> 1048576"),
        (
            Knobs { sampling_shift: 24, ..ladder(Degradation::Sampled) },
            slow,
            "degradation: sampled -> counters-only",
        ),
        (ladder(Degradation::CountersOnly), slow, "advice: every knob is at its bound"),
        (with(PerfectAccuracy), lagging, "drain_threshold_words: 512 -> 256"),
    ];
    for (knobs, figures, expected) in table {
        assert_eq!(confirmed(&mut starting_from(knobs), figures).to_string(), expected, "{knobs:?}");
    }
}

#[test]
fn a_target_of_everything_is_never_traded_for_speed() {
    let knobs = Knobs { ring_segments: 48, ..Knobs::DEFAULT };
    let mut tuner = AutoTuner::with_knobs(1.0, BUDGET, knobs, KnobBounds::DEFAULT).unwrap();
    let waiting = TrackingStats { waits: 1_000, avg_latency_ns: 500.0, ..stats(1) };
    assert_eq!(confirmed(&mut tuner, waiting).to_string(), "degradation: full -> no-stacks");
}

#[test]
fn the_lowest_rung_allowed_is_kept() {
    let bounds = KnobBounds { lowest: Degradation::NoStacks, ..KnobBounds::DEFAULT };
    let knobs = Knobs { degradation: Degradation::NoStacks, ..Knobs::DEFAULT };
    let mut tuner = AutoTuner::with_knobs(0.95, BUDGET, knobs, bounds).unwrap();
    let slow = TrackingStats { avg_latency_ns: 500.0, ..stats(1) };
    assert_eq!(confirmed(&mut tuner, slow), ConfigAdjustment::ReduceConcurrency);
    assert_eq!(tuner.knobs(), &knobs);
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    let refused = |target, budget| AutoTuner::new(target, budget).unwrap_err().to_string();
    assert!(refused(1.5, BUDGET).contains("from 0 to 1"));
    assert!(refused(f64::NAN, BUDGET).contains("from 0 to 1"));
    assert_eq!(refused(0.95, Duration::ZERO), "performance_budget is 0: it takes 1 or more");
    assert!(refused(0.95, Duration::MAX).starts_with("performance_budget is too long"));
    let outside = Knobs { ring_segments: 49, ..Knobs::DEFAULT };
    let error = AutoTuner::with_knobs(0.95, BUDGET, outside, KnobBounds::DEFAULT).unwrap_err();
    assert_eq!(error.to_string(), "ring_segments is 49: it takes 4 to 48");
    let mut tuner = AutoTuner::new(0.95, BUDGET).unwrap();
    assert!(tuner.set_knobs(outside).is_err() && tuner.knobs() == &Knobs::DEFAULT);
}

#[test]
fn an_interval_is_what_came_in_between_two_readings() {
    let mut before = QualityIndicator { recorded: 1_000, waits: 3, folds_at_home: 4, ..Default::default() };
    before.lost.add(LossReason::RingFull, 10);
    let mut now = QualityIndicator { recorded: 1_900, waits: 5, sampled_out: 1_000, ..before.clone() };
    now.lost.add(LossReason::RingFull, 100);
    (now.lag_ns, now.folds_at_home, now.folds_away, now.spare_segments) = (7, 6, 8, 9);
    // 40 slow paths of 500 ns each, for 2,000 events.
    now.turn_times = TurnTimes { turns: 40, timed: 4, timed_ns: 2_000, ..TurnTimes::default() };
    now.turn_times.durations[TurnTimes::bucket_of(500)] = 4;
    let stats = TrackingStats::between(&before, &now, 12, 345);
    let expected = TrackingStats {
        at_ns: 12,
        events: 1_000,
        completeness: 0.9,
        lost: lost(LossReason::RingFull, 100),
        avg_latency_ns: 10.0,
        p99_latency_ns: 512,
        lag_ns: 7,
        ring_high_water_words: 345,
        folds_at_home: 2,
        folds_away: 8,
        waits: 2,
        spare_segments: 9,
    };
    assert_eq!(stats, expected);
    let nothing = TrackingStats::between(&now, &before, 12, 0);
    assert_eq!((nothing.events, nothing.completeness, nothing.avg_latency_ns), (0, 1.0, 0.0));
}

#[test]
fn knobs_go_back_to_where_someone_put_them_last() {
    let mut tuner = AutoTuner::new(0.95, BUDGET).unwrap();
    let chosen = Knobs { mode: DataQualityMode::HighAccuracy, ring_segments: 10, ..Knobs::DEFAULT };
    tuner.set_home(chosen).unwrap();
    tuner.set_knobs(Knobs { degradation: Degradation::Sampled, ..Knobs::DEFAULT }).unwrap();
    let said: Vec<String> = (0..100)
        .map(|second| tuner.optimize(&stats(second)))
        .filter(ConfigAdjustment::is_change)
        .map(|adjustment| adjustment.to_string())
        .collect();
    let expected = [
        "degradation: sampled -> no-stacks",
        "degradation: no-stacks -> full",
        "mode: perfect -> high",
        "ring_segments: 6 -> 10",
    ];
    assert_eq!(said, expected);
    assert_eq!(tuner.optimize(&stats(100)), ConfigAdjustment::IncreaseThroughput);
}

#[test]
fn the_log_is_bounded_and_holds_the_figures_that_led_to_each_decision() {
    let mut tuner = AutoTuner::new(0.95, BUDGET).unwrap();
    let mut changes = 0;
    // Slow and calm intervals alternate, each long enough to be confirmed.
    for second in 0..40_000 {
        let avg_latency_ns = if second % 1_500 < 20 { 500.0 } else { 1.0 };
        let figures = TrackingStats { avg_latency_ns, ..stats(second) };
        changes += u64::from(tuner.optimize(&figures) != ConfigAdjustment::Maintain);
    }
    let log = tuner.log();
    assert!(changes > DECISIONS_MAX as u64);
    assert_eq!(log.iter().len(), DECISIONS_MAX);
    assert!(log.forgotten() > 0);
    for decision in log.iter() {
        let slow = decision.pressure == Pressure::Slow;
        assert_eq!(decision.stats.avg_latency_ns, if slow { 500.0 } else { 1.0 });
        assert_eq!(decision.stats.at_ns, decision.at_ns);
    }
    let repeated = log.iter().zip(log.iter().skip(1)).filter(|(a, b)| a.adjustment == b.adjustment);
    assert_eq!(repeated.count(), 0, "an advice is written down once");
    let text = serde_json::to_string(log).unwrap();
    assert_eq!(&serde_json::from_str::<DecisionLog>(&text).unwrap(), log, "it can be carried in an export");
}

/// A simulated process that makes `load` events a second: a queue with one server. Recording takes longer if the ledger
/// is busier. A burst that does not fit into the ring is shed if the mode sheds.
struct Process {
    load: f64,
    noise: u64,
}

impl Process {
    fn run(&mut self, second: u64, knobs: &Knobs) -> TrackingStats {
        // The noise stays within 5 % of one, and its sequence is always the same.
        self.noise =
            self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let noise = 0.95 + 0.1 * (self.noise >> 40) as f64 / (1u64 << 24) as f64;
        let load = self.load * noise;
        // Every block has 64 bytes.
        let share = if knobs.samples() { 64.0 * 0.5f64.powi(knobs.sampling_shift as i32) } else { 1.0 };
        let service_ns = match knobs.degradation {
            Degradation::Full => 45.0,
            Degradation::NoStacks | Degradation::Sampled => 1.0 + 9.0 * share,
            Degradation::CountersOnly => 1.0,
        };
        let busy = (load * service_ns / 1e9).min(0.99);
        let burst = load * share * knobs.floor_interval_ns as f64 / 1e9;
        let room = f64::from(knobs.ring_segments) * 1024.0 / 1.5;
        let sheds = matches!(knobs.mode, DataQualityMode::BestEffort | DataQualityMode::HighThroughput);
        let completeness = if sheds { (room / burst).min(1.0) } else { 1.0 };
        let events = load as u64;
        TrackingStats {
            at_ns: second * SECOND,
            events,
            completeness,
            lost: lost(LossReason::RingFull, ((1.0 - completeness) * events as f64) as u64),
            avg_latency_ns: service_ns / (1.0 - busy),
            ring_high_water_words: (burst.min(room) * 1.5) as u64,
            ..TrackingStats::default()
        }
    }
}

/// Runs a process for some seconds. Returns the number of times that a knob was changed, and the last figures.
fn drive(
    tuner: &mut AutoTuner,
    process: &mut Process,
    seconds: std::ops::Range<u64>,
) -> (usize, TrackingStats) {
    let (mut changes, mut last) = (0, TrackingStats::default());
    for second in seconds {
        last = process.run(second, tuner.knobs());
        changes += usize::from(tuner.optimize(&last).is_change());
    }
    (changes, last)
}

#[test]
fn an_overload_of_the_books_converges_does_not_swing_and_is_undone_when_it_falls() {
    let mut tuner = AutoTuner::new(0.95, BUDGET).unwrap();
    let mut process = Process { load: 300_000_000.0, noise: 1 };
    let (changes, figures) = drive(&mut tuner, &mut process, 0..60);
    assert!((1..=8).contains(&changes), "{changes} changes");
    assert!(figures.avg_latency_ns <= 100.0 && tuner.knobs().degradation > Degradation::Full);
    // An hour of the same load: the tuner repeats an attempt less and less often.
    let (changes, figures) = drive(&mut tuner, &mut process, 60..3_660);
    assert!(changes <= 30, "{changes} changes in an hour");
    assert!(figures.avg_latency_ns <= 100.0);
    process.load = 100_000.0;
    let (changes, _) = drive(&mut tuner, &mut process, 3_660..9_000);
    assert_eq!(tuner.knobs(), &Knobs::DEFAULT, "all detail is back");
    assert!(changes <= 12, "{changes} changes");
}

#[test]
fn an_overload_of_the_rings_converges_without_giving_up_detail() {
    let (mode, degradation) = (DataQualityMode::BestEffort, Degradation::NoStacks);
    let knobs = Knobs { mode, degradation, ..Knobs::DEFAULT };
    let mut tuner = starting_from(knobs);
    let mut process = Process { load: 20_000_000.0, noise: 2 };
    let before = process.run(0, &knobs);
    assert!(before.completeness < 0.3, "the test overloads: {}", before.completeness);
    let (changes, figures) = drive(&mut tuner, &mut process, 0..600);
    assert!(figures.completeness >= 0.95, "{}", figures.completeness);
    assert!(changes <= 4, "{changes} changes");
    assert_eq!(*tuner.knobs(), Knobs { ring_segments: 48, ..knobs });
    process.load = 10_000.0;
    drive(&mut tuner, &mut process, 600..9_000);
    assert_eq!(tuner.knobs(), &knobs);
}

#[test]
fn a_load_that_comes_and_goes_is_not_followed_at_its_own_pace() {
    let mut tuner = AutoTuner::new(0.95, BUDGET).unwrap();
    let mut process = Process { load: 0.0, noise: 3 };
    let mut changes = 0;
    for cycle in 0..360 {
        process.load = if cycle % 2 == 0 { 300_000_000.0 } else { 100_000.0 };
        changes += drive(&mut tuner, &mut process, cycle * 10..(cycle + 1) * 10).0;
    }
    assert!(changes <= 60, "{changes} changes in 180 swings");
}

fn any_share() -> impl Strategy<Value = f64> {
    prop_oneof![0.0..=1.0f64, Just(1.0), Just(f64::NAN), Just(f64::INFINITY), Just(-1.0),]
}

fn any_latency() -> impl Strategy<Value = f64> {
    prop_oneof![0.0..1_000.0f64, Just(0.0), Just(f64::NAN), Just(f64::INFINITY), Just(f64::MAX)]
}

fn any_stats() -> impl Strategy<Value = TrackingStats> {
    let words = prop_oneof![0..100_000u64, Just(u64::MAX)];
    let losses = (0..LossReason::COUNT, prop_oneof![0..100_000u64, Just(u64::MAX)]);
    (0..4 * SECOND, words, any_share(), any_latency(), losses, 0..3 * SECOND, 0..100u64).prop_map(
        |(pause_ns, words, completeness, avg_latency_ns, (reason, events_lost), lag_ns, waits)| {
            TrackingStats {
                // The test adds up these pauses to a time.
                at_ns: pause_ns,
                events: words,
                completeness,
                lost: lost(LossReason::ALL[reason], events_lost),
                avg_latency_ns,
                p99_latency_ns: words,
                lag_ns,
                ring_high_water_words: words,
                waits,
                ..TrackingStats::default()
            }
        },
    )
}

proptest! {
    #[test]
    fn whatever_comes_bounds_and_cooldown_are_kept(
        rounds in prop::collection::vec((any_stats(), 1..12u32), 1..60),
        mode in prop::sample::select(DataQualityMode::ALL.to_vec()),
        target in 0.0..=1.0f64,
    ) {
        let home = Knobs { mode, ..Knobs::DEFAULT };
        let bounds = KnobBounds { lowest: Degradation::Sampled, ..KnobBounds::DEFAULT };
        let mut tuner = AutoTuner::with_knobs(target, BUDGET, home, bounds).unwrap();
        let (mut at_ns, mut last_change_ns) = (0, None);
        // Each set of figures is repeated several times, because otherwise no pressure would ever be confirmed.
        for (figures, times) in rounds {
            for _ in 0..times {
                at_ns += figures.at_ns;
                let before = *tuner.knobs();
                let adjustment = tuner.optimize(&TrackingStats { at_ns, ..figures });
                let mut expected = before;
                adjustment.apply_to(&mut expected);
                prop_assert_eq!(tuner.knobs(), &expected);
                prop_assert_eq!(adjustment.is_change(), before != expected, "a change changes something");
                prop_assert!(bounds.validate(&expected).is_ok(), "{adjustment}: {expected:?}");
                if adjustment.is_change() {
                    prop_assert!(last_change_ns.is_none_or(|last: u64| at_ns - last >= COOLDOWN_NS));
                    last_change_ns = Some(at_ns);
                }
            }
        }
    }
}
