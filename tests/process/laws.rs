//! The laws of every profile of a child, and tests that these checks can fail.

use heapledger::QualityIndicator;
use heapledger::profile::{self, LossReason, Profile};

use super::case::Case;

pub const CASES: &[Case] = &[
    Case::here("the_laws_reject_every_kind_of_doctored_profile", every_law_can_fail),
    Case::here("completeness_rejects_loss_and_mix_ups", completeness_can_fail),
];

/// Checks the laws of any profile, with or without loss.
pub fn obeyed(profile: &Profile) -> Result<(), String> {
    let broken = profile::check(profile);
    demand(broken.is_empty(), || format!("{broken:?}"))?;
    counted(&profile.quality)?;
    let totals = &profile.totals;
    let live = (totals.total_blocks - totals.freed_blocks, totals.total_bytes - totals.freed_bytes);
    demand((totals.live_blocks, totals.live_bytes) == live, || format!("live: {totals:?}"))?;
    let highest = totals.peak_bytes + profile.peak.uncertainty_bytes;
    demand(highest >= totals.live_bytes, || format!("peak below live: {totals:?} {:?}", profile.peak))?;
    let events = profile.history.len() as u64;
    demand(events <= profile.settings.history.events, || format!("{events} events of history"))?;
    let in_order = profile.history.is_sorted_by_key(|event| event.at_ns);
    demand(in_order, || "the history is out of order".to_owned())
}

/// Checks the laws of the quality counters at any time.
pub fn counted(quality: &QualityIndicator) -> Result<(), String> {
    demand(quality.is_conserved(), || format!("not conserved: {quality:?}"))?;
    let share = QualityIndicator::completeness_of(quality.recorded, quality.lost.total());
    demand(quality.current_completeness == share, || format!("completeness: {quality:?}"))?;
    let in_history = quality.retained.checked_add(quality.evicted);
    demand(in_history == Some(quality.recorded), || format!("history: {quality:?}"))?;
    demand(quality.own_events <= quality.recorded, || format!("own events: {quality:?}"))
}

/// Checks a profile without loss, taken while no thread worked: every event is in every table. Ambiguous pairings are
/// allowed between threads that exchange blocks; they leave the sums exact.
pub fn complete(profile: &Profile) -> Result<(), String> {
    obeyed(profile)?;
    let (quality, anomalies) = (&profile.quality, &profile.quality.anomalies);
    demand(quality.installed && quality.recorded > 0, || format!("nothing recorded: {quality:?}"))?;
    demand(quality.lost.total() == 0, || format!("incomplete: {quality:?}"))?;
    // The background thread may have recorded an event of heapledger at this moment.
    let own = profile
        .threads
        .iter()
        .filter(|row| row.own)
        .map(|row| row.attempted.saturating_sub(row.recorded))
        .sum::<u64>();
    demand(quality.in_flight == own, || format!("in flight: {quality:?}"))?;
    let mix_ups = anomalies.unmatched_frees + anomalies.double_allocations + anomalies.layout_mismatches;
    demand(mix_ups == 0, || format!("{anomalies:?}"))?;
    let live = profile.live.iter().fold((0, 0), |(blocks, bytes), block| (blocks + 1, bytes + block.size));
    let totals = &profile.totals;
    demand((totals.live_blocks, totals.live_bytes) == live, || format!("live table: {live:?} {totals:?}"))?;
    rows_add_up(profile)
}

/// Checks that the rows of the threads sum to the totals.
pub fn rows_add_up(profile: &Profile) -> Result<(), String> {
    let mut sums = [0u64; 6];
    for row in &profile.threads {
        let lost = row.lost.total();
        let figures = [
            row.attempted,
            row.recorded + lost,
            row.total_blocks,
            row.total_bytes,
            row.freed_blocks,
            row.freed_bytes,
        ];
        for (sum, figure) in sums.iter_mut().zip(figures) {
            *sum = sum.wrapping_add(figure);
        }
    }
    let (quality, totals) = (&profile.quality, &profile.totals);
    let expected = [
        quality.attempted,
        quality.recorded + quality.lost.total(),
        totals.total_blocks,
        totals.total_bytes,
        totals.freed_blocks,
        totals.freed_bytes,
    ];
    demand(sums == expected, || format!("rows: {sums:?}, totals: {expected:?}"))
}

fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Returns a profile of ten blocks of 64 bytes, four of them freed.
fn sound() -> Profile {
    let mut profile = Profile::default();
    let quality = &mut profile.quality;
    (quality.installed, quality.current_completeness) = (true, 1.0);
    (quality.attempted, quality.recorded, quality.evicted) = (14, 14, 14);
    let totals = &mut profile.totals;
    (totals.total_blocks, totals.total_bytes) = (10, 640);
    (totals.freed_blocks, totals.freed_bytes) = (4, 256);
    (totals.live_blocks, totals.live_bytes, totals.peak_bytes) = (6, 384, 640);
    let mut site = profile::Site { total_blocks: 10, total_bytes: 640, ..profile::Site::default() };
    (site.freed_blocks, site.freed_bytes) = (4, 256);
    site.sizes.add(64, 10);
    site.lifetimes.add(9, 4);
    profile.sites = vec![site];
    profile.live = vec![profile::LiveBlock { size: 64, ..profile::LiveBlock::default() }; 6];
    let mut row = profile::ThreadRow { attempted: 14, recorded: 14, ..profile::ThreadRow::default() };
    (row.total_blocks, row.total_bytes, row.freed_blocks, row.freed_bytes) = (10, 640, 4, 256);
    profile.threads = vec![row];
    let flow = profile::Interval { allocated_bytes: 640, freed_bytes: 256, ..profile::Interval::default() };
    profile.timeline.intervals = vec![flow];
    profile
}

fn every_law_can_fail() {
    assert_eq!(complete(&sound()), Ok(()));
    let faults: [fn(&mut Profile); 13] = [
        |profile| profile.quality.attempted += 1,
        |profile| profile.quality.evicted -= 1,
        |profile| profile.quality.current_completeness = 0.9,
        |profile| profile.quality.own_events = 15,
        |profile| profile.totals.live_blocks += 1,
        |profile| profile.totals.freed_bytes -= 1,
        |profile| profile.totals.peak_bytes = 383,
        |profile| profile.sites[0].total_bytes -= 64,
        |profile| profile.sites[0].lifetimes.add(9, 1),
        |profile| profile.threads[0].total_bytes += 1,
        |profile| profile.timeline.intervals.clear(),
        |profile| profile.timeline.intervals[0].freed_bytes += 64,
        |profile| {
            let event = |at_ns| profile::Event {
                at_ns,
                thread: 0,
                stack: 0,
                kind: profile::EventKind::Free { address: 16 },
            };
            profile.history = vec![event(2), event(1)];
        },
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        let mut profile = sound();
        fault(&mut profile);
        assert!(obeyed(&profile).is_err(), "fault {number} went unnoticed");
    }
    // A sample is in the totals, and in no table, also where each block was drawn.
    let mut profile = sound();
    let totals = &mut profile.totals;
    (totals.total_blocks, totals.total_bytes) = (totals.total_blocks + 1, totals.total_bytes + 8);
    (totals.freed_blocks, totals.freed_bytes) = (totals.freed_blocks + 1, totals.freed_bytes + 8);
    assert!(obeyed(&profile).is_err());
    profile.estimates = Some(profile::Estimates { sampled_blocks: 1, ..profile::Estimates::default() });
    assert_eq!(obeyed(&profile), Ok(()));
}

fn completeness_can_fail() {
    let faults: [fn(&mut Profile); 8] = [
        |profile| profile.quality.installed = false,
        |profile| {
            profile.quality.lost.add(LossReason::RingFull, 1);
            profile.quality.attempted += 1;
            profile.quality.current_completeness = 14.0 / 15.0;
        },
        |profile| {
            profile.quality.in_flight += 1;
            profile.quality.attempted += 1;
        },
        |profile| profile.quality.anomalies.unmatched_frees = 1,
        |profile| profile.quality.anomalies.double_allocations = 1,
        |profile| profile.quality.anomalies.layout_mismatches = 1,
        |profile| profile.threads[0].attempted -= 1,
        |profile| profile.live[0].size = 65,
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        let mut profile = sound();
        fault(&mut profile);
        assert!(complete(&profile).is_err(), "fault {number} went unnoticed");
    }
}
