//! Stable format for programs: one JSON object.
//!
//! The name of a key ends with its unit; a key without a unit counts blocks or events. Addresses are hexadecimal
//! strings, because JavaScript numbers cannot represent every address. Counts are numbers, and every number is finite.
//! A new version may add keys without notice; a change of meaning or the removal of a key raises `format_version`.
//! Version 1, which has the whole stack in each site, is still written on request.
//!
//! Addresses have no meaning outside the process, and the list of live blocks and the history consist of addresses. So
//! live blocks are summed by size (`live.by_size`), and the history is left out. `verdict` has the result of
//! `heapledger verify`.

mod lines;
mod schema;
mod sites;

use std::io::{self, Write};

use serde::Serialize;

use schema::{
    Document, Interval, Law, Module, QualityPart, Settings, SitePart, Thread, Timeline, Trust, VerdictPart,
    by_reason,
};
use sites::line;

use super::options::JsonVersion;
use crate::analysis::arithmetic::buckets;
use crate::analysis::certainty::Grade;
use crate::analysis::{Certainty, Frame, Origin, StackReader, Verification, estimated_bytes, live, verify};
use heapledger::profile::{self, Profile, ScopeCounts, Site, ThreadRow};

/// Maximum number of different sizes listed under `live.by_size`.
const LIVE_SIZES: usize = 1_000;

pub(super) fn write(
    profile: &Profile,
    origin: &Origin,
    version: JsonVersion,
    out: &mut impl Write,
) -> io::Result<()> {
    match version {
        JsonVersion::One => serde_json::to_writer_pretty(&mut *out, &version_1(profile, origin))?,
        JsonVersion::Two => {
            let layout = lines::Lines::default();
            let mut serializer = serde_json::Serializer::with_formatter(&mut *out, layout);
            version_2(profile, origin).serialize(&mut serializer)?;
        }
    }
    writeln!(out)
}

fn version_1<'a>(profile: &'a Profile, origin: &'a Origin) -> Document<'a, SitePart<'a>> {
    let reader = StackReader::new(profile);
    let sites = profile.sites.iter().map(|account| site(profile, &reader, account)).collect();
    Document { format_version: 1, ..document(profile, origin, sites) }
}

fn version_2<'a>(profile: &'a Profile, origin: &'a Origin) -> Document<'a, sites::Site> {
    let (frames, calls, sites) = sites::sites(profile);
    Document { frames: Some(frames), calls: Some(calls), ..document(profile, origin, sites) }
}

fn document<'a, S: Serialize>(profile: &'a Profile, origin: &'a Origin, sites: Vec<S>) -> Document<'a, S> {
    Document {
        format_version: 2,
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
        memory: &profile.memory,
        curves: &profile.curves,
        scope_counts: (profile.scope_counts != ScopeCounts::default()).then_some(profile.scope_counts),
        frames: None,
        calls: None,
        sites,
        modules: modules(profile),
        changes: &profile.changes,
        tracked: (!profile.tracked.is_empty()).then_some(&profile.tracked),
    }
}

fn verdict(verdict: &Verification) -> VerdictPart {
    let laws = verdict.laws.iter().map(|law| Law {
        law: law.law,
        // The sums are written as text, because they can exceed 64 bits.
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
        write(profile, origin, JsonVersion::Two, &mut out).expect("a vector takes everything");
        serde_json::from_slice(&out).expect("JSON")
    }

    /// Returns a profile with one element in each of its lists.
    fn everything() -> Profile {
        use heapledger::profile::tracked::{Holder, PointerKind, TrackedPointer};
        use heapledger::profile::{Change, Estimates, RemoteFrees, Scope, Stacks};
        let mut profile = sample::named();
        profile.settings.stacks = Stacks::Sampled { bytes: 4096 };
        profile.estimates = Some(Estimates::default());
        profile.crossings = vec![RemoteFrees::default()];
        profile.scopes = vec![Scope::default()];
        profile.scope_counts.late_tokens = 1;
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
        let site = &mut profile.sites[0];
        (site.temporary_blocks, site.temporary_bytes, site.cross_thread_frees) = (1, 1, 1);
        site.reallocs.count = 1;
        let stack = &mut profile.stacks[site.stack as usize];
        stack.frames.push(heapledger::profile::scope_address(1));
        stack.truncated = true;
        profile.threads.truncate(1);
        profile.modules.truncate(1);
        profile.live.truncate(1);
        profile.timeline.intervals.truncate(1);
        profile
    }

    /// Returns every line of the pretty JSON that has a key, cut after the key. The lines show names, nesting and order
    /// of the keys.
    fn keys(document: &impl Serialize) -> String {
        let text = serde_json::to_string_pretty(document).expect("text");
        text.lines().filter_map(|line| Some(line.split_once("\": ")?.0.to_owned() + "\"\n")).collect()
    }

    /// If a line changes, so does the format that other programs parse.
    #[test]
    fn keys_keep_their_names_nesting_and_order() {
        let (profile, origin) = (everything(), Origin::default());
        let (first, second) = (keys(&version_1(&profile, &origin)), keys(&version_2(&profile, &origin)));
        assert_eq!(first, include_str!("keys-1.txt"), "{first}");
        assert_eq!(second, include_str!("keys.txt"), "{second}");
    }

    /// The sites of both versions must be the same.
    #[test]
    fn both_versions_hold_the_same_sites() {
        let profile = sample::named();
        let origin = Origin::default();
        let [one, two] = [JsonVersion::One, JsonVersion::Two].map(|version| {
            let mut out = Vec::new();
            write(&profile, &origin, version, &mut out).expect("a vector takes everything");
            serde_json::from_slice::<Value>(&out).expect("JSON")
        });
        assert_eq!((&one["format_version"], &two["format_version"]), (&1.into(), &2.into()));
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let sites = |of: &Value| of["sites"].as_array().expect("a list").clone();
        for (before, after) in sites(&one).iter().zip(sites(&two)) {
            let (mut functions, mut lines, mut node) =
                (Vec::new(), Vec::new(), number(&after["call"]) as usize);
            while node != 0 {
                let call = &two["frames"][number(&two["calls"]["frames"][node]) as usize];
                functions.extend(call["functions"].as_array().expect("a list").clone());
                lines.extend(call["lines"].as_array().expect("a list").clone());
                node = number(&two["calls"]["parents"][node]) as usize;
            }
            assert_eq!((&before["functions"], &before["lines"]), (&functions.into(), &lines.into()));
            for key in ["stack", "total_bytes", "live_bytes", "at_peak_blocks", "temporary_blocks"] {
                assert_eq!(number(&before[key]), number(&after[key]), "{key}");
            }
            let least = |of: &Value, key: &str| of["sizes_bytes"][0].get(key).cloned();
            assert_eq!(least(before, "low").as_ref(), after["sizes_bytes"][0].get(0));
        }
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
        let call = value["sites"][1]["call"].as_u64().expect("a node") as usize;
        let frame = value["calls"]["frames"][call].as_u64().expect("a call") as usize;
        assert_eq!(value["frames"][frame]["address"], "0x1000");
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
