//! What jemalloc and mimalloc report of themselves, for programs that have one of them below heapledger.
//!
//! A program can contain an allocator and not use it, so each is asked which of the live blocks lie in it. That answer,
//! and not the name of a type, decides whether its figures are used.
//!
//! **jemalloc** knows the bytes that it has given out, except what threads keep in their caches, and the pages that it
//! has not returned to the system. Live pages that were never touched count among both.
//!
//! **mimalloc** counts what it gives out only in builds for debugging. Walking its blocks instead is allowed only where
//! no other thread uses it. A release build knows how much memory it has ever used of what it has from the system:
//! free pages count on after they were returned.
//!
//! No function here allocates through heapledger. Those of jemalloc take jemalloc's locks, so an event must not call
//! them; those of mimalloc take none.

use super::process_memory::AllocatorFigures;

/// An allocator that can be below heapledger.
#[derive(Debug)]
pub(crate) struct InnerAllocator {
    pub(crate) name: &'static str,
    /// Whether the memory at this address is the allocator's. The address need not be valid.
    pub(crate) has: fn(u64) -> bool,
    /// Returns the minimum and the maximum of the bytes that a block takes, by its size and its alignment.
    pub(crate) block_bytes: fn(usize, usize) -> (u64, u64),
    pub(crate) figures: fn() -> Option<AllocatorFigures>,
}

/// The allocators whose features are on.
pub(crate) const INNER_ALLOCATORS: &[InnerAllocator] = &[
    #[cfg(feature = "jemalloc")]
    InnerAllocator {
        name: "jemalloc",
        has: jemalloc::has,
        block_bytes: jemalloc::block_bytes,
        figures: jemalloc::figures,
    },
    #[cfg(feature = "mimalloc")]
    InnerAllocator {
        name: "mimalloc",
        has: mimalloc::has,
        block_bytes: mimalloc::block_bytes,
        figures: mimalloc::figures,
    },
];

#[cfg(feature = "jemalloc")]
mod jemalloc {
    use std::ffi::CStr;
    use std::ptr::{from_mut, null_mut, without_provenance_mut};

    use libc::c_void;
    use tikv_jemalloc_sys::{MALLOCX_ALIGN, mallctl, nallocx};

    use super::AllocatorFigures;

    pub(super) fn has(address: u64) -> bool {
        let mut block = without_provenance_mut::<c_void>(address as usize);
        let mut arena = 0u32;
        ask(c"arenas.lookup", &mut arena, Some(&mut block))
    }

    /// The size class, which alignment can raise.
    pub(super) fn block_bytes(size: usize, align: usize) -> (u64, u64) {
        // SAFETY: the size is not 0, and the alignment is a power of two.
        let bytes = |flags| unsafe { nallocx(size.max(1), flags) }.max(size) as u64;
        (bytes(0), bytes(MALLOCX_ALIGN(align)))
    }

    pub(super) fn figures() -> Option<AllocatorFigures> {
        // The other figures are those of the moment at which this number was written last.
        let mut epoch = 1u64;
        ask(c"epoch", &mut 0u64, Some(&mut epoch)).then_some(())?;
        // 4096: of all arenas together.
        let cached = figure(c"stats.arenas.4096.tcache_bytes")?;
        // Pages that the system may take, and that are resident until it does.
        let muzzy = figure(c"stats.arenas.4096.pmuzzy")?.saturating_mul(figure(c"arenas.page")?);
        Some(AllocatorFigures {
            used: Some(figure(c"stats.allocated")?.saturating_sub(cached)),
            held: figure(c"stats.resident")?.saturating_add(muzzy),
        })
    }

    fn figure(name: &CStr) -> Option<u64> {
        let mut value = 0usize;
        ask(name, &mut value, None::<&mut usize>).then_some(value as u64)
    }

    /// Passes `input` to jemalloc and puts its answer into `answer`. Returns `false` if jemalloc has no such figure, or
    /// one of another size.
    fn ask<A, I>(name: &CStr, answer: &mut A, input: Option<&mut I>) -> bool {
        let mut length = size_of::<A>();
        let input = input.map_or(null_mut(), from_mut).cast::<c_void>();
        let input_length = if input.is_null() { 0 } else { size_of::<I>() };
        // SAFETY: the name is terminated, and both values have the lengths that are passed.
        unsafe { mallctl(name.as_ptr(), from_mut(answer).cast(), &mut length, input, input_length) == 0 }
    }
}

#[cfg(feature = "mimalloc")]
mod mimalloc {
    use std::ptr::{null_mut, without_provenance};

    use libmimalloc_sys::{mi_good_size, mi_is_in_heap_region, mi_process_info};

    use super::AllocatorFigures;

    pub(super) fn has(address: u64) -> bool {
        // SAFETY: the function looks the address up and reads nothing there.
        unsafe { mi_is_in_heap_region(without_provenance(address as usize)) }
    }

    pub(super) fn block_bytes(size: usize, align: usize) -> (u64, u64) {
        // Blocks that are aligned to more than 16 bytes may be cut out of a larger one.
        let padding = if align > 16 { align } else { 0 };
        // SAFETY: the function has no precondition.
        let most = unsafe { mi_good_size(size.saturating_add(padding)) };
        (size as u64, most.max(size) as u64)
    }

    pub(super) fn figures() -> Option<AllocatorFigures> {
        let none = null_mut();
        let mut held = 0usize;
        // SAFETY: each result is optional, and the place of this one is valid.
        unsafe { mi_process_info(none, none, none, none, none, &mut held, none, none) };
        Some(AllocatorFigures { used: None, held: held as u64 })
    }
}

#[cfg(all(test, any(feature = "jemalloc", feature = "mimalloc")))]
mod tests {
    use std::alloc::{GlobalAlloc, Layout, System};

    use super::INNER_ALLOCATORS;

    /// Checks an allocator's figures before and after blocks of it.
    fn check(name: &str, heap: &dyn GlobalAlloc) {
        let inner = INNER_ALLOCATORS.iter().find(|inner| inner.name == name).unwrap();
        let before = (inner.figures)().unwrap();
        let mut sum = (0, 0);
        for number in 0..20_000 {
            let layout = Layout::from_size_align(1 + number % 5000, 1 << (number % 8)).unwrap();
            // SAFETY: the layouts have sizes; each block is given back to where it is from, or kept.
            unsafe {
                let foreign = System.alloc(layout);
                assert!(!(inner.has)(foreign.addr() as u64));
                System.dealloc(foreign, layout);
                let block = heap.alloc(layout);
                block.write_bytes(1, layout.size());
                assert!((inner.has)(block.addr() as u64));
            }
            let (least, most) = (inner.block_bytes)(layout.size(), layout.align());
            assert!(layout.size() as u64 <= least && least <= most);
            sum = (sum.0 + least, sum.1 + most);
        }
        let after = (inner.figures)().unwrap();
        let (used, held) = (after.used.zip(before.used).map(|(after, before)| after - before), after.held);
        // A thread's cache is filled ahead of its blocks, and read without a lock.
        assert!(used.is_none_or(|used| (sum.0..=sum.1 + (1 << 16)).contains(&used)), "{used:?}, {sum:?}");
        assert!(held >= sum.0.max(after.used.unwrap_or(0)), "{after:?}, {sum:?}");
    }

    #[cfg(feature = "jemalloc")]
    #[test]
    fn jemalloc_tells_its_blocks_from_others_and_how_much_it_has_given_out() {
        check("jemalloc", &tikv_jemallocator::Jemalloc);
    }

    #[cfg(feature = "mimalloc")]
    #[test]
    fn mimalloc_tells_its_blocks_from_others_and_how_much_it_has_used() {
        check("mimalloc", &mimalloc::MiMalloc);
    }
}
