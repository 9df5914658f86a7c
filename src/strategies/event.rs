//! Events of 32 bytes, and the outcomes of recording them.

use serde::{Deserialize, Serialize};

/// The kind of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u32)]
pub enum EventKind {
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

impl EventKind {
    /// Whether the event concerns a smart pointer rather than a block.
    pub const fn is_pointer(self) -> bool {
        matches!(self, EventKind::PointerCloned | EventKind::PointerDropped)
    }

    const fn from_raw(raw: u32) -> EventKind {
        match raw {
            0 => EventKind::Alloc,
            1 => EventKind::Free,
            2 => EventKind::PointerCloned,
            _ => EventKind::PointerDropped,
        }
    }
}

/// One event, as plain data of 32 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(C)]
pub struct Event {
    /// Address of the block.
    pub address: u64,
    /// Size of the block in bytes.
    pub size: u64,
    /// Number of the event in the sequence of its producer's events, from 1. The collector sets it.
    pub sequence: u64,
    /// Number of the producer. The collector sets it.
    pub producer: u32,
    /// Kind of the event.
    pub kind: EventKind,
}

/// An event of a block: [`EventKind::Alloc`] or [`EventKind::Free`]. The events of a recorded program are
/// [`profile::Event`](crate::profile::Event).
pub type AllocationInfo = Event;

/// An event of a smart pointer: [`EventKind::PointerCloned`] or [`EventKind::PointerDropped`]. In a recorded program,
/// [`Tracked`](crate::Tracked) makes such events.
pub type SmartPointerInfo = Event;

/// Number of words of an event in a queue.
pub(super) const EVENT_WORDS: usize = 4;

const _: () = assert!(size_of::<Event>() == EVENT_WORDS * 8);

impl Event {
    /// Creates an event: a block of `size` bytes was allocated.
    pub const fn alloc(address: u64, size: u64) -> Event {
        Event { address, size, sequence: 0, producer: 0, kind: EventKind::Alloc }
    }

    /// Creates an event: a block of `size` bytes was freed.
    pub const fn free(address: u64, size: u64) -> Event {
        Event { kind: EventKind::Free, ..Event::alloc(address, size) }
    }

    /// Creates an event: a smart pointer to `address` was cloned.
    pub const fn pointer_cloned(address: u64) -> Event {
        Event { kind: EventKind::PointerCloned, ..Event::alloc(address, 0) }
    }

    /// Creates an event: a smart pointer to `address` was dropped.
    pub const fn pointer_dropped(address: u64) -> Event {
        Event { kind: EventKind::PointerDropped, ..Event::alloc(address, 0) }
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
            kind: EventKind::from_raw(words[3] as u32),
        }
    }
}

/// The cause of a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum LossCause {
    /// Another thread held the lock.
    Contended = 0,
    /// Another thread held the lock up to the last retry, and the overflow buffer was full.
    OverflowFull = 1,
    /// The queue of the producer was full.
    QueueFull = 2,
}

impl LossCause {
    /// Number of causes.
    pub const COUNT: usize = 3;

    /// All causes, in the order of [`Losses::counts`].
    pub const ALL: [LossCause; Self::COUNT] =
        [LossCause::Contended, LossCause::OverflowFull, LossCause::QueueFull];

    /// Returns the name for tables, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            LossCause::Contended => "contended",
            LossCause::OverflowFull => "overflow_full",
            LossCause::QueueFull => "queue_full",
        }
    }
}

/// Numbers of lost events, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Numbers of lost events, in the order of [`LossCause::ALL`].
    pub counts: [u64; LossCause::COUNT],
}

impl Losses {
    /// Returns the number of events lost for one cause.
    pub const fn get(&self, cause: LossCause) -> u64 {
        self.counts[cause as usize]
    }

    /// Returns the number of events lost for any cause.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// The outcome of recording an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The event was booked.
    Recorded,
    /// The event was accepted, but is not booked yet.
    InFlight,
    /// The event was lost, and counted as lost.
    Lost(LossCause),
}
