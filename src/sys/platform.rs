//! System calls off the hot path: process, threads, environment, time, sleep, exit hooks and fork hooks.
//!
//! The Linux implementation does not allocate. The portable implementation may allocate where std requires it; its
//! callers run while the thread's events are marked as internal.

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod os {
    use std::ffi::{CStr, c_int};
    use std::ptr::null_mut;

    use super::super::descriptors::Identity;
    use super::super::statics::STATICS;
    use super::super::sync::Ordering;

    /// Whether functions of this module may allocate. If so, an event during such a call may come from heapledger.
    pub(crate) const ALLOCATES: bool = false;

    /// Reads the beginning of a file into `text`. Returns the number of bytes read.
    pub(crate) fn read_small_file(path: &CStr, text: &mut [u8]) -> Option<usize> {
        // SAFETY: the path is terminated, the buffer is valid for its length, and this function owns the descriptor.
        unsafe {
            let file = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            if file < 0 {
                return None;
            }
            let length = libc::read(file, text.as_mut_ptr().cast(), text.len());
            libc::close(file);
            usize::try_from(length).ok()
        }
    }

    /// Returns the resident memory of the process, in bytes.
    pub(crate) fn resident_bytes() -> Option<u64> {
        let mut text = [0; 128];
        let length = read_small_file(c"/proc/self/statm", &mut text)?;
        let mut fields = text.get(..length)?.split(|byte| *byte == b' ');
        let pages: u64 = std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
        // SAFETY: no memory is involved.
        let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
        pages.checked_mul(page)
    }

    /// Calls `read` with the value of an environment variable, if it is set.
    pub(crate) fn with_env<T>(name: &CStr, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        // SAFETY: the name is terminated. The value is copied or parsed before another thread could change the
        // environment: at this point, the first allocation of the process, there is no other thread.
        unsafe {
            let value = libc::getenv(name.as_ptr());
            if value.is_null() { None } else { Some(read(CStr::from_ptr(value).to_bytes())) }
        }
    }

    /// Returns whether the program runs with rights that its caller does not have (set-user-ID).
    pub(crate) fn is_set_user_id() -> bool {
        // SAFETY: no memory is involved.
        unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
    }

    pub(crate) fn process_id() -> u32 {
        // SAFETY: no memory is involved; it cannot fail.
        unsafe { libc::getpid() as u32 }
    }

    /// Returns the number of processors that the calling thread may run on; 1 if unknown.
    pub(crate) fn processors() -> u32 {
        // SAFETY: all zero bytes are a valid, empty set, which is valid for reads and writes of its size.
        let count = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
            libc::CPU_COUNT(&set)
        };
        count.max(1) as u32
    }

    pub(crate) fn thread_id() -> u64 {
        // SAFETY: no memory is involved; it cannot fail.
        unsafe { libc::syscall(libc::SYS_gettid) as u64 }
    }

    /// Writes the absolute path of the working directory into `path`, and returns its length. Returns `None` if the
    /// directory was removed, lies outside the root directory of the process, or has a longer path. Calls the system
    /// directly, because `getcwd` of libc may allocate.
    pub(crate) fn working_directory(path: &mut [u8]) -> Option<usize> {
        // SAFETY: the buffer is valid for its length.
        let length = unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) };
        // The length includes the zero byte.
        usize::try_from(length).ok()?.checked_sub(1).filter(|_| path.first() == Some(&b'/'))
    }

    /// Writes the calling thread's name into `name`, terminated by a zero byte.
    pub(crate) fn thread_name(name: &mut [u8; 16]) {
        // SAFETY: the buffer is valid for its length; a failed call leaves it unchanged.
        unsafe { libc::pthread_getname_np(libc::pthread_self(), name.as_mut_ptr().cast(), name.len()) };
    }

    /// Returns the processor time of the calling thread, in nanoseconds.
    pub(crate) fn thread_cpu_ns() -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is valid for writes.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    /// Returns the calendar time, in nanoseconds since 1970 UTC.
    pub(crate) fn unix_time_ns() -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is valid for writes.
        unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    /// Stores the identity of the file behind standard error, for [`write_stderr`]. Called when the ledger is opened.
    pub(crate) fn remember_stderr() {
        let Some(Identity { device, inode }) = Identity::of(libc::STDERR_FILENO) else { return };
        let [known_device, known_inode] = &STATICS.os.standard_error;
        // relaxed, both: the process has one thread, or the thread that opens the ledger publishes the ledger after
        // these stores.
        known_device.store(device, Ordering::Relaxed);
        known_inode.store(inode, Ordering::Relaxed);
    }

    /// Writes to standard error once, and ignores failures. Writes nothing if standard error was closed when the ledger
    /// was opened, or if its descriptor belongs to another file now: in a program that closes its standard descriptors,
    /// number 2 may be assigned to another file. A pipe without a reader raises no signal.
    pub(crate) fn write_stderr(text: &[u8]) {
        // relaxed, both: written before the ledger was published.
        let [device, inode] = STATICS.os.standard_error.each_ref().map(|word| word.load(Ordering::Relaxed));
        if !(Identity { device, inode }).is_behind(libc::STDERR_FILENO) {
            return;
        }
        // SAFETY: the buffer is valid for its length.
        with_failing_writes(|| unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) });
    }

    /// Runs `work` with SIGXFSZ and SIGPIPE blocked. So a write beyond the limit of file size, or into a pipe without a
    /// reader, returns an error. A signal that `work` raised is discarded; a signal that was pending before stays
    /// pending.
    pub(crate) fn with_failing_writes<T>(work: impl FnOnce() -> T) -> T {
        const SIGNALS: [c_int; 2] = [libc::SIGXFSZ, libc::SIGPIPE];
        // SAFETY: every object passed is initialised before, and the signal mask of the calling thread is restored.
        unsafe {
            let (mut signals, mut before): (libc::sigset_t, libc::sigset_t) = std::mem::zeroed();
            libc::sigemptyset(&mut signals);
            for signal in SIGNALS {
                libc::sigaddset(&mut signals, signal);
            }
            let were_pending = SIGNALS.map(is_pending);
            libc::pthread_sigmask(libc::SIG_BLOCK, &signals, &mut before);
            let result = work();
            for (signal, was_pending) in SIGNALS.into_iter().zip(were_pending) {
                if !was_pending && is_pending(signal) {
                    take_pending(signal);
                }
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, null_mut());
            result
        }
    }

    fn is_pending(signal: c_int) -> bool {
        // SAFETY: a zeroed set is valid, and valid for writes.
        unsafe {
            let mut pending: libc::sigset_t = std::mem::zeroed();
            libc::sigpending(&mut pending);
            libc::sigismember(&pending, signal) == 1
        }
    }

    /// Discards a pending, blocked signal, so that it is not delivered when the signal mask is restored. Does not wait.
    fn take_pending(signal: c_int) {
        let no_time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the set is initialised, and the other pointer may be null.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, signal);
            libc::sigtimedwait(&set, null_mut(), &no_time);
        }
    }

    /// Sleeps for about `ns` nanoseconds; a signal ends the sleep early.
    pub(crate) fn sleep_ns(ns: u64) {
        let time = libc::timespec { tv_sec: (ns / 1_000_000_000) as _, tv_nsec: (ns % 1_000_000_000) as _ };
        // SAFETY: `time` is valid for reads and a null remainder is allowed.
        unsafe { libc::nanosleep(&time, null_mut()) };
    }

    /// Registers `on_exit` to be called when `main` returns or `exit` is called. Returns whether that succeeded.
    pub(crate) fn at_exit(on_exit: extern "C" fn()) -> bool {
        // SAFETY: the function is `extern "C"` and lives as long as the program.
        unsafe { libc::atexit(on_exit) == 0 }
    }

    /// Registers `in_child` to be called in every forked child before `fork` returns there. Returns whether that
    /// succeeded.
    pub(crate) fn at_fork(in_child: unsafe extern "C" fn()) -> bool {
        // SAFETY: the function is `extern "C"` and lives as long as the program.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) == 0 }
    }
}

#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod os {
    use std::ffi::CStr;
    use std::io::{Read, Write};
    use std::sync::atomic::Ordering;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    /// Whether functions of this module may allocate. If so, an event during such a call may come from heapledger.
    pub(crate) const ALLOCATES: bool = true;

    #[allow(dead_code)]
    pub(crate) fn read_small_file(path: &CStr, text: &mut [u8]) -> Option<usize> {
        std::fs::File::open(path.to_str().ok()?).ok()?.read(text).ok()
    }

    pub(crate) fn resident_bytes() -> Option<u64> {
        None
    }

    pub(crate) fn with_env<T>(name: &CStr, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let value = std::env::var_os(name.to_str().ok()?)?;
        Some(read(value.as_encoded_bytes()))
    }

    pub(crate) fn is_set_user_id() -> bool {
        false
    }

    pub(crate) fn process_id() -> u32 {
        std::process::id()
    }

    pub(crate) fn processors() -> u32 {
        std::thread::available_parallelism().map_or(1, |count| count.get() as u32)
    }

    pub(crate) fn thread_id() -> u64 {
        // relaxed: only the uniqueness of the number matters.
        super::super::statics::STATICS.os.threads.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn working_directory(path: &mut [u8]) -> Option<usize> {
        let directory = std::env::current_dir().ok()?;
        let bytes = directory.as_os_str().as_encoded_bytes();
        path.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(bytes.len())
    }

    pub(crate) fn thread_name(_name: &mut [u8; 16]) {}

    pub(crate) fn thread_cpu_ns() -> u64 {
        0
    }

    pub(crate) fn unix_time_ns() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
    }

    pub(crate) fn remember_stderr() {}

    pub(crate) fn write_stderr(text: &[u8]) {
        let _ = std::io::stderr().write_all(text);
    }

    pub(crate) fn with_failing_writes<T>(work: impl FnOnce() -> T) -> T {
        work()
    }

    pub(crate) fn sleep_ns(ns: u64) {
        std::thread::sleep(Duration::from_nanos(ns));
    }

    unsafe extern "C" {
        fn atexit(on_exit: extern "C" fn()) -> i32;
    }

    /// Registers `on_exit` to be called at exit. Every C library that std supports has `atexit`.
    pub(crate) fn at_exit(on_exit: extern "C" fn()) -> bool {
        // SAFETY: the function is `extern "C"` and lives as long as the program.
        unsafe { atexit(on_exit) == 0 }
    }

    pub(crate) fn at_fork(_in_child: unsafe extern "C" fn()) -> bool {
        true
    }
}

pub(crate) use os::*;
