//! Figures of the process's memory from the system, and figures of the C library's allocator from the C library.

/// Figures of the process, in bytes. `None` means that the system does not provide the figure.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ProcessFigures {
    pub(crate) resident: Option<u64>,
    /// Resident memory that is not backed by a file.
    pub(crate) anonymous: Option<u64>,
    pub(crate) highest_resident: Option<u64>,
    pub(crate) swapped: Option<u64>,
}

/// Figures of an allocator, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AllocatorFigures {
    /// Bytes that it has given out; `None` if it does not know. In the C library, blocks in the caches of threads
    /// count.
    pub(crate) used: Option<u64>,
    /// Upper bound of the resident bytes that it has given out or keeps, with what it needs itself. Memory that it has
    /// returned to the system may count.
    pub(crate) held: u64,
}

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod os {
    use super::super::address_space::PAGE_BYTES;
    use super::super::platform::read_small_file;
    use super::{AllocatorFigures, ProcessFigures};

    /// Maximum number of pages per system call.
    const PAGES_AT_ONCE: usize = 4096;

    pub(crate) fn process_figures() -> ProcessFigures {
        let mut text = [0u8; 4096];
        let length = read_small_file(c"/proc/self/status", &mut text).unwrap_or(0);
        let figure = |name: &[u8]| {
            let mut lines = text.get(..length)?.split(|byte| *byte == b'\n');
            let line = lines.find_map(|line| line.strip_prefix(name))?;
            Some(number(line.trim_ascii().strip_suffix(b" kB")?)? << 10)
        };
        ProcessFigures {
            resident: figure(b"VmRSS:"),
            anonymous: figure(b"RssAnon:"),
            highest_resident: figure(b"VmHWM:"),
            swapped: figure(b"VmSwap:"),
        }
    }

    fn number(digits: &[u8]) -> Option<u64> {
        let is_number = !digits.is_empty() && digits.len() < 19 && digits.iter().all(u8::is_ascii_digit);
        is_number.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
    }

    /// Returns the resident bytes of a block. Returns `None` if some of its pages are not mapped, for example because
    /// the block was freed meanwhile.
    pub(crate) fn resident_bytes_of(address: u64, bytes: u64) -> Option<u64> {
        let mut resident = 0;
        let mut states = [0u8; PAGES_AT_ONCE];
        let end = (address.checked_add(bytes)? as usize).checked_next_multiple_of(PAGE_BYTES)?;
        let mut at = address as usize / PAGE_BYTES * PAGE_BYTES;
        while at < end {
            let length = (end - at).min(PAGES_AT_ONCE * PAGE_BYTES);
            let start = std::ptr::without_provenance_mut::<libc::c_void>(at);
            // SAFETY: the call reads no memory at `start`; `states` has a byte for each page.
            if unsafe { libc::mincore(start, length, states.as_mut_ptr()) } != 0 {
                return None;
            }
            let pages = states.iter().take(length / PAGE_BYTES).filter(|state| **state & 1 != 0).count();
            resident += (pages * PAGE_BYTES) as u64;
            at += length;
        }
        Some(resident.min(bytes))
    }

    /// Returns the figures of the C library's allocator. The call takes the locks of the allocator and of the loader.
    #[cfg(target_env = "gnu")]
    pub(crate) fn allocator_figures() -> Option<AllocatorFigures> {
        type Mallinfo2 = unsafe extern "C" fn() -> libc::mallinfo2;
        // SAFETY: the name is terminated. The function is looked up at run time, because glibc before 2.33 does not
        // have it.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"mallinfo2".as_ptr()) };
        if found.is_null() {
            return None;
        }
        // SAFETY: the C library's function of this name has this type, and has no precondition.
        let info = unsafe { std::mem::transmute::<*mut libc::c_void, Mallinfo2>(found)() };
        let used = (info.uordblks + info.hblkhd) as u64;
        Some(AllocatorFigures { used: Some(used), held: used + info.fordblks as u64 })
    }

    /// Returns `None`, because this C library provides no such figures.
    #[cfg(not(target_env = "gnu"))]
    pub(crate) fn allocator_figures() -> Option<AllocatorFigures> {
        None
    }
}

#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod os {
    use super::{AllocatorFigures, ProcessFigures};

    pub(crate) fn process_figures() -> ProcessFigures {
        ProcessFigures::default()
    }

    pub(crate) fn resident_bytes_of(_address: u64, _bytes: u64) -> Option<u64> {
        None
    }

    pub(crate) fn allocator_figures() -> Option<AllocatorFigures> {
        None
    }
}

pub(crate) use os::{allocator_figures, process_figures, resident_bytes_of};

#[cfg(all(test, target_os = "linux", not(heapledger_portable)))]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_this_process_fit_together() {
        let figures = process_figures();
        assert!(figures.resident.unwrap() > 0, "{figures:?}");
        assert!(figures.anonymous <= figures.resident && figures.swapped.is_some(), "{figures:?}");
        let allocator = allocator_figures();
        assert!(
            !cfg!(target_env = "gnu") || allocator.is_some_and(|figures| figures.used > Some(0)),
            "{allocator:?}"
        );
    }

    #[test]
    fn pages_count_as_resident_once_they_are_touched() {
        const BYTES: usize = 1 << 24;
        let (read_write, private) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, which is unmapped at the end.
        let block = unsafe { libc::mmap(std::ptr::null_mut(), BYTES, read_write, private, -1, 0) };
        let address = block.addr() as u64;
        let resident = || resident_bytes_of(address, BYTES as u64).unwrap();
        assert_eq!(resident(), 0);
        // SAFETY: the range lies inside the mapping.
        unsafe { block.cast::<u8>().add(1 << 20).write_bytes(1, 1 << 20) };
        assert!((1 << 20..1 << 23).contains(&resident()), "{}", resident());
        // SAFETY: the mapping was made above, and is not used any more.
        unsafe { libc::munmap(block, BYTES) };
        assert_eq!(resident_bytes_of(address, BYTES as u64), None);
        assert_eq!(resident_bytes_of(u64::MAX - 10, 100), None);
    }
}
