//! The stable machine face: one JSON object.
//!
//! Names carry their unit, or count blocks or events where they have none. Addresses are strings in hexadecimal,
//! because they do not fit into the numbers of JavaScript; counts are numbers. Every number is finite. Keys are
//! added over time; a key that changes its meaning or goes away raises `format_version`.
//!
//! Live blocks are summed by size (`live.by_size`), and the history is left out: both are lists of addresses,
//! which are of no use outside the process. `verdict` holds what `heapledger verify` says.

mod schema;

use std::io::{self, Write};

use schema::{
    Anomalies, Change, Clock, Document, Estimated, Estimates, Interval, Law, Live, LiveSize, Module, Peak,
    Process, Quality, Range, Reallocs, Settings, SitePart, Thread, Timeline, Totals, Trust, Turns,
    VerdictPart,
};

use crate::analysis::standing::Grade;
use crate::analysis::{Frame, Origin, StackReader, Standing, Verdict, estimated_bytes, live, verify};
use heapledger::profile::{self, CompletenessTrend, Histogram, Profile, Site, ThreadRow};

/// Version of this format.
const FORMAT_VERSION: u32 = 1;

/// Sizes listed under `live.by_size`, at most.
const LIVE_SIZES: usize = 1_000;

pub(super) fn write(profile: &Profile, origin: &Origin, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &document(profile, origin))?;
    writeln!(out)
}

fn document<'a>(profile: &'a Profile, origin: &'a Origin) -> Document<'a> {
    let (process, clock, peak) = (&profile.process, &profile.clock, &profile.peak);
    let reader = StackReader::new(profile);
    Document {
        format_version: FORMAT_VERSION,
        quality: quality(profile, origin),
        damage: &origin.damage,
        notes: &origin.notes,
        verdict: verdict(&verify(profile, origin)),
        process: Process {
            program: &process.program,
            pid: process.pid,
            forked_from: process.forked_from,
            command_line: &process.command_line,
            platform: &process.platform,
            heapledger_version: &process.heapledger_version,
            started_unix_ns: process.started_unix_ns,
            duration_ns: process.duration_ns,
            reason: &process.reason,
        },
        settings: settings(profile),
        clock: Clock {
            source: &clock.source,
            why: &clock.why,
            longest_interpolated_span_ns: clock.longest_span_ns,
        },
        totals: totals(profile),
        estimates: profile.estimates.as_ref().map(estimates),
        peak: Peak {
            bytes: peak.bytes,
            blocks: peak.blocks,
            at_ns: peak.at_ns,
            uncertainty_bytes: peak.uncertainty_bytes,
        },
        threads: profile.threads.iter().map(thread).collect(),
        crossings: &profile.crossings,
        timeline: timeline(profile),
        live: live_part(profile),
        stacks: &profile.stack_figures,
        sites: profile.sites.iter().map(|account| site(profile, &reader, account)).collect(),
        modules: modules(profile),
        changes: profile
            .changes
            .iter()
            .map(|change| Change { at_ns: change.at_ns, what: &change.what })
            .collect(),
        tracked: (!profile.tracked.is_empty()).then_some(&profile.tracked),
    }
}

fn estimates(estimates: &profile::Estimates) -> Estimates {
    Estimates {
        total_blocks: estimated(&estimates.total_blocks),
        total_bytes: estimated(&estimates.total_bytes),
        live_blocks: estimated(&estimates.live_blocks),
        live_bytes: estimated(&estimates.live_bytes),
        mean_bytes_between_samples: estimates.mean_bytes_between_samples,
        sampled_blocks: estimates.sampled_blocks,
    }
}

fn estimated(estimate: &profile::Estimate) -> Estimated {
    Estimated { value: finite(estimate.value), standard_error: finite(estimate.standard_error) }
}

fn turns(times: &profile::TurnTimes) -> Turns {
    Turns {
        made: times.turns,
        timed: times.timed,
        mean_ns: times.mean_ns().and_then(finite),
        p99_ns_at_most: times.p99_ns(),
    }
}

fn quality<'a>(profile: &'a Profile, origin: &Origin) -> Quality<'a> {
    let quality = &profile.quality;
    let lost = quality.lost.total();
    Quality {
        installed: quality.installed,
        completeness: completeness(quality.recorded, lost),
        target_completeness: finite(quality.target_completeness),
        windowed_completeness: quality.windowed_completeness.and_then(finite),
        trend: match quality.trend {
            CompletenessTrend::Improving => "improving",
            CompletenessTrend::Stable => "stable",
            CompletenessTrend::Degrading => "degrading",
            CompletenessTrend::Unknown => "unknown",
        },
        recommendation: &quality.recommendation,
        attempted: quality.attempted,
        recorded: quality.recorded,
        lost,
        lost_by_reason: quality.lost.iter().map(|(reason, events)| (reason.name(), events)).collect(),
        in_flight: quality.in_flight,
        sampled_out: quality.sampled_out,
        retained: quality.retained,
        evicted: quality.evicted,
        anomalies: Anomalies {
            unmatched_frees: quality.anomalies.unmatched_frees,
            double_allocations: quality.anomalies.double_allocations,
            ambiguous_pairings: quality.anomalies.ambiguous_pairings,
            layout_mismatches: quality.anomalies.layout_mismatches,
        },
        own_events: quality.own_events,
        own_bytes: quality.own_bytes,
        own_cpu_ns: quality.own_cpu_ns,
        lag_ns: quality.lag_ns,
        ring_high_water_words: quality.ring_high_water_words,
        folds_at_home: quality.folds_at_home,
        folds_away: quality.folds_away,
        waits: quality.waits,
        spare_segments: quality.spare_segments,
        turns: turns(&quality.turn_times),
        damaged_parts: origin.damage.len() as u64,
    }
}

/// Recorded ÷ settled; below 1 whenever something was lost, however little.
fn completeness(recorded: u64, lost: u64) -> f64 {
    let share = heapledger::profile::QualityIndicator::completeness_of(recorded, lost);
    if lost > 0 { share.min(1.0 - f64::EPSILON) } else { share }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn verdict(verdict: &Verdict) -> VerdictPart {
    let laws = verdict.laws.iter().map(|law| Law {
        law: law.law,
        // Sums need more than 64 bits.
        left: law.left.to_string(),
        right: law.right.to_string(),
        state: law.state.name(),
    });
    let conclusions = verdict.conclusions.iter();
    VerdictPart {
        laws_broken: verdict.broken() as u64,
        laws: laws.collect(),
        conclusions: conclusions.map(|one| (one.figure.name(), trust(&one.standing))).collect(),
    }
}

fn trust(standing: &Standing) -> Trust {
    Trust {
        grade: standing.grade.name(),
        within: match standing.grade {
            Grade::Within(amount) => Some(amount),
            _ => None,
        },
        causes: standing.causes.iter().map(|cause| (cause.name(), cause.amount())).collect(),
    }
}

fn settings(profile: &Profile) -> Settings {
    let settings = &profile.settings;
    Settings {
        mode: settings.mode.name(),
        stacks: settings.stacks.to_string(),
        clock: settings.clock.name(),
        history_events: settings.history.events,
        history_bytes: settings.history.bytes,
        history_age_ns: settings.history.age_ns,
        max_retries: settings.concurrency.max_retries,
        base_delay_ns: settings.concurrency.base_delay_ns,
        enable_overflow_buffer: settings.concurrency.enable_overflow_buffer,
        memory_limit_bytes: settings.memory_limit_bytes,
    }
}

fn totals(profile: &Profile) -> Totals {
    let totals = &profile.totals;
    Totals {
        total_blocks: totals.total_blocks,
        total_bytes: totals.total_bytes,
        freed_blocks: totals.freed_blocks,
        freed_bytes: totals.freed_bytes,
        live_blocks: totals.live_blocks,
        live_bytes: totals.live_bytes,
        peak_blocks: totals.peak_blocks,
        peak_bytes: totals.peak_bytes,
        reallocs: totals.reallocs,
        failed: totals.failed,
    }
}

fn thread(row: &ThreadRow) -> Thread<'_> {
    Thread {
        index: row.index,
        name: &row.name,
        os_id: row.os_id,
        threads: row.threads,
        own: row.own,
        started_ns: row.started_ns,
        ended_ns: row.ended_ns,
        attempted: row.attempted,
        recorded: row.recorded,
        lost: row.lost.total(),
        lost_by_reason: row.lost.iter().map(|(reason, events)| (reason.name(), events)).collect(),
        total_blocks: row.total_blocks,
        total_bytes: row.total_bytes,
        freed_blocks: row.freed_blocks,
        freed_bytes: row.freed_bytes,
        cross_thread_frees: row.cross_thread_frees,
    }
}

fn timeline(profile: &Profile) -> Timeline {
    let live = profile.timeline.live_bytes();
    let intervals = profile.timeline.intervals.iter().zip(live);
    let part = |(interval, live_bytes_at_end): (&heapledger::profile::Interval, u64)| Interval {
        allocated_blocks: interval.allocated_blocks,
        allocated_bytes: interval.allocated_bytes,
        freed_blocks: interval.freed_blocks,
        freed_bytes: interval.freed_bytes,
        live_bytes_at_end,
        peak_bytes: interval.peak_bytes,
        lost: interval.lost,
    };
    Timeline { interval_ns: profile.timeline.interval_ns, intervals: intervals.map(part).collect() }
}

fn live_part(profile: &Profile) -> Live {
    let found = live(profile, LIVE_SIZES);
    let by_size = found.groups.iter().map(|group| LiveSize {
        size_bytes: group.size,
        blocks: group.blocks,
        bytes: group.bytes,
        oldest_born_ns: group.oldest_ns,
    });
    Live {
        blocks: found.blocks,
        bytes: found.bytes,
        by_size: by_size.collect(),
        other_blocks: found.other_blocks,
        other_bytes: found.other_bytes,
    }
}

fn site<'a>(profile: &'a Profile, reader: &StackReader<'a>, account: &Site) -> SitePart<'a> {
    let stack = profile.stacks.get(account.stack as usize);
    let frames = stack.iter().flat_map(|stack| &stack.frames);
    let named = reader.frames(account.stack);
    SitePart {
        stack: account.stack,
        frames: frames.map(|frame| format!("{frame:#x}")).collect(),
        functions: named.iter().map(Frame::label).collect(),
        lines: named.iter().map(line).collect(),
        frames_truncated: stack.is_some_and(|stack| stack.truncated),
        total_blocks: account.total_blocks,
        total_bytes: account.total_bytes,
        estimated_bytes: estimated_bytes(profile, account).as_ref().map(estimated),
        freed_blocks: account.freed_blocks,
        freed_bytes: account.freed_bytes,
        live_blocks: account.live_blocks(),
        live_bytes: account.live_bytes(),
        own_peak_bytes: account.own_peak_bytes,
        at_peak_blocks: account.at_peak_blocks,
        at_peak_bytes: account.at_peak_bytes,
        temporary_blocks: account.temporary_blocks,
        temporary_bytes: account.temporary_bytes,
        cross_thread_frees: account.cross_thread_frees,
        reallocs: Reallocs {
            count: account.reallocs.count,
            moved: account.reallocs.moved,
            copied_bytes: account.reallocs.copied_bytes,
            chains: account.reallocs.chains,
            chain_links: account.reallocs.chain_links,
            longest_chain: account.reallocs.longest_chain,
        },
        sizes_bytes: ranges(&account.sizes),
        lifetimes_ns: ranges(&account.lifetimes),
    }
}

/// File and line of a frame; empty if they are not known.
fn line(frame: &Frame<'_>) -> String {
    if frame.file.is_empty() { String::new() } else { format!("{}:{}", frame.file, frame.line) }
}

fn ranges(histogram: &Histogram) -> Vec<Range> {
    histogram.rows().map(|(low, high, blocks)| Range { low, high, blocks }).collect()
}

fn modules(profile: &Profile) -> Vec<Module<'_>> {
    let listed = profile.modules.iter().map(|module| {
        let [start, end, bias] =
            [module.start, module.end, module.bias].map(|address| format!("{address:#x}"));
        Module { path: &module.path, build_id: &module.build_id, start, end, bias }
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::analysis::sample;
    use heapledger::profile::LossReason;

    fn json(profile: &Profile, origin: &Origin) -> Value {
        let mut out = Vec::new();
        write(profile, origin, &mut out).expect("a vector takes everything");
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn the_promised_keys_are_there() {
        let value = json(&sample::complete(), &Origin::default());
        for path in [
            "/format_version",
            "/quality/attempted",
            "/quality/recorded",
            "/quality/lost",
            "/quality/in_flight",
            "/quality/completeness",
            "/quality/lost_by_reason/ring_full",
            "/totals/total_blocks",
            "/totals/total_bytes",
            "/totals/live_blocks",
            "/totals/live_bytes",
            "/totals/peak_blocks",
            "/totals/peak_bytes",
            "/sites/0/total_bytes",
            "/threads/0/name",
            "/timeline/interval_ns",
            "/process/pid",
            "/peak/uncertainty_bytes",
            "/clock/source",
            "/settings/mode",
            "/live/by_size/0/size_bytes",
            "/damage",
            "/notes",
        ] {
            assert!(value.pointer(path).is_some(), "{path}");
        }
    }

    #[test]
    fn the_sample_reads_as_computed_by_hand() {
        let value = json(&sample::complete(), &Origin::default());
        assert_eq!(value["totals"]["peak_bytes"], 3_500);
        assert_eq!(value["live"]["by_size"][0]["blocks"], 2);
        assert_eq!(value["sites"][1]["frames"], serde_json::json!(["0x1000", "0x2000"]));
        let named = json(&sample::named(), &Origin::default());
        let functions = serde_json::json!(["Vec<T>::push", "parse", "main"]);
        assert_eq!(named["sites"][1]["functions"], functions);
        assert_eq!(value["timeline"]["intervals"][2]["live_bytes_at_end"], 1_500);
        assert_eq!(value["verdict"]["conclusions"]["totals"]["grade"], "exact");
        assert_eq!(value["quality"]["completeness"], 1.0);
    }

    #[test]
    fn every_forced_loss_shows() {
        for reason in LossReason::ALL {
            let value = json(&sample::with_loss(reason, 3), &Origin::default());
            assert_eq!(value["quality"]["lost"], 3);
            assert_eq!(value["quality"]["lost_by_reason"][reason.name()], 3);
            assert_eq!(value["threads"][0]["lost_by_reason"][reason.name()], 3);
            assert_eq!(value["timeline"]["intervals"][1]["lost"], 3);
            assert_eq!(value["verdict"]["conclusions"]["totals"]["grade"], "at_least");
        }
    }

    #[test]
    fn one_lost_event_among_the_most_there_can_be_is_not_complete() {
        assert!(completeness(u64::MAX, 1) < 1.0);
        assert_eq!(completeness(u64::MAX, 0), 1.0);
    }

    #[test]
    fn damage_is_listed_and_counted_in_the_quality() {
        let value =
            json(&sample::complete(), &Origin::new(vec!["section live: checksum".into()], Vec::new()));
        assert_eq!(
            (&value["damage"][0], &value["quality"]["damaged_parts"]),
            (&"section live: checksum".into(), &1.into())
        );
    }
}
