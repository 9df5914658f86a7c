//! The address space of a region, for [`super::pages`]: reserved once, committed in steps, and populated page by page.
//!
//! The system counts every mapping as memory of the process, even an inaccessible one: `mlockall` fails if the sum
//! exceeds the limit of locked memory. So uncommitted addresses have no mapping. They lie [`FAR_BYTES`] below the
//! addresses that the system assigns next. The system reaches them only after the program has mapped that many bytes.
//!
//! On a system without virtual-memory calls, the region is one zeroed block of the system's allocator, of bounded size.

/// Bytes of a page of the region. The system's pages may be larger; commit steps are multiples of both sizes.
pub(crate) const PAGE_BYTES: usize = 4096;
/// Divisor of the process's address-space limit: the region takes at most one eighth of the limit.
pub(super) const ADDRESS_SPACE_SHARE: u64 = 8;

#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
pub(super) use block::*;
#[cfg(all(target_os = "linux", not(heapledger_portable)))]
pub(super) use mapping::*;

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod mapping {
    use std::ptr::{NonNull, null_mut};

    pub(in crate::sys) fn limit() -> Option<u64> {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is valid for writes.
        let failed = unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) } != 0;
        #[allow(clippy::useless_conversion, reason = "not on every system the same type")]
        let bytes = u64::try_from(limit.rlim_cur).ok();
        bytes.filter(|_| !failed && limit.rlim_cur != libc::RLIM_INFINITY)
    }

    /// Whether pages are committed in steps. If so, an uncommitted page does not count as memory of the process.
    pub(in crate::sys) const COMMITS: bool = true;
    /// `MADV_POPULATE_WRITE`. It is defined here because the oldest version of `libc` that this package allows lacks
    /// it.
    const MADV_POPULATE_WRITE: libc::c_int = 23;
    /// Distance of the region from the addresses that the system assigns, in bytes: 1.5 TiB of the 128 TiB of a
    /// process.
    const FAR_BYTES: usize = 3 << 39;
    /// Number of places that are tried. A forked child needs another place, because its parent's region stays mapped.
    const FAR_TRIES: usize = 16;
    /// Minimum distance between two places, in bytes.
    const FAR_STEP_BYTES: usize = 64 << 30;

    const ACCESSIBLE: i32 = libc::PROT_READ | libc::PROT_WRITE;

    /// Chooses addresses for a region. Returns their start, and whether inaccessible memory is mapped there. Nothing is
    /// mapped if `is_far` is true and far addresses are free.
    pub(in crate::sys) fn reserve(bytes: usize, is_far: bool) -> Option<(NonNull<u8>, bool)> {
        let near = map(null_mut(), bytes, libc::PROT_NONE)?;
        let far = (0..FAR_TRIES).filter(|_| is_far).find_map(|number| {
            let distance = bytes.max(FAR_STEP_BYTES).checked_mul(number)?.checked_add(FAR_BYTES)?;
            let is_low = near.addr().get() / 2 < distance;
            if is_low { None } else { map(near.as_ptr().wrapping_sub(distance), bytes, libc::PROT_NONE) }
        });
        let Some(far) = far else { return Some((near, true)) };
        release(near, bytes);
        release(far, bytes);
        Some((far, false))
    }

    /// Maps zeroed memory, at `wanted` unless `wanted` is null. Never replaces another mapping.
    fn map(wanted: *mut u8, bytes: usize, access: i32) -> Option<NonNull<u8>> {
        let fixed = if wanted.is_null() { 0 } else { libc::MAP_FIXED_NOREPLACE };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | fixed;
        // SAFETY: a fresh anonymous mapping overlaps no other memory.
        let address = unsafe { libc::mmap(wanted.cast(), bytes, access, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return None;
        }
        let start = NonNull::new(address.cast::<u8>())?;
        if !wanted.is_null() && start.as_ptr() != wanted {
            // Before Linux 4.17 the wanted address is only a hint.
            release(start, bytes);
            return None;
        }
        Some(start)
    }

    /// Makes pages of a region accessible. `is_mapped` is the flag that [`reserve`] returned.
    pub(in crate::sys) fn commit(start: NonNull<u8>, bytes: usize, is_mapped: bool) -> bool {
        let is_done = if is_mapped {
            // SAFETY: the range lies inside the region's mapping.
            unsafe { libc::mprotect(start.as_ptr().cast(), bytes, ACCESSIBLE) == 0 }
        } else {
            map(start.as_ptr(), bytes, ACCESSIBLE).is_some()
        };
        if is_done {
            // Lanes use single pages in scattered places, so huge pages would waste memory.
            // SAFETY: the range lies inside the region's mapping.
            unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_NOHUGEPAGE) };
        }
        is_done
    }

    /// Populates pages before the first write to them. Returns whether the system did so (Linux 5.14 or later).
    pub(in crate::sys) fn lend(start: *mut u8, bytes: usize) -> bool {
        // SAFETY: the range lies inside the region, and its content is not changed.
        unsafe { libc::madvise(start.cast(), bytes, MADV_POPULATE_WRITE) == 0 }
    }

    /// Returns a range to the system; the range reads as zero afterwards. The system takes only whole pages of its page
    /// size, which may be larger than the region's. The rest of the range is filled with zeros. Bytes outside the range
    /// keep their values.
    pub(in crate::sys) fn discard(start: *mut u8, bytes: usize) {
        let (front, whole) = whole_units(start.addr(), bytes, unit());
        let mut zeros = [(0, front), (front + whole, bytes - front - whole)];
        if whole > 0 {
            // SAFETY: the range is a part of a run of the region, and no other code uses it.
            let failed = unsafe { libc::madvise(start.add(front).cast(), whole, libc::MADV_DONTNEED) } != 0;
            if failed {
                zeros = [(0, bytes), (0, 0)];
            }
        }
        for (offset, bytes) in zeros {
            // SAFETY: the range is a part of a run of the region, and no other code uses it.
            unsafe { start.add(offset).write_bytes(0, bytes) };
        }
    }

    /// Returns the number of bytes of a range that [`discard`] returns to the system.
    pub(in crate::sys) fn discardable(start: *mut u8, bytes: usize) -> usize {
        whole_units(start.addr(), bytes, unit()).1
    }

    /// Returns the size of a page of the system, in bytes.
    fn unit() -> usize {
        // SAFETY: the call only returns a constant figure.
        usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(usize::MAX)
    }

    /// Returns two numbers of bytes of a range: those before its first multiple of `unit`, and those of the whole units
    /// from there on.
    fn whole_units(start: usize, bytes: usize, unit: usize) -> (usize, usize) {
        let front = (start.wrapping_neg() % unit.max(1)).min(bytes);
        (front, (bytes - front) / unit.max(1) * unit.max(1))
    }

    pub(in crate::sys) fn release(start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller owns the reservation, and no reference to it is left.
        unsafe { libc::munmap(start.as_ptr().cast(), bytes) };
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// Returns the expected result of `whole_units`, computed unit by unit.
        fn naive(start: usize, bytes: usize, unit: usize) -> (usize, usize) {
            let firsts: Vec<usize> = (start..start + bytes)
                .filter(|first| first % unit == 0 && first + unit <= start + bytes)
                .collect();
            (firsts.first().map_or(bytes, |first| first - start), firsts.len() * unit)
        }

        #[test]
        fn only_pages_of_the_system_that_lie_in_the_range_as_a_whole_go_back_to_it() {
            for (unit, start) in
                [4, 16, 64].into_iter().flat_map(|unit| (0..70).map(move |start| (unit, start)))
            {
                for bytes in 0..140 {
                    let (front, whole) = whole_units(start, bytes, unit);
                    let (expected_front, expected) = naive(start, bytes, unit);
                    assert_eq!(whole, expected, "{bytes} from {start} by {unit}");
                    assert!(whole == 0 || front == expected_front, "{bytes} from {start} by {unit}");
                    assert!(front + whole <= bytes);
                }
            }
            // A failed query of the page size (-1, here the maximum) makes nothing discardable.
            assert_eq!(whole_units(4096, 8192, usize::MAX).1, 0);
            assert_eq!(whole_units(4096, 8192, 0), (0, 8192));
        }
    }
}

#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod block {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::ptr::NonNull;

    use super::{ADDRESS_SPACE_SHARE, PAGE_BYTES};

    /// Bytes of the region, which is a single block. Some systems commit the whole block.
    const REGION_BYTES: usize = 256 << 20;

    pub(in crate::sys) fn limit() -> Option<u64> {
        Some(REGION_BYTES as u64 * ADDRESS_SPACE_SHARE)
    }

    /// Bytes in front of the region for its alignment. The allocator is not asked for the alignment of a page, because
    /// it would then write zeros to the whole block.
    const FRONT_BYTES: usize = 2 * PAGE_BYTES;

    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes.checked_add(FRONT_BYTES)?, align_of::<usize>()).ok()
    }

    /// Whether pages are committed in steps.
    pub(in crate::sys) const COMMITS: bool = false;

    pub(in crate::sys) fn reserve(bytes: usize, _is_far: bool) -> Option<(NonNull<u8>, bool)> {
        // SAFETY: the size is not zero. `System` is called directly, because the global allocator calls this code.
        let block = unsafe { System.alloc_zeroed(layout(bytes)?) };
        if block.is_null() {
            return None;
        }
        let front = block.wrapping_add(size_of::<usize>()).align_offset(PAGE_BYTES) + size_of::<usize>();
        // SAFETY: the offset is at most a page and a word, and the block has `FRONT_BYTES` in front. The word before
        // the region holds the offset, by which `release` finds the block.
        unsafe {
            let start = block.add(front);
            start.cast::<usize>().sub(1).write(front);
            NonNull::new(start).map(|start| (start, true))
        }
    }

    pub(in crate::sys) fn commit(_start: NonNull<u8>, _bytes: usize, _is_mapped: bool) -> bool {
        true
    }

    pub(in crate::sys) fn lend(_start: *mut u8, _bytes: usize) -> bool {
        false
    }

    pub(in crate::sys) fn discard(start: *mut u8, bytes: usize) {
        // SAFETY: the range is a run of the region, and no other code uses it.
        unsafe { start.write_bytes(0, bytes) };
    }

    /// Returns the number of bytes of a range that [`discard`] returns to the system: 0, because the block stays.
    pub(in crate::sys) fn discardable(_start: *mut u8, _bytes: usize) -> usize {
        0
    }

    pub(in crate::sys) fn release(start: NonNull<u8>, bytes: usize) {
        if let Some(layout) = layout(bytes) {
            // SAFETY: the region came from `reserve`, which stored the offset to the block in front of it.
            unsafe {
                let front = start.as_ptr().cast::<usize>().sub(1).read();
                System.dealloc(start.as_ptr().sub(front), layout);
            }
        }
    }
}
