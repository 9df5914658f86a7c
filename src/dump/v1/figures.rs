//! Records of sections that are there only if there is something in them, version 1: how long recording took, what
//! samples say, and what tracked pointers said themselves.

use serde::{Deserialize, Serialize};

use super::{Cuts, Faults, Text};
use crate::dump::format::{
    CROSSINGS_LISTED_MAX, TRACKED_BYTES_MAX, TRACKED_HOLDERS_MAX, TRACKED_TEXT_BYTES_MAX, deed_code, deed_of,
    shape_code, shape_of,
};
use crate::profile::tracked::{Holder, Shape, TrackedEvent, TrackedPointer, Unlisted};
use crate::profile::{Crossing, Estimate, Estimates, TURN_BUCKETS, TrackedReport, TurnTimes};

/// Section `RECT`: how long turns of the recording path took.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::dump) struct WireTurnTimes {
    turns: u64,
    timed: u64,
    timed_ns: u64,
    durations: Vec<u64>,
}

impl WireTurnTimes {
    /// To the wire.
    pub(in crate::dump) fn new(times: &TurnTimes) -> Self {
        let TurnTimes { turns, timed, timed_ns, durations } = *times;
        WireTurnTimes { turns, timed, timed_ns, durations: durations.to_vec() }
    }

    /// From the wire. Buckets beyond those of this version are added to the last.
    pub(in crate::dump) fn read(self) -> TurnTimes {
        let WireTurnTimes { turns, timed, timed_ns, durations: read } = self;
        let mut durations = [0u64; TURN_BUCKETS];
        for (bucket, count) in read.into_iter().enumerate() {
            let sum = &mut durations[bucket.min(TURN_BUCKETS - 1)];
            *sum = sum.saturating_add(count);
        }
        TurnTimes { turns, timed, timed_ns, durations }
    }
}

/// Section `CROS`: who freed whose blocks. Absent when nobody did.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::dump) struct WireCrossings {
    /// Row that allocated, row that freed, blocks, bytes.
    pairs: Vec<(u32, u32, u64, u64)>,
}

impl WireCrossings {
    /// To the wire; of more than [`CROSSINGS_LISTED_MAX`], those with most blocks.
    pub(in crate::dump) fn new(crossings: &[Crossing], cuts: &mut Cuts) -> Self {
        cuts.crossings += crossings.len().saturating_sub(CROSSINGS_LISTED_MAX) as u64;
        let kept = crossings.iter().take(CROSSINGS_LISTED_MAX);
        WireCrossings { pairs: kept.map(|c| (c.allocated_by, c.freed_by, c.blocks, c.bytes)).collect() }
    }

    /// From the wire.
    pub(in crate::dump) fn read(self) -> Vec<Crossing> {
        let pairs = self.pairs.into_iter().take(CROSSINGS_LISTED_MAX);
        pairs
            .map(|(allocated_by, freed_by, blocks, bytes)| Crossing { allocated_by, freed_by, blocks, bytes })
            .collect()
    }
}

/// Section `ESTM`: what samples say of all blocks. Absent when no block was ever sampled.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::dump) struct WireEstimates {
    /// Value and standard error of: total blocks, total bytes, live blocks, live bytes.
    figures: [(f64, f64); 4],
    mean_bytes_between_samples: u64,
    sampled_blocks: u64,
}

impl WireEstimates {
    /// To the wire.
    pub(in crate::dump) fn new(estimates: &Estimates) -> Self {
        let Estimates {
            total_blocks,
            total_bytes,
            live_blocks,
            live_bytes,
            mean_bytes_between_samples,
            sampled_blocks,
        } = *estimates;
        let figures = [total_blocks, total_bytes, live_blocks, live_bytes];
        WireEstimates {
            figures: figures.map(|Estimate { value, standard_error }| (value, standard_error)),
            mean_bytes_between_samples,
            sampled_blocks,
        }
    }

    /// From the wire.
    pub(in crate::dump) fn read(self) -> Estimates {
        let WireEstimates { figures, mean_bytes_between_samples, sampled_blocks } = self;
        let [total_blocks, total_bytes, live_blocks, live_bytes] =
            figures.map(|(value, standard_error)| Estimate { value, standard_error });
        Estimates {
            total_blocks,
            total_bytes,
            live_blocks,
            live_bytes,
            mean_bytes_between_samples,
            sampled_blocks,
        }
    }
}

/// Section `TRKD`: the tracked pointers. Absent when there was none.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::dump) struct WireTracked<'a> {
    #[serde(borrow)]
    pointers: Vec<WirePointer<'a>>,
    /// Number, pointer, code of the deed, holders after it.
    events: Vec<(u64, u32, u8, u32)>,
    events_total: u64,
    events_recorded: u64,
    events_unrecorded: u64,
    /// Pointers, clones, drops, unwrapped holders, holders without a place.
    unlisted: [u64; 5],
    storm_clones: u64,
    storm_window_events: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct WirePointer<'a> {
    id: u32,
    #[serde(borrow)]
    name: Text<'a>,
    type_name: Text<'a>,
    shape: u8,
    created_at: Text<'a>,
    /// Clones, drops, unwrapped, held, strong high water, storms, largest burst.
    counts: [u64; 7],
    /// Place, made, held.
    holders: Vec<(Text<'a>, u64, u64)>,
}

impl<'a> WirePointer<'a> {
    fn new(pointer: &'a TrackedPointer, cuts: &mut Cuts) -> Self {
        let TrackedPointer {
            id,
            ref name,
            ref type_name,
            shape,
            ref created_at,
            clones,
            drops,
            unwrapped,
            held,
            strong_high_water,
            storms,
            largest_burst_clones,
            ref holders,
        } = *pointer;
        cuts.tracked_holders += holders.len().saturating_sub(TRACKED_HOLDERS_MAX) as u64;
        let mut text = |text| Text::cut_to(text, TRACKED_TEXT_BYTES_MAX, cuts);
        let kept = holders.iter().take(TRACKED_HOLDERS_MAX);
        WirePointer {
            id,
            name: text(name),
            type_name: text(type_name),
            shape: shape_code(shape),
            created_at: text(created_at),
            counts: [clones, drops, unwrapped, held, strong_high_water, storms, largest_burst_clones],
            holders: kept.map(|Holder { place, made, held }| (text(place), *made, *held)).collect(),
        }
    }

    /// Bytes that it takes at most.
    fn bytes_at_most(&self) -> usize {
        let number = 10;
        let texts = [self.name.0.len(), self.type_name.0.len(), self.created_at.0.len()];
        let holders: usize = self.holders.iter().map(|(place, ..)| place.0.len() + 3 * number).sum();
        texts.iter().sum::<usize>() + holders + 13 * number
    }

    fn read(self, faults: &mut Faults) -> TrackedPointer {
        let [clones, drops, unwrapped, held, strong_high_water, storms, largest_burst_clones] = self.counts;
        let holders = self.holders.into_iter();
        TrackedPointer {
            id: self.id,
            name: faults.text(self.name),
            type_name: faults.text(self.type_name),
            shape: faults.code(shape_of(self.shape), Shape::Arc),
            created_at: faults.text(self.created_at),
            clones,
            drops,
            unwrapped,
            held,
            strong_high_water,
            storms,
            largest_burst_clones,
            holders: holders
                .map(|(place, made, held)| Holder { place: faults.text(place), made, held })
                .collect(),
        }
    }
}

impl<'a> WireTracked<'a> {
    /// To the wire. What one section has no room for is left off: of the pointers those that nobody holds any more
    /// first, of the events the oldest.
    pub(in crate::dump) fn new(report: &'a TrackedReport, cuts: &mut Cuts) -> Self {
        let TrackedReport {
            ref pointers,
            ref events,
            events_total,
            events_recorded,
            events_unrecorded,
            unlisted,
            storm_clones,
            storm_window_events,
        } = *report;
        let Unlisted { pointers: unlisted_pointers, clones, drops, unwrapped, holders_without_place } =
            unlisted;
        let mut by_weight: Vec<&TrackedPointer> = pointers.iter().collect();
        by_weight.sort_by_key(|pointer| std::cmp::Reverse((pointer.held, pointer.storms, pointer.clones)));
        let (mut kept, mut left_bytes) = (Vec::new(), TRACKED_BYTES_MAX);
        for pointer in by_weight {
            let wire = WirePointer::new(pointer, cuts);
            let Some(left) = left_bytes.checked_sub(wire.bytes_at_most()) else { break };
            left_bytes = left;
            kept.push(wire);
        }
        cuts.tracked_pointers += (pointers.len() - kept.len()) as u64;
        kept.sort_by_key(|pointer| pointer.id);
        let room = left_bytes / EVENT_BYTES_AT_MOST;
        let newest = events.len().saturating_sub(room);
        cuts.tracked_events += newest as u64;
        let event = |event: &TrackedEvent| {
            let TrackedEvent { number, pointer, deed, held } = *event;
            (number, pointer, deed_code(deed), held)
        };
        WireTracked {
            pointers: kept,
            events: events[newest..].iter().map(event).collect(),
            events_total,
            events_recorded,
            events_unrecorded,
            unlisted: [unlisted_pointers, clones, drops, unwrapped, holders_without_place],
            storm_clones,
            storm_window_events,
        }
    }

    /// From the wire. An event whose code has no meaning in this version is left out.
    pub(in crate::dump) fn read(self, faults: &mut Faults) -> TrackedReport {
        let [pointers, clones, drops, unwrapped, holders_without_place] = self.unlisted;
        let mut events = Vec::with_capacity(self.events.len());
        for (number, pointer, deed, held) in self.events {
            match deed_of(deed) {
                Some(deed) => events.push(TrackedEvent { number, pointer, deed, held }),
                None => faults.codes += 1,
            }
        }
        TrackedReport {
            pointers: self.pointers.into_iter().map(|pointer| pointer.read(faults)).collect(),
            events,
            events_total: self.events_total,
            events_recorded: self.events_recorded,
            events_unrecorded: self.events_unrecorded,
            unlisted: Unlisted { pointers, clones, drops, unwrapped, holders_without_place },
            storm_clones: self.storm_clones,
            storm_window_events: self.storm_window_events,
        }
    }
}

/// Bytes of an event in the section at most.
const EVENT_BYTES_AT_MOST: usize = 24;

#[cfg(test)]
mod tests {
    use super::super::super::codec::{Cursor, put_record};
    use super::super::super::format::SECTION_PLAIN_BYTES_MAX;
    use super::*;
    use crate::profile::tracked::Deed;

    fn pointer(id: u32, held: u64) -> TrackedPointer {
        let holder = Holder { place: "p".repeat(2 * TRACKED_TEXT_BYTES_MAX), made: u64::MAX, held };
        TrackedPointer {
            id,
            name: "n".repeat(TRACKED_TEXT_BYTES_MAX + 1),
            type_name: "t".repeat(TRACKED_TEXT_BYTES_MAX),
            shape: Shape::Rc,
            created_at: "a".repeat(TRACKED_TEXT_BYTES_MAX),
            clones: u64::MAX,
            drops: u64::MAX,
            unwrapped: u64::MAX,
            held,
            strong_high_water: u64::MAX,
            storms: u64::MAX,
            largest_burst_clones: u64::MAX,
            holders: vec![holder; TRACKED_HOLDERS_MAX + 2],
        }
    }

    #[test]
    fn the_largest_report_fits_a_section_and_what_is_cut_is_counted() {
        const POINTERS: u32 = 4096;
        let event =
            TrackedEvent { number: u64::MAX, pointer: u32::MAX, deed: Deed::Unwrapped, held: u32::MAX };
        let report = TrackedReport {
            // The later ones are held by more.
            pointers: (0..POINTERS).map(|id| pointer(id, u64::MAX - u64::from(POINTERS - id))).collect(),
            events: vec![event; 1024],
            events_total: u64::MAX,
            ..TrackedReport::default()
        };
        let mut cuts = Cuts::default();
        let mut plain = Vec::new();
        put_record(&mut plain, &WireTracked::new(&report, &mut cuts)).unwrap();
        assert!(plain.len() <= SECTION_PLAIN_BYTES_MAX, "{}", plain.len());
        let read: WireTracked<'_> = Cursor::new(&plain).record().unwrap();
        let read = read.read(&mut Faults::default());
        assert!(read.pointers.len() > 200 && read.pointers.len() < 4096);
        assert_eq!(read.pointers.last().unwrap().id, POINTERS - 1, "the one that most hold is kept");
        assert_eq!(cuts.tracked_pointers + read.pointers.len() as u64, u64::from(POINTERS));
        assert_eq!(cuts.tracked_events + read.events.len() as u64, 1024);
        assert!(cuts.tracked_holders >= 2 * read.pointers.len() as u64 && cuts.texts > 0);
        assert_eq!(read.pointers[0].name.len(), TRACKED_TEXT_BYTES_MAX);
    }

    #[test]
    fn an_event_of_a_newer_version_is_left_out_and_counted() {
        let report = TrackedReport { events_total: 1, ..TrackedReport::default() };
        let mut wire = WireTracked::new(&report, &mut Cuts::default());
        wire.events = vec![(0, 0, 0, 1), (1, 0, 200, 1)];
        let mut faults = Faults::default();
        assert_eq!(wire.read(&mut faults).events.len(), 1);
        assert_eq!(faults, Faults { texts: 0, codes: 1 });
    }

    #[test]
    fn more_buckets_than_known_go_into_the_last() {
        let wire = WireTurnTimes { turns: 1, timed: 2, timed_ns: 3, durations: vec![1; TURN_BUCKETS + 2] };
        assert_eq!(wire.read().durations[TURN_BUCKETS - 1], 3);
    }
}
