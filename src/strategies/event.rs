//! What is collected: events of 32 bytes, and what becomes of one.

use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u32)]
pub enum Kind {
    /// A block was allocated.
    #[default]
    Alloc = 0,
    /// A block was freed.
    Free = 1,
    /// A smart pointer was cloned.
    PointerCloned = 2,
    /// A smart pointer was dropped.
    PointerDropped = 3,
}

impl Kind {
    /// Whether it is about a smart pointer rather than a block.
    pub const fn is_pointer(self) -> bool {
        matches!(self, Kind::PointerCloned | Kind::PointerDropped)
    }

    const fn from_raw(raw: u32) -> Kind {
        match raw {
            0 => Kind::Alloc,
            1 => Kind::Free,
            2 => Kind::PointerCloned,
            _ => Kind::PointerDropped,
        }
    }
}

/// One event: plain data, 32 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(C)]
pub struct Event {
    /// Address of the block.
    pub address: u64,
    /// Size of the block in bytes.
    pub size: u64,
    /// Number among the events of its producer, from 1 on; the collector writes it.
    pub sequence: u64,
    /// Number of the producer; the collector writes it.
    pub producer: u32,
    /// What happened.
    pub kind: Kind,
}

/// Words of an event in a queue.
pub(super) const EVENT_WORDS: usize = 4;

const _: () = assert!(size_of::<Event>() == EVENT_WORDS * 8);

impl Event {
    /// A block of `size` bytes was allocated.
    pub const fn alloc(address: u64, size: u64) -> Event {
        Event { address, size, sequence: 0, producer: 0, kind: Kind::Alloc }
    }

    /// A block of `size` bytes was freed.
    pub const fn free(address: u64, size: u64) -> Event {
        Event { kind: Kind::Free, ..Event::alloc(address, size) }
    }

    /// A smart pointer to `address` was cloned.
    pub const fn pointer_cloned(address: u64) -> Event {
        Event { kind: Kind::PointerCloned, ..Event::alloc(address, 0) }
    }

    /// A smart pointer to `address` was dropped.
    pub const fn pointer_dropped(address: u64) -> Event {
        Event { kind: Kind::PointerDropped, ..Event::alloc(address, 0) }
    }

    #[inline]
    pub(super) const fn to_words(self) -> [u64; EVENT_WORDS] {
        [self.address, self.size, self.sequence, (self.producer as u64) << 32 | self.kind as u64]
    }

    #[inline]
    pub(super) const fn from_words(words: [u64; EVENT_WORDS]) -> Event {
        Event {
            address: words[0],
            size: words[1],
            sequence: words[2],
            producer: (words[3] >> 32) as u32,
            kind: Kind::from_raw(words[3] as u32),
        }
    }
}

/// Why a strategy gave an event up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Cause {
    /// Another thread held the lock.
    Contended = 0,
    /// Another thread held the lock until the last retry, and the overflow buffer was full.
    OverflowFull = 1,
    /// The queue of the producer was full.
    QueueFull = 2,
}

impl Cause {
    /// How many causes there are.
    pub const COUNT: usize = 3;

    /// Every cause, in the order of [`Losses::counts`].
    pub const ALL: [Cause; Self::COUNT] = [Cause::Contended, Cause::OverflowFull, Cause::QueueFull];

    /// The name in tables, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Contended => "contended",
            Cause::OverflowFull => "overflow_full",
            Cause::QueueFull => "queue_full",
        }
    }
}

/// Events that were given up, by cause. Unit: events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Counts in the order of [`Cause::ALL`].
    pub counts: [u64; Cause::COUNT],
}

impl Losses {
    /// Events lost for one cause.
    pub const fn get(&self, cause: Cause) -> u64 {
        self.counts[cause as usize]
    }

    /// Events lost for any cause.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// It is booked.
    Recorded,
    /// It was accepted and waits to be booked.
    InFlight,
    /// It was given up, and counted as that.
    Lost(Cause),
}
