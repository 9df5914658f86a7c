//! The memory of the process: repeated readings of the resident memory by the background thread, and the figures of a
//! snapshot.

use crate::ledger::Ledger;
use crate::ledger::entry::Entry;
use crate::ledger::timeline::INTERVALS;
use crate::profile::{LARGE_BLOCK_BYTES, ProcessMemory};
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::state;
use crate::sys::inner_allocators::{INNER_ALLOCATORS, InnerAllocator};
use crate::sys::platform::resident_bytes;
use crate::sys::process_memory::{AllocatorFigures, allocator_figures, process_figures, resident_bytes_of};

/// Pause after a reading of the resident memory, as a multiple of the reading's duration: readings take at most 50 µs
/// of each second.
const SHARE: u64 = 20_000;
/// Minimum time between two readings, in nanoseconds.
const PAUSE_NS_MIN: u64 = 5_000_000;
/// Maximum number of bytes of large live blocks whose pages a snapshot checks for residence.
const LOOKED_AT_BYTES_MAX: u64 = 16 << 30;
/// Size from which glibc's allocator may give a block a separate mapping. The allocator raises this size as it runs, so
/// a larger block may also be in the allocator's heap.
const MAPPED_BYTES_MIN: u64 = 128 << 10;
const PAGE: u64 = 4096;

/// The times of the readings by the background thread.
#[derive(Debug, Default)]
pub(super) struct Readings {
    next_ns: u64,
}

impl Readings {
    /// Reads the resident memory, if it is time to do so.
    pub(super) fn read_if_due(&mut self, ledger: &Ledger, scope: &InternalScope, now_ns: u64) {
        if now_ns >= self.next_ns {
            note_resident(ledger, scope);
            let took_ns = ledger.clock.now_ns().saturating_sub(now_ns);
            self.next_ns = now_ns + took_ns.saturating_mul(SHARE).max(PAUSE_NS_MIN);
        }
    }
}

/// Adds the present resident memory to the timeline.
pub(super) fn note_resident(ledger: &Ledger, scope: &InternalScope) {
    if let Some(bytes) = resident_bytes() {
        let _paused = RecordingPaused::enter(scope);
        ledger.timeline.note_resident(ledger.clock.now_ns(), bytes);
    }
}

/// Returns the present figures. `live` has all live blocks, including heapledger's blocks, or is `None` if the live
/// blocks are not known.
pub(super) fn figures(ledger: &Ledger, scope: &InternalScope, live: Option<&[Entry]>) -> ProcessMemory {
    let mut resident_by_interval = Vec::with_capacity(INTERVALS);
    {
        let _paused = RecordingPaused::enter(scope);
        ledger.timeline.copy_resident(&mut resident_by_interval);
    }
    let process = process_figures();
    // Blocks that were not sampled would pass for other code's.
    let allocator = allocator(live.filter(|_| !ledger.is_sampling_used()));
    let (figures, blocks) =
        allocator.as_ref().map_or((None, None), |found| (Some(found.figures), found.blocks));
    let given_out = figures.and_then(|figures| figures.used).or(blocks.map(|(least, _)| least));
    let large = live.and_then(large_blocks);
    ProcessMemory {
        resident_by_interval,
        resident_bytes: process.resident,
        anonymous_bytes: process.anonymous,
        highest_resident_bytes: process.highest_resident,
        swapped_bytes: process.swapped,
        allocator: allocator.map_or(String::new(), |found| found.name.to_owned()),
        allocator_used_bytes: figures.and_then(|figures| figures.used),
        allocator_free_bytes: figures.zip(given_out).map(|(figures, used)| figures.held.saturating_sub(used)),
        blocks_at_least_bytes: blocks.map(|(least, _)| least),
        blocks_at_most_bytes: blocks.map(|(_, most)| most),
        large_blocks_bytes: large.map(|(bytes, _)| bytes),
        large_blocks_resident_bytes: large.map(|(_, resident)| resident),
    }
}

/// An allocator of the process.
#[derive(Debug)]
struct Allocator {
    name: &'static str,
    figures: AllocatorFigures,
    /// Bounds of the bytes that the live blocks take in it; `None` if it is not below heapledger, as far as is known.
    blocks: Option<(u64, u64)>,
}

/// Returns the allocator below heapledger. If none is found, returns glibc's allocator without blocks.
fn allocator(live: Option<&[Entry]>) -> Option<Allocator> {
    let known = INNER_ALLOCATORS.iter().find_map(|inner| {
        let blocks = blocks_in(inner, live?)?;
        Some(Allocator { name: inner.name, figures: (inner.figures)()?, blocks: Some(blocks) })
    });
    known.or_else(|| {
        let figures = allocator_figures()?;
        // Another library can take the place of glibc's functions. glibc's allocator then knows of no blocks.
        let is_below = |least: u64| figures.used.is_some_and(|used| used >= least / 2);
        let live = live.filter(|_| state::options().is_system_allocator);
        let blocks = live.map(blocks_in_glibc).filter(|(least, _)| is_below(*least));
        Some(Allocator { name: "glibc", figures, blocks })
    })
}

/// Returns the minimum and the maximum of the bytes that the blocks in this allocator take; `None` if most of the bytes
/// are in other allocators.
fn blocks_in(inner: &InnerAllocator, live: &[Entry]) -> Option<(u64, u64)> {
    let lookup = (inner.lookup)()?;
    let (mut bytes, mut least, mut most) = (0u64, 0u64, 0u64);
    for block in live.iter().filter(|block| (inner.has)(lookup, block.address)) {
        let (block_least, block_most) =
            (inner.block_bytes)(block.size as usize, 1 << block.meta.align_log2());
        bytes = bytes.saturating_add(block.size);
        least = least.saturating_add(block_least);
        most = most.saturating_add(block_most);
    }
    let all = live.iter().fold(0u64, |sum, block| sum.saturating_add(block.size));
    (bytes > all / 2).then_some((least, most))
}

/// Returns the minimum and the maximum of the bytes that the blocks take in glibc's allocator.
fn blocks_in_glibc(live: &[Entry]) -> (u64, u64) {
    live.iter().fold((0u64, 0u64), |(least, most), block| {
        let chunk = block.size.saturating_add(8).saturating_add(15) & !15;
        let chunk = chunk.max(32);
        let align = 1u64 << block.meta.align_log2();
        // The chunk of an aligned block is cut out of a larger chunk. The piece that is cut off in front may be too
        // small for the list of free chunks.
        let aligned = if align > 16 { 32 } else { 0 };
        let mapped = if block.size >= MAPPED_BYTES_MIN { PAGE + align } else { 0 };
        (
            least.saturating_add(chunk),
            most.saturating_add(chunk).saturating_add(aligned).saturating_add(mapped),
        )
    })
}

/// Returns the bytes of the large blocks, and the number of these bytes that are resident; `None` if the system does
/// not tell.
fn large_blocks(live: &[Entry]) -> Option<(u64, u64)> {
    let (mut bytes, mut resident) = (0u64, 0u64);
    for block in live.iter().filter(|block| block.size >= LARGE_BLOCK_BYTES && !block.meta.is_own()) {
        if bytes.saturating_add(block.size) > LOOKED_AT_BYTES_MAX {
            continue;
        }
        // A block that was freed meanwhile is left out.
        if let Some(of_block) = resident_bytes_of(block.address, block.size) {
            bytes += block.size;
            resident += of_block;
        }
    }
    cfg!(all(target_os = "linux", not(heapledger_portable))).then_some((bytes, resident))
}
