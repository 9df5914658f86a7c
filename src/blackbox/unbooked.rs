//! Replays the events in the rings that the process had not booked.
//!
//! In a *torn* lane, the fold had applied some words to the tables, but had not added their events to the sums (see the
//! [parent module](super)). The replay only counts these events. Whether the fold had applied the next record too is
//! unknown, so the replay looks for the effect of this record in the tables. The replay books all further records of
//! the lane, and all records of lanes that are not torn.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::image::Image;
use super::lanes::LaneImage;
use crate::ledger::Ledger;
use crate::ledger::entry::{Entry, Meta, without_period};
use crate::ledger::history::TIME_NS_BOUND;
use crate::ledger::site_figures::SiteFigures;
use crate::ledger::timeline::{Flow, Timeline};
use crate::replay::{Block, BlockKind, Dated, End, Heap, Record, SizeBits, Sums, WaitingFree};
use crate::ring::event::{self, TAG_MARK, TAG_SKIP, TAG_THREAD, Tag, record_words};
use crate::ring::lane::SEGMENT_WORDS;

/// Maximum time by which a free may seem older than its block, in nanoseconds: the length of one or two windows.
const PATIENCE_NS: u64 = 4_000_000;

/// Sums of events that the process had not booked.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct EventSums {
    pub(super) recorded: u64,
    pub(super) own_events: u64,
    pub(super) total_blocks: u64,
    pub(super) total_bytes: u64,
    pub(super) freed_blocks: u64,
    pub(super) freed_bytes: u64,
    pub(super) reallocs: u64,
}

impl EventSums {
    pub(super) fn merge(&mut self, more: &EventSums) {
        self.recorded += more.recorded;
        self.own_events += more.own_events;
        self.total_blocks += more.total_blocks;
        self.total_bytes = self.total_bytes.wrapping_add(more.total_bytes);
        self.freed_blocks += more.freed_blocks;
        self.freed_bytes = self.freed_bytes.wrapping_add(more.freed_bytes);
        self.reallocs += more.reallocs;
    }
}

/// The sums of the events of one lane that the process had not booked.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct LaneSums {
    /// Events that this replay books.
    pub(super) added: EventSums,
    /// Events of the batch that a fold was booking when the process ended.
    pub(super) torn: EventSums,
}

/// The figures to which the replay adds events.
pub(super) struct Figures<'a> {
    pub(super) sites: BTreeMap<u32, SiteFigures>,
    pub(super) timeline: &'a Timeline,
    /// Maximum number of sites. All stacks beyond this number share the last site.
    pub(super) sites_max: u32,
    /// Time of the last replayed event, in nanoseconds since the start.
    pub(super) last_ns: u64,
    lane: LaneSums,
    is_torn: bool,
}

impl<'a> Figures<'a> {
    pub(super) fn new(sites: BTreeMap<u32, SiteFigures>, timeline: &'a Timeline, sites_max: u32) -> Self {
        Figures { sites, timeline, sites_max, last_ns: 0, lane: LaneSums::default(), is_torn: false }
    }

    fn sums(&mut self) -> &mut EventSums {
        if self.is_torn { &mut self.lane.torn } else { &mut self.lane.added }
    }

    fn site(&mut self, stack: u32) -> &mut SiteFigures {
        let site = stack.min(self.sites_max.saturating_sub(1));
        self.sites.entry(site).or_insert(SiteFigures::EMPTY)
    }

    /// Whether a block counts in its site and in the timeline. A block of a torn batch does not count, because the
    /// tables may have it already.
    fn is_in_tables(&self, block: &Block) -> bool {
        !self.is_torn && block.kind == BlockKind::Program
    }
}

impl Sums for Figures<'_> {
    fn started(&mut self, at_ns: u64, block: &mut Block) {
        if block.kind == BlockKind::Internal {
            self.sums().own_events += 1;
            return;
        }
        let sums = self.sums();
        sums.total_blocks += 1;
        sums.total_bytes = sums.total_bytes.wrapping_add(block.size);
        if self.is_in_tables(block) {
            self.site(block.stack).add_block(block.size);
            let flow = Flow { allocated_blocks: 1, allocated_bytes: block.size, ..Flow::default() };
            self.timeline.add(at_ns, &flow);
        }
    }

    fn ended(&mut self, at_ns: u64, block: &Block, end: End) {
        if block.kind == BlockKind::Internal {
            self.sums().own_events += u64::from(!end.by_realloc);
            return;
        }
        let sums = self.sums();
        // A realloc counts in the totals when its old block is found, as in the ledger.
        sums.reallocs += u64::from(end.by_realloc);
        sums.freed_blocks += 1;
        sums.freed_bytes = sums.freed_bytes.wrapping_add(block.size);
        if self.is_in_tables(block) {
            let lifetime_ns = at_ns.saturating_sub(block.born_ns);
            self.site(block.stack).add_end(block.size, (!end.by_realloc).then_some(lifetime_ns));
            let flow = Flow { freed_blocks: 1, freed_bytes: block.size, ..Flow::default() };
            self.timeline.add(at_ns, &flow);
        }
    }

    fn reallocated(&mut self, before: Option<&Block>, block: &Block, moved: bool) {
        if self.is_in_tables(block) {
            let copied_from = before.filter(|before| moved && before.kind == BlockKind::Program);
            let copied_bytes = copied_from.map(|before| before.size.min(block.size));
            self.site(block.stack).add_realloc(copied_bytes);
        }
    }
}

/// Whether the process had applied a record to its tables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Applied {
    Yes,
    /// The process ended while it applied the record.
    Unknown,
    No,
}

/// The heap of the black box: the blocks in its tables, to which the replay applies the unbooked events.
pub(super) struct Unbooked<'a> {
    pub(super) heap: Heap<Figures<'a>>,
}

impl<'a> Unbooked<'a> {
    /// Makes the heap from the blocks in the tables of the image.
    pub(super) fn new(
        image: Image<'_>,
        ledger: &Ledger,
        lanes: &[LaneImage],
        figures: Figures<'a>,
    ) -> Unbooked<'a> {
        let mut unbooked = Unbooked { heap: Heap::new(figures, PATIENCE_NS) };
        for (page, capacity) in ledger.live.places().filter(|(page, _)| *page != 0) {
            let capacity = (capacity as usize).min(image.room::<Entry>(page));
            // The keys of all entries come first, then the other fields.
            let rest = capacity * size_of::<u64>();
            for place in 0..capacity {
                let key: Option<u64> = image.copy(page, place).filter(|key| *key != 0);
                let Some(address) = key else { continue };
                let Some([size, at_ns, meta]) = image.copy_behind::<[u64; 3]>(page, rest, place) else {
                    continue;
                };
                unbooked.add(&Entry { address, size, at_ns, meta: Meta(meta) });
            }
        }
        lanes.iter().flat_map(|lane| lane.blocks(image)).for_each(|entry| unbooked.add(&entry));
        unbooked
    }

    /// Adds an entry of a table. An entry that was being moved when the process ended is in two tables; it is added
    /// once.
    fn add(&mut self, entry: &Entry) {
        let Entry { address, size, at_ns, meta } = *entry;
        let (blocks, row) = (&mut self.heap.blocks, meta.thread());
        if meta.is_waiting() {
            let by_realloc = meta.is_by_realloc();
            // One entry can represent several equal frees, of which only one has a known time. Each free gets a
            // different time here, because equal waiting frees are added only once.
            for further in 0..=meta.more() {
                let at_ns = at_ns.saturating_sub(further);
                let free = WaitingFree { at_ns, row, size_bits: SizeBits(without_period(size)), by_realloc };
                if !blocks.waits(address, &free) {
                    blocks.wait(address, free);
                }
            }
            return;
        }
        let block = Block {
            size,
            born_ns: at_ns,
            started_ns: at_ns,
            stack: meta.stack(),
            row,
            number: 0,
            align_log2: meta.align_log2(),
            reallocs: meta.reallocs() as u8,
            kind: match (meta.is_own(), meta.rate()) {
                (true, _) => BlockKind::Internal,
                (false, 0) => BlockKind::Program,
                _ => BlockKind::Sampled,
            },
            counted: true,
        };
        if blocks.at(address).all(|known| *known != block) {
            blocks.insert(address, block);
        }
    }

    /// Replays the unbooked words of a lane. Returns the sums of their events.
    pub(super) fn replay(&mut self, lane: &LaneImage) -> LaneSums {
        let (mut row, mut at_ns) = (lane.copy.state.row, lane.copy.state.span_ns.min(TIME_NS_BOUND));
        let words = lane.unbooked();
        let mut at = 0;
        while let Some(word) = words.get(at).copied() {
            let number = lane.tail + at as u64;
            match Tag::raw(word) {
                TAG_SKIP => {
                    at += (SEGMENT_WORDS - number % SEGMENT_WORDS) as usize;
                    continue;
                }
                TAG_MARK => at_ns = event::mark_time(word, at_ns).min(TIME_NS_BOUND),
                TAG_THREAD => row = event::address_of(word) as u32,
                _ => {
                    let applied = match number.cmp(&lane.applied_up_to) {
                        Ordering::Less => Applied::Yes,
                        Ordering::Equal if lane.is_torn => Applied::Unknown,
                        _ => Applied::No,
                    };
                    // All other records belong to tracked pointers.
                    if let Some((record, _)) = words.get(at..).and_then(Record::read) {
                        self.record(applied, &Dated { at_ns, row, record });
                    }
                }
            }
            at += record_words(word) as usize;
        }
        let figures = &mut self.heap.sums;
        figures.last_ns = figures.last_ns.max(at_ns);
        figures.is_torn = false;
        std::mem::take(&mut figures.lane)
    }

    fn record(&mut self, applied: Applied, dated: &Dated) {
        let Dated { at_ns, row, record } = *dated;
        self.heap.sums.is_torn = applied != Applied::No;
        self.heap.sums.sums().recorded += u64::from(record.is_event());
        let made = match record {
            Record::Alloc { address, shape } | Record::ReallocEnds { address, shape, .. } => {
                Some((address, shape))
            }
            _ => None,
        };
        let is_applied = match (applied, made, record) {
            (Applied::Unknown, Some((address, shape)), _) => {
                let is_it =
                    |block: &Block| (block.size, block.stack, block.row) == (shape.size, shape.stack, row);
                self.heap.blocks.at(address).any(is_it)
            }
            (Applied::Unknown, None, Record::Free { address, size_bits }) => {
                self.heap.blocks.at(address).all(|block| !size_bits.agree_with(block.size))
            }
            _ => applied == Applied::Yes,
        };
        match made {
            _ if !is_applied => self.heap.apply(dated),
            Some((_, shape)) => {
                let mut block = self.heap.allocated(at_ns, row, shape);
                self.heap.sums.started(at_ns, &mut block);
            }
            None => {}
        }
    }

    /// Pairs the frees and blocks that remain after all lanes are replayed. Returns the sums of these pairs.
    pub(super) fn finish(&mut self) -> EventSums {
        self.heap.finish();
        std::mem::take(&mut self.heap.sums.lane).added
    }
}
