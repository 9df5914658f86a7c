//! heapledger's threads: their start, their number, and whether the program has any thread besides them.
//!
//! The C library ends a process with `exit(0)` when its last thread ends. It counts heapledger's threads too. So these
//! threads must end when the program's last thread has ended, because they block all signals and the process would
//! never end. If the main thread returns from `main` or calls `exit`, the process ends with it. Otherwise the main
//! thread ends before the other threads, and the system lists it as a zombie until the process ends. So [`are_alone`]
//! looks at the main thread first. A main thread with a lane calls [`main_thread_ends`] at its end; until then nothing
//! is read from the system.

pub(crate) use os::*;

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod os {
    use std::ffi::{CStr, c_int, c_void};
    use std::ptr::null_mut;

    use super::super::platform::{process_id, read_small_file, thread_id};
    use super::super::statics::STATICS;
    use super::super::sync::Ordering;

    /// State of the main thread: it has a lane, so its end will be noticed. Before that the state is 0.
    const LIVES: u32 = 1;
    /// State of the main thread: it has called [`main_thread_ends`].
    const ENDS: u32 = 2;

    extern "C" fn start(argument: *mut c_void) -> *mut c_void {
        // SAFETY: only `spawn` passes this argument, and it passes the address of a `fn()`.
        let body = unsafe { std::mem::transmute::<*mut c_void, fn()>(argument) };
        // relaxed, both: `are_alone` tolerates that it sees an addition or a subtraction early or late.
        STATICS.os.own_threads.fetch_add(1, Ordering::Relaxed);
        body();
        STATICS.os.own_threads.fetch_sub(1, Ordering::Relaxed);
        null_mut()
    }

    /// Starts a detached thread that receives no signals. Returns whether it started. Does not use std, which would
    /// allocate. If `stack_bytes` is 0, the thread has a stack of the system's default size.
    ///
    /// Must not be called from an event. The event may come from a signal handler that interrupted code of the C
    /// library, and this code may hold a lock that this call takes.
    pub(crate) fn spawn(stack_bytes: usize, body: fn()) -> bool {
        // SAFETY: every object passed is initialised by an earlier call and outlives the call; the signal mask of the
        // calling thread is restored.
        unsafe {
            let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
            if libc::pthread_attr_init(&mut attributes) != 0 {
                return false;
            }
            libc::pthread_attr_setdetachstate(&mut attributes, libc::PTHREAD_CREATE_DETACHED);
            if stack_bytes > 0 {
                libc::pthread_attr_setstacksize(&mut attributes, stack_bytes);
            }
            let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            let mut thread: libc::pthread_t = std::mem::zeroed();
            let failed: c_int = libc::pthread_create(&mut thread, &attributes, start, body as *mut c_void);
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, null_mut());
            libc::pthread_attr_destroy(&mut attributes);
            failed == 0
        }
    }

    /// Names the calling thread, which must be a thread of heapledger.
    pub(crate) fn name(name: &'static CStr) {
        // SAFETY: the name is terminated.
        unsafe { libc::pthread_setname_np(libc::pthread_self(), name.as_ptr()) };
    }

    /// Returns whether the calling thread is the main thread of its process.
    pub(crate) fn is_main_thread() -> bool {
        thread_id() == u64::from(process_id())
    }

    /// Notes that the main thread will call [`main_thread_ends`] before it ends.
    pub(crate) fn main_thread_lives() {
        // relaxed: `are_alone` reads the system's list of threads after it.
        STATICS.os.main_thread.store(LIVES, Ordering::Relaxed);
    }

    /// Notes that the main thread is about to end while the process continues.
    pub(crate) fn main_thread_ends() {
        // relaxed: `are_alone` reads the system's list of threads after it.
        STATICS.os.main_thread.store(ENDS, Ordering::Relaxed);
    }

    /// Returns whether the main thread has called [`main_thread_ends`].
    pub(crate) fn has_main_thread_ended() -> bool {
        // relaxed: the state changes to `ENDS` only once.
        STATICS.os.main_thread.load(Ordering::Relaxed) == ENDS
    }

    /// Returns whether only heapledger's threads are left: the main thread has ended, and the process has no other
    /// thread. The answer stays true, because only an existing thread of the program could start another one.
    ///
    /// If `/proc` cannot be read, returns true as soon as the main thread ends.
    pub(crate) fn are_alone() -> bool {
        // relaxed: the value changes once, and the caller calls again later.
        let main_thread = STATICS.os.main_thread.load(Ordering::Relaxed);
        if main_thread == LIVES {
            return false;
        }
        // A thread of heapledger may start or end between these calls. The smaller of the two numbers is used: the
        // system has certainly counted these threads.
        let before = own_threads();
        match Threads::read() {
            Some(Threads { is_main_gone, count }) => is_main_gone && count <= 1 + before.min(own_threads()),
            None => main_thread == ENDS,
        }
    }

    /// Returns whether the calling thread, a thread of heapledger, is the only thread left besides the main thread,
    /// which has ended.
    pub(crate) fn is_last() -> bool {
        own_threads() <= 1 && Threads::read().is_none_or(|threads| threads.count <= 2)
    }

    fn own_threads() -> u32 {
        // relaxed: `are_alone` tolerates that a change is seen early or late.
        STATICS.os.own_threads.load(Ordering::Relaxed)
    }

    /// Unblocks all signals in the calling thread except pending signals. The thread has blocked all signals. A pending
    /// signal was sent after the program's last thread had ended, and the process then ends without it.
    pub(crate) fn take_signals() {
        // SAFETY: the set is valid for writes, and initialised by the call before it is read.
        unsafe {
            let mut pending: libc::sigset_t = std::mem::zeroed();
            libc::sigpending(&mut pending);
            libc::pthread_sigmask(libc::SIG_SETMASK, &pending, null_mut());
        }
    }

    /// The threads of this process, as the system lists them.
    #[derive(Debug, PartialEq, Eq)]
    struct Threads {
        /// Whether the main thread has ended.
        is_main_gone: bool,
        /// Number of threads, including a main thread that has ended.
        count: u32,
    }

    impl Threads {
        fn read() -> Option<Threads> {
            let mut text = [0; 512];
            let length = read_small_file(c"/proc/self/stat", &mut text)?;
            Threads::parse(text.get(..length)?)
        }

        /// Parses `pid (name) state …`. The name may contain any characters. The 20th field is the number of threads.
        fn parse(text: &[u8]) -> Option<Threads> {
            let name_end = text.iter().rposition(|byte| *byte == b')')?;
            let mut fields = text.get(name_end + 2..)?.split(|byte| *byte == b' ');
            let state = fields.next()?;
            let count = std::str::from_utf8(fields.nth(16)?).ok()?.parse().ok()?;
            Some(Threads { is_main_gone: matches!(state, b"Z" | b"X"), count })
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_threads_of_a_process_are_read_whatever_its_name() {
            let after = " 1 2 3 4 -1 4194560 5 6 7 8 9 10 11 12 20 0 3 0 99 1";
            for (text, is_main_gone) in [("7 (a) S", false), ("7 (a) Z) S 9) Z", true), ("7 () X", true)] {
                let threads = Threads::parse(format!("{text}{after}").as_bytes());
                assert_eq!(threads, Some(Threads { is_main_gone, count: 3 }), "{text}");
            }
            assert_eq!(Threads::parse(b"7 (a) S 1 2"), None);
            assert_eq!(Threads::parse(b""), None);
            assert!(Threads::read().is_some_and(|threads| threads.count > 0 && !threads.is_main_gone));
        }
    }
}

#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod os {
    use std::ffi::CStr;

    pub(crate) fn spawn(stack_bytes: usize, body: fn()) -> bool {
        let thread = std::thread::Builder::new();
        let thread = if stack_bytes > 0 { thread.stack_size(stack_bytes) } else { thread };
        thread.spawn(body).is_ok()
    }

    pub(crate) fn name(_name: &'static CStr) {}

    pub(crate) fn is_main_thread() -> bool {
        false
    }

    pub(crate) fn main_thread_lives() {}

    pub(crate) fn main_thread_ends() {}

    pub(crate) fn has_main_thread_ended() -> bool {
        false
    }

    pub(crate) fn are_alone() -> bool {
        false
    }

    pub(crate) fn is_last() -> bool {
        true
    }

    pub(crate) fn take_signals() {}
}
