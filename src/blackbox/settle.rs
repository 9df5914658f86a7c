//! Books what was still in the rings: the plain way, one event after the other.
//!
//! The words of a torn lane come in two parts. What the fold had worked through is in the tables, so that it is certain
//! which blocks live, but in no sum: of these events nothing is booked, they are only counted. At the one record that it
//! was just at, either may be. What comes behind is new, like all words of a lane that nobody was booking.

use std::collections::BTreeMap;

use super::lanes::LaneImage;
use super::live::Live;
use crate::ledger::entry::{Entry, Meta};
use crate::ledger::history::TIME_NS_BOUND;
use crate::ledger::sites::SiteFigures;
use crate::ledger::timeline::{Flow, Timeline};
use crate::ring::event::{
    self, TAG_ALLOC, TAG_FREE, TAG_MARK, TAG_MOVED, TAG_REFUSED, TAG_SKIP, TAG_THREAD, TAG_WIDE, Tag, Traits,
    record_words,
};
use crate::ring::lane::SEGMENT_WORDS;

/// What events come to that were not booked.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Added {
    pub(super) recorded: u64,
    pub(super) own_events: u64,
    pub(super) total_blocks: u64,
    pub(super) total_bytes: u64,
    pub(super) freed_blocks: u64,
    pub(super) freed_bytes: u64,
    pub(super) reallocs: u64,
}

impl Added {
    pub(super) fn merge(&mut self, more: &Added) {
        self.recorded += more.recorded;
        self.own_events += more.own_events;
        self.total_blocks += more.total_blocks;
        self.total_bytes = self.total_bytes.wrapping_add(more.total_bytes);
        self.freed_blocks += more.freed_blocks;
        self.freed_bytes = self.freed_bytes.wrapping_add(more.freed_bytes);
        self.reallocs += more.reallocs;
    }
}

/// What a lane's words come to.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Booked {
    /// Events that are booked now.
    pub(super) added: Added,
    /// Events that were being booked when the process ended.
    pub(super) torn: Added,
}

/// The books of the reader.
pub(super) struct Settling<'a> {
    pub(super) live: Live,
    pub(super) sites: BTreeMap<u32, SiteFigures>,
    pub(super) timeline: &'a Timeline,
    /// Sites that have an account of their own; further stacks share the last one.
    pub(super) sites_max: u32,
    /// When the last event happened that was seen, in nanoseconds.
    pub(super) last_ns: u64,
}

/// What is known of the record at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is in the tables.
    Worked,
    /// It may be in the tables.
    AtHand,
    /// It is in nothing.
    New,
}

/// One lane at a time.
struct Booking<'a, 'b> {
    books: &'a mut Settling<'b>,
    standing: Standing,
    row: u32,
    now_ns: u64,
    booked: Booked,
}

impl<'b> Settling<'b> {
    /// Books a lane's words; returns what they come to.
    pub(super) fn book(&mut self, lane: &LaneImage) -> Booked {
        let mut booking = self.begin(lane.copy.state.row, lane.copy.state.span_ns.min(TIME_NS_BOUND));
        let words = lane.unbooked();
        let mut at = 0;
        while let Some(word) = words.get(at).copied() {
            let number = lane.tail + at as u64;
            if Tag::raw(word) == TAG_SKIP {
                at += (SEGMENT_WORDS - number % SEGMENT_WORDS) as usize;
                continue;
            }
            booking.standing = match number.cmp(&lane.applied_up_to) {
                std::cmp::Ordering::Less => Standing::Worked,
                std::cmp::Ordering::Equal if lane.is_torn => Standing::AtHand,
                _ => Standing::New,
            };
            let field = |n: usize| words.get(at + n).copied().unwrap_or(0);
            booking.event(word, [field(1), field(2), field(3), field(4)]);
            at += record_words(word) as usize;
        }
        let (booked, now_ns) = (booking.booked, booking.now_ns);
        self.last_ns = self.last_ns.max(now_ns);
        booked
    }

    /// Brings frees and blocks together that are left over when every lane is booked; returns what that comes to.
    pub(super) fn reconcile(&mut self) -> Added {
        let pairs = self.live.reconcile();
        let mut booking = self.begin(0, 0);
        for (block, free) in pairs {
            booking.now_ns = free.at_ns.min(TIME_NS_BOUND);
            let lifetime_ns = free.at_ns.saturating_sub(block.at_ns);
            booking.count_end(&block, Some(lifetime_ns));
        }
        booking.booked.added
    }

    fn begin(&mut self, row: u32, now_ns: u64) -> Booking<'_, 'b> {
        Booking { books: self, standing: Standing::New, row, now_ns, booked: Booked::default() }
    }

    fn site(&mut self, stack: u32) -> &mut SiteFigures {
        let site = stack.min(self.sites_max.saturating_sub(1));
        self.sites.entry(site).or_insert(SiteFigures::EMPTY)
    }
}

impl Booking<'_, '_> {
    fn event(&mut self, word: u64, fields: [u64; 4]) {
        let address = event::address_of(word);
        let (size, stack) = (fields[0] >> 32, fields[0] as u32);
        match Tag::raw(word) {
            TAG_MARK => self.now_ns = event::mark_time(word, self.now_ns).min(TIME_NS_BOUND),
            TAG_THREAD => self.row = address as u32,
            TAG_ALLOC => self.alloc(address, size, stack, event::traits_of(word)),
            TAG_FREE => self.free(address, event::check_of(word)),
            TAG_MOVED => self.moved(fields[1], address, size, stack, event::traits_of(word)),
            TAG_REFUSED => self.sums().recorded += 1,
            TAG_WIDE => self.wide(word, fields),
            // What happened to tracked pointers, and the beginning of a realloc, whose second half says what became of it.
            _ => {}
        }
    }

    fn wide(&mut self, word: u64, [address, size, stack, old]: [u64; 4]) {
        let traits = event::traits_of(word);
        match event::wide_kind(word) {
            TAG_ALLOC => self.alloc(address, size, stack as u32, traits),
            TAG_FREE => {
                self.free(address, event::check_bits(size) | size.wrapping_add(1) << event::CHECK_BITS)
            }
            TAG_MOVED => self.moved(old, address, size, stack as u32, traits),
            TAG_REFUSED => self.sums().recorded += 1,
            _ => {}
        }
    }

    /// What the record at hand is added to.
    fn sums(&mut self) -> &mut Added {
        if self.standing == Standing::New { &mut self.booked.added } else { &mut self.booked.torn }
    }

    fn alloc(&mut self, address: u64, size: u64, stack: u32, traits: Traits) {
        self.sums().recorded += 1;
        let mut meta = Meta::of_block(stack, self.row, traits.align_log2(), traits.is_own(), 0);
        if traits.rate() > 0 {
            meta = meta.sampled(traits.rate());
        }
        self.place(Entry { address, size, at_ns: self.now_ns, meta });
    }

    /// A block is born, by an allocation or a realloc.
    fn place(&mut self, block: Entry) {
        self.count_birth(&block);
        let is_there = match self.standing {
            Standing::Worked => true,
            Standing::AtHand => self.books.live.knows(&block),
            Standing::New => false,
        };
        if !is_there && self.books.live.place(block).is_some() {
            self.count_end(&block, Some(0));
        }
    }

    fn free(&mut self, address: u64, check: u64) {
        self.sums().recorded += 1;
        if self.standing == Standing::Worked {
            return;
        }
        let meta = Meta::of_waiting_free(self.row, 0);
        let free = Entry { address, size: check, at_ns: self.now_ns, meta };
        match self.books.live.take(&free) {
            Some(block) => {
                let lifetime_ns = self.now_ns.saturating_sub(block.at_ns);
                self.count_end(&block, Some(lifetime_ns));
            }
            None if self.standing == Standing::AtHand => {}
            None => self.books.live.wait(free),
        }
    }

    fn moved(&mut self, old: u64, new: u64, size: u64, stack: u32, traits: Traits) {
        self.sums().recorded += 1;
        let meta = Meta::of_block(stack, self.row, traits.align_log2(), traits.is_own(), 0);
        let block = Entry { address: new, size, at_ns: self.now_ns, meta };
        if self.standing == Standing::Worked
            || self.standing == Standing::AtHand && self.books.live.knows(&block)
        {
            return self.count_birth(&block);
        }
        let Some(before) = self.books.live.take_any(old) else { return self.place(block) };
        let meta = Meta::of_block(stack, self.row, traits.align_log2(), before.meta.is_own(), 0)
            .with_reallocs(before.meta.reallocs() + 1);
        if !before.meta.is_excluded() {
            self.sums().reallocs += 1;
        }
        self.count_end(&before, None);
        self.place(Entry { at_ns: before.at_ns, meta, ..block });
    }

    fn count_birth(&mut self, block: &Entry) {
        if block.meta.is_own() {
            self.sums().own_events += 1;
            return;
        }
        let sums = self.sums();
        sums.total_blocks += 1;
        sums.total_bytes = sums.total_bytes.wrapping_add(block.size);
        if self.standing != Standing::New || block.meta.is_excluded() {
            return;
        }
        self.books.site(block.meta.stack()).add_block(block.size);
        let flow = Flow { allocated_blocks: 1, allocated_bytes: block.size, ..Flow::default() };
        self.books.timeline.add(self.now_ns, &flow);
    }

    fn count_end(&mut self, block: &Entry, lifetime_ns: Option<u64>) {
        if block.meta.is_own() {
            self.sums().own_events += u64::from(lifetime_ns.is_some());
            return;
        }
        let sums = self.sums();
        sums.freed_blocks += 1;
        sums.freed_bytes = sums.freed_bytes.wrapping_add(block.size);
        if self.standing != Standing::New || block.meta.is_excluded() {
            return;
        }
        self.books.site(block.meta.stack()).add_end(block.size, lifetime_ns);
        let flow = Flow { freed_blocks: 1, freed_bytes: block.size, ..Flow::default() };
        self.books.timeline.add(self.now_ns, &flow);
    }
}
