//! Brings the records of several threads into the order of their times.
//!
//! The file has the records of one thread in the order in which that thread wrote them, and the records of different
//! threads in the order in which they were booked. A frame states a time before which no record is missing, so records
//! before that time can be sorted. Records with the same time stay in the order of the file, so the order within a
//! thread is kept.

use std::io::{self, Read, Seek};

use super::columns::FRAME_RECORDS_MAX;
use super::reader::{Frame, Trace};
use crate::replay::Dated;

/// Maximum number of records that are held back until their order is known. It is the number of records that can wait
/// for a slow writer.
const HELD_RECORDS_MAX: usize = 20 * FRAME_RECORDS_MAX;

/// Calls `each` with every record before `to_ns` (in nanoseconds since the start), in the order of the times. Calls
/// `passed` with the offset of each frame in the file before the frame is read.
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
            // A trace of this writer never holds back so many records. To bound the memory, the oldest records are
            // passed on, perhaps in a wrong order.
            ready = held.len() - HELD_RECORDS_MAX / 2;
        }
        held.drain(..ready).filter(|dated| dated.at_ns < to_ns).for_each(|dated| each(&dated));
        if until_ns >= to_ns {
            // All held records and all records of further frames are at `to_ns` or later.
            return Ok(());
        }
    }
    held.iter().filter(|dated| dated.at_ns < to_ns).for_each(each);
    Ok(())
}
