//! P5: `main` ends by `pthread_exit`. The process ends with the program's last thread, whatever threads of heapledger
//! there are, and its signals reach the program's threads.

use std::ffi::c_void;
use std::mem::zeroed;
use std::ptr::{null, null_mut};
use std::time::Duration;

use heapledger::LossReason;

use super::case::{Case, Ended};
use super::heap::Heap;
use super::laws::complete;
use super::occasions::wait_for_handler;
use super::tools::{block, free, lossless_point, lost_only};

pub const CASES: &[Case] = &[
    Case::new(
        "a_process_whose_main_thread_has_ended_ends_with_its_last_thread",
        || end_main_thread(work_and_end),
        is_whole,
    ),
    Case::new(
        "heapledgers_threads_for_dumps_do_not_outlive_the_programs_last_thread",
        || end_main_thread(work_and_end),
        is_whole,
    )
    .variables(&[("HEAPLEDGER_SIGNALS", "TERM")]),
    Case::new(
        "heapledgers_thread_for_the_trace_does_not_outlive_the_programs_last_thread",
        || end_main_thread(work_and_end),
        |ended| {
            is_whole(ended);
            assert!(ended.path("trace.hlt").exists());
        },
    )
    .variables(&[("HEAPLEDGER_TRACE", "trace.hlt")]),
    Case::new(
        "the_dump_that_a_programs_last_thread_writes_loses_no_event_of_its_own",
        || end_main_thread(work_and_end),
        |ended| {
            // The event of the program's exit handler, which comes after the end of the thread's lane.
            assert_eq!(lost_only(&ended.quietly().dump().quality, LossReason::TlsTeardown), 1);
        },
    )
    .heap(Heap::Alone),
    Case::new(
        "a_signal_reaches_the_programs_threads_after_its_main_thread_has_ended",
        || end_main_thread(send_and_wait),
        |ended| {
            let profile = ended.with_signal(libc::SIGTERM).dump_named(&format!("{}.hl", ended.pid));
            assert_eq!(profile.process.reason, "SIGTERM");
        },
    )
    .variables(&[("HEAPLEDGER_SIGNALS", "TERM")]),
    Case::new("a_child_whose_only_thread_was_no_main_thread_ends_with_it", fork_elsewhere, |ended| {
        complete(&ended.quietly().dump()).unwrap();
        let child = ended.dump_named(&format!("{}.hl", ended.said("child")));
        assert_eq!((child.process.reason.as_str(), child.process.forked_from), ("exit", Some(ended.pid)));
    })
    .variables(&[("HEAPLEDGER_SIGNALS", "TERM")]),
];

const MARK_BYTES: usize = 54_321;

/// The program's own thread and its exit handler have left a mark each, and the exit code is 0.
fn is_whole(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    assert_eq!(profile.live.iter().filter(|block| block.size == MARK_BYTES as u64).count(), 2);
}

/// Starts a thread, and ends this one, which is the main thread.
fn end_main_thread(body: extern "C" fn(*mut c_void) -> *mut c_void) {
    // SAFETY: the handler lives as long as the program, `thread` is valid for writes, and the body ignores its argument.
    // `pthread_exit` unwinds the calling thread's frames, which std's below `main` do not allow: so it is called on a stack
    // that has no other frames, and that nobody gives back.
    unsafe {
        assert_eq!(libc::atexit(leave_a_mark), 0);
        let mut thread = 0;
        assert_eq!(libc::pthread_create(&mut thread, null(), body, null_mut()), 0);
        assert_eq!(libc::pthread_detach(thread), 0);
        let stack: &'static mut [u8] = Box::leak(vec![0; 256 << 10].into_boxed_slice());
        let context: &'static mut libc::ucontext_t = Box::leak(Box::new(zeroed()));
        assert_eq!(libc::getcontext(context), 0);
        context.uc_stack.ss_sp = stack.as_mut_ptr().cast();
        context.uc_stack.ss_size = stack.len();
        libc::makecontext(context, exit_thread, 0);
        libc::setcontext(context);
    }
}

extern "C" fn exit_thread() {
    type Exit = unsafe extern "C-unwind" fn(*mut c_void) -> !;
    // SAFETY: the function's type, but for the unwinding, which ends with this frame.
    unsafe { std::mem::transmute::<*const (), Exit>(libc::pthread_exit as *const ())(null_mut()) }
}

extern "C" fn leave_a_mark() {
    block(MARK_BYTES);
}

/// Long enough for heapledger's threads to find nothing to do, and the main thread to end.
const PAUSE: Duration = Duration::from_millis(300);

extern "C" fn work_and_end(_argument: *mut c_void) -> *mut c_void {
    for _ in 0..2 {
        for round in 0..50_000 {
            free(block(16 + round % 300), 16 + round % 300);
        }
        // The second query starts heapledger's thread.
        heapledger::stats();
    }
    std::thread::sleep(PAUSE);
    block(MARK_BYTES);
    lossless_point();
    null_mut()
}

extern "C" fn send_and_wait(_argument: *mut c_void) -> *mut c_void {
    block(MARK_BYTES);
    wait_for_handler(libc::SIGTERM);
    std::thread::sleep(PAUSE);
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGTERM) }, 0);
    loop {
        std::thread::sleep(PAUSE);
    }
}

/// Forks in a second thread. The child's only thread ends as threads do.
fn fork_elsewhere() {
    extern "C" fn fork_and_end(child: *mut c_void) -> *mut c_void {
        // SAFETY: the child uses what works after a fork here: glibc's allocator and heapledger.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            (0..1_000).for_each(|_| free(block(100), 100));
        } else {
            // SAFETY: the parent's main thread waits for this one, and holds the place.
            unsafe { child.cast::<libc::pid_t>().write(pid) };
        }
        null_mut()
    }
    let (mut thread, mut child, mut status) = (0, 0, 0);
    // SAFETY: every object is valid for writes.
    unsafe {
        let argument = (&raw mut child).cast();
        assert_eq!(libc::pthread_create(&mut thread, null(), fork_and_end, argument), 0);
        assert_eq!(libc::pthread_join(thread, null_mut()), 0);
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
    }
    assert_eq!(status, 0);
    println!("child={child}");
    lossless_point();
}
