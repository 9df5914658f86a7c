//! A record before it is written: its words and its kind.

use crate::ring::event::{self, RECORD_WORDS_MAX, Tag, Traits};

/// A record to be written.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) words: [u64; RECORD_WORDS_MAX as usize],
    pub(super) len: u64,
    pub(super) kind: RecordKind,
}

/// The kind of a record. It decides the time stamp, the counters, and whether the record may be dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordKind {
    /// An allocation. Its time stamp is taken after the inner allocator has returned.
    Alloc,
    Free,
    /// The second half of a realloc. The event was counted with its first half.
    SecondHalf,
    /// An event of a tracked pointer. If it is lost, the caller counts it.
    PointerEvent,
    /// Start or end of a thread. It is not counted as an event.
    Control,
}

impl Record {
    pub(super) fn new(words: &[u64], kind: RecordKind) -> Record {
        let mut record = Record { words: [0; RECORD_WORDS_MAX as usize], len: words.len() as u64, kind };
        record.words[..words.len()].copy_from_slice(words);
        record
    }
}

/// Returns the record of an allocation: two words, or a wide record if the address or size does not fit.
pub(super) fn alloc_record(address: u64, size: u64, traits: Traits, stack: u32) -> Record {
    if event::is_narrow(address, size) {
        Record::new(&event::alloc_words(address, size, traits, stack), RecordKind::Alloc)
    } else {
        let fields = [address, size, u64::from(stack), 0];
        Record::new(&event::wide_words(Tag::Alloc, traits, fields), RecordKind::Alloc)
    }
}

/// Returns the record of a free: one word, or a wide record if the address does not fit.
pub(super) fn free_record(address: u64, size: u64) -> Record {
    if event::is_narrow(address, 0) {
        Record::new(&[event::free_word(address, size)], RecordKind::Free)
    } else {
        whole_free_record(address, size, Traits::default())
    }
}

/// Returns the record of a free with its whole size: if the ledger does not know the block, the free is counted as that
/// of a sampled-out block of this size. `traits` holds the internal mark, and the sampling period in which the
/// address is not in the sampled set, or 0.
pub(super) fn whole_free_record(address: u64, size: u64, traits: Traits) -> Record {
    Record::new(&event::wide_words(Tag::Free, traits, [address, size, 0, 0]), RecordKind::Free)
}
