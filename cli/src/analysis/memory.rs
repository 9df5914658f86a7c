//! Parts of the resident memory of the process, each with its bounds, and the largest part.
//!
//! Three sources know a part of the answer. The system knows how much memory is resident. The allocator knows how much
//! it has given out and how much it keeps. The recording knows how much the program holds. But an allocator still
//! counts free memory after it has returned the pages to the system, and nothing counts the memory that a program maps
//! without an allocator. So each part has bounds, and an estimate that fits all sources. A part is omitted if a figure
//! for it is missing.

use heapledger::profile::{ProcessMemory, Profile};

/// Maximum number of bytes of freed blocks that glibc's allocator keeps for each thread and still counts as in use.
const CACHED_BYTES_A_THREAD: u64 = 256 << 10;
/// Minimum size in bytes of a part that [`MemoryFinding::most`] can name.
const WORTH_BYTES: u64 = 8 << 20;

/// Kind of a part of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryKind {
    /// The live blocks of the program.
    Program,
    /// Memory that the program has freed and the allocator keeps.
    AllocatorKeeps,
    /// What an allocator that does not know how much it has given out has beyond the live blocks: memory that the
    /// program has freed, and memory of other code.
    InAllocator,
    /// Memory that other code, such as C code, has from the same allocator, without heapledger.
    OtherCode,
    /// Memory that is not from the allocator: the program's own mappings, what C code has from another allocator,
    /// stacks of threads, data of libraries.
    OutsideAllocator,
    /// Memory that heapledger uses for itself.
    Heapledger,
    /// Resident memory that belongs to no other part.
    Unexplained,
    /// Memory that the program allocated and never touched, or that is in swap. This part is not resident.
    Untouched,
}

impl MemoryKind {
    /// Returns the name of the part that reports show.
    pub fn name(self) -> &'static str {
        match self {
            MemoryKind::Program => "the program's live blocks",
            MemoryKind::AllocatorKeeps => "freed, kept by the allocator",
            MemoryKind::InAllocator => {
                "in the allocator beside the live blocks: freed and kept, or other code's"
            }
            MemoryKind::OtherCode => "C code, from the same allocator",
            MemoryKind::OutsideAllocator => {
                "outside the allocator: mappings, other allocators, stacks, libraries"
            }
            MemoryKind::Heapledger => "heapledger",
            MemoryKind::Unexplained => "unexplained",
            MemoryKind::Untouched => "asked for and never touched",
        }
    }
}

/// Part of the memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPart {
    /// Kind of the part.
    pub kind: MemoryKind,
    /// Estimated size of the part, which fits the other figures best.
    pub bytes: u64,
    /// Lower and upper bound of the part.
    pub bounds: (u64, u64),
}

/// Memory of a process, divided into parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryFinding {
    /// Resident memory at the snapshot, in bytes. Does not include pages of files, if the system counts these
    /// separately.
    pub resident_bytes: u64,
    /// Parts: first the resident ones, then the part that is not resident. [`MemoryKind::Unexplained`] is always
    /// listed.
    pub parts: Vec<MemoryPart>,
    /// Part with more than half of the bytes; `None` if no part has that many, if the part is small, or if it is
    /// [`MemoryKind::Heapledger`] or [`MemoryKind::Unexplained`].
    pub most: Option<MemoryKind>,
    /// Names of the figures that are missing, in words for a report.
    pub missing: Vec<&'static str>,
}

impl MemoryFinding {
    /// Returns the part of this kind; `None` if the part was omitted.
    pub fn part(&self, kind: MemoryKind) -> Option<&MemoryPart> {
        self.parts.iter().find(|part| part.kind == kind)
    }
}

/// Divides the memory of a process into parts. Returns `None` if the resident memory is unknown.
pub fn memory(profile: &Profile) -> Option<MemoryFinding> {
    let memory = &profile.memory;
    let resident = memory.anonymous_bytes.or(memory.resident_bytes)?;
    let mut missing = Vec::new();
    let own = profile.quality.own_bytes.min(resident);
    let untouched = match (memory.large_blocks_bytes, memory.large_blocks_resident_bytes) {
        (Some(asked), Some(touched)) => asked.saturating_sub(touched),
        _ => {
            missing.push("which blocks were touched");
            0
        }
    };
    if profile.quality.lost.total() > 0 {
        missing.push("events that were lost");
    }
    let room = resident - own;
    let program = Range {
        low: memory.large_blocks_resident_bytes.unwrap_or(0).min(room),
        best: profile.totals.live_bytes.saturating_sub(untouched).min(room),
        high: memory
            .blocks_at_most_bytes
            .unwrap_or(profile.totals.live_bytes)
            .max(profile.totals.live_bytes)
            .saturating_sub(untouched)
            .min(room),
    };
    let mut parts = vec![program.part(MemoryKind::Program)];
    let rest = room - program.best;
    let unexplained = match allocator(profile, memory) {
        Some((known, free)) => {
            let other = known.unwrap_or(Range::exact(0));
            let other = Range { best: other.best.min(rest), ..other }.within(room);
            let rest = rest - other.best;
            let may_be = room.saturating_sub(program.low);
            let keeps = Range { low: 0, best: free.min(rest), high: free.min(may_be) };
            let least = room.saturating_sub(program.high).saturating_sub(other.high).saturating_sub(free);
            let outside = Range { low: least, best: rest - keeps.best, high: may_be };
            if known.is_some() {
                parts.push(keeps.part(MemoryKind::AllocatorKeeps));
                parts.push(other.part(MemoryKind::OtherCode));
            } else {
                parts.push(keeps.part(MemoryKind::InAllocator));
            }
            parts.push(outside.part(MemoryKind::OutsideAllocator));
            0
        }
        None => {
            missing.push("the figures of the program's allocator");
            rest
        }
    };
    parts.push(Range::exact(own).part(MemoryKind::Heapledger));
    parts.push(Range { low: 0, best: unexplained, high: unexplained }.part(MemoryKind::Unexplained));
    if memory.large_blocks_bytes.is_some() {
        let blocks = profile.totals.live_bytes;
        parts.push(
            Range { low: untouched, best: untouched, high: blocks.max(untouched) }
                .part(MemoryKind::Untouched),
        );
    }
    let most = most(&parts, resident, own);
    Some(MemoryFinding { resident_bytes: resident, parts, most, missing })
}

/// Returns the bytes that other code has from the program's allocator, if the allocator knows, and the bytes that the
/// allocator keeps, otherwise with the bytes of other code; `None` if the allocator's figures are unknown.
fn allocator(profile: &Profile, memory: &ProcessMemory) -> Option<(Option<Range>, u64)> {
    let free = memory.allocator_free_bytes?;
    let (least, most) = (memory.blocks_at_least_bytes?, memory.blocks_at_most_bytes?);
    let Some(used) = memory.allocator_used_bytes else { return Some((None, free)) };
    let running = profile.threads.iter().filter(|row| row.ended_ns.is_none()).count() as u64;
    let cached = running.saturating_mul(CACHED_BYTES_A_THREAD);
    let best = used.saturating_sub(most);
    let other = Range { low: best.saturating_sub(cached), best, high: used.saturating_sub(least) };
    Some((Some(other), free))
}

/// Returns the part with more than half of the bytes. Includes untouched bytes, because a program can have many live
/// bytes and few resident ones.
fn most(parts: &[MemoryPart], resident: u64, own: u64) -> Option<MemoryKind> {
    let untouched = parts.iter().find(|part| part.kind == MemoryKind::Untouched).map_or(0, |part| part.bytes);
    let all = (resident - own).saturating_add(untouched);
    let named =
        parts.iter().filter(|part| !matches!(part.kind, MemoryKind::Heapledger | MemoryKind::Unexplained));
    let largest = named.max_by_key(|part| part.bytes)?;
    (largest.bytes >= WORTH_BYTES && largest.bytes > all / 2).then_some(largest.kind)
}

#[derive(Debug, Clone, Copy)]
struct Range {
    low: u64,
    best: u64,
    high: u64,
}

impl Range {
    fn exact(bytes: u64) -> Range {
        Range { low: bytes, best: bytes, high: bytes }
    }

    fn within(self, most: u64) -> Range {
        Range { low: self.low.min(most), best: self.best.min(most), high: self.high.min(most) }
    }

    fn part(self, kind: MemoryKind) -> MemoryPart {
        MemoryPart { kind, bytes: self.best, bounds: (self.low.min(self.best), self.high.max(self.best)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heapledger::profile::{HeapStats, QualityIndicator};

    const MIB: u64 = 1 << 20;

    /// Returns the profile of a process with these figures in MiB: live, resident, in use and free in the allocator,
    /// and untouched in large blocks.
    fn process(live: u64, resident: u64, used: u64, free: u64, untouched: u64) -> Profile {
        let memory = ProcessMemory {
            anonymous_bytes: Some(resident * MIB),
            allocator_used_bytes: Some(used * MIB),
            allocator_free_bytes: Some(free * MIB),
            blocks_at_least_bytes: Some(live * MIB),
            blocks_at_most_bytes: Some(live * MIB),
            large_blocks_bytes: Some(untouched * MIB),
            large_blocks_resident_bytes: Some(0),
            ..ProcessMemory::default()
        };
        let totals = HeapStats { live_bytes: live * MIB, ..HeapStats::default() };
        let quality = QualityIndicator { own_bytes: MIB, ..QualityIndicator::default() };
        Profile { memory, totals, quality, ..Profile::default() }
    }

    #[test]
    fn each_situation_has_its_part() {
        let most = |profile: Profile| memory(&profile).unwrap().most;
        assert_eq!(most(process(0, 197, 0, 195, 0)), Some(MemoryKind::AllocatorKeeps));
        // The allocator still counts free memory that it has returned to the system.
        assert_eq!(most(process(0, 5, 0, 195, 0)), None);
        assert_eq!(most(process(256, 5, 256, 195, 256)), Some(MemoryKind::Untouched));
        assert_eq!(most(process(106, 118, 106, 1, 0)), Some(MemoryKind::Program));
        assert_eq!(most(process(0, 135, 0, 1, 0)), Some(MemoryKind::OutsideAllocator));
        assert_eq!(most(process(0, 80, 75, 1, 0)), Some(MemoryKind::OtherCode));
    }

    #[test]
    fn an_allocator_that_does_not_know_what_it_gave_out_has_one_part() {
        let mut profile = process(0, 197, 0, 195, 0);
        profile.memory.allocator_used_bytes = None;
        let found = memory(&profile).unwrap();
        assert_eq!(found.most, Some(MemoryKind::InAllocator), "{found:?}");
        let kinds = [MemoryKind::AllocatorKeeps, MemoryKind::OtherCode];
        assert_eq!(kinds.map(|kind| found.part(kind)), [None, None]);
        assert_eq!(found.part(MemoryKind::InAllocator).unwrap().bounds, (0, 195 * MIB));
    }

    #[test]
    fn the_resident_parts_add_up_and_lie_within_their_bounds() {
        for profile in
            [process(0, 197, 0, 195, 0), process(106, 323, 181, 195, 0), process(50, 10, 60, 3, 45)]
        {
            let found = memory(&profile).unwrap();
            let resident = found.parts.iter().filter(|part| part.kind != MemoryKind::Untouched);
            assert_eq!(resident.map(|part| part.bytes).sum::<u64>(), found.resident_bytes);
            for part in &found.parts {
                assert!(part.bounds.0 <= part.bytes && part.bytes <= part.bounds.1, "{part:?}");
            }
        }
    }

    #[test]
    fn without_figures_nothing_is_named_and_what_is_missing_is_said() {
        assert_eq!(memory(&Profile::default()), None);
        let mut profile = process(20, 100, 0, 0, 0);
        profile.memory.blocks_at_least_bytes = None;
        let found = memory(&profile).unwrap();
        assert_eq!((found.most, found.part(MemoryKind::OtherCode)), (None, None));
        assert_eq!(found.part(MemoryKind::Unexplained).unwrap().bytes, 79 * MIB);
        assert_eq!(found.missing, ["the figures of the program's allocator"]);
    }
}
