//! P4: the program's error number is unchanged, although recording makes system calls.

use std::ffi::c_void;
use std::hint::black_box;
use std::ptr::{null, null_mut};
use std::sync::{Arc, Barrier};

use heapledger::Tracked;

use super::case::{Case, Ended};
use super::laws::complete;
use super::refusals;
use super::tools::{block, free, lossless_point};

pub const CASES: &[Case] = &[
    Case::new("the_error_number_of_a_call_before_stays_what_it_was", whatever_calls_do, is_complete)
        .variables(&[("HEAPLEDGER_STACKS", "dwarf"), ("HEAPLEDGER_WARN", "1")]),
    Case::new(
        "a_system_that_lends_no_pages_ahead_is_no_error_of_the_programs",
        on_an_old_system,
        is_complete,
    ),
];

/// Number of threads that make stacks new to them.
const THREADS: usize = 100;

/// An error number that no call sets.
const ERROR: i32 = 4242;

fn is_complete(ended: &Ended) {
    complete(&ended.quietly().dump()).unwrap();
}

/// Sets the error number, does `work`, and returns the error number.
fn error_after(work: impl FnOnce()) -> i32 {
    // SAFETY: the thread's own error number.
    unsafe { *libc::__errno_location() = ERROR };
    work();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() }
}

/// The error numbers after the steps that changed them.
#[derive(Default)]
struct Changed(Vec<i32>);

impl Changed {
    fn look(&mut self, work: impl FnOnce()) {
        match error_after(work) {
            ERROR => {}
            number => self.0.push(number),
        }
    }

    fn assert_none(&self, of: &str) {
        assert!(self.0.is_empty(), "{of}: {:?}", self.0);
    }
}

/// Runs the work while every system call changes the error number, as it may.
fn whatever_calls_do() {
    refusals::spoil_error_numbers();
    all_that_may_ask();
}

/// Does everything that can make recording call the system: first events of threads, new stacks, ends of windows,
/// folds.
fn all_that_may_ask() {
    let pointer = Box::into_raw(Box::new(Tracked::new(Arc::new(7), "handed over")));
    for (body, of) in
        [(first_block as Body, "a first event"), (first_pointer_event as Body, "a first pointer event")]
    {
        let mut answer = null_mut();
        // SAFETY: the place of the thread is valid for writes, the thread is waited for, and nobody else has the pointer.
        unsafe {
            let mut thread: libc::pthread_t = std::mem::zeroed();
            assert_eq!(libc::pthread_create(&mut thread, null(), body, pointer.cast()), 0);
            assert_eq!(libc::pthread_join(thread, &mut answer), 0);
        }
        assert_eq!(answer.addr(), ERROR as usize, "{of}");
    }
    // All at a time, so that none takes over what another had.
    let all_are_there = Arc::new(Barrier::new(THREADS));
    let threads = [(); THREADS].map(|()| {
        let all_are_there = Arc::clone(&all_are_there);
        std::thread::spawn(move || {
            all_are_there.wait();
            new_stacks()
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap().assert_none("new stacks"));
    hand_over();
    lossless_point();
}

type Body = extern "C" fn(*mut c_void) -> *mut c_void;

/// Makes the first event of a thread that std has not touched.
extern "C" fn first_block(_: *mut c_void) -> *mut c_void {
    let number = error_after(|| free(black_box(block(16)), 16));
    std::ptr::without_provenance_mut(number as usize)
}

/// Makes the first event of a thread: a clone of a tracked pointer, which the thread that made the pointer keeps.
extern "C" fn first_pointer_event(pointer: *mut c_void) -> *mut c_void {
    // SAFETY: the thread that made it waits for this one.
    let pointer = unsafe { &*pointer.cast::<Tracked<Arc<i32>>>() };
    let number = error_after(|| drop(black_box(pointer.clone())));
    std::ptr::without_provenance_mut(number as usize)
}

/// Makes as many stacks as there are sequences of ten calls of two functions.
fn new_stacks() -> Changed {
    let mut changed = Changed::default();
    for way in 1 << 10..1 << 11 {
        changed.look(|| call(way));
    }
    changed
}

fn call(way: u32) {
    match way {
        1 => free(black_box(block(24)), 24),
        _ if way & 1 == 0 => left(way >> 1),
        _ => right(way >> 1),
    }
}

#[inline(never)]
fn left(way: u32) {
    call(way);
    let _ = black_box(way);
}

#[inline(never)]
fn right(way: u32) {
    call(way);
    let _ = black_box(!way);
}

/// Sends blocks from one thread to another.
fn hand_over() {
    let (sender, receiver) = std::sync::mpsc::sync_channel::<usize>(1 << 12);
    let frees = std::thread::spawn(move || {
        let mut changed = Changed::default();
        while let Ok(address) = receiver.recv() {
            changed.look(|| free(std::ptr::with_exposed_provenance_mut(address), 32));
        }
        changed
    });
    let mut changed = Changed::default();
    for _ in 0..300_000 {
        let mut address = 0;
        changed.look(|| address = block(32).expose_provenance());
        sender.send(address).unwrap();
    }
    drop(sender);
    changed.assert_none("blocks");
    frees.join().unwrap().assert_none("frees");
}

/// Runs the work on a system without `MADV_POPULATE_WRITE`, as Linux before 5.14.
fn on_an_old_system() {
    refuse_to_lend();
    all_that_may_ask();
}

/// Makes `madvise` with `MADV_POPULATE_WRITE` fail from now on, by a seccomp filter.
fn refuse_to_lend() {
    let step =
        |code: u32, k: u32, (yes, no): (u8, u8)| libc::sock_filter { code: code as u16, jt: yes, jf: no, k };
    let (load, equals, answer) = (
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_RET,
    );
    // The number of the call, and the lower half of its third argument.
    let (number, advice) =
        (std::mem::offset_of!(libc::seccomp_data, nr), std::mem::offset_of!(libc::seccomp_data, args) + 16);
    let mut filter = [
        step(load, number as u32, (0, 0)),
        step(equals, libc::SYS_madvise as u32, (0, 3)),
        step(load, advice as u32, (0, 0)),
        step(equals, libc::MADV_POPULATE_WRITE as u32, (0, 1)),
        step(answer, libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32, (0, 0)),
        step(answer, libc::SECCOMP_RET_ALLOW, (0, 0)),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    let mut byte = 0u8;
    // SAFETY: the filter lives until the calls are through; the advice changes no memory.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
        assert_eq!(libc::madvise((&raw mut byte).cast(), 1, libc::MADV_POPULATE_WRITE), -1);
    }
}
