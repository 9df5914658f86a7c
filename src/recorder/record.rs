//! A record before it is written: its words, and what the window has to know of it.

use crate::ring::event::{self, RECORD_WORDS_MAX, Tag, Traits};

/// A record that is to be written.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) words: [u64; RECORD_WORDS_MAX as usize],
    pub(super) len: u64,
    pub(super) kind: RecordKind,
}

/// RecordKind the turn has to know of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordKind {
    /// Its stamp must not be taken before the inner allocator has returned.
    Alloc,
    Free,
    /// The second half of an event that was counted with its first.
    SecondHalf,
    /// RecordKind happened to a tracked pointer. Whoever records it counts what is lost of it.
    PointerEvent,
    /// No event.
    Control,
}

impl Record {
    pub(super) fn new(words: &[u64], kind: RecordKind) -> Record {
        let mut record = Record { words: [0; RECORD_WORDS_MAX as usize], len: words.len() as u64, kind };
        record.words[..words.len()].copy_from_slice(words);
        record
    }
}

pub(super) fn alloc_record(address: u64, size: u64, traits: Traits, stack: u32) -> Record {
    if event::is_narrow(address, size) {
        Record::new(&event::alloc_words(address, size, traits, stack), RecordKind::Alloc)
    } else {
        let fields = [address, size, u64::from(stack), 0];
        Record::new(&event::wide_words(Tag::Alloc, traits, fields), RecordKind::Alloc)
    }
}

pub(super) fn free_record(address: u64, size: u64) -> Record {
    if event::is_narrow(address, 0) {
        Record::new(&[event::free_word(address, size)], RecordKind::Free)
    } else {
        whole_free_record(address, size)
    }
}

/// A free with its whole size: if the ledger does not know the block, it is counted as left out.
pub(super) fn whole_free_record(address: u64, size: u64) -> Record {
    Record::new(&event::wide_words(Tag::Free, Traits::default(), [address, size, 0, 0]), RecordKind::Free)
}
