//! Records of several threads in the order of their times.
//!
//! Each thread's records come in its own order; those of different threads lie in the file as they were booked. A frame
//! says up to which time everything is there, so that is how far the records can be put in order. Of two with the same
//! time the one that lies first in the file comes first, so no thread's own order is ever changed.

use std::io::{self, Read, Seek};

use super::columns::{Dated, FRAME_RECORDS_MAX};
use super::reader::{Frame, Trace};

/// Records that are held back at most until their order is known: all that can wait for a writer that has stood still.
const HELD_RECORDS_MAX: usize = 20 * FRAME_RECORDS_MAX;

/// Hands every record before `to_ns` to `each`, in the order of their times. `passed` is told how many bytes of the file
/// are behind, now and then.
///
/// # Errors
///
/// When the system refuses to read.
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
        let mut settled = held.partition_point(|dated| dated.at_ns < until_ns.min(to_ns));
        if held.len() - settled > HELD_RECORDS_MAX {
            // No frame of ours holds back so much: the oldest go on, in an order that may not be the true one.
            settled = held.len() - HELD_RECORDS_MAX / 2;
        }
        held.drain(..settled).filter(|dated| dated.at_ns < to_ns).for_each(|dated| each(&dated));
        if until_ns >= to_ns {
            // What is still held is later, and so is every frame that follows.
            return Ok(());
        }
    }
    held.iter().filter(|dated| dated.at_ns < to_ns).for_each(each);
    Ok(())
}
