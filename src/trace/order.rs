//! Brings the records of several threads into the order of their times.
//!
//! The file has the records of one thread in the order in which that thread wrote them, and the records of different
//! threads in the order in which they were booked. A frame states a time before which no record is missing, so records
//! before that time can be sorted. Of two records with the same time, the first in the file comes first, so the order
//! of one thread is kept.

use std::io::{self, Read, Seek};

use super::columns::FRAME_RECORDS_MAX;
use super::reader::{Frame, Trace};
use crate::replay::Dated;

/// Maximum number of records held back until their order is known: as many as can wait for a stalled writer.
const HELD_RECORDS_MAX: usize = 20 * FRAME_RECORDS_MAX;

/// Calls `each` with every record before `to_ns`, in the order of their times. Calls `passed` with the offset of each
/// frame before that frame is read.
///
/// # Errors
///
/// Returns an error if the file cannot be read.
pub fn in_order<R: Read + Seek>(
    trace: &mut Trace<R>,
    to_ns: u64,
    mut passed: impl FnMut(u64),
    mut each: impl FnMut(&Dated),
) -> io::Result<()> {
    let frames: Vec<Frame> = trace.frames().collect();
    let mut held: Vec<Dated> = Vec::new();
    let mut until_ns = 0;
    for frame in &frames {
        passed(frame.offset);
        trace.records(frame, &mut held)?;
        until_ns = until_ns.max(frame.head.until_ns);
        held.sort_by_key(|dated| dated.at_ns);
        let mut ready = held.partition_point(|dated| dated.at_ns < until_ns.min(to_ns));
        if held.len() - ready > HELD_RECORDS_MAX {
            // No frame of this writer holds back so many records. The oldest records are passed on, in an order that
            // may be wrong.
            ready = held.len() - HELD_RECORDS_MAX / 2;
        }
        held.drain(..ready).filter(|dated| dated.at_ns < to_ns).for_each(|dated| each(&dated));
        if until_ns >= to_ns {
            // The held records and all following ones are not before `to_ns`.
            return Ok(());
        }
    }
    held.iter().filter(|dated| dated.at_ns < to_ns).for_each(each);
    Ok(())
}
