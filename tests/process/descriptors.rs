//! Descriptors that the program closes or takes over: heapledger neither writes into the program's files nor closes
//! them, and a standard error without a reader does not end the process.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use super::case::Case;
use super::heap::Heap;
use super::laws::complete;
use super::tools::{block, free};

pub const CASES: &[Case] = &[
    Case::new("a_trace_is_not_written_into_a_file_that_took_its_descriptor", reuse_descriptors, |ended| {
        assert_eq!(fs::read(ended.path("journal.txt")).unwrap(), b"one\ntwo\n");
        assert!(ended.stderr.contains("the program closed the trace's descriptor"), "{}", ended.stderr);
        complete(&ended.dump()).unwrap();
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_TRACE", "t.hlt")]),
    Case::new("a_black_box_does_not_close_a_file_that_took_its_descriptor", fork_after_reuse, |ended| {
        ended.quietly();
        assert_eq!(fs::read(ended.path("journal.txt")).unwrap(), b"one\ntwo\n");
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_BLACKBOX", "black.box")]),
    Case::new("a_message_is_not_written_into_a_file_that_took_number_two", reuse_standard_error, |ended| {
        assert_eq!(fs::read(ended.path("third.txt")).unwrap(), b"record\n");
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_DUMP", "/nonexistent/x.hl")]),
    Case::series("a_standard_error_without_reader_leaves_the_exit_code", end_with_a_message, without_reader)
        .heap(Heap::Plain)
        .variables(&[("HEAPLEDGER_DUMP", "/nonexistent/x.hl")]),
];

fn allocate() {
    for size in 0..20_000 {
        free(block(size % 300 + 1), size % 300 + 1);
    }
}

/// Closes every descriptor from `first` on. Then opens a journal under each number of `like`, with no other call
/// between.
fn take_over(like: &[i32]) -> File {
    const JOURNAL: &CStr = c"journal.txt";
    // SAFETY: the path ends with a zero byte; what is closed belongs to this process, whose test this is.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0);
        let journal = libc::open(JOURNAL.as_ptr(), libc::O_CREAT | libc::O_RDWR | libc::O_APPEND, 0o600);
        for number in like {
            assert!(*number == journal || libc::dup2(journal, *number) == *number);
        }
        File::from_raw_fd(journal)
    }
}

/// Returns the open descriptors from 3 on.
fn open_descriptors() -> Vec<i32> {
    let names = fs::read_dir("/proc/self/fd").unwrap();
    let numbers = names.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap());
    numbers.filter(|number| *number > 2).collect()
}

fn reuse_descriptors() {
    let is_there = || fs::metadata("t.hlt").is_ok_and(|trace| trace.len() > 0);
    while !is_there() {
        allocate();
        sleep(Duration::from_millis(1));
    }
    let mut journal = take_over(&open_descriptors());
    journal.write_all(b"one\n").unwrap();
    // The writer ends a frame four times a second.
    for _ in 0..40 {
        allocate();
        sleep(Duration::from_millis(15));
    }
    journal.write_all(b"two\n").unwrap();
}

fn fork_after_reuse() {
    allocate();
    let numbers = open_descriptors();
    assert!(!numbers.is_empty(), "the black box has one");
    let mut journal = take_over(&numbers);
    journal.write_all(b"one\n").unwrap();
    // SAFETY: the child writes by descriptors that it has, and ends at once.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let all = numbers.iter().all(|number| libc::fcntl(*number, libc::F_GETFD) >= 0);
            libc::_exit(if all { 0 } else { 1 });
        }
        let mut status = 0;
        assert!(libc::waitpid(child, &mut status, 0) == child && status == 0, "{status}");
    }
    journal.write_all(b"two\n").unwrap();
}

fn reuse_standard_error() {
    block(100);
    // SAFETY: the descriptors belong to this process, whose test this is.
    unsafe { (0..3).for_each(|number| assert_eq!(libc::close(number), 0)) };
    let files: Vec<File> =
        ["first.txt", "second.txt", "third.txt"].iter().map(|name| File::create(name).unwrap()).collect();
    let mut third = &files[2];
    assert_eq!(third.as_raw_fd(), 2);
    third.write_all(b"record\n").unwrap();
    std::mem::forget(files);
}

fn end_with_a_message() {
    // SAFETY: the default needs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    block(100);
    // Until the reader is gone.
    std::io::stdin().read_line(&mut String::new()).unwrap();
    std::process::exit(3);
}

fn without_reader(case: &Case) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = case.command();
    command.current_dir(&directory).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stderr.take());
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
}
