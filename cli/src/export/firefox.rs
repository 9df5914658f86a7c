//! Format of the [Firefox Profiler](https://profiler.firefox.com), written by `fxprof-processed-profile`.
//!
//! * One thread has the *allocations*: for each path the bytes that were allocated, freed, and live at the end. From
//!   these, the memory views of the profiler show allocated and retained bytes by stack.
//! * A *counter* has the live bytes at the end of each interval of the timeline.
//! * *Markers* show the peak, every interval with lost events, and the quality of the data, one line each.
//!
//! A path has sums but no times, so its allocations are written at the start of the recording and its frees at the end.
//! Selecting a range of time therefore makes sense only for the counter and the markers. The stack of a free is
//! unknown, so frees have no stack. Frames have the names of functions, but no files and lines, because the kind of
//! frame used (a label) has no fields for them.

use std::io::{self, Write};
use std::time::Duration;

use fxprof_processed_profile::{
    CategoryHandle, Frame, FrameFlags, FrameInfo, MarkerFieldFlags, MarkerFieldFormat, MarkerLocations,
    MarkerTiming, Profile as Processed, ReferenceTimestamp, SamplingInterval, StaticSchemaMarker,
    StaticSchemaMarkerField, StringHandle, ThreadHandle, Timestamp,
};

use super::names::NO_STACK;
use super::quality;
use crate::analysis::{Origin, group_by};
use heapledger::profile::{Profile, Site};

/// Marker that shows a text.
struct Note {
    name: StringHandle,
    text: StringHandle,
}

impl StaticSchemaMarker for Note {
    const UNIQUE_MARKER_TYPE_NAME: &'static str = "heapledger";
    const LOCATIONS: MarkerLocations = MarkerLocations::MARKER_CHART
        .union(MarkerLocations::MARKER_TABLE)
        .union(MarkerLocations::TIMELINE_OVERVIEW);
    const TOOLTIP_LABEL: Option<&'static str> = Some("{marker.name}: {marker.data.text}");
    const TABLE_LABEL: Option<&'static str> = Some("{marker.data.text}");
    const FIELDS: &'static [StaticSchemaMarkerField] = &[StaticSchemaMarkerField {
        key: "text",
        label: "Text",
        format: MarkerFieldFormat::String,
        flags: MarkerFieldFlags::SEARCHABLE,
    }];

    fn name(&self, _profile: &mut Processed) -> StringHandle {
        self.name
    }

    fn category(&self, _profile: &mut Processed) -> CategoryHandle {
        CategoryHandle::OTHER
    }

    fn string_field_value(&self, _field: u32) -> StringHandle {
        self.text
    }

    fn number_field_value(&self, _field: u32) -> f64 {
        0.0
    }
}

fn at(ns: u64) -> Timestamp {
    Timestamp::from_nanos_since_reference(ns)
}

pub(super) fn write(profile: &Profile, origin: &Origin, out: &mut impl Write) -> io::Result<()> {
    let process = &profile.process;
    let started = Duration::from_nanos(process.started_unix_ns);
    let interval = SamplingInterval::from_nanos(profile.timeline.interval_ns.max(1));
    let product = format!("{} (heapledger {})", process.program, env!("CARGO_PKG_VERSION"));
    let mut processed =
        Processed::new(&product, ReferenceTimestamp::from_duration_since_unix_epoch(started), interval);
    processed.set_os_name(&process.platform);
    // No frame has an address, so the profiler must not look up symbols.
    processed.set_symbolicated(true);
    let owner = processed.add_process(&process.program, process.pid, at(0));
    processed.set_process_end_time(owner, at(process.duration_ns));
    let thread = processed.add_thread(owner, process.pid, at(0), true);
    processed.set_thread_name(thread, "heap");
    processed.set_thread_end_time(thread, at(process.duration_ns));
    processed.add_initial_visible_thread(thread);
    processed.add_initial_selected_thread(thread);
    let counter = processed.add_counter(owner, "malloc", "Memory", "Live bytes of the heap");
    let mut before = 0;
    processed.add_counter_sample(counter, at(0), 0.0, 0);
    for (index, live) in (1..).zip(profile.timeline.live_bytes()) {
        let operations = profile
            .timeline
            .intervals
            .get(index as usize - 1)
            .map_or(0, |interval| interval.allocated_blocks.saturating_add(interval.freed_blocks));
        let change = live as f64 - before as f64;
        let end = profile.timeline.interval_ns.saturating_mul(index).min(process.duration_ns);
        processed.add_counter_sample(counter, at(end), change, u32::try_from(operations).unwrap_or(u32::MAX));
        before = live;
    }
    add_allocations(profile, &mut processed, thread);
    add_notes(profile, origin, &mut processed, thread);
    serde_json::to_writer(&mut *out, &processed)?;
    writeln!(out)
}

/// Adds two blocks for each path, at distinct addresses: one for all freed blocks and one for all live blocks.
fn add_allocations(profile: &Profile, processed: &mut Processed, thread: ThreadHandle) {
    let found = group_by(profile, |frame| frame.display_name());
    let mut frame = |name: &str| {
        let label = Frame::Label(processed.intern_string(name));
        processed.intern_frame(
            thread,
            FrameInfo {
                frame: label,
                category_pair: CategoryHandle::OTHER.into(),
                flags: FrameFlags::empty(),
            },
        )
    };
    let frames: Vec<_> = found.keys.iter().map(|name| frame(name)).collect();
    let no_stack = frame(NO_STACK);
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    for (index, group) in (0..).zip(&found.groups) {
        let mut stack = None;
        for number in group.frames.iter().rev() {
            stack = Some(processed.intern_stack(thread, stack, frames[*number as usize]));
        }
        let stack = stack.unwrap_or_else(|| processed.intern_stack(thread, None, no_stack));
        let live = signed(group.sum(profile, Site::live_bytes));
        // All allocated bytes that are not live count as freed, even if other tables of the profile disagree.
        let freed = signed(group.sum(profile, |site| site.total_bytes)).saturating_sub(live);
        let address = 16 * (2 * index + 1);
        if freed > 0 {
            processed.add_allocation_sample(thread, at(0), Some(stack), address, freed);
            processed.add_allocation_sample(thread, at(profile.process.duration_ns), None, address, -freed);
        }
        if live > 0 {
            processed.add_allocation_sample(thread, at(0), Some(stack), address + 16, live);
        }
    }
}

fn add_notes(profile: &Profile, origin: &Origin, processed: &mut Processed, thread: ThreadHandle) {
    let mut note = |name: &str, text: &str, timing: MarkerTiming| {
        let (name, text) = (processed.intern_string(name), processed.intern_string(text));
        processed.add_marker(thread, timing, Note { name, text });
    };
    let end = profile.process.duration_ns;
    note("quality", &quality::sentence(profile, origin), MarkerTiming::Interval(at(0), at(end)));
    for line in quality::lines(profile, origin) {
        note("quality in full", &line, MarkerTiming::Instant(at(0)));
    }
    if profile.peak.bytes > 0 {
        let uncertainty = profile.peak.uncertainty_bytes;
        let text = format!(
            "{} bytes in {} blocks, within {uncertainty} bytes",
            profile.peak.bytes, profile.peak.blocks
        );
        note("peak", &text, MarkerTiming::Instant(at(profile.peak.at_ns)));
    }
    let length = profile.timeline.interval_ns;
    for (index, interval) in (0..).zip(&profile.timeline.intervals) {
        if interval.lost > 0 {
            let start = length.saturating_mul(index);
            let timing = MarkerTiming::Interval(at(start), at(start.saturating_add(length)));
            note("LOST EVENTS", &format!("{} events lost", interval.lost), timing);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::Value;

    use super::*;
    use crate::analysis::sample;
    use heapledger::profile::LossReason;

    fn json(profile: &Profile) -> Value {
        let mut out = Vec::new();
        write(profile, &Origin::default(), &mut out).expect("a vector takes everything");
        serde_json::from_slice(&out).expect("JSON")
    }

    fn list(value: &Value) -> &Vec<Value> {
        value.as_array().expect("a list")
    }

    #[test]
    fn allocations_add_up_to_the_totals_and_what_is_retained_to_the_live_bytes() {
        let profile = sample::named();
        let value = json(&profile);
        let table = &value["threads"][0]["nativeAllocations"];
        let weights: Vec<i64> =
            list(&table["weight"]).iter().map(|weight| weight.as_i64().expect("a number")).collect();
        let totals = profile.totals;
        assert_eq!(weights.iter().filter(|weight| **weight > 0).sum::<i64>(), totals.total_bytes as i64);
        let mut by_address: HashMap<u64, i64> = HashMap::new();
        for (address, weight) in list(&table["memoryAddress"]).iter().zip(&weights) {
            *by_address.entry(address.as_u64().expect("an address")).or_default() += weight;
        }
        assert_eq!(by_address.values().sum::<i64>(), totals.live_bytes as i64);
        assert!(by_address.values().all(|left| *left >= 0));
    }

    #[test]
    fn the_counter_follows_the_timeline_and_losses_are_marked() {
        let value = json(&sample::with_loss(LossReason::RingFull, 3));
        let counts = list(&value["counters"][0]["samples"]["count"]);
        let changes: f64 = counts.iter().map(|change| change.as_f64().expect("a number")).sum();
        assert_eq!(changes, 2_200.0);
        let text = value.to_string();
        for name in ["LOST EVENTS", "3 events lost", "lost_ring_full 3", "\"peak\"", "82.3529 %"] {
            assert!(text.contains(name), "{name}");
        }
    }

    #[test]
    fn nothing_and_hostile_profiles_are_valid_files() {
        json(&sample::empty());
        let mut profile = sample::named();
        profile.symbols.strings[5] = "\u{0}\"</script>\n".repeat(100_000);
        profile.sites[1].total_bytes = u64::MAX;
        profile.process.started_unix_ns = u64::MAX;
        profile.timeline.interval_ns = u64::MAX;
        let text = json(&profile).to_string();
        assert!(text.contains("</script>"));
    }
}
