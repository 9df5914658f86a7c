//! The lanes of an image: their accounts, and the words of their rings.

use super::image::Image;
use crate::ledger::Ledger;
use crate::ledger::books::LaneWithBooks;
use crate::ledger::entry::Entry;
use crate::ledger::history::LANE_WORDS_MAX;
use crate::ledger::nursery::YOUNGEST;
use crate::ledger::sites::Tally;
use crate::ring::lane::SEGMENT_WORDS;
use crate::sys::sync::Ordering;

/// No thread has written as many words: at one a nanosecond it would take 146 years.
const WORD_NUMBER_MAX: u64 = 1 << 62;

/// A lane, copied.
pub(super) struct LaneImage {
    pub(super) copy: Box<LaneWithBooks>,
    /// Whether someone was booking it at the last instant.
    pub(super) is_torn: bool,
    /// Numbers: of the first word in `words`, of the first that is in no sum, and of the first that is in no table. The
    /// last two differ in a torn lane only.
    pub(super) first: u64,
    pub(super) tail: u64,
    pub(super) worked_to: u64,
    pub(super) words: Vec<u64>,
}

/// All lanes, and how many could not be read.
pub(super) fn lanes(image: Image<'_>, ledger: &Ledger) -> (Vec<LaneImage>, u64) {
    let (mut lanes, mut unreadable) = (Vec::new(), 0);
    for page in ledger.lanes.published() {
        match lane(image, page) {
            Some(lane) => lanes.push(lane),
            None => unreadable += 1,
        }
    }
    (lanes, unreadable)
}

fn lane(image: Image<'_>, page: u32) -> Option<LaneImage> {
    let copy: Box<LaneWithBooks> = image.copy_boxed(page)?;
    let lane = &copy.lane;
    let (oldest, tail, head) = (lane.cold.oldest.own(), lane.folder.tail.own(), lane.head().own());
    let is_torn = lane.folder.latch.is_taken();
    if oldest > tail || tail > head || head - oldest > LANE_WORDS_MAX as u64 || head > WORD_NUMBER_MAX {
        return None;
    }
    let word = |number: u64| {
        let segment = lane.segment_page(number / SEGMENT_WORDS);
        image.copy::<u64>(segment, (number % SEGMENT_WORDS) as usize)
    };
    let words: Option<Vec<u64>> = (oldest..head).map(word).collect();
    // relaxed: a copy that nobody else has.
    let worked_to = copy.books.worked_to.load(Ordering::Relaxed);
    let worked_to = if is_torn { worked_to.clamp(tail, head) } else { tail };
    Some(LaneImage { words: words?, is_torn, first: oldest, tail, worked_to, copy })
}

impl LaneImage {
    /// The words that are in no sum.
    pub(super) fn unbooked(&self) -> &[u64] {
        self.words.get((self.tail - self.first) as usize..).unwrap_or(&[])
    }

    /// Every block that lies in the lane's own tables.
    pub(super) fn blocks(&self, image: Image<'_>) -> Vec<Entry> {
        let books = &self.copy.books;
        let (page, entries) = books.nursery.place();
        let mut young: Vec<Entry> = match page {
            0 => books.youngest[..YOUNGEST].to_vec(),
            page => (0..(entries as usize).min(image.room::<Entry>(page)))
                .filter_map(|place| image.copy(page, place))
                .collect(),
        };
        // Their size shares its word with a running number.
        young.iter_mut().for_each(|entry| entry.size &= u64::from(u32::MAX));
        let being_handed = books.outbox.iter().take(books.handing).skip(books.handed);
        young.extend(books.outbox.iter().take(books.outbox_len).chain(being_handed));
        young.retain(|entry| entry.address != 0);
        young
    }

    /// Every tally that was not committed.
    pub(super) fn tallies(&self, image: Image<'_>) -> Vec<Tally> {
        let (page, slots) = self.copy.books.tallies.place();
        let slots = if page == 0 { 0 } else { (slots as usize).min(image.room::<Tally>(page)) };
        (0..slots).filter_map(|slot| image.copy(page, slot)).collect()
    }
}
