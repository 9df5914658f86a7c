//! What jemalloc and mimalloc report of themselves, for programs that have one of them below heapledger.
//!
//! The program links the allocator, not heapledger: its functions are *weak* symbols here, whose address is 0 in a program
//! without them. jemalloc's functions can have the prefix of `tikv-jemallocator`, or none.
//!
//! A program can contain an allocator and not use it, so each allocator is asked which of the live blocks lie in it. Its
//! figures are used if most of the bytes do.
//!
//! **jemalloc** knows the bytes that it has given out, except what threads keep in their caches, and the pages that it
//! has not returned to the system. Live pages that were never touched count among both. It knows nothing if it was built
//! without statistics; `tikv-jemallocator` has a feature `stats`.
//!
//! **mimalloc** counts what it gives out only in builds for debugging. Walking its blocks instead is allowed only where
//! no other thread uses it. A release build knows how much memory it has ever used of what it has from the system:
//! free pages count on after they were returned.
//!
//! No function here allocates through heapledger. Those of jemalloc take jemalloc's locks, so an event must not call
//! them; those of mimalloc take none.

use super::process_memory::AllocatorFigures;

/// An allocator that can be below heapledger, if the program has it.
#[derive(Debug)]
pub(crate) struct InnerAllocator {
    pub(crate) name: &'static str,
    /// Returns what `has` needs to know; `None` if the program does not have the allocator.
    pub(crate) lookup: fn() -> Option<Lookup>,
    /// Whether the memory at this address is the allocator's. The address need not be valid.
    pub(crate) has: fn(Lookup, u64) -> bool,
    /// Returns the minimum and the maximum of the bytes that a block takes, by its size and its alignment.
    pub(crate) block_bytes: fn(usize, usize) -> (u64, u64),
    pub(crate) figures: fn() -> Option<AllocatorFigures>,
}

/// The number by which jemalloc knows its function that looks an address up; unused by other allocators.
pub(crate) type Lookup = [usize; 2];

/// The allocators whose functions are known.
pub(crate) const INNER_ALLOCATORS: &[InnerAllocator] = &[
    #[cfg(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(heapledger_portable)
    ))]
    InnerAllocator {
        name: "jemalloc",
        lookup: jemalloc::lookup,
        has: jemalloc::has,
        block_bytes: jemalloc::block_bytes,
        figures: jemalloc::figures,
    },
    #[cfg(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(heapledger_portable)
    ))]
    InnerAllocator {
        name: "mimalloc",
        lookup: mimalloc::lookup,
        has: mimalloc::has,
        block_bytes: mimalloc::block_bytes,
        figures: mimalloc::figures,
    },
];

/// Returns a function of the program, or `None` if the program has no function of this name. The expected type is an
/// `Option` of a function pointer.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(heapledger_portable)
))]
macro_rules! weak_function {
    ($name:literal) => {{
        let address: usize;
        // SAFETY: the instructions read one word of the table of addresses, which the loader has filled.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            core::arch::asm!(
                concat!(".weak ", $name),
                concat!("mov {address}, qword ptr [rip + ", $name, "@GOTPCREL]"),
                address = out(reg) address,
                options(pure, readonly, nostack, preserves_flags)
            );
            #[cfg(target_arch = "aarch64")]
            core::arch::asm!(
                concat!(".weak ", $name),
                concat!("adrp {address}, :got:", $name),
                concat!("ldr {address}, [{address}, :got_lo12:", $name, "]"),
                address = out(reg) address,
                options(pure, readonly, nostack, preserves_flags)
            );
            // SAFETY: an `Option` of a function pointer has the form of an address, and 0 is `None`. The function has the
            // type that the allocator documents.
            std::mem::transmute(std::ptr::with_exposed_provenance::<()>(address))
        }
    }};
}

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(heapledger_portable)
))]
mod jemalloc {
    use std::ffi::{CStr, c_char, c_int};
    use std::ptr::{from_mut, null_mut, without_provenance_mut};

    use libc::c_void;

    use super::{AllocatorFigures, Lookup};

    type MallCtl = unsafe extern "C" fn(*const c_char, *mut c_void, *mut usize, *mut c_void, usize) -> c_int;
    type NameToMib = unsafe extern "C" fn(*const c_char, *mut usize, *mut usize) -> c_int;
    type ByMib =
        unsafe extern "C" fn(*const usize, usize, *mut c_void, *mut usize, *mut c_void, usize) -> c_int;
    type NallocX = unsafe extern "C" fn(usize, c_int) -> usize;

    fn mallctl() -> Option<MallCtl> {
        let prefixed: Option<MallCtl> = weak_function!("_rjem_mallctl");
        prefixed.or_else(|| weak_function!("mallctl"))
    }

    fn name_to_mib() -> Option<NameToMib> {
        let prefixed: Option<NameToMib> = weak_function!("_rjem_mallctlnametomib");
        prefixed.or_else(|| weak_function!("mallctlnametomib"))
    }

    fn by_mib() -> Option<ByMib> {
        let prefixed: Option<ByMib> = weak_function!("_rjem_mallctlbymib");
        prefixed.or_else(|| weak_function!("mallctlbymib"))
    }

    fn nallocx() -> Option<NallocX> {
        let prefixed: Option<NallocX> = weak_function!("_rjem_nallocx");
        prefixed.or_else(|| weak_function!("nallocx"))
    }

    pub(super) fn lookup() -> Option<Lookup> {
        let (mut number, mut length) = ([0; 2], 2);
        by_mib()?;
        // SAFETY: the name is terminated, and the array has the length that is passed.
        let result = unsafe { name_to_mib()?(c"arenas.lookup".as_ptr(), number.as_mut_ptr(), &mut length) };
        (result == 0 && length == 2).then_some(number)
    }

    pub(super) fn has(lookup: Lookup, address: u64) -> bool {
        let Some(by_mib) = by_mib() else { return false };
        let mut block = without_provenance_mut::<c_void>(address as usize);
        let (mut arena, mut length) = (0u32, size_of::<u32>());
        let block = from_mut(&mut block).cast();
        // SAFETY: all values have the lengths that are passed.
        unsafe {
            by_mib(lookup.as_ptr(), 2, from_mut(&mut arena).cast(), &mut length, block, size_of::<usize>())
                == 0
        }
    }

    /// The size class, which alignment can raise.
    pub(super) fn block_bytes(size: usize, align: usize) -> (u64, u64) {
        let Some(nallocx) = nallocx() else { return (size as u64, size as u64) };
        // The flags are the logarithm of the alignment. (Its macro `MALLOCX_LG_ALIGN` is the identity.)
        // SAFETY: the size is not 0.
        let bytes = |flags| unsafe { nallocx(size.max(1), flags) }.max(size) as u64;
        (bytes(0), bytes(align.trailing_zeros() as c_int))
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
        let Some(mallctl) = mallctl() else { return false };
        let mut length = size_of::<A>();
        let input = input.map_or(null_mut(), from_mut).cast::<c_void>();
        let input_length = if input.is_null() { 0 } else { size_of::<I>() };
        // SAFETY: the name is terminated, and both values have the lengths that are passed.
        unsafe { mallctl(name.as_ptr(), from_mut(answer).cast(), &mut length, input, input_length) == 0 }
    }
}

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(heapledger_portable)
))]
mod mimalloc {
    use std::ptr::{null_mut, without_provenance};

    use libc::c_void;

    use super::{AllocatorFigures, Lookup};

    type IsInHeapRegion = unsafe extern "C" fn(*const c_void) -> bool;
    type GoodSize = unsafe extern "C" fn(usize) -> usize;
    type ProcessInfo = unsafe extern "C" fn(
        *mut usize,
        *mut usize,
        *mut usize,
        *mut usize,
        *mut usize,
        *mut usize,
        *mut usize,
        *mut usize,
    );

    fn is_in_heap_region() -> Option<IsInHeapRegion> {
        weak_function!("mi_is_in_heap_region")
    }

    pub(super) fn lookup() -> Option<Lookup> {
        is_in_heap_region().map(|_| [0; 2])
    }

    pub(super) fn has(_: Lookup, address: u64) -> bool {
        // SAFETY: the function looks the address up and reads nothing there.
        is_in_heap_region().is_some_and(|is_in| unsafe { is_in(without_provenance(address as usize)) })
    }

    pub(super) fn block_bytes(size: usize, align: usize) -> (u64, u64) {
        let good_size: Option<GoodSize> = weak_function!("mi_good_size");
        let Some(good_size) = good_size else { return (size as u64, size as u64) };
        // Blocks that are aligned to more than 16 bytes may be cut out of a larger one.
        let padding = if align > 16 { align } else { 0 };
        // SAFETY: the function has no precondition.
        let most = unsafe { good_size(size.saturating_add(padding)) };
        (size as u64, most.max(size) as u64)
    }

    pub(super) fn figures() -> Option<AllocatorFigures> {
        let info: Option<ProcessInfo> = weak_function!("mi_process_info");
        let (none, mut held) = (null_mut(), 0usize);
        // SAFETY: each result is optional, and the place of this one is valid.
        unsafe { info?(none, none, none, none, none, &mut held, none, none) };
        Some(AllocatorFigures { used: None, held: held as u64 })
    }
}

#[cfg(all(
    test,
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(heapledger_portable)
))]
mod tests {
    use std::alloc::{GlobalAlloc, Layout, System};

    use super::INNER_ALLOCATORS;

    /// Checks an allocator's figures before and after blocks of it.
    fn check(name: &str, heap: &dyn GlobalAlloc) {
        let inner = INNER_ALLOCATORS.iter().find(|inner| inner.name == name).unwrap();
        let lookup = (inner.lookup)().unwrap();
        let before = (inner.figures)().unwrap();
        let mut sum = (0, 0);
        for number in 0..20_000 {
            let layout = Layout::from_size_align(1 + number % 5000, 1 << (number % 8)).unwrap();
            // SAFETY: the layouts have sizes; each block is given back to where it is from, or kept.
            unsafe {
                let foreign = System.alloc(layout);
                assert!(!(inner.has)(lookup, foreign.addr() as u64));
                System.dealloc(foreign, layout);
                let block = heap.alloc(layout);
                block.write_bytes(1, layout.size());
                assert!((inner.has)(lookup, block.addr() as u64));
            }
            let (least, most) = (inner.block_bytes)(layout.size(), layout.align());
            assert!(layout.size() as u64 <= least && least <= most);
            sum = (sum.0 + least, sum.1 + most);
        }
        let after = (inner.figures)().unwrap();
        let (used, held) = (after.used.zip(before.used).map(|(after, before)| after - before), after.held);
        // A thread's cache is filled ahead of its blocks and read without a lock, so the figure lags by some of it.
        const LAG: u64 = 1 << 16;
        assert!(used.is_none_or(|used| (sum.0 - LAG..=sum.1 + LAG).contains(&used)), "{used:?}, {sum:?}");
        assert!(held >= sum.0.max(after.used.unwrap_or(0)), "{after:?}, {sum:?}");
    }

    #[test]
    fn jemalloc_tells_its_blocks_from_others_and_how_much_it_has_given_out() {
        check("jemalloc", &tikv_jemallocator::Jemalloc);
    }

    #[test]
    fn mimalloc_tells_its_blocks_from_others_and_how_much_it_has_used() {
        check("mimalloc", &mimalloc::MiMalloc);
    }
}
