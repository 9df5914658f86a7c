//! The calling thread's stack: its registers, bounds, and words.
//!
//! Only x86-64 Linux is supported; on other targets [`SUPPORTED`] is false, and stacks are not walked.
//!
//! # Bounds
//!
//! The C library knows where a thread's stack lies. But a query takes the thread's lock and allocates, so a signal
//! handler that interrupts such a query would wait for its own thread. So the bounds are found without the C library:
//!
//! * **The upper bound** lies below everything that was on the stack before the thread's first function. glibc and musl
//!   put a thread's control block, to which the thread pointer points, at the top of the thread's stack. On the main
//!   thread's stack, the system puts 16 random bytes (`AT_RANDOM`) above the first frame.
//! * **The lower bound** is the lowest page that is known to belong to the stack; at first, the page of the upper
//!   bound. If the stack pointer lies below the bound, the pages from the bound down to the stack pointer are read,
//!   with one system call each ([`extend`]). If all are readable, the bound moves down. An unreadable page is the
//!   stack's guard, and the bound is final. The main thread's stack ends at its limit, because a read below the bound
//!   would extend the stack.
//!
//! So each page of a stack is read once. A stack pointer beyond the guard, such as that of a signal handler with an
//! alternate stack, costs two comparisons. No lock is taken, no memory is allocated, and no file is read. A page is
//! read by a call of `rt_sigprocmask` with an invalid operation, which changes nothing and returns `EFAULT` if the page
//! is unreadable.
//!
//! Invariant **K1**: if the stack pointer lies within the bounds, every address from the stack pointer up to the end of
//! the thread's stack is mapped and readable while the calling function runs. It holds where every page in between was
//! readable. It assumes that the program unmaps no memory between two stacks that it placed side by side without a
//! guard.

/// Whether stacks can be walked on this target.
pub(crate) const SUPPORTED: bool = os::SUPPORTED;

/// Maximum number of pages by which one call of [`extend`] moves the lower bound of the thread's stack.
const EXTENSION_PAGES_MAX: u64 = 256;
/// Bytes of a page; the system's pages may be larger.
const PAGE_BYTES: u64 = super::pages::PAGE_BYTES as u64;

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

/// The address range of a thread's stack: `low` is the lowest address that can belong to it, `high` the first address
/// above it.
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
    // SAFETY: K1, the caller upholds the contract.
    unsafe { std::ptr::with_exposed_provenance::<u64>(address as usize).read_volatile() }
}

/// The known part of a thread's stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) bounds: Bounds,
    /// Lowest address to which the stack can grow.
    pub(crate) floor: u64,
}

impl Known {
    /// Returns whether `sp` lies in the known part.
    pub(crate) fn holds(&self, sp: u64) -> bool {
        (self.bounds.low..self.bounds.high).contains(&sp)
    }

    /// Returns whether `sp` lies in the known part, or can lie in the unknown part of the stack.
    pub(crate) fn may_hold(&self, sp: u64) -> bool {
        (self.floor..self.bounds.high).contains(&sp)
    }
}

/// Returns the known part of the calling thread's stack. Returns `None` if the thread is the main thread, or the only
/// thread of a forked child, and runs on a stack that the program made. Calls the system, so the hot path does not use
/// it.
pub(crate) fn known() -> Option<Known> {
    os::known()
}

/// Moves the lower bound of the known part down to the page of the stack pointer `sp`, by at most
/// [`EXTENSION_PAGES_MAX`] pages. If the stack ends before that page, sets the floor.
pub(crate) fn extend(mut known: Known, sp: u64) -> Known {
    for _ in 0..EXTENSION_PAGES_MAX {
        let page = known.bounds.low.saturating_sub(PAGE_BYTES);
        if known.bounds.low <= sp {
            break;
        }
        if page < known.floor || !os::is_readable(page) {
            known.floor = known.bounds.low;
            break;
        }
        known.bounds.low = page;
    }
    known
}

/// Returns whether the 8 bytes at `address` are readable. Calls the system, which may change errno.
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64", not(heapledger_portable)))]
pub(crate) fn is_readable(address: u64) -> bool {
    os::is_readable(address)
}

/// Returns whether the calling thread has `bytes` bytes of stack below the stack pointer, on whatever stack it runs.
/// Calls the system, and reads one word of each page.
#[inline(never)]
pub(crate) fn has_room(bytes: u64) -> bool {
    os::has_room(bytes)
}

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(heapledger_portable)))]
mod os {
    use std::mem::MaybeUninit;

    use super::{Bounds, Known, PAGE_BYTES, Registers, extend};
    use crate::sys::platform;

    pub(super) const SUPPORTED: bool = true;
    /// Assumed maximum size of a main thread's stack without a size limit, in bytes.
    const UNLIMITED_BYTES: u64 = 1 << 30;
    /// An address at which nothing is mapped. It is not null, because the system takes null as a missing argument.
    const UNMAPPED: u64 = 8;

    #[inline(always)]
    pub(super) fn registers() -> Registers {
        let (ip, sp, bp): (u64, u64, u64);
        // SAFETY: the code reads three registers and accesses nothing else.
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

    pub(super) fn known() -> Option<Known> {
        if is_readable(UNMAPPED) {
            // On this system the call cannot distinguish readable pages from others.
            return None;
        }
        let (sp, pointer) = (registers().sp, thread_pointer());
        if platform::thread_id() != u64::from(platform::process_id()) {
            return below(pointer, 0);
        }
        // This is the main thread, or in a forked child the thread that forked.
        // SAFETY: no memory is involved.
        let top = unsafe { libc::getauxval(libc::AT_RANDOM) };
        let main = below(top, top.saturating_sub(main_bytes())).filter(|main| main.may_hold(sp));
        main.or_else(|| below(pointer, 0).map(|known| extend(known, sp)).filter(|known| known.holds(sp)))
    }

    /// Returns the page that contains the last word below `high` as the known part of a stack.
    fn below(high: u64, floor: u64) -> Option<Known> {
        let high = high & !7;
        let low = high.checked_sub(8)? & !(PAGE_BYTES - 1);
        is_readable(low).then_some(Known { bounds: Bounds { low, high }, floor: floor & !(PAGE_BYTES - 1) })
    }

    /// Returns the maximum size of the main thread's stack in bytes.
    fn main_bytes() -> u64 {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is valid for writes.
        let is_known = unsafe { libc::getrlimit(libc::RLIMIT_STACK, &mut limit) } == 0;
        if is_known { limit.rlim_cur.min(UNLIMITED_BYTES) } else { UNLIMITED_BYTES }
    }

    /// Returns the address of the thread's control block. The first word of the block holds this address.
    fn thread_pointer() -> u64 {
        let pointer: u64;
        // SAFETY: the ABI of x86-64 guarantees this word in every thread.
        unsafe {
            std::arch::asm!(
                "mov {}, qword ptr fs:[0]",
                out(reg) pointer,
                options(nostack, preserves_flags, readonly, pure),
            );
        }
        pointer
    }

    pub(super) fn has_room(bytes: u64) -> bool {
        let (sp, mut alternate) = (registers().sp, MaybeUninit::<libc::stack_t>::uninit());
        let low = sp.saturating_sub(bytes);
        // SAFETY: the system fills in the whole description; it is read only after a successful call.
        let alternate = unsafe {
            let failed = libc::sigaltstack(std::ptr::null(), alternate.as_mut_ptr()) != 0;
            (!failed).then(|| alternate.assume_init())
        };
        if let Some(alternate) = alternate.filter(|stack| stack.ss_flags & libc::SS_ONSTACK != 0) {
            // Memory below an alternate stack without a guard is readable, but does not belong to the stack.
            return low >= alternate.ss_sp.addr() as u64;
        }
        let mut page = sp & !(PAGE_BYTES - 1);
        while page > low {
            page = page.saturating_sub(PAGE_BYTES);
            if !is_readable(page) {
                return false;
            }
        }
        true
    }

    /// Returns whether the 8 bytes at `address` are readable.
    pub(super) fn is_readable(address: u64) -> bool {
        const NO_OPERATION: libc::c_int = -1;
        let (no_set, set_bytes) = (std::ptr::null::<u64>(), 8usize);
        // SAFETY: the system reads the address, and fails if it cannot. The operation is invalid, so the call writes
        // nothing.
        let failed =
            unsafe { libc::syscall(libc::SYS_rt_sigprocmask, NO_OPERATION, address, no_set, set_bytes) };
        // SAFETY: the address of the thread's error number is valid.
        failed != 0 && unsafe { *libc::__errno_location() } == libc::EINVAL
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(heapledger_portable))))]
mod os {
    use super::{Known, Registers};

    pub(super) const SUPPORTED: bool = false;

    pub(super) fn registers() -> Registers {
        Registers { ip: 0, sp: 0, bp: 0 }
    }

    pub(super) fn known() -> Option<Known> {
        None
    }

    pub(super) fn has_room(_bytes: u64) -> bool {
        true
    }

    pub(super) fn is_readable(_address: u64) -> bool {
        false
    }
}

#[cfg(all(test, target_arch = "x86_64", target_os = "linux", not(heapledger_portable)))]
mod tests {
    use super::*;

    /// Asserts three facts at a depth of `depth` kilobytes: a local variable lies in the known part of the calling
    /// thread's stack, the bound is not extended beyond it, and its value can be read.
    fn assert_is_known(depth: usize) {
        let known = known().unwrap();
        deeper(depth, &mut || {
            let local = 0x1234_5678_9abc_u64;
            let (address, sp) = ((&raw const local).expose_provenance() as u64, registers().sp);
            let extended = (0..64).fold(known, |known, _| extend(known, sp));
            assert!(extended.holds(address) && extended.holds(sp), "{extended:x?} {sp:x}");
            assert!(extended.bounds.low + PAGE_BYTES > sp, "{extended:x?} {sp:x}");
            // SAFETY: K1, the assertions above have checked the bounds.
            assert_eq!(unsafe { read(address) }, local);
        });
    }

    /// Calls `work` after `depth` nested calls, each of which uses a further kilobyte of stack.
    fn deeper(depth: usize, work: &mut dyn FnMut()) {
        let filled = std::hint::black_box([1u8; 1024]);
        if depth == 0 {
            work()
        } else {
            deeper(depth - 1, work)
        }
        std::hint::black_box(filled);
    }

    #[test]
    fn the_known_part_of_a_stack_grows_down_to_the_stack_pointer() {
        for (kilobytes, depth) in [(64, 0), (1 << 10, 100), (16 << 10, 2_000)] {
            let thread = std::thread::Builder::new().stack_size(kilobytes << 10);
            thread.spawn(move || assert_is_known(depth)).unwrap().join().unwrap();
        }
    }

    #[test]
    fn nothing_beyond_the_guard_of_a_stack_is_taken_for_it() {
        let thread = std::thread::Builder::new().stack_size(256 << 10);
        let beyond = thread.spawn(|| {
            let sp = registers().sp;
            let mut known = known().unwrap();
            for _ in 0..8 {
                known = extend(known, sp - (64 << 20));
            }
            assert!(known.holds(sp) && !known.may_hold(sp - (64 << 20)), "{known:x?} {sp:x}");
            assert_eq!(known.floor, known.bounds.low);
            // The known part is the whole stack, and nothing below it.
            assert!((128..600).contains(&((known.bounds.high - known.bounds.low) >> 10)), "{known:x?}");
            known.bounds.low - 8
        });
        assert_ne!(beyond.unwrap().join().unwrap(), 0);
    }

    #[test]
    fn the_thread_that_forked_knows_its_stack_in_the_child() {
        // SAFETY: the child calls only functions that a forked child may call, and then ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // The child has only the thread that forked, on a stack that glibc made.
            let sp = registers().sp;
            let holds = known().is_some_and(|known| known.holds(sp));
            // SAFETY: a forked child may call `_exit`.
            unsafe { libc::_exit(i32::from(!holds)) };
        }
        let mut status = -1;
        // SAFETY: `status` is valid for writes.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
    }
}
