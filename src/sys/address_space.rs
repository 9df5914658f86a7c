//! Address space from the system, for [`super::pages`]: reserved once, committed in steps, and lent page by page.
//!
//! Where there are no calls of virtual memory it is one zeroed block of the system's allocator, of bounded size.

#[cfg(not(all(unix, not(heapledger_portable))))]
pub(super) use block::*;
#[cfg(all(unix, not(heapledger_portable)))]
pub(super) use mapping::*;

#[cfg(all(unix, not(heapledger_portable)))]
mod mapping {
    use std::ptr::{NonNull, null_mut};

    pub(in crate::sys) fn limit() -> Option<u64> {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is valid for writes.
        let failed = unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) } != 0;
        (!failed && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
    }

    pub(in crate::sys) fn reserve(bytes: usize) -> Option<NonNull<u8>> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping touches no memory of anyone.
        let address = unsafe { libc::mmap(null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
        if address == libc::MAP_FAILED { None } else { NonNull::new(address.cast()) }
    }

    pub(in crate::sys) fn commit(start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the range lies inside our own reservation.
        unsafe {
            let failed =
                libc::mprotect(start.as_ptr().cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) != 0;
            #[cfg(target_os = "linux")]
            if !failed {
                // Lanes are touched here and there: a huge page for each would be memory that nobody asked for.
                libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_NOHUGEPAGE);
            }
            !failed
        }
    }

    /// Has pages lent before they are written to, and says whether that was done: not every system knows how to.
    pub(in crate::sys) fn lend(start: *mut u8, bytes: usize) -> bool {
        #[cfg(target_os = "linux")]
        // SAFETY: the range lies inside our own region; what it holds stays as it is.
        let lent = unsafe { libc::madvise(start.cast(), bytes, libc::MADV_POPULATE_WRITE) } == 0;
        #[cfg(not(target_os = "linux"))]
        let (lent, _) = (false, (start, bytes));
        lent
    }

    pub(in crate::sys) fn discard(start: *mut u8, bytes: usize) {
        // SAFETY: the range is a run of our own region, in no one's hands; it reads as zero afterwards.
        let failed = unsafe { libc::madvise(start.cast(), bytes, libc::MADV_DONTNEED) } != 0;
        if failed || !cfg!(target_os = "linux") {
            // SAFETY: as above; elsewhere the advice does not promise zeros.
            unsafe { start.write_bytes(0, bytes) };
        }
    }

    pub(in crate::sys) fn release(start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller owns the reservation and no one refers to it any more.
        unsafe { libc::munmap(start.as_ptr().cast(), bytes) };
    }
}

#[cfg(not(all(unix, not(heapledger_portable))))]
mod block {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::ptr::NonNull;

    use crate::sys::pages;

    /// Bytes of the region: it is one block here, and some systems commit it whole.
    const REGION_BYTES: usize = 256 << 20;

    pub(in crate::sys) fn limit() -> Option<u64> {
        Some(REGION_BYTES as u64 * pages::ADDRESS_SPACE_SHARE)
    }

    /// Bytes in front of the region, for its own alignment: asking the allocator for a page's alignment would make it
    /// write zeros to all of it.
    const FRONT_BYTES: usize = 2 * pages::PAGE_BYTES;

    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes.checked_add(FRONT_BYTES)?, align_of::<usize>()).ok()
    }

    pub(in crate::sys) fn reserve(bytes: usize) -> Option<NonNull<u8>> {
        // SAFETY: the size is not zero. `System` is called directly: the global allocator is what we are below of.
        let block = unsafe { System.alloc_zeroed(layout(bytes)?) };
        if block.is_null() {
            return None;
        }
        let front =
            block.wrapping_add(size_of::<usize>()).align_offset(pages::PAGE_BYTES) + size_of::<usize>();
        // SAFETY: the offset is at most a page and a word, which the block has in front; there is room for a word
        // before it, in which the way back is kept.
        unsafe {
            let start = block.add(front);
            start.cast::<usize>().sub(1).write(front);
            NonNull::new(start)
        }
    }

    pub(in crate::sys) fn commit(_start: NonNull<u8>, _bytes: usize) -> bool {
        true
    }

    pub(in crate::sys) fn lend(_start: *mut u8, _bytes: usize) -> bool {
        false
    }

    pub(in crate::sys) fn discard(start: *mut u8, bytes: usize) {
        // SAFETY: the range is a run of our own region, in no one's hands.
        unsafe { start.write_bytes(0, bytes) };
    }

    pub(in crate::sys) fn release(start: NonNull<u8>, bytes: usize) {
        if let Some(layout) = layout(bytes) {
            // SAFETY: the region came from `reserve`, which left the way back to the block in front of it.
            unsafe {
                let front = start.as_ptr().cast::<usize>().sub(1).read();
                System.dealloc(start.as_ptr().sub(front), layout);
            }
        }
    }
}
