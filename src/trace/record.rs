//! The words of a ring as values, and how they are dated.

use crate::ring::event::{
    self, TAG_ALLOC, TAG_BEGIN, TAG_FREE, TAG_MOVED, TAG_REFUSED, TAG_THREAD, TAG_WIDE, Tag, WIDE_WORDS,
};

/// Fraction bits of the time that passes from one word to the next.
const STEP_BITS: u32 = 16;

/// Some records of one thread that follow each other, between two readings of the clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// Number of the thread's row.
    pub(crate) row: u32,
    /// When the first word was written, in nanoseconds since the start.
    pub(crate) first_ns: u64,
    /// Nanoseconds from one word to the next, with 16 bits behind the point.
    pub(crate) step: u64,
}

impl Window {
    /// The time of the record that so many words came before.
    pub(crate) fn at(&self, words_before: u64) -> u64 {
        self.first_ns.saturating_add(self.step.saturating_mul(words_before) >> STEP_BITS)
    }
}

/// What an allocation is but for its address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Size in bytes.
    pub size: u64,
    /// Its stack: index into the dump's stacks.
    pub stack: u32,
    /// Alignment, whether zeroed, whether heapledger's own, rate of sampling: twelve bits as in the ring.
    pub(crate) traits: u16,
}

impl Shape {
    fn traits(self) -> event::Traits {
        event::Traits(u64::from(self.traits))
    }

    /// Base-2 logarithm of the alignment.
    pub fn align_log2(self) -> u8 {
        self.traits().align_log2() as u8
    }

    /// Whether the block was asked for zeroed.
    pub fn is_zeroed(self) -> bool {
        self.traits().is_zeroed()
    }

    /// Whether it is heapledger's own.
    pub fn is_own(self) -> bool {
        self.traits().is_own()
    }

    /// Whether it is in no total of the program: heapledger's own, or a sample that stands for others.
    pub fn is_excluded(self) -> bool {
        self.traits().is_excluded()
    }
}

/// What a free says of the size of its block: twelve bits, or all of it above them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SizeBits(pub(crate) u64);

impl SizeBits {
    /// Whether a block of this size can be the one that was freed.
    pub fn agree_with(self, size: u64) -> bool {
        event::agrees(size, self.0)
    }

    pub(crate) fn of(size: u64) -> SizeBits {
        SizeBits(event::check_bits(size))
    }
}

/// One record of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// A block was allocated.
    Alloc {
        /// Where it lies.
        address: u64,
        /// What it is.
        shape: Shape,
    },
    /// A block was freed.
    Free {
        /// Where it lay.
        address: u64,
        /// What the free says of its size.
        size_bits: SizeBits,
    },
    /// A realloc begins: from now on someone else may get the address.
    ReallocBegins {
        /// Where the block lies.
        address: u64,
        /// What the call says of its old size.
        size_bits: SizeBits,
    },
    /// The realloc was carried out.
    ReallocEnds {
        /// Where the block lay.
        old_address: u64,
        /// Where it lies now.
        address: u64,
        /// What it is now.
        shape: Shape,
    },
    /// The realloc was refused; the block lives on.
    ReallocRefused {
        /// Where it lies.
        address: u64,
    },
    /// The thread's first record.
    ThreadStarts,
    /// The thread's last record.
    ThreadEnds,
}

impl Record {
    /// Whether the ledger counts the record as an event. A realloc is counted with its second half.
    pub fn is_event(&self) -> bool {
        !matches!(self, Record::ReallocBegins { .. } | Record::ThreadStarts | Record::ThreadEnds)
    }

    /// Words of the record when it is not wide.
    pub(crate) fn narrow_words(&self) -> u64 {
        match self {
            Record::Alloc { .. } => event::ALLOC_WORDS,
            Record::ReallocEnds { .. } => event::MOVED_WORDS,
            _ => 1,
        }
    }

    /// The record at the start of `words`, and how many words it takes; `None` when there is none, or not all of it.
    pub(crate) fn read(words: &[u64]) -> Option<(Record, u64)> {
        let word = *words.first()?;
        let field = |n: usize| words.get(n).copied();
        let address = event::address_of(word);
        let traits = event::traits_of(word).0 as u16;
        let size_bits = SizeBits(event::check_of(word));
        let shape = |second: u64| Shape { size: second >> 32, stack: second as u32, traits };
        let record = match Tag::raw(word) {
            TAG_ALLOC => Record::Alloc { address, shape: shape(field(1)?) },
            TAG_FREE => Record::Free { address, size_bits },
            TAG_BEGIN => Record::ReallocBegins { address, size_bits },
            TAG_MOVED => Record::ReallocEnds { old_address: field(2)?, address, shape: shape(field(1)?) },
            TAG_REFUSED => Record::ReallocRefused { address },
            TAG_THREAD if traits & 3 == 2 => Record::ThreadEnds,
            TAG_THREAD => Record::ThreadStarts,
            TAG_WIDE => {
                let fields = [field(1)?, field(2)?, field(3)?, field(4)?];
                return Some((Record::wide(event::wide_kind(word), traits, fields), WIDE_WORDS));
            }
            _ => return None,
        };
        Some((record, record.narrow_words()))
    }

    fn wide(kind: u64, traits: u16, [address, size, stack, old_address]: [u64; 4]) -> Record {
        let shape = Shape { size, stack: stack as u32, traits };
        let size_bits = SizeBits(event::check_bits(size) | size.saturating_add(1) << event::CHECK_BITS);
        match kind {
            TAG_ALLOC => Record::Alloc { address, shape },
            TAG_FREE => Record::Free { address, size_bits },
            TAG_BEGIN => Record::ReallocBegins { address, size_bits },
            TAG_MOVED => Record::ReallocEnds { old_address, address, shape },
            _ => Record::ReallocRefused { address },
        }
    }
}
