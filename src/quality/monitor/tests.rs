use proptest::prelude::*;

use super::*;

const SECOND: u64 = WINDOW_NS;

fn sample(at_ns: u64, recorded: u64, ring_full: u64) -> QualitySample {
    let mut lost = LossCounts::default();
    lost.add(LossReason::RingFull, ring_full);
    QualitySample { at_ns, attempted: recorded + ring_full, recorded, lost, ..QualitySample::default() }
}

/// Returns the view of a monitor after windows with these numbers of recorded and lost events.
fn view_of(windows: &[(u64, u64)]) -> QualityView {
    let mut monitor = QualityMonitor::default();
    let (mut at_ns, mut recorded, mut lost) = (0, 0, 0);
    monitor.push(sample(0, 0, 0));
    for (more, gone) in windows {
        at_ns += SECOND;
        recorded += more;
        lost += gone;
        assert!(monitor.push(sample(at_ns, recorded, lost)));
    }
    monitor.view()
}

#[test]
fn the_trend_follows_from_two_windows_a_dead_band_and_a_minimum() {
    use CompletenessTrend::*;
    type Case = (&'static str, &'static [(u64, u64)], Option<f64>, CompletenessTrend);
    let table: [Case; 11] = [
        ("nothing seen", &[], None, Unknown),
        ("one window", &[(10_000, 0)], Some(1.0), Unknown),
        ("no loss in either", &[(10_000, 0), (10_000, 0)], Some(1.0), Stable),
        ("loss begins", &[(10_000, 0), (9_000, 1_000)], Some(0.9), Degrading),
        ("loss ends", &[(9_000, 1_000), (10_000, 0)], Some(1.0), Improving),
        ("within the dead band", &[(10_000, 0), (9_960, 40)], Some(0.996), Stable),
        ("just outside of it", &[(10_000, 0), (9_940, 60)], Some(0.994), Degrading),
        ("better, though not good", &[(5_000, 5_000), (9_000, 1_000)], Some(0.9), Improving),
        ("only the last two count", &[(1_000, 9_000), (9_000, 1_000), (9_000, 1_000)], Some(0.9), Stable),
        ("too few in the newest", &[(10_000, 0), (500, 499)], None, Unknown),
        ("too few in the one before", &[(999, 0), (500, 500)], Some(0.5), Unknown),
    ];
    for (case, windows, completeness, trend) in table {
        let view = view_of(windows);
        assert_eq!((view.windowed_completeness, view.trend), (completeness, trend), "{case}");
    }
}

#[test]
fn the_cause_is_that_of_the_newest_window_not_of_the_lifetime() {
    let mut monitor = QualityMonitor::default();
    let mut now = sample(0, 0, 0);
    monitor.push(now);
    now = sample(SECOND, 10_000, 5_000);
    monitor.push(now);
    assert_eq!(monitor.view().cause, Some(LossReason::RingFull));
    now.at_ns += SECOND;
    now.attempted += 3;
    now.lost.add(LossReason::Reentrant, 3);
    monitor.push(now);
    assert_eq!(monitor.view().cause, Some(LossReason::Reentrant));
    now.at_ns += SECOND;
    monitor.push(now);
    assert_eq!(monitor.view().cause, None);
}

#[test]
fn a_window_ends_with_the_first_sample_that_is_old_enough() {
    let mut monitor = QualityMonitor::default();
    assert!(!monitor.push(sample(5, 0, 0)));
    assert!(!monitor.push(sample(5 + SECOND - 1, 2_000, 0)));
    assert_eq!(monitor.view(), QualityView::default());
    assert!(monitor.push(sample(5 + 3 * SECOND, 4_000, 0)));
    let newest = monitor.view().newest.unwrap();
    assert_eq!((newest.start_ns, newest.end_ns, newest.recorded), (5, 5 + 3 * SECOND, 4_000));
}

#[test]
fn counters_that_fall_back_start_the_monitor_anew() {
    let mut monitor = QualityMonitor::default();
    monitor.push(sample(0, 0, 0));
    monitor.push(sample(SECOND, 5_000, 0));
    for fresh in [sample(SECOND / 2, 6_000, 0), sample(9 * SECOND, 10, 0)] {
        let mut monitor = monitor.clone();
        assert!(!monitor.push(fresh));
        assert_eq!(monitor.view(), QualityView::default());
        assert!(monitor.push(sample(fresh.at_ns + SECOND, fresh.recorded + 7, 0)));
        assert_eq!(monitor.view().newest.map(|window| window.recorded), Some(7));
    }
}

#[test]
fn windows_of_no_length_are_refused() {
    let refused = |config| QualityMonitor::new(config).unwrap_err().to_string();
    let default = MonitorConfig::DEFAULT;
    assert!(refused(MonitorConfig { window_ns: 0, ..default }).starts_with("window_ns is 0"));
    assert!(refused(MonitorConfig { events_min: 0, ..default }).starts_with("events_min is 0"));
    assert!(refused(MonitorConfig { dead_band: f64::NAN, ..default }).starts_with("dead_band is NaN"));
    assert!(QualityMonitor::new(default).is_ok());
}

proptest! {
    /// Any samples in any order give shares from 0 to 1, and no event is counted in two windows.
    #[test]
    fn windows_never_overlap_and_shares_stay_shares(
        steps in prop::collection::vec((0..2 * SECOND, 0u64..100_000, 0u64..100_000), 1..200)
    ) {
        let mut monitor = QualityMonitor::default();
        let (mut at_ns, mut recorded, mut lost) = (0u64, 0u64, 0u64);
        let (mut in_windows, mut last_end) = (0, 0);
        monitor.push(sample(0, 0, 0));
        for (pause_ns, more, gone) in steps {
            at_ns += pause_ns;
            recorded += more;
            lost += gone;
            if monitor.push(sample(at_ns, recorded, lost)) {
                let view = monitor.view();
                let newest = view.newest.unwrap();
                prop_assert_eq!(newest.start_ns, last_end);
                last_end = newest.end_ns;
                in_windows += newest.resolved();
                prop_assert_eq!(in_windows, recorded + lost);
                prop_assert!(view.windowed_completeness.is_none_or(|share| (0.0..=1.0).contains(&share)));
            }
        }
    }
}
