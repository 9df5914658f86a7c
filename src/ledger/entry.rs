//! The entry of a block, 32 bytes long. The layout is the same in a nursery (the young blocks of one lane) and in the
//! table of live blocks that all lanes share.

use crate::profile::LiveBlock;
use crate::ring::event;

/// Number of rows in the table of threads. All threads without a separate row share the last row.
pub(crate) const ROWS_MAX: u32 = 1 << 14;
/// Number of the row that threads share when all other rows are taken.
pub(crate) const ROW_OF_OTHERS: u32 = ROWS_MAX - 1;
/// Maximum count of the reallocs of one block.
pub(crate) const REALLOCS_MAX: u64 = 31;

/// Maximum number of further equal frees that the entry of one waiting free represents.
pub(crate) const MORE_MAX: u64 = 1023;

/// Highest number of a sampling period. The next period has the number 1 again.
pub(crate) const PERIODS: u64 = 15;
/// Position of the lowest bit of the sampling period in the size bits of a waiting free.
const PERIOD_SHIFT: u32 = 60;

/// Time error assumed for every sampled block, in nanoseconds. The entry of a sampled block has no room for a measured
/// error.
const SAMPLED_TIME_ERROR_NS: u64 = 2_000_000;

/// The entry of a block, or of a free that waits for its block.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Address of the block; 0 in an empty place.
    pub(crate) address: u64,
    /// Size of the block in bytes. In a waiting free: the size bits from the record of the free (a hash of the size, or
    /// the whole size), and a sampling period.
    pub(crate) size: u64,
    /// Time of the block's first allocation, in nanoseconds. In a waiting free: time of the free.
    pub(crate) at_ns: u64,
    pub(crate) meta: Meta,
}

impl Entry {
    /// Returns the block as the profile shows it.
    pub(crate) fn live_block(&self) -> LiveBlock {
        LiveBlock {
            address: self.address,
            size: self.size,
            born_ns: self.at_ns,
            stack: self.meta.stack(),
            thread: self.meta.thread(),
            align_log2: self.meta.align_log2(),
            reallocs: self.meta.reallocs() as u8,
        }
    }
}

/// Returns the size bits of a free that carries its whole size: the check bits, and above them the size plus one. The
/// sum fits because no block has 2⁴⁸ bytes.
pub(crate) fn with_whole_size(size: u64) -> u64 {
    without_period(event::check_bits(size) | (size + 1) << event::CHECK_BITS)
}

/// Returns the size of a waiting free that carries its whole size, otherwise `None`.
pub(crate) fn whole_size(waiting: &Entry) -> Option<u64> {
    match waiting.size >> event::CHECK_BITS {
        0 => None,
        _ => Some((without_period(waiting.size) >> event::CHECK_BITS).saturating_sub(1)),
    }
}

/// Returns the size bits of an unlisted free, to which the sampling period is added. The address of an unlisted free
/// was not in the sampled set (`sampled`) in that period. See W5 of `fold::flush`.
pub(crate) fn unlisted_in(period: u64, size_bits: u64) -> u64 {
    size_bits | period << PERIOD_SHIFT
}

/// Returns the size bits of a free without the period.
pub(crate) fn without_period(size_bits: u64) -> u64 {
    size_bits & ((1 << PERIOD_SHIFT) - 1)
}

/// Whether a free cannot be the free of an internal block, because the free is unlisted (W5 of `fold::flush`). The
/// address of the free was not in the sampled set in some period. The free is older than the block if the block's
/// address entered the set in that period or in the next one.
pub(crate) fn is_unlisted(free: &Entry, block: &Entry) -> bool {
    let (period, listed) = (free.size >> PERIOD_SHIFT, block.meta.listed_in());
    period != 0 && listed != 0 && (listed + PERIODS - period) % PERIODS <= 1
}

/// The small fields of an entry, in one word. A sampled block has its sampling rate in place of the time error, so that
/// its free is weighted with the same rate as its allocation.
///
/// ```text
///  63       62    61      57 56             52 51      50   46 45      32 31         0
/// │ waiting │ own │ reallocs │ time_error_log2 │ sampled │ align │ thread   │ stack      │
/// ```
///
/// In place of the alignment, an internal block has the sampling period in which it was listed (its address entered the
/// sampled set), or 0.
///
/// In place of the stack, a waiting free has the round (`fold::flush`) in which it began to wait. In place of alignment
/// and reallocs, it has the number of further equal frees. The bit `own` marks a free that is the
/// first half of a realloc. The bit `sampled` marks a free or realloc that heapledger made.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Meta(pub(crate) u64);

impl Meta {
    const THREAD_SHIFT: u32 = 32;
    const ALIGN_SHIFT: u32 = 46;
    const TIME_ERROR_SHIFT: u32 = 52;
    const REALLOCS_SHIFT: u32 = 57;
    const SAMPLED: u64 = 1 << 51;
    const OWN: u64 = 1 << 62;
    const WAITING: u64 = 1 << 63;

    #[inline(always)]
    pub(crate) const fn of_block(
        stack: u32,
        thread: u32,
        align_log2: u64,
        own: bool,
        time_error_ns: u64,
    ) -> Meta {
        let align_log2 = if align_log2 > 31 { 31 } else { align_log2 };
        Meta(
            stack as u64
                | (thread as u64) << Self::THREAD_SHIFT
                | align_log2 << Self::ALIGN_SHIFT
                | time_error_log2(time_error_ns) << Self::TIME_ERROR_SHIFT
                | if own { Self::OWN } else { 0 },
        )
    }

    pub(crate) const fn of_waiting_free(thread: u32, time_error_ns: u64) -> Meta {
        Meta(Meta::of_block(0, thread, 0, false, time_error_ns).0 | Self::WAITING)
    }

    /// Returns the fields of an internal block, with the sampling period in which the block was listed.
    pub(crate) const fn with_listed_in(self, period: u64) -> Meta {
        Meta(self.0 & !(31 << Self::ALIGN_SHIFT) | period << Self::ALIGN_SHIFT)
    }

    /// Returns the sampling period in which an internal block was listed; 0 for any other block.
    pub(crate) const fn listed_in(self) -> u64 {
        if self.is_own() { self.0 >> Self::ALIGN_SHIFT & 31 } else { 0 }
    }

    /// Returns a word with the alignment of a block and no other field.
    #[inline(always)]
    pub(crate) const fn of_align(align_log2: u64) -> Meta {
        // No block has an alignment of 2³¹ bytes.
        Meta((align_log2 & 31) << Self::ALIGN_SHIFT)
    }

    /// Whether the entry is a waiting free, or a block that is reallocated, internal or sampled.
    #[inline(always)]
    pub(crate) const fn is_unusual(self) -> bool {
        self.0 & (Self::WAITING | Self::OWN | Self::SAMPLED | REALLOCS_MAX << Self::REALLOCS_SHIFT) != 0
    }

    /// Returns these fields, marked as those of a waiting free.
    #[inline(always)]
    pub(crate) const fn as_waiting(self) -> Meta {
        Meta(self.0 | Self::WAITING)
    }

    pub(crate) const fn stack(self) -> u32 {
        self.0 as u32
    }

    pub(crate) const fn thread(self) -> u32 {
        (self.0 >> Self::THREAD_SHIFT) as u32 & (ROWS_MAX - 1)
    }

    /// Returns the alignment of a block; 0 for an internal block.
    pub(crate) const fn align_log2(self) -> u8 {
        if self.is_own() {
            return 0;
        }
        (self.0 >> Self::ALIGN_SHIFT) as u8 & 31
    }

    /// Returns the maximum error of the entry's time in nanoseconds, rounded up; 0 for an exact stamp.
    pub(crate) const fn time_error_ns(self) -> u64 {
        if self.0 & (Self::SAMPLED | Self::WAITING) == Self::SAMPLED {
            return SAMPLED_TIME_ERROR_NS;
        }
        match self.0 >> Self::TIME_ERROR_SHIFT & 31 {
            0 => 0,
            // The exponent 31 also represents all larger errors.
            31 => TIME_ERROR_NS_MAX,
            log2 => 1 << log2,
        }
    }

    /// Returns the fields of a block after a realloc. The thread is taken from `thread`, whose other fields are
    /// ignored. The time error stays, because the entry keeps the time of the first allocation.
    #[inline(always)]
    pub(crate) const fn reallocated(self, thread: Meta, stack: u32, align_log2: u64) -> Meta {
        let kept = self.0 & (Self::OWN | 31 << Self::TIME_ERROR_SHIFT | REALLOCS_MAX << Self::REALLOCS_SHIFT);
        let thread = thread.0 & (ROWS_MAX as u64 - 1) << Self::THREAD_SHIFT;
        let meta = Meta(kept | thread | Meta::of_block(stack, 0, align_log2, false, 0).0);
        meta.with_reallocs(meta.reallocs() + 1)
    }

    /// Returns the fields of an internal block after a realloc. `internal` means that heapledger made the realloc.
    pub(crate) const fn reallocated_internally(self, internal: bool) -> Meta {
        self.with_reallocs(!internal as u64)
    }

    /// Returns the fields of the block, marked as sampled at a rate.
    pub(crate) const fn sampled(self, rate: u64) -> Meta {
        Meta(self.0 & !(31 << Self::TIME_ERROR_SHIFT) | rate << Self::TIME_ERROR_SHIFT | Self::SAMPLED)
    }

    /// Returns the rate at which the block was sampled, or 0 if it was not sampled.
    pub(crate) const fn rate(self) -> u64 {
        if self.0 & Self::SAMPLED == 0 { 0 } else { self.0 >> Self::TIME_ERROR_SHIFT & 31 }
    }

    /// Whether the block is excluded from the program's totals, because it is internal or sampled.
    #[inline(always)]
    pub(crate) const fn is_excluded(self) -> bool {
        self.0 & (Self::OWN | Self::SAMPLED) != 0
    }

    pub(crate) const fn reallocs(self) -> u64 {
        self.0 >> Self::REALLOCS_SHIFT & REALLOCS_MAX
    }

    pub(crate) const fn with_reallocs(self, reallocs: u64) -> Meta {
        let capped = if reallocs > REALLOCS_MAX { REALLOCS_MAX } else { reallocs };
        Meta(self.0 & !(REALLOCS_MAX << Self::REALLOCS_SHIFT) | capped << Self::REALLOCS_SHIFT)
    }

    #[inline(always)]
    pub(crate) const fn is_own(self) -> bool {
        self.0 & Self::OWN != 0
    }

    /// Returns the fields of a free that began to wait in this round.
    pub(crate) const fn waiting_since(self, round: u32) -> Meta {
        Meta(self.0 & !(u32::MAX as u64) | Self::WAITING | round as u64)
    }

    /// Whether a waiting free arrived before `round`. Round numbers wrap: half of all numbers count as before `round`,
    /// the other half as after it.
    pub(crate) const fn waits_since_before(self, round: u32) -> bool {
        (self.0 as u32).wrapping_sub(round) > u32::MAX / 2
    }

    /// Returns the number of further equal frees that the entry of a waiting free represents.
    pub(crate) const fn more(self) -> u64 {
        self.0 >> Self::ALIGN_SHIFT & 31 | (self.reallocs() << 5)
    }

    /// Returns the fields of a waiting free whose entry represents `more` further equal frees, up to [`MORE_MAX`].
    pub(crate) const fn with_more(self, more: u64) -> Meta {
        let cleared = self.0 & !(31 << Self::ALIGN_SHIFT) & !(REALLOCS_MAX << Self::REALLOCS_SHIFT);
        Meta(cleared | (more & 31) << Self::ALIGN_SHIFT | (more >> 5) << Self::REALLOCS_SHIFT)
    }

    /// Returns the fields of a waiting free. `internal` means that heapledger made the free.
    pub(crate) const fn by_heapledger(self, internal: bool) -> Meta {
        Meta(self.0 | if internal { Self::SAMPLED } else { 0 })
    }

    /// Returns the fields of a free, marked as the first half of a realloc. `internal` means that heapledger made the
    /// realloc.
    pub(crate) const fn by_realloc(self, internal: bool) -> Meta {
        Meta(self.0 | Self::OWN).by_heapledger(internal)
    }

    /// Whether a waiting free belongs to a realloc by heapledger while `block` is the program's, or to a realloc by the
    /// program while `block` is internal. The free ends the block only if it fits no other block.
    pub(crate) const fn is_by_other_side(self, block: Meta) -> bool {
        self.is_by_realloc() && (self.0 & Self::SAMPLED != 0) != block.is_own()
    }

    /// Whether heapledger made a waiting free, or the realloc that it is a half of.
    pub(crate) const fn is_by_heapledger(self) -> bool {
        self.0 & (Self::WAITING | Self::SAMPLED) == Self::WAITING | Self::SAMPLED
    }

    /// Whether a waiting free is the first half of a realloc.
    pub(crate) const fn is_by_realloc(self) -> bool {
        self.is_waiting() && self.0 & Self::OWN != 0
    }

    pub(crate) const fn is_waiting(self) -> bool {
        self.0 & Self::WAITING != 0
    }
}

/// Time error in nanoseconds that replaces every error above a second. It is longer than any process runs, and small
/// enough that the sum of a time and two such errors does not overflow.
const TIME_ERROR_NS_MAX: u64 = 1 << 61;

/// Returns the exponent of the power of two above a time error. The limit is 31, because 2³¹ ns are more than a second.
#[inline(always)]
const fn time_error_log2(time_error_ns: u64) -> u64 {
    let log2 = (u64::BITS - time_error_ns.leading_zeros()) as u64;
    if log2 > 31 { 31 } else { log2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_meta_word_comes_back() {
        let meta = Meta::of_block(u32::MAX, ROW_OF_OTHERS, 31, false, 1000).with_reallocs(40);
        assert_eq!((meta.stack(), meta.thread(), meta.align_log2()), (u32::MAX, ROW_OF_OTHERS, 31));
        assert_eq!((meta.is_own(), meta.listed_in(), meta.sampled(9).listed_in()), (false, 0, 0));
        let meta = Meta::of_block(u32::MAX, ROW_OF_OTHERS, 31, true, 1000).with_reallocs(40);
        let listed = meta.with_listed_in(PERIODS);
        assert_eq!((listed.listed_in(), listed.align_log2(), listed.time_error_ns()), (PERIODS, 0, 1024));
        assert_eq!((listed.rate(), listed.reallocs(), listed.thread()), (0, 31, ROW_OF_OTHERS));
        assert_eq!((meta.rate(), meta.sampled(9).rate(), meta.sampled(9).reallocs()), (0, 9, 31));
        assert_eq!(
            (meta.is_own(), meta.is_waiting(), meta.reallocs(), meta.time_error_ns()),
            (true, false, 31, 1024)
        );
        let free = Meta::of_waiting_free(5, 0);
        assert_eq!((free.is_waiting(), free.thread(), free.time_error_ns(), free.stack()), (true, 5, 0, 0));
        let waits = free.waiting_since(u32::MAX);
        assert!(waits.waits_since_before(0) && !waits.waits_since_before(u32::MAX));
        assert_eq!((waits.is_waiting(), waits.thread()), (true, 5));
        for more in [0, 1, 31, 32, MORE_MAX] {
            let several = Meta::of_waiting_free(5, 1000).waiting_since(7).with_more(more);
            assert_eq!((several.more(), several.stack(), several.time_error_ns()), (more, 7, 1024));
            assert_eq!(several.with_more(0), Meta::of_waiting_free(5, 1000).waiting_since(7));
        }
    }

    #[test]
    fn a_free_keeps_its_whole_size_and_the_period_in_which_it_was_not_listed() {
        let of = |size: u64| Entry { size, ..Entry::default() };
        for size in [0, 1, 4095, 4096, (1 << 47) - 1] {
            let bits = unlisted_in(PERIODS, with_whole_size(size));
            assert_eq!(
                (whole_size(&of(bits)), whole_size(&of(with_whole_size(size)))),
                (Some(size), Some(size))
            );
            assert_eq!(without_period(bits), with_whole_size(size));
            assert!(event::agrees(size, bits));
        }
        assert_eq!(whole_size(&of(event::check_bits(4095))), None);
    }

    #[test]
    fn an_unlisted_free_means_no_internal_block_of_its_period_or_the_next() {
        let meant = |period: u64, listed: u64| {
            let free = Entry { size: unlisted_in(period, with_whole_size(8)), ..Entry::default() };
            let meta = Meta::of_block(0, 1, 4, true, 0).with_listed_in(listed);
            !is_unlisted(&free, &Entry { size: 8, meta, ..Entry::default() })
        };
        assert!(!meant(3, 3) && !meant(3, 4) && !meant(PERIODS, PERIODS) && !meant(PERIODS, 1));
        assert!(meant(3, 2) && meant(3, 5) && meant(1, PERIODS), "listed in another period");
        assert!(meant(0, 3) && meant(3, 0) && meant(0, 0) && meant(0, 1) && meant(PERIODS, 0), "not listed");
    }
}
