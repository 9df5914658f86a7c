//! Threads that name themselves late, and names that are longer than those of the system.

use std::sync::mpsc::channel;
use std::thread;

use super::case::{Case, Ended};
use super::heap::Heap;
use super::tools::{block, free};

pub const CASES: &[Case] = &[
    Case::new("threads_that_name_themselves_late_have_their_names_in_the_dump", name_late, |ended| {
        assert_eq!(names(ended), ["living", "named-after", "named-before"]);
    })
    .heap(Heap::Plain),
    Case::new("a_name_that_the_program_gives_is_kept_whole", name_at_length, |ended| {
        let whole = ["a-name-of-more-than-fifteen-bytes", "of-std-and-of-the-system", "parsed-elsewhere"];
        assert_eq!(names(ended), [whole[0], whole[1], &whole[2][..15]]);
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_STD_THREADS", "1")]),
];

/// Names of the program's threads but the main one, sorted.
fn names(ended: &Ended) -> Vec<String> {
    let profile = ended.quietly().dump();
    let rows = profile.threads.into_iter().filter(|row| !row.own && row.os_id != u64::from(ended.pid));
    let mut names: Vec<String> = rows.map(|row| row.name).collect();
    names.sort();
    names
}

fn name(name: &std::ffi::CStr) {
    // SAFETY: the name is terminated.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

fn work() {
    for size in 1..5_000 {
        free(block(size), size);
    }
}

fn name_late() {
    let before = || {
        name(c"named-before");
        work();
    };
    let after = || {
        work();
        name(c"named-after");
        work();
    };
    thread::spawn(before).join().unwrap();
    thread::spawn(after).join().unwrap();
    let (told, hear) = channel();
    // Lives on until the process has ended.
    thread::spawn(move || {
        work();
        name(c"living");
        told.send(()).unwrap();
        loop {
            thread::park();
        }
    });
    hear.recv().unwrap();
}

fn name_at_length() {
    let named = |name: &str| thread::Builder::new().name(name.to_owned());
    let long = || {
        heapledger::name_thread(thread::current().name().unwrap());
        work();
    };
    named("a-name-of-more-than-fifteen-bytes").spawn(long).unwrap().join().unwrap();
    named("of-std-and-of-the-system").spawn(work).unwrap().join().unwrap();
    // The system's name is another one than std's by then.
    let renamed = || {
        name(c"parsed-elsewhere");
        work();
    };
    named("x").spawn(renamed).unwrap().join().unwrap();
}
