//! Records, in version 1, of optional sections: recording times, remote frees, estimates, tracked pointers, uses of
//! scopes. A section is omitted if it would be empty.

use super::{Cuts, Faults, Wire, coded, get_all, put_text, record};
use crate::dump::codec::{CodecError, Cursor, put_record};
use crate::dump::format::{
    CROSSINGS_LISTED_MAX, TRACKED_BYTES_MAX, TRACKED_HOLDERS_MAX, TRACKED_TEXT_BYTES_MAX, pointer_event_code,
    pointer_event_of, pointer_kind_code, pointer_kind_of,
};
use crate::profile::tracked::{Holder, PointerKind, TrackedEvent, TrackedPointer, Unlisted};
use crate::profile::{Estimate, Estimates, RemoteFrees, ScopeCounts, TURN_BUCKETS, TrackedReport, TurnTimes};

/// Section `RECT`: durations of the slow path of recording.
impl Wire for TurnTimes {
    fn put(&self, out: &mut Vec<u8>, _: &mut Cuts) -> Result<(), CodecError> {
        let TurnTimes { turns, timed, timed_ns, durations } = *self;
        put_record(out, &(turns, timed, timed_ns, &durations[..]))
    }

    /// Reads the record. Counts of buckets that this version lacks are added to the last bucket.
    fn get(from: &mut Cursor<'_>, _: &mut Faults) -> Result<Self, CodecError> {
        let (turns, timed, timed_ns, read): (u64, u64, u64, Vec<u64>) = from.record()?;
        let mut durations = [0u64; TURN_BUCKETS];
        for (bucket, count) in read.into_iter().enumerate() {
            let sum = &mut durations[bucket.min(TURN_BUCKETS - 1)];
            *sum = sum.saturating_add(count);
        }
        Ok(TurnTimes { turns, timed, timed_ns, durations })
    }
}

/// Section `CROS`: blocks that another thread freed, one row for each pair of threads, in descending order of blocks.
/// Only the first [`CROSSINGS_LISTED_MAX`] rows are written.
impl Wire for Vec<RemoteFrees> {
    fn put(&self, out: &mut Vec<u8>, cuts: &mut Cuts) -> Result<(), CodecError> {
        let kept = &self[..self.len().min(CROSSINGS_LISTED_MAX)];
        cuts.crossings += (self.len() - kept.len()) as u64;
        super::put_all(out, kept, cuts)
    }

    fn get(from: &mut Cursor<'_>, faults: &mut Faults) -> Result<Self, CodecError> {
        let mut pairs = get_all(from, faults)?;
        pairs.truncate(CROSSINGS_LISTED_MAX);
        Ok(pairs)
    }
}
record!(RemoteFrees { allocated_by, freed_by, blocks, bytes });

// Section `SCOC`. The section is absent if all counts are 0.
record!(ScopeCounts { without_room, out_of_order, late_tokens });

// Section `ESTM`: figures estimated from samples. The section is absent if no block was sampled.
record!(Estimates {
    total_blocks,
    total_bytes,
    live_blocks,
    live_bytes,
    mean_bytes_between_samples,
    sampled_blocks,
} without { coverage });
record!(Estimate { value, standard_error });

coded! { PointerKind: pointer_kind_code, pointer_kind_of, PointerKind::Arc; }

impl Wire for TrackedPointer {
    fn put(&self, out: &mut Vec<u8>, cuts: &mut Cuts) -> Result<(), CodecError> {
        let TrackedPointer {
            id,
            name,
            type_name,
            kind,
            created_at,
            clones,
            drops,
            unwrapped,
            held,
            strong_high_water,
            storms,
            largest_burst_clones,
            holders,
        } = self;
        let kept = &holders[..holders.len().min(TRACKED_HOLDERS_MAX)];
        cuts.tracked_holders += (holders.len() - kept.len()) as u64;
        id.put(out, cuts)?;
        put_text(out, name, TRACKED_TEXT_BYTES_MAX, cuts)?;
        put_text(out, type_name, TRACKED_TEXT_BYTES_MAX, cuts)?;
        kind.put(out, cuts)?;
        put_text(out, created_at, TRACKED_TEXT_BYTES_MAX, cuts)?;
        put_record(out, &[clones, drops, unwrapped, held, strong_high_water, storms, largest_burst_clones])?;
        super::put_all(out, kept, cuts)
    }

    fn get(from: &mut Cursor<'_>, faults: &mut Faults) -> Result<Self, CodecError> {
        let id = from.record()?;
        let (name, type_name) = (String::get(from, faults)?, String::get(from, faults)?);
        let (kind, created_at) = (PointerKind::get(from, faults)?, String::get(from, faults)?);
        let [clones, drops, unwrapped, held, strong_high_water, storms, largest_burst_clones] =
            from.record()?;
        let holders = get_all(from, faults)?;
        Ok(TrackedPointer {
            id,
            name,
            type_name,
            kind,
            created_at,
            clones,
            drops,
            unwrapped,
            held,
            strong_high_water,
            storms,
            largest_burst_clones,
            holders,
        })
    }
}

impl Wire for Holder {
    fn put(&self, out: &mut Vec<u8>, cuts: &mut Cuts) -> Result<(), CodecError> {
        put_text(out, &self.place, TRACKED_TEXT_BYTES_MAX, cuts)?;
        put_record(out, &(self.made, self.held))
    }

    fn get(from: &mut Cursor<'_>, faults: &mut Faults) -> Result<Self, CodecError> {
        let place = String::get(from, faults)?;
        let (made, held) = from.record()?;
        Ok(Holder { place, made, held })
    }
}

record!(Unlisted { pointers, clones, drops, unwrapped, holders_without_place });

/// Section `TRKD`: the tracked pointers. The section is absent if there are none.
impl Wire for TrackedReport {
    /// Writes the record. If the record is too long for a section, omits first the pointers with the fewest holders,
    /// then the oldest events.
    fn put(&self, out: &mut Vec<u8>, cuts: &mut Cuts) -> Result<(), CodecError> {
        let TrackedReport {
            pointers,
            events,
            events_total,
            events_recorded,
            events_unrecorded,
            unlisted,
            storm_clones,
            storm_window_events,
        } = self;
        let mut by_weight: Vec<&TrackedPointer> = pointers.iter().collect();
        by_weight.sort_by_key(|pointer| std::cmp::Reverse((pointer.held, pointer.storms, pointer.clones)));
        let (mut kept, mut left_bytes) = (Vec::new(), TRACKED_BYTES_MAX);
        for pointer in by_weight {
            let (mut bytes, mut its_cuts) = (Vec::new(), *cuts);
            pointer.put(&mut bytes, &mut its_cuts)?;
            let Some(left) = left_bytes.checked_sub(bytes.len()) else { break };
            (left_bytes, *cuts) = (left, its_cuts);
            kept.push((pointer.id, bytes));
        }
        cuts.tracked_pointers += (pointers.len() - kept.len()) as u64;
        kept.sort_unstable_by_key(|(id, _)| *id);
        put_record(out, &kept.len())?;
        kept.iter().for_each(|(_, bytes)| out.extend_from_slice(bytes));
        let newest = events.len().saturating_sub(left_bytes / EVENT_BYTES);
        cuts.tracked_events += newest as u64;
        let event = |event: &TrackedEvent| {
            let TrackedEvent { number, pointer, event, held } = *event;
            (number, pointer, pointer_event_code(event), held)
        };
        put_record(out, &events[newest..].iter().map(event).collect::<Vec<_>>())?;
        put_record(out, &(events_total, events_recorded, events_unrecorded))?;
        unlisted.put(out, cuts)?;
        put_record(out, &(storm_clones, storm_window_events))
    }

    /// Reads the record. An event with an unknown code is omitted and counted in `faults`.
    fn get(from: &mut Cursor<'_>, faults: &mut Faults) -> Result<Self, CodecError> {
        let pointers = get_all(from, faults)?;
        let wire: Vec<(u64, u32, u8, u32)> = from.record()?;
        let mut events = Vec::with_capacity(wire.len());
        for (number, pointer, code, held) in wire {
            match pointer_event_of(code) {
                Some(event) => events.push(TrackedEvent { number, pointer, event, held }),
                None => faults.codes += 1,
            }
        }
        let (events_total, events_recorded, events_unrecorded) = from.record()?;
        let unlisted = Unlisted::get(from, faults)?;
        let (storm_clones, storm_window_events) = from.record()?;
        Ok(TrackedReport {
            pointers,
            events,
            events_total,
            events_recorded,
            events_unrecorded,
            unlisted,
            storm_clones,
            storm_window_events,
        })
    }
}

/// Maximum length of one event of a tracked pointer, in bytes.
const EVENT_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::format::SECTION_PLAIN_BYTES_MAX;
    use crate::profile::tracked::PointerEvent;

    fn pointer(id: u32, held: u64) -> TrackedPointer {
        let holder = Holder { place: "p".repeat(2 * TRACKED_TEXT_BYTES_MAX), made: u64::MAX, held };
        TrackedPointer {
            id,
            name: "n".repeat(TRACKED_TEXT_BYTES_MAX + 1),
            type_name: "t".repeat(TRACKED_TEXT_BYTES_MAX),
            kind: PointerKind::Rc,
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
        let event = TrackedEvent {
            number: u64::MAX,
            pointer: u32::MAX,
            event: PointerEvent::Unwrapped,
            held: u32::MAX,
        };
        let report = TrackedReport {
            // Pointers with higher ids have more holders.
            pointers: (0..POINTERS).map(|id| pointer(id, u64::MAX - u64::from(POINTERS - id))).collect(),
            events: vec![event; 1024],
            events_total: u64::MAX,
            ..TrackedReport::default()
        };
        let mut cuts = Cuts::default();
        let mut plain = Vec::new();
        report.put(&mut plain, &mut cuts).unwrap();
        assert!(plain.len() <= SECTION_PLAIN_BYTES_MAX, "{}", plain.len());
        let read = TrackedReport::get(&mut Cursor::new(&plain), &mut Faults::default()).unwrap();
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
        let mut plain = Vec::new();
        report.put(&mut plain, &mut Cuts::default()).unwrap();
        // The number of events follows the number of pointers.
        assert_eq!(plain[..2], [0, 0]);
        plain.splice(1..2, [2, 0, 0, 0, 1, 1, 0, 200, 1]);
        let mut faults = Faults::default();
        assert_eq!(TrackedReport::get(&mut Cursor::new(&plain), &mut faults).unwrap().events.len(), 1);
        assert_eq!(faults, Faults { texts: 0, codes: 1 });
    }

    #[test]
    fn more_buckets_than_known_go_into_the_last() {
        let mut plain = Vec::new();
        put_record(&mut plain, &(1u64, 2u64, 3u64, vec![1u64; TURN_BUCKETS + 2])).unwrap();
        let read = TurnTimes::get(&mut Cursor::new(&plain), &mut Faults::default()).unwrap();
        assert_eq!(read.durations[TURN_BUCKETS - 1], 3);
    }
}
