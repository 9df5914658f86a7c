//! System calls that fail on request.
//!
//! This program defines `mmap`, `write` and other functions itself. Its code and all linked code, heapledger included,
//! calls these instead of the C library's. So the tested library is built as for users, and has no switch for tests.
//! Calls inside the C library do not come here. Calls by others than heapledger (the stacks of std's threads, output of
//! the program) pass unchanged, so a fault affects only heapledger.
//!
//! A fault is a call, the number of the first refused call, and the number of refused calls, counted from the start of
//! the process or from [`refuse`]. `PROCESS_TEST_REFUSE` (such as `mprotect:3:1`) sets a fault before the first
//! allocation.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};

/// Environment variable with a fault of a child: call, number of the first, number of calls (0: all that follow).
pub const VARIABLE: &str = "PROCESS_TEST_REFUSE";

/// The calls that can be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Refused {
    /// Reserving address space.
    Mmap,
    /// Making reserved pages usable.
    Mprotect,
    /// Giving pages back, or advice on them.
    Madvise,
    /// Opening a file or directory.
    Open,
    /// Writing bytes to a file.
    Write,
    /// As `Write`, but the call writes one byte instead of failing.
    ShortWrite,
    /// Syncing a file to the disk.
    Fsync,
    /// Syncing a file to the disk; the call never returns.
    Hang,
    /// Renaming a file.
    Rename,
    /// Starting a detached thread, as heapledger does.
    Thread,
    /// Reading the monotonic clock, which goes back by up to a third of a second.
    Clock,
}

impl Refused {
    const ALL: [Refused; 11] = [
        Refused::Mmap,
        Refused::Mprotect,
        Refused::Madvise,
        Refused::Open,
        Refused::Write,
        Refused::ShortWrite,
        Refused::Fsync,
        Refused::Hang,
        Refused::Rename,
        Refused::Thread,
        Refused::Clock,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Refused::Mmap => "mmap",
            Refused::Mprotect => "mprotect",
            Refused::Madvise => "madvise",
            Refused::Open => "open",
            Refused::Write => "write",
            Refused::ShortWrite => "short-write",
            Refused::Fsync => "fsync",
            Refused::Hang => "hang",
            Refused::Rename => "rename",
            Refused::Thread => "thread",
            Refused::Clock => "clock",
        }
    }

    fn errno(self) -> c_int {
        match self {
            Refused::Mmap | Refused::Mprotect => libc::ENOMEM,
            Refused::Madvise | Refused::Clock => libc::EINVAL,
            Refused::Open => libc::EROFS,
            Refused::Write | Refused::ShortWrite => libc::ENOSPC,
            Refused::Fsync | Refused::Hang => libc::EIO,
            Refused::Rename => libc::EXDEV,
            Refused::Thread => libc::EAGAIN,
        }
    }
}

struct Fault {
    seen: AtomicU64,
    /// Number of the first refused call; 0 while there is no fault.
    first: AtomicU64,
    /// Number of refused calls.
    count: AtomicU64,
    struck: AtomicU64,
}

static FAULTS: [Fault; Refused::ALL.len()] = [const {
    Fault {
        seen: AtomicU64::new(0),
        first: AtomicU64::new(0),
        count: AtomicU64::new(0),
        struck: AtomicU64::new(0),
    }
}; Refused::ALL.len()];

/// Whether calls are counted; most tests do not need this.
static IS_COUNTING: AtomicBool = AtomicBool::new(false);
/// The C library's clock, which makes no system call. `REAL_THREAD` is its start of threads.
static REAL_CLOCK: AtomicUsize = AtomicUsize::new(0);
static REAL_THREAD: AtomicUsize = AtomicUsize::new(0);

/// Refuses `count` calls from now on, beginning with the call numbered `first`, from 1.
pub fn refuse(call: Refused, first: u64, count: u64) {
    let fault = &FAULTS[call as usize];
    fault.seen.store(0, SeqCst);
    fault.count.store(count, SeqCst);
    fault.first.store(first, SeqCst);
    IS_COUNTING.store(true, SeqCst);
}

/// Error number after a call, once [`spoil_error_numbers`] was called.
const SPOILT: c_int = 4343;

/// Whether successful calls change the error number, as they may.
static IS_SPOILING: AtomicBool = AtomicBool::new(false);

/// Makes every call here change the error number from now on, successful ones included.
pub fn spoil_error_numbers() {
    IS_SPOILING.store(true, SeqCst);
}

/// Changes the error number at the end of a call, if requested.
fn spoilt<T>(result: T) -> T {
    if IS_SPOILING.load(SeqCst) {
        // SAFETY: the thread's own error number.
        unsafe { *libc::__errno_location() = SPOILT };
    }
    result
}

/// Ends the refusals of a call.
pub fn relent(call: Refused) {
    FAULTS[call as usize].first.store(0, SeqCst);
}

/// Returns the number of calls since counting began or since the last [`refuse`].
pub fn seen(call: Refused) -> u64 {
    FAULTS[call as usize].seen.load(SeqCst)
}

/// Returns the number of refused calls of every kind in the life of this process.
pub fn struck() -> u64 {
    FAULTS.iter().map(|fault| fault.struck.load(SeqCst)).sum()
}

/// Whether this call must fail.
fn strikes(call: Refused) -> bool {
    if !IS_COUNTING.load(SeqCst) {
        return false;
    }
    let fault = &FAULTS[call as usize];
    let number = fault.seen.fetch_add(1, SeqCst) + 1;
    let first = fault.first.load(SeqCst);
    let hit = first != 0 && number >= first && number - first < fault.count.load(SeqCst);
    fault.struck.fetch_add(u64::from(hit), SeqCst);
    hit
}

fn fail(call: Refused) -> c_int {
    // SAFETY: the thread's own error number.
    unsafe { *libc::__errno_location() = call.errno() };
    -1
}

/// Applies the requests of the environment, before `main` and before any allocation.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_ALL: extern "C" fn() = prepare;

extern "C" fn prepare() {
    // SAFETY: names are terminated; there is one thread, and nobody changes the environment.
    let asked = unsafe {
        REAL_CLOCK.store(libc::dlsym(libc::RTLD_NEXT, c"clock_gettime".as_ptr()).addr(), SeqCst);
        REAL_THREAD.store(libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr()).addr(), SeqCst);
        let value = libc::getenv(c"PROCESS_TEST_REFUSE".as_ptr());
        if value.is_null() {
            return;
        }
        CStr::from_ptr(value)
    };
    let mut parts = asked.to_bytes().split(|byte| *byte == b':');
    let name = parts.next().unwrap_or_default();
    let mut number = || {
        let digits = parts.next().unwrap_or_default().iter();
        digits.fold(0, |sum: u64, digit| sum * 10 + u64::from(digit.wrapping_sub(b'0')))
    };
    let (first, count) = (number(), number());
    IS_COUNTING.store(true, SeqCst);
    if let Some(call) = Refused::ALL.into_iter().find(|call| call.name().as_bytes() == name) {
        refuse(call, first, if count == 0 { u64::MAX } else { count });
    }
}

// SAFETY, all of these: each has the signature and the meaning of the C library's function of its name, or fails in a
// way that this function may.

#[unsafe(no_mangle)]
unsafe extern "C" fn mmap(
    at: *mut c_void,
    bytes: usize,
    access: c_int,
    flags: c_int,
    file: c_int,
    offset: libc::off_t,
) -> *mut c_void {
    if access == libc::PROT_NONE && flags & libc::MAP_NORESERVE != 0 && strikes(Refused::Mmap) {
        fail(Refused::Mmap);
        return libc::MAP_FAILED;
    }
    // SAFETY: the caller's promise, passed on.
    let mapped = unsafe { libc::syscall(libc::SYS_mmap, at, bytes, access, flags, file, offset) };
    spoilt(std::ptr::with_exposed_provenance_mut(mapped as usize))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mprotect(at: *mut c_void, bytes: usize, access: c_int) -> c_int {
    if access == libc::PROT_READ | libc::PROT_WRITE && strikes(Refused::Mprotect) {
        return fail(Refused::Mprotect);
    }
    // SAFETY: the caller's promise, passed on.
    spoilt(unsafe { libc::syscall(libc::SYS_mprotect, at, bytes, access) as c_int })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn madvise(at: *mut c_void, bytes: usize, advice: c_int) -> c_int {
    if strikes(Refused::Madvise) {
        return fail(Refused::Madvise);
    }
    // SAFETY: the caller's promise, passed on.
    spoilt(unsafe { libc::syscall(libc::SYS_madvise, at, bytes, advice) as c_int })
}

/// The function is variadic in C. On the processors of heapledger under Linux, the mode is passed like a third
/// argument.
#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int {
    // SAFETY: the caller's promise, passed on.
    unsafe { open(path, flags, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int {
    if strikes(Refused::Open) {
        return fail(Refused::Open);
    }
    // SAFETY: the caller's promise, passed on.
    spoilt(unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode) as c_int })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(file: c_int, from: *const c_void, bytes: usize) -> isize {
    let mut bytes = bytes;
    if file > libc::STDERR_FILENO {
        if strikes(Refused::Write) {
            return fail(Refused::Write) as isize;
        }
        if strikes(Refused::ShortWrite) {
            bytes = bytes.min(1);
        }
    }
    // SAFETY: the caller's promise, passed on for as many bytes or fewer.
    unsafe { libc::syscall(libc::SYS_write, file, from, bytes) as isize }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(file: c_int) -> c_int {
    if strikes(Refused::Fsync) {
        return fail(Refused::Fsync);
    }
    if strikes(Refused::Hang) {
        loop {
            // SAFETY: no memory is involved.
            unsafe { libc::sleep(1) };
        }
    }
    // SAFETY: no memory is involved.
    spoilt(unsafe { libc::syscall(libc::SYS_fsync, file) as c_int })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    if strikes(Refused::Rename) {
        return fail(Refused::Rename);
    }
    // SAFETY: the caller's promise, passed on.
    unsafe { libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0) as c_int }
}

unsafe extern "C" {
    fn pthread_attr_getdetachstate(attributes: *const libc::pthread_attr_t, state: *mut c_int) -> c_int;
}

type Body = extern "C" fn(*mut c_void) -> *mut c_void;
type ThreadStart =
    unsafe extern "C" fn(*mut libc::pthread_t, *const libc::pthread_attr_t, Body, *mut c_void) -> c_int;

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    body: Body,
    argument: *mut c_void,
) -> c_int {
    let mut state = libc::PTHREAD_CREATE_JOINABLE;
    // SAFETY: attributes that the caller gives are initialised, and `state` is valid for writes.
    unsafe {
        if !attributes.is_null() {
            pthread_attr_getdetachstate(attributes, &mut state);
        }
        if state == libc::PTHREAD_CREATE_DETACHED && strikes(Refused::Thread) {
            return Refused::Thread.errno();
        }
        let real = REAL_THREAD.load(SeqCst);
        assert!(real != 0, "a thread before the first constructor");
        std::mem::transmute::<usize, ThreadStart>(real)(thread, attributes, body, argument)
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    let real = REAL_CLOCK.load(SeqCst);
    // SAFETY: the caller's promise, passed on; the address is that of the C library's function.
    let result = unsafe {
        if real == 0 {
            libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int
        } else {
            let real = std::mem::transmute::<
                usize,
                unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int,
            >(real);
            real(clock, time)
        }
    };
    spoilt(());
    if result == 0 && clock == libc::CLOCK_MONOTONIC && strikes(Refused::Clock) {
        let back = (seen(Refused::Clock) % 7) as libc::c_long * 50_000_000;
        // SAFETY: the call above has written it.
        unsafe {
            if (*time).tv_nsec >= back {
                (*time).tv_nsec -= back;
            } else {
                (*time).tv_sec -= 1;
                (*time).tv_nsec += 1_000_000_000 - back;
            }
        }
    }
    result
}
