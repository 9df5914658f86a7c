//! Stable machine-readable format: one JSON object.
//!
//! The name of a key ends with its unit; a key without a unit counts blocks or events. Addresses are strings in
//! hexadecimal, because JavaScript numbers cannot represent every address; counts are numbers. Every number is
//! finite. New versions may add keys; a change of meaning or the removal of a key raises `format_version`.
//!
//! The list of live blocks and the history hold addresses, which are meaningless outside the process. So live blocks
//! are summed by size (`live.by_size`), and the history is omitted. `verdict` holds the result of `heapledger
//! verify`.

mod schema;

use std::io::{self, Write};

use schema::{
    Document, Interval, Law, Module, QualityPart, Settings, SitePart, Thread, Timeline, Trust, VerdictPart,
    by_reason,
};

use crate::analysis::arithmetic::buckets;
use crate::analysis::certainty::Grade;
use crate::analysis::{Certainty, Frame, Origin, StackReader, Verification, estimated_bytes, live, verify};
use heapledger::profile::{self, Profile, Site, ThreadRow};

/// Version of this format.
const FORMAT_VERSION: u32 = 1;

/// Maximum number of sizes listed under `live.by_size`.
const LIVE_SIZES: usize = 1_000;

pub(super) fn write(profile: &Profile, origin: &Origin, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &document(profile, origin))?;
    writeln!(out)
}

fn document<'a>(profile: &'a Profile, origin: &'a Origin) -> Document<'a> {
    let reader = StackReader::new(profile);
    Document {
        format_version: FORMAT_VERSION,
        quality: QualityPart { quality: &profile.quality, damaged_parts: origin.damage.len() as u64 },
        damage: &origin.damage,
        notes: &origin.notes,
        verdict: verdict(&verify(profile, origin)),
        process: &profile.process,
        settings: settings(profile),
        clock: &profile.clock,
        totals: profile.totals,
        estimates: profile.estimates,
        peak: profile.peak,
        threads: profile.threads.iter().map(thread).collect(),
        crossings: &profile.crossings,
        timeline: timeline(profile),
        live: live(profile, LIVE_SIZES),
        stacks: &profile.stack_figures,
        scopes: &profile.scopes,
        sites: profile.sites.iter().map(|account| site(profile, &reader, account)).collect(),
        modules: modules(profile),
        changes: &profile.changes,
        tracked: (!profile.tracked.is_empty()).then_some(&profile.tracked),
    }
}

fn verdict(verdict: &Verification) -> VerdictPart {
    let laws = verdict.laws.iter().map(|law| Law {
        law: law.law,
        // The sums of a law can exceed 64 bits.
        left: law.left.to_string(),
        right: law.right.to_string(),
        state: law.state.name(),
    });
    let conclusions = verdict.conclusions.iter();
    VerdictPart {
        laws_broken: verdict.broken() as u64,
        laws: laws.collect(),
        conclusions: conclusions.map(|one| (one.figure.name(), trust(&one.certainty))).collect(),
    }
}

fn trust(certainty: &Certainty) -> Trust {
    Trust {
        grade: certainty.grade.name(),
        within: match certainty.grade {
            Grade::Within(amount) => Some(amount),
            _ => None,
        },
        causes: certainty.causes.iter().map(|cause| (cause.name(), cause.amount())).collect(),
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
        lost_by_reason: by_reason(&row.lost),
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
    let part = |(interval, live_bytes_at_end): (&profile::Interval, u64)| Interval {
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

fn site<'a>(profile: &'a Profile, reader: &StackReader<'a>, account: &Site) -> SitePart<'a> {
    let stack = profile.stacks.get(account.stack as usize);
    let frames = stack.iter().flat_map(|stack| &stack.frames);
    let named = reader.frames(account.stack);
    SitePart {
        stack: account.stack,
        frames: frames.map(|frame| format!("{frame:#x}")).collect(),
        functions: named.iter().map(Frame::display_name).collect(),
        lines: named.iter().map(line).collect(),
        frames_truncated: stack.is_some_and(|stack| stack.truncated),
        total_blocks: account.total_blocks,
        total_bytes: account.total_bytes,
        estimated_bytes: estimated_bytes(profile, account),
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
        reallocs: account.reallocs,
        sizes_bytes: buckets(&account.sizes),
        lifetimes_ns: buckets(&account.lifetimes),
    }
}

/// Returns the file and line of a frame; empty if the file is unknown.
fn line(frame: &Frame<'_>) -> String {
    if frame.file.is_empty() { String::new() } else { format!("{}:{}", frame.file, frame.line) }
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
    use heapledger::profile::{LossReason, QualityIndicator};

    fn json(profile: &Profile, origin: &Origin) -> Value {
        let mut out = Vec::new();
        write(profile, origin, &mut out).expect("a vector takes everything");
        serde_json::from_slice(&out).expect("JSON")
    }

    /// Returns a profile with one element in every list.
    fn everything() -> Profile {
        use heapledger::profile::tracked::{Holder, PointerKind, TrackedPointer};
        use heapledger::profile::{Change, Estimates, RemoteFrees, Scope, Stacks};
        let mut profile = sample::named();
        profile.settings.stacks = Stacks::Sampled { bytes: 4096 };
        profile.estimates = Some(Estimates::default());
        profile.crossings = vec![RemoteFrees::default()];
        profile.scopes = vec![Scope::default()];
        profile.changes = vec![Change { at_ns: 1, what: "mode: a -> b".into() }];
        profile.quality.lost.add(LossReason::RingFull, 1);
        profile.tracked.pointers.push(TrackedPointer {
            id: 0,
            name: "config".into(),
            type_name: "Config".into(),
            kind: PointerKind::Arc,
            created_at: "main.rs:7:5".into(),
            clones: 12,
            drops: 10,
            unwrapped: 0,
            held: 3,
            strong_high_water: 5,
            storms: 2,
            largest_burst_clones: 400,
            holders: vec![Holder { place: "a.rs:1:1".into(), made: 9, held: 2 }],
        });
        profile.sites.truncate(2);
        profile.sites.remove(0);
        profile.threads.truncate(1);
        profile.modules.truncate(1);
        profile.live.truncate(1);
        profile.timeline.intervals.truncate(1);
        profile
    }

    /// Compares `keys.txt` with every line of the JSON that has a key, cut after the key: this checks names, nesting
    /// and order. A changed line changes the format that other programs parse.
    #[test]
    fn keys_keep_their_names_nesting_and_order() {
        let mut out = Vec::new();
        write(&everything(), &Origin::default(), &mut out).expect("a vector takes everything");
        let text = String::from_utf8(out).expect("text");
        let keys: String =
            text.lines().filter_map(|line| Some(line.split_once("\": ")?.0.to_owned() + "\"\n")).collect();
        assert_eq!(keys, include_str!("keys.txt"), "{keys}");
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
        let mut quality = QualityIndicator { recorded: u64::MAX, ..QualityIndicator::default() };
        assert_eq!(schema::completeness(&quality), 1.0);
        quality.lost.add(LossReason::RingFull, 1);
        assert!(schema::completeness(&quality) < 1.0);
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
