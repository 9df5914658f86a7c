//! Which free can be the free of which block.

use super::super::entry::{Entry, Meta, ROW_OF_OTHERS, is_unlisted, whole_size};
use crate::ring::event;

/// Whether a free can be the free of a block: the size bits agree, and the free is not older than the block by more
/// than the time error.
pub(super) fn can_be_end(free: &Entry, block: &Entry) -> bool {
    agrees(block, free) && is_in_time(free, block)
}

/// Whether a free is not older than a block by more than the time error.
pub(super) fn is_in_time(free: &Entry, block: &Entry) -> bool {
    free.at_ns + time_error(free, block) >= block.at_ns
}

/// Whether heapledger made the free, which is no realloc, and the program made the block.
pub(super) fn is_of_heapledger_only(free: &Entry, block: &Entry) -> bool {
    free.meta.is_by_heapledger() && !free.meta.is_by_realloc() && !block.meta.is_own()
}

/// Whether a free that is left over in a flush may end a block that is left over: their sizes agree, and the free is
/// not older than an internal block.
pub(crate) fn may_be_end(block: &Entry, free: &Entry) -> bool {
    agrees(block, free) && !is_older_than_internal(block, free)
}

/// Whether a free by the program is older than an internal block.
pub(crate) fn is_older_than_internal(block: &Entry, free: &Entry) -> bool {
    block.meta.is_own()
        && !free.meta.is_by_heapledger()
        && is_ordered_by_time(block, free)
        && free.at_ns < block.at_ns
}

/// Whether the times of a block and a free are in the true order: heapledger made one of the two events, which is
/// therefore separated from the events of other threads (`recorder::stamps`).
fn is_ordered_by_time(block: &Entry, free: &Entry) -> bool {
    free.meta.is_by_heapledger() || block.meta.is_own() && block.meta.reallocs() == 0
}

/// Returns the maximum error of the time from the block to the free, in nanoseconds. The error is 0 if one thread made
/// both, because the order of its events is known. A reallocated block is an exception, because another thread may have
/// allocated it. The error is also 0 if heapledger made the block or the free.
pub(crate) fn time_error(free: &Entry, block: &Entry) -> u64 {
    let thread = block.meta.thread();
    let is_of_one_thread =
        thread == free.meta.thread() && thread != ROW_OF_OTHERS && block.meta.reallocs() == 0;
    if is_of_one_thread || is_ordered_by_time(block, free) {
        return 0;
    }
    free.meta.time_error_ns() + block.meta.time_error_ns()
}

/// Whether two waiting frees are equal except for their times. One entry then represents both frees, which shortens the
/// search at addresses with many frees.
pub(super) fn is_equal_free(entry: &Entry, free: &Entry) -> bool {
    let same = |meta: Meta| (meta.thread(), meta.stack(), meta.is_by_realloc(), meta.is_by_heapledger());
    entry.meta.is_waiting()
        && entry.size == free.size
        && same(entry.meta) == same(free.meta)
        && !free.meta.is_by_realloc()
}

/// Returns the rank of a waiting free for a block that has just been booked. The free with the lowest rank is paired
/// with the block.
pub(super) fn rank_of_free(free: &Entry, block: &Entry) -> (bool, bool, u64) {
    (whole_size(free).is_some(), free.meta.is_by_other_side(block.meta), free.at_ns)
}

/// Whether `a` is a better match for the free than `b`. If the free is part of a realloc by heapledger, an internal
/// block is better. If it is part of a realloc by the program, a block of the program is better. Otherwise, the
/// time decides.
pub(super) fn better(free: &Entry, a: &Entry, b: &Entry) -> bool {
    let by_others = |block: &Entry| free.meta.is_by_other_side(block.meta);
    if by_others(a) != by_others(b) {
        return by_others(b);
    }
    is_nearer(free, a, b)
}

/// Whether `a` is a better match for the free than `b` by their times: the youngest block allocated before the free is
/// the best. If there is none, the oldest block is the best.
///
/// With this choice, the frees find as many blocks as any choice lets them find, in whatever order the frees are taken:
/// a block that is too young for an older free is not left to the older free.
fn is_nearer(free: &Entry, a: &Entry, b: &Entry) -> bool {
    match (a.at_ns <= free.at_ns, b.at_ns <= free.at_ns) {
        (true, true) => a.at_ns > b.at_ns,
        (false, false) => a.at_ns < b.at_ns,
        (a_before, _) => a_before,
    }
}

/// Whether `a` is a better match than `b` for a free that is left over in a flush. An internal block is better than a
/// block of the program if heapledger made the free, or if the free is not older than the internal block. Of two blocks
/// of one kind, the time decides.
pub(super) fn better_left_over(free: &Entry, a: &Entry, b: &Entry) -> bool {
    if a.meta.is_own() == b.meta.is_own() {
        return is_nearer(free, a, b);
    }
    // A free by the program that is not older than the internal block is the first free after it.
    a.meta.is_own() && (free.meta.is_by_heapledger() || free.at_ns >= a.at_ns)
}

/// Whether a free may mean a block: its size bits, or its whole size, agree with the block's size, and W5 of
/// `fold::flush` does not exclude the block.
pub(crate) fn agrees(block: &Entry, free: &Entry) -> bool {
    match whole_size(free) {
        Some(size) => block.size == size && !is_unlisted(free, block),
        None => event::agrees(block.size, free.size),
    }
}
