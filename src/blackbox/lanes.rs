//! The lanes of a black box: their counters, and the words of their rings.

use super::image::Image;
use crate::ledger::Ledger;
use crate::ledger::entry::Entry;
use crate::ledger::fold_state::LaneWithState;
use crate::ledger::history::LANE_WORDS_MAX;
use crate::ledger::nursery::YOUNGEST;
use crate::ledger::site_delta::SiteDelta;
use crate::ring::lane::SEGMENT_WORDS;
use crate::sys::sync::Ordering;

/// Maximum number of a word in a valid lane. A thread that writes one word per nanosecond reaches it after 146 years.
const WORD_NUMBER_MAX: u64 = 1 << 62;

/// A lane, copied from the file, with the words of its ring.
pub(super) struct LaneImage {
    pub(super) copy: Box<LaneWithState>,
    /// Whether a fold of the lane was in progress when the process ended.
    pub(super) is_torn: bool,
    /// Number of the first word in `words`. `tail` is the number of the first word that is missing in the sums, and
    /// `applied_up_to` is the number of the first word that is missing in the tables. The two are equal unless the lane
    /// is torn.
    pub(super) first: u64,
    pub(super) tail: u64,
    pub(super) applied_up_to: u64,
    pub(super) words: Vec<u64>,
}

/// Returns all readable lanes, and the number of unreadable lanes.
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
    let copy: Box<LaneWithState> = image.copy_boxed(page)?;
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
    // relaxed: the copy is not shared.
    let applied_up_to = copy.state.applied_up_to.load(Ordering::Relaxed);
    let applied_up_to = if is_torn { applied_up_to.clamp(tail, head) } else { tail };
    Some(LaneImage { words: words?, is_torn, first: oldest, tail, applied_up_to, copy })
}

impl LaneImage {
    /// Returns the words from `tail` on, which are missing in the sums.
    pub(super) fn unbooked(&self) -> &[u64] {
        self.words.get((self.tail - self.first) as usize..).unwrap_or(&[])
    }

    /// Returns the blocks and the waiting frees in the tables of this lane.
    pub(super) fn blocks(&self, image: Image<'_>) -> Vec<Entry> {
        let state = &self.copy.state;
        let (page, entries) = state.nursery.place();
        let mut young: Vec<Entry> = match page {
            0 => state.youngest[..YOUNGEST].to_vec(),
            page => (0..(entries as usize).min(image.room::<Entry>(page)))
                .filter_map(|place| image.copy(page, place))
                .collect(),
        };
        // The upper half of the size field holds the running number of the allocation.
        young.iter_mut().for_each(|entry| entry.size &= u64::from(u32::MAX));
        let being_handed = state.outbox.iter().take(state.handing).skip(state.handed);
        young.extend(state.outbox.iter().take(state.outbox_len).chain(being_handed));
        young.retain(|entry| entry.address != 0);
        young
    }

    /// Returns the changes of site figures that were not added to the sites yet.
    pub(super) fn deltas(&self, image: Image<'_>) -> Vec<SiteDelta> {
        let (page, slots) = self.copy.state.deltas.place();
        let slots = if page == 0 { 0 } else { (slots as usize).min(image.room::<SiteDelta>(page)) };
        (0..slots).filter_map(|slot| image.copy(page, slot)).collect()
    }
}
