//! The encoding of events as words.
//!
//! The top four bits of a record's first word are its tag. A free takes one word, an allocation two. A record whose
//! values do not fit is *wide*; all other records are *narrow*.
//!
//! ```text
//!         63    60 59                  48 47                                             0
//! SKIP    │ 0     │ rest of the segment is unused                                         │
//! ALLOC   │ 1     │ rate(4) zer own al. │ address                                         │  size(32)·stack(32)
//! FREE    │ 2     │ 12 bits of its size │ address                                         │
//! BEGIN   │ 3     │ 12 bits of its size │ old address of a realloc, before the call       │
//! MOVED   │ 4     │ -   own align(6)    │ new address of a realloc                        │  size(32)·stack(32), old address
//! REFUSED │ 5     │ -                   │ address of a refused realloc                    │
//! MARK    │ 6     │ words(7) │ nanoseconds since the start, low 53 bits                   │
//! WIDE    │ 7     │ zer own align(6) │ kind of the record in the low byte                 │  four words, see below
//! THREAD  │ 8     │ 1 = starts, 2 = ends│ row of the thread                               │
//! POINTER │ 9     │ the pointer event   │ number of a tracked pointer                     │  holders(32)·stack(32)
//! ```
//!
//! A wide record has four more words: address, size, stack, old address. Every kind of record can be wide. A record is
//! wide if an address has more than 48 bits, or the size has more than 32 bits.
//!
//! The 12 size bits of a free are not necessary for booking it. They rule out wrong blocks, and reveal a free whose
//! layout differs from the layout of the allocation.

/// Bits of an address in a narrow record.
pub(crate) const ADDRESS_BITS: u32 = 48;
const ADDRESS_MASK: u64 = (1 << ADDRESS_BITS) - 1;
const TAG_SHIFT: u32 = 60;
/// Number of bits that a narrow free has for the size of its block.
pub(crate) const CHECK_BITS: u32 = 12;
const CHECK_MASK: u64 = (1 << CHECK_BITS) - 1;
const MARK_TIME_BITS: u32 = 53;
const MARK_TIME_MASK: u64 = (1 << MARK_TIME_BITS) - 1;

/// Maximum length of a record, in words.
pub(crate) const RECORD_WORDS_MAX: u64 = 5;
/// Words in a free, or in the first half of a realloc.
pub(crate) const FREE_WORDS: u64 = 1;
/// Words in an allocation.
pub(crate) const ALLOC_WORDS: u64 = 2;
/// Words in a successful realloc.
pub(crate) const MOVED_WORDS: u64 = 3;
/// Words in an event of a tracked pointer.
pub(crate) const POINTER_WORDS: u64 = 2;
/// Words in a wide record.
pub(crate) const WIDE_WORDS: u64 = 5;

/// Length in the mark of a window that is still being written: the maximum length. A reader stops at the head if the
/// head comes first.
pub(crate) const MARK_OPEN: u64 = 127;

/// The kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Tag {
    Skip = 0,
    Alloc = 1,
    Free = 2,
    Begin = 3,
    Moved = 4,
    Refused = 5,
    Mark = 6,
    Wide = 7,
    Thread = 8,
    Pointer = 9,
}

impl Tag {
    #[inline(always)]
    pub(crate) const fn raw(word: u64) -> u64 {
        word >> TAG_SHIFT
    }

    const fn bits(self) -> u64 {
        (self as u64) << TAG_SHIFT
    }
}

pub(crate) const TAG_SKIP: u64 = Tag::Skip as u64;
pub(crate) const TAG_ALLOC: u64 = Tag::Alloc as u64;
pub(crate) const TAG_FREE: u64 = Tag::Free as u64;
pub(crate) const TAG_BEGIN: u64 = Tag::Begin as u64;
pub(crate) const TAG_MOVED: u64 = Tag::Moved as u64;
pub(crate) const TAG_REFUSED: u64 = Tag::Refused as u64;
pub(crate) const TAG_MARK: u64 = Tag::Mark as u64;
pub(crate) const TAG_WIDE: u64 = Tag::Wide as u64;
pub(crate) const TAG_THREAD: u64 = Tag::Thread as u64;
pub(crate) const TAG_POINTER: u64 = Tag::Pointer as u64;

/// The 12 bits of an allocation besides address, size and stack: its alignment, whether it is internal to heapledger,
/// whether it was zeroed, and its sampling rate. An internal block, and a free with its whole size, have a sampling
/// period in place of the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traits(pub(crate) u64);

impl Traits {
    const OWN: u64 = 1 << 6;
    const ZEROED: u64 = 1 << 7;
    const RATE_SHIFT: u32 = 8;
    const RATE: u64 = 15 << Self::RATE_SHIFT;

    #[inline(always)]
    pub(crate) const fn new(align: usize, zeroed: bool, own: bool) -> Traits {
        let bits = (align.trailing_zeros() as u64) | ((own as u64) << 6) | ((zeroed as u64) << 7);
        Traits(bits)
    }

    pub(crate) const fn align_log2(self) -> u64 {
        self.0 & 63
    }

    /// Returns the traits with the rate (1 to 15) at which the block was sampled.
    pub(crate) const fn sampled(self, rate: u64) -> Traits {
        Traits(self.0 & !Self::RATE | (rate << Self::RATE_SHIFT) & Self::RATE)
    }

    /// Returns the rate at which the block was sampled; 0 if the block is internal, or if all blocks were recorded.
    pub(crate) const fn rate(self) -> u64 {
        if self.is_own() { 0 } else { self.period() }
    }

    /// Returns the traits with a sampling period, for an internal block or a free with its whole size: see W5 of
    /// `fold::flush`.
    pub(crate) const fn with_period(self, period: u64) -> Traits {
        self.sampled(period)
    }

    /// Returns the sampling period of an internal block, or of a free with its whole size; 0 if there is none.
    pub(crate) const fn period(self) -> u64 {
        (self.0 & Self::RATE) >> Self::RATE_SHIFT
    }

    /// Returns whether the block is excluded from the program's totals, because it is internal or sampled.
    #[inline(always)]
    pub(crate) const fn is_excluded(self) -> bool {
        self.0 & (Self::OWN | Self::RATE) != 0
    }

    pub(crate) const fn is_own(self) -> bool {
        self.0 & Self::OWN != 0
    }

    /// Returns these traits with the mark of an internal block.
    pub(crate) const fn as_own(self) -> Traits {
        Traits(self.0 | Self::OWN)
    }

    pub(crate) const fn is_zeroed(self) -> bool {
        self.0 & Self::ZEROED != 0
    }
}

/// Returns the size bits of a free: the size folded to 12 bits by exclusive or, so that sizes that differ by whole
/// pages have different bits. The bits, read as a number, never exceed the size.
#[inline(always)]
pub(crate) const fn check_bits(size: u64) -> u64 {
    (size ^ (size >> CHECK_BITS) ^ (size >> (2 * CHECK_BITS))) & CHECK_MASK
}

/// Returns the smallest size of a block whose free has these size bits. Higher bits of `check` are ignored.
#[inline(always)]
pub(crate) const fn least_size(check: u64) -> u64 {
    check & CHECK_MASK
}

/// Returns whether the size bits of a free agree with a block's size. Higher bits of `check` are ignored.
#[inline(always)]
pub(crate) const fn agrees(size: u64, check: u64) -> bool {
    check_bits(size) == check & CHECK_MASK
}

/// Returns whether the record after an allocation is a free of the same address.
#[inline(always)]
pub(crate) const fn is_pair(alloc: u64, behind: u64) -> bool {
    (alloc ^ behind) << (u64::BITS - ADDRESS_BITS) == 0 && Tag::raw(behind) == TAG_FREE
}

/// Returns whether an address and a size fit into a narrow record.
#[inline(always)]
pub(crate) const fn is_narrow(address: u64, size: u64) -> bool {
    excess(address, size) == 0
}

/// Returns the bits of an address and a size that do not fit into a narrow record; 0 if all bits fit.
#[inline(always)]
pub(crate) const fn excess(address: u64, size: u64) -> u64 {
    (address >> ADDRESS_BITS) | (size >> 32)
}

#[inline(always)]
pub(crate) const fn alloc_words(address: u64, size: u64, traits: Traits, stack: u32) -> [u64; 2] {
    [Tag::Alloc.bits() | (traits.0 << ADDRESS_BITS) | address, (size << 32) | stack as u64]
}

#[inline(always)]
pub(crate) const fn free_word(address: u64, size: u64) -> u64 {
    Tag::Free.bits() | (check_bits(size) << ADDRESS_BITS) | address
}

#[inline(always)]
pub(crate) const fn begin_word(address: u64, size: u64) -> u64 {
    Tag::Begin.bits() | (check_bits(size) << ADDRESS_BITS) | address
}

pub(crate) const fn refused_word(address: u64) -> u64 {
    Tag::Refused.bits() | address
}

#[inline(always)]
pub(crate) const fn moved_words(old: u64, new: u64, size: u64, traits: Traits, stack: u32) -> [u64; 3] {
    [Tag::Moved.bits() | (traits.0 << ADDRESS_BITS) | new, (size << 32) | stack as u64, old]
}

pub(crate) const fn thread_word(starts: bool, row: u32) -> u64 {
    Tag::Thread.bits() | ((if starts { 1 } else { 2 }) << ADDRESS_BITS) | row as u64
}

/// Returns the words of an event of a tracked pointer, whose code `event` is below 4096.
pub(crate) const fn pointer_words(event: u64, pointer: u32, held: u32, stack: u32) -> [u64; 2] {
    let first = Tag::Pointer.bits() | ((event & 0xfff) << ADDRESS_BITS) | pointer as u64;
    [first, (held as u64) << 32 | stack as u64]
}

/// Returns the code of a tracked pointer's event.
pub(crate) const fn pointer_event_of(word: u64) -> u64 {
    check_of(word)
}

pub(crate) const fn wide_words(kind: Tag, traits: Traits, fields: [u64; 4]) -> [u64; 5] {
    let first = Tag::Wide.bits() | (traits.0 << ADDRESS_BITS) | kind as u64;
    [first, fields[0], fields[1], fields[2], fields[3]]
}

pub(crate) const fn mark_word(ns: u64) -> u64 {
    Tag::Mark.bits() | (MARK_OPEN << MARK_TIME_BITS) | (ns & MARK_TIME_MASK)
}

/// Returns the mark of a closed window, which contains the length of the window in words.
pub(crate) const fn closed_mark(mark: u64, words: u64) -> u64 {
    (mark & !(MARK_OPEN << MARK_TIME_BITS)) | (words << MARK_TIME_BITS)
}

/// Returns the number of words after the mark; [`MARK_OPEN`] while the window is open.
pub(crate) const fn mark_length(mark: u64) -> u64 {
    (mark >> MARK_TIME_BITS) & MARK_OPEN
}

/// Returns the time of a mark in nanoseconds: the first time that has the mark's low bits and is not before
/// `not_before`. The 53 bits of a mark cover 104 days. So the events of a ring that was idle for longer are dated 104
/// days too early.
pub(crate) const fn mark_time(mark: u64, not_before: u64) -> u64 {
    let low = mark & MARK_TIME_MASK;
    let time = (not_before & !MARK_TIME_MASK) | low;
    if time + (1 << (MARK_TIME_BITS - 1)) < not_before { time + (1 << MARK_TIME_BITS) } else { time }
}

#[inline(always)]
pub(crate) const fn address_of(word: u64) -> u64 {
    word & ADDRESS_MASK
}

/// Returns whether a word looks like the first word of an allocation, of a free, or of one half of a realloc. `word`
/// may be any word of a record; a word that holds a size of 2²⁸ or more can give a false `true`.
#[inline(always)]
pub(crate) const fn begins_with_address(word: u64) -> bool {
    Tag::raw(word).wrapping_sub(TAG_ALLOC) <= TAG_MOVED - TAG_ALLOC
}

#[inline(always)]
pub(crate) const fn check_of(word: u64) -> u64 {
    (word >> ADDRESS_BITS) & CHECK_MASK
}

#[inline(always)]
pub(crate) const fn traits_of(word: u64) -> Traits {
    Traits((word >> ADDRESS_BITS) & 0xfff)
}

/// Returns the kind of a wide record, as a raw tag.
pub(crate) const fn wide_kind(word: u64) -> u64 {
    word & 0xff
}

/// The bits of a first word by which a plain record is recognised: the tag, and the traits that an unsampled block of
/// the program cannot have. These traits are a rate, the internal mark, and an alignment of 2³² bytes or more.
const PLAIN: u64 = (15 << TAG_SHIFT) | ((Traits::OWN | Traits::RATE | 32) << ADDRESS_BITS);

/// Returns whether a word starts an allocation of the program that is not sampled.
#[inline(always)]
pub(crate) const fn is_plain_alloc(word: u64) -> bool {
    word & PLAIN == Tag::Alloc.bits()
}

/// Returns whether a word starts the second half of a realloc of the program's block.
#[inline(always)]
pub(crate) const fn is_plain_moved(word: u64) -> bool {
    word & PLAIN == Tag::Moved.bits()
}

/// Returns the number of words of the record that starts with `word`. The result for a skip is 1, although its reader
/// continues with the next segment.
#[inline(always)]
pub(crate) const fn record_words(word: u64) -> u64 {
    match Tag::raw(word) {
        TAG_ALLOC => ALLOC_WORDS,
        TAG_MOVED => MOVED_WORDS,
        TAG_WIDE => WIDE_WORDS,
        TAG_POINTER => POINTER_WORDS,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_records_give_back_what_went_in() {
        let traits = Traits::new(4096, true, true);
        assert_eq!((traits.align_log2(), traits.is_own(), traits.is_zeroed()), (12, true, true));
        assert_eq!(
            (traits.with_period(15).period(), traits.with_period(15).rate()),
            (15, 0),
            "it is internal"
        );
        let sample = Traits::new(4096, true, false).sampled(15);
        assert_eq!((sample.rate(), sample.align_log2(), traits.period()), (15, 12, 0));
        let (address, size) = (ADDRESS_MASK - 7, u64::from(u32::MAX));
        assert!(is_narrow(address, size));
        let [first, second] = alloc_words(address, size, traits, 77);
        assert_eq!((Tag::raw(first), address_of(first), traits_of(first)), (TAG_ALLOC, address, traits));
        assert_eq!((second >> 32, second as u32), (size, 77));
        let free = free_word(address, 0x1234_5678);
        assert_eq!(
            (Tag::raw(free), address_of(free), check_of(free)),
            (TAG_FREE, address, check_bits(0x1234_5678))
        );
        assert_ne!(check_bits(4096), check_bits(8192));
        let moved = moved_words(1, address, 9, Traits::new(8, false, false), 3);
        assert_eq!(
            (Tag::raw(moved[0]), address_of(moved[0]), moved[1] >> 32, moved[2]),
            (TAG_MOVED, address, 9, 1)
        );
    }

    #[test]
    fn what_does_not_fit_is_wide() {
        assert!(!is_narrow(1 << 48, 1));
        assert!(!is_narrow(1, 1 << 32));
        let words = wide_words(Tag::Free, Traits::default(), [u64::MAX, 1, 2, 3]);
        assert_eq!((Tag::raw(words[0]), wide_kind(words[0]), words[1]), (TAG_WIDE, TAG_FREE, u64::MAX));
        assert_eq!(record_words(words[0]), WIDE_WORDS);
    }

    #[test]
    fn a_pointer_event_keeps_its_pointer_its_holders_and_its_stack() {
        let [first, second] = pointer_words(3, u32::MAX, 7, 9);
        assert_eq!((Tag::raw(first), record_words(first)), (TAG_POINTER, POINTER_WORDS));
        assert_eq!((pointer_event_of(first), address_of(first)), (3, u64::from(u32::MAX)));
        assert_eq!((second >> 32, second as u32), (7, 9));
    }

    #[test]
    fn a_mark_keeps_its_time_when_it_is_closed() {
        let ns = 123_456_789_012;
        let mark = mark_word(ns);
        assert_eq!((mark_length(mark), mark_time(mark, 0)), (MARK_OPEN, ns));
        let closed = closed_mark(mark, 63);
        assert_eq!((mark_length(closed), mark_time(closed, ns - 5)), (63, ns));
    }

    #[test]
    fn marks_go_on_after_their_bits_wrap() {
        let ns = (1 << MARK_TIME_BITS) + 17;
        assert_eq!(mark_time(mark_word(ns), (1 << MARK_TIME_BITS) - 3), ns);
    }

    #[test]
    fn only_a_skip_is_zero() {
        assert_eq!(Tag::raw(0), TAG_SKIP);
        assert_ne!(thread_word(true, 0), 0);
    }
}
