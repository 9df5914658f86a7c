//! The records of a thread, decoded from the words of its ring.

use crate::ring::event::{
    self, TAG_ALLOC, TAG_BEGIN, TAG_FREE, TAG_MOVED, TAG_REFUSED, TAG_THREAD, TAG_WIDE, Tag, WIDE_WORDS,
};

/// A record with its time and its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dated {
    /// Time, in nanoseconds since the start. The time is interpolated between two readings of the clock.
    pub at_ns: u64,
    /// Number of the thread's row in the table of threads.
    pub row: u32,
    /// The record.
    pub record: Record,
}

/// The properties of a block except its address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct BlockShape {
    /// Size in bytes.
    pub size: u64,
    /// Call stack, as an index into the stacks of the dump.
    pub stack: u32,
    /// Twelve bits, encoded as in the ring: alignment, whether zeroed, whether internal to heapledger, sampling rate.
    pub(crate) traits: u16,
}

impl BlockShape {
    fn traits(self) -> event::Traits {
        event::Traits(u64::from(self.traits))
    }

    /// Returns the base-2 logarithm of the alignment.
    pub fn align_log2(self) -> u8 {
        self.traits().align_log2() as u8
    }

    /// Whether the program asked for zeroed memory.
    pub fn is_zeroed(self) -> bool {
        self.traits().is_zeroed()
    }

    /// Whether heapledger allocated the block for itself.
    pub fn is_own(self) -> bool {
        self.kind() == BlockKind::Internal
    }

    /// Returns the kind of the block.
    pub(crate) fn kind(self) -> BlockKind {
        match self.traits() {
            traits if traits.is_own() => BlockKind::Internal,
            traits if traits.rate() > 0 => BlockKind::Sampled,
            _ => BlockKind::Program,
        }
    }
}

/// Kind of a block, which decides the figures that count the block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// A block of the program. It counts in every figure.
    #[default]
    Program,
    /// A sampled block, which represents other blocks. It counts in no site and in no exact total.
    Sampled,
    /// A block that heapledger allocated for itself. It counts in no figure of the program.
    Internal,
}

/// The size of a block, as far as the record of a free or of the begin of a realloc states it. The low twelve bits are
/// a checksum of the size. In a wide record, the higher bits are the whole size plus one; in other records they are
/// zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SizeBits(pub(crate) u64);

impl SizeBits {
    /// Whether a block of this size can be the freed block.
    pub fn agree_with(self, size: u64) -> bool {
        match (self.0 >> event::CHECK_BITS).checked_sub(1) {
            Some(whole) => size == whole,
            None => event::agrees(size, self.0),
        }
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
        /// Address of the block.
        address: u64,
        /// Size, stack and traits of the block.
        shape: BlockShape,
    },
    /// A block was freed.
    Free {
        /// Address of the block.
        address: u64,
        /// Bits of the block's size that the record holds.
        size_bits: SizeBits,
    },
    /// A realloc begins. From this record on, the allocator may give the address to another thread.
    ReallocBegins {
        /// Address of the block.
        address: u64,
        /// Bits of the block's old size that the record holds.
        size_bits: SizeBits,
    },
    /// The realloc of the same thread succeeded.
    ReallocEnds {
        /// Address before the realloc.
        old_address: u64,
        /// Address after the realloc.
        address: u64,
        /// Size, stack and traits after the realloc.
        shape: BlockShape,
    },
    /// The realloc of the same thread failed, and the block is unchanged.
    ReallocRefused {
        /// Address of the block.
        address: u64,
    },
    /// The thread's first record.
    ThreadStarts,
    /// The thread's last record.
    ThreadEnds,
}

impl Record {
    /// Whether the ledger counts the record as an event. The two records of a realloc count once, with the second
    /// record.
    pub fn is_event(&self) -> bool {
        !matches!(self, Record::ReallocBegins { .. } | Record::ThreadStarts | Record::ThreadEnds)
    }

    /// Returns the length of the record in words, if it is not a wide record.
    pub(crate) fn narrow_words(&self) -> u64 {
        match self {
            Record::Alloc { .. } => event::ALLOC_WORDS,
            Record::ReallocEnds { .. } => event::MOVED_WORDS,
            _ => 1,
        }
    }

    /// Reads the record at the start of `words`. Returns the record and its length in words, or `None` if there is no
    /// whole record.
    pub(crate) fn read(words: &[u64]) -> Option<(Record, u64)> {
        let word = *words.first()?;
        let field = |n: usize| words.get(n).copied();
        let address = event::address_of(word);
        let traits = event::traits_of(word).0 as u16;
        let size_bits = SizeBits(event::check_of(word));
        let shape = |second: u64| BlockShape { size: second >> 32, stack: second as u32, traits };
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
        let shape = BlockShape { size, stack: stack as u32, traits };
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
