//! The calling thread's stack: its registers, bounds, and words.
//!
//! Only x86-64 Linux is supported; on other targets [`SUPPORTED`] is false, and stacks are not walked.
//!
//! Invariant **K1**: an address from the current stack pointer up to the end of the thread's stack is mapped and
//! readable while the calling function runs.

/// Whether stacks can be walked on this target.
pub(crate) const SUPPORTED: bool = os::SUPPORTED;

/// The registers at the start of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Registers {
    /// The instruction pointer.
    pub(crate) ip: u64,
    /// The stack pointer.
    pub(crate) sp: u64,
    /// The frame pointer, or any value that the code keeps in the frame-pointer register.
    pub(crate) bp: u64,
}

/// The address range of a thread's stack: the lowest address that can belong to it, and the first address above it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) low: u64,
    pub(crate) high: u64,
}

/// Returns the registers of the function into which this call is inlined.
#[inline(always)]
pub(crate) fn registers() -> Registers {
    os::registers()
}

/// Reads a word of the calling thread's stack.
///
/// # Safety
/// `address` is a multiple of 8, not below the stack pointer of the caller, and at least 8 bytes below the end of the
/// thread's stack.
#[inline(always)]
pub(crate) unsafe fn read(address: u64) -> u64 {
    // SAFETY: K1, the caller's promise.
    unsafe { std::ptr::with_exposed_provenance::<u64>(address as usize).read_volatile() }
}

/// Returns the bounds of the calling thread's stack. Calls the system, so the hot path does not use it.
pub(crate) fn bounds() -> Option<Bounds> {
    os::bounds()
}

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(heapledger_portable)))]
mod os {
    use super::{Bounds, Registers};
    use crate::sys::platform;

    pub(super) const SUPPORTED: bool = true;
    /// Assumed maximum size of a main thread's stack without a limit, in bytes.
    const UNLIMITED_BYTES: u64 = 1 << 30;

    #[inline(always)]
    pub(super) fn registers() -> Registers {
        let (ip, sp, bp): (u64, u64, u64);
        // SAFETY: reads three registers and touches nothing else.
        unsafe {
            std::arch::asm!(
                "lea {ip}, [rip]",
                "mov {sp}, rsp",
                "mov {bp}, rbp",
                ip = out(reg) ip,
                sp = out(reg) sp,
                bp = out(reg) bp,
                options(nomem, nostack, preserves_flags),
            );
        }
        Registers { ip, sp, bp }
    }

    pub(super) fn bounds() -> Option<Bounds> {
        if platform::thread_id() == u64::from(platform::process_id()) {
            main_thread()
        } else {
            other_thread()
        }
    }

    /// Returns the bounds of the main thread's stack: the mapping that holds the stack pointer, extended downwards to
    /// the limit.
    fn main_thread() -> Option<Bounds> {
        let sp = registers().sp;
        let high = end_of_mapping(sp)?;
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is valid for writes.
        let known = unsafe { libc::getrlimit(libc::RLIMIT_STACK, &mut limit) } == 0;
        let bytes = if known { limit.rlim_cur.min(UNLIMITED_BYTES) } else { UNLIMITED_BYTES };
        Some(Bounds { low: high.saturating_sub(bytes.max(64 << 10)).min(sp), high })
    }

    /// Returns the bounds of another thread's stack, which glibc knows. The call allocates a little, but not through
    /// Rust.
    fn other_thread() -> Option<Bounds> {
        // SAFETY: every object is initialised by the call before it, and destroyed once.
        unsafe {
            let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
            if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) != 0 {
                return None;
            }
            let (mut start, mut bytes) = (std::ptr::null_mut(), 0);
            let failed = libc::pthread_attr_getstack(&attributes, &mut start, &mut bytes);
            libc::pthread_attr_destroy(&mut attributes);
            let low = start.expose_provenance() as u64;
            (failed == 0).then_some(Bounds { low, high: low + bytes as u64 })
        }
    }

    /// Returns the end of the mapping that holds an address. Reads the system's list of mappings without allocating.
    fn end_of_mapping(address: u64) -> Option<u64> {
        // SAFETY: the path is terminated, the buffer is valid for its length, and the descriptor is ours to close.
        unsafe {
            let file = libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            if file < 0 {
                return None;
            }
            let (mut text, mut search) = ([0u8; 1024], Search::new(address));
            let found = loop {
                let read = libc::read(file, text.as_mut_ptr().cast(), text.len());
                let Ok(length) = usize::try_from(read) else { break None };
                if length == 0 {
                    break None;
                }
                if let Some(high) = text[..length].iter().find_map(|byte| search.next(*byte)) {
                    break Some(high);
                }
            };
            libc::close(file);
            found
        }
    }

    /// A parser of `low-high …` lines that takes them byte by byte.
    struct Search {
        address: u64,
        low: u64,
        number: u64,
        /// Part of the line: 0 is the low number, 1 the high number, 2 the rest of the line.
        field: u8,
    }

    impl Search {
        fn new(address: u64) -> Search {
            Search { address, low: 0, number: 0, field: 0 }
        }

        fn next(&mut self, byte: u8) -> Option<u64> {
            match (self.field, byte) {
                (_, b'\n') => (self.field, self.number) = (0, 0),
                (0, b'-') => (self.field, self.low, self.number) = (1, self.number, 0),
                (1, b' ') => {
                    self.field = 2;
                    if (self.low..self.number).contains(&self.address) {
                        return Some(self.number);
                    }
                }
                (0 | 1, digit) => {
                    let digit = (digit as char).to_digit(16)?;
                    self.number = self.number << 4 | u64::from(digit);
                }
                _ => {}
            }
            None
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(heapledger_portable))))]
mod os {
    use super::{Bounds, Registers};

    pub(super) const SUPPORTED: bool = false;

    pub(super) fn registers() -> Registers {
        Registers { ip: 0, sp: 0, bp: 0 }
    }

    pub(super) fn bounds() -> Option<Bounds> {
        None
    }
}

#[cfg(all(test, target_arch = "x86_64", target_os = "linux", not(heapledger_portable)))]
mod tests {
    use super::*;

    #[test]
    fn a_local_lies_within_the_bounds_and_above_the_stack_pointer() {
        let local = 0x1234_5678_9abc_u64;
        let address = (&raw const local).expose_provenance() as u64;
        let (bounds, now) = (bounds().unwrap(), registers());
        assert!(
            bounds.low <= now.sp && now.sp <= address && address + 8 <= bounds.high,
            "{bounds:x?} {now:x?}"
        );
        // SAFETY: K1, as just seen.
        assert_eq!(unsafe { read(address) }, local);
    }
}
