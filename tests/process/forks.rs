//! P5: forks. A child has a new ledger or none, as the policy says; its parent is unaffected.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use heapledger::LossReason;

use super::case::{Case, Ended};
use super::heap::Heap;
use super::inner;
use super::laws::complete;
use super::tools::{accounted_point, block, free, lossless_point, lost_only, quiet_point};

pub const CASES: &[Case] = &[
    Case::new("a_forked_child_keeps_a_ledger_of_its_own", fork_once, child_and_parent_have_dumps),
    Case::new(
        "a_forked_child_can_be_told_to_record_nothing",
        fork_without_record,
        only_the_parent_has_a_dump,
    )
    .heap(Heap::ChildOff),
    Case::new(
        "objects_that_could_not_be_listed_at_first_are_looked_for_again",
        fork_without_descriptors,
        later_blocks_have_stacks,
    )
    // The background thread looks for them; it is there from the fork on.
    .variables(&[("HEAPLEDGER_STACKS", "auto"), ("HEAPLEDGER_TRIGGERS", "live:1000G")]),
    Case::new("a_grandchild_names_its_parent", fork_twice, three_generations),
    Case::new("a_thousand_forks_during_work_harm_nobody", fork_during_work, |ended| {
        complete(&ended.quietly().dump()).unwrap();
        assert_eq!(
            ended.names().len(),
            11,
            "the parent's dump and every hundredth child's: {:?}",
            ended.names()
        );
    }),
    Case::new(
        "children_that_share_memory_during_work_are_in_the_books_of_their_parent",
        share_memory_during_work,
        |ended| {
            let profile = ended.quietly().dump();
            complete(&profile).unwrap();
            assert!(profile.totals.total_blocks > 200 * 500 && ended.names().len() == 1);
        },
    ),
    Case::new("commands_that_are_started_during_work_harm_nobody", start_commands_during_work, |ended| {
        complete(&ended.quietly().dump()).unwrap();
        assert_eq!(ended.names().len(), 1, "{:?}", ended.names());
    }),
    Case::new("a_command_that_is_started_leaves_no_dump_of_its_own", start_a_command, |ended| {
        complete(&ended.quietly().dump()).unwrap();
        assert_eq!(ended.names().len(), 1, "{:?}", ended.names());
    }),
];

/// Runs `child` in a forked child, which then exits with 0, and waits for it. Returns its process id.
pub fn fork(child: impl FnOnce()) -> u32 {
    // SAFETY: the child uses what works after a fork here: the allocator of glibc, which sees to that itself, and
    // heapledger, which promises it.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // A panic must not unwind into the frames of the parent's scenario.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
        std::process::exit(if done.is_ok() { 0 } else { 1 });
    }
    wait_for(pid);
    pid as u32
}

fn wait_for(pid: libc::pid_t) {
    let mut status = 0;
    // SAFETY: `status` is valid for writes.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child ended with {status:#x}");
}

/// Number of pairs that a child makes, and of its parent's blocks that it frees.
const PAIRS: usize = 20_000;
const INHERITED: usize = 10;

fn work() {
    for round in 0..PAIRS {
        free(block(16 + round % 300), 16 + round % 300);
    }
}

fn fork_once() {
    let blocks: Vec<*mut u8> = (0..INHERITED).map(|_| block(100)).collect();
    let before = lossless_point();
    inner::forget_at_fork();
    let child = fork(|| {
        work();
        block(33_333);
        for block in &blocks {
            free(*block, 100);
        }
        let quality = accounted_point();
        assert_eq!(quality.lost.total(), 0);
        // No ledger knows those blocks: they were made before the child was.
        assert_eq!(quality.anomalies.unmatched_frees, INHERITED as u64);
    });
    println!("child={child}");
    let after = lossless_point();
    assert!(after.total_blocks - before.total_blocks < 100, "the child's events are in the parent's books");
    work();
    lossless_point();
}

fn child_and_parent_have_dumps(ended: &Ended) {
    let parent = ended.quietly().dump();
    complete(&parent).unwrap();
    assert_eq!(parent.process.forked_from, None);
    assert!(parent.live.iter().all(|block| block.size != 33_333));
    let pid = ended.said("child");
    let child = ended.dump_named(&format!("{pid}.hl"));
    assert_eq!((child.process.pid, child.process.forked_from), (pid as u32, Some(ended.pid)));
    assert_eq!(child.live.iter().filter(|block| block.size == 33_333).count(), 1);
    let quality = &child.quality;
    assert_eq!((quality.lost.total(), quality.in_flight), (0, 0));
    // On its way out, std gives back what it made before the fork.
    let unmatched = quality.anomalies.unmatched_frees;
    assert!((INHERITED as u64..INHERITED as u64 + 5).contains(&unmatched), "{unmatched}");
    assert!(child.totals.total_blocks > PAIRS as u64 && child.totals.total_blocks < PAIRS as u64 + 1000);
}

/// The child opens its ledger while it can open no file. Without the list of loaded objects there are no stacks.
fn fork_without_descriptors() {
    lossless_point();
    let child = fork(|| {
        let limit = |soft| {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: both calls are given a valid place.
            unsafe {
                assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
                let before = std::mem::replace(&mut limit.rlim_cur, soft);
                assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
                before
            }
        };
        let before = limit(0);
        work();
        limit(before);
        // Nothing here asks a question: an answer would look for the objects itself.
        for _ in 0..40 {
            std::thread::sleep(std::time::Duration::from_millis(25));
            work();
        }
        block(44_444);
    });
    println!("child={child}");
}

fn later_blocks_have_stacks(ended: &Ended) {
    let child = ended.dump_named(&format!("{}.hl", ended.said("child")));
    assert_eq!(child.quality.lost.total(), 0);
    let last = child.live.iter().find(|block| block.size == 44_444).unwrap();
    assert!(!child.stacks[last.stack as usize].frames.is_empty(), "{:?}", child.stack_figures);
    // It was so at first: otherwise nothing was tried.
    assert!(child.stack_figures.failed > 0, "{:?}", child.stack_figures);
}

fn fork_without_record() {
    lossless_point();
    fork(|| {
        let before = heapledger::quality().lost.get(LossReason::ForkedChild);
        work();
        assert!(!heapledger::is_installed());
        let quality = heapledger::quality();
        assert_eq!(lost_only(&quality, LossReason::ForkedChild) - before, 2 * PAIRS as u64);
        assert!(quality.is_conserved() && quality.recorded == 0 && quality.in_flight == 0, "{quality:?}");
        assert_eq!(quality.current_completeness, 0.0, "all was lost: {quality:?}");
        assert!(heapledger::dump("none.hl").is_err() && heapledger::snapshot().is_none());
    });
    lossless_point();
}

fn only_the_parent_has_a_dump(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    assert_eq!(ended.names().len(), 1, "{:?}", ended.names());
    assert_eq!(profile.settings.fork, heapledger::ForkPolicy::Off);
}

fn fork_twice() {
    let child = fork(|| {
        // With a ledger of its own by now, which the grandchild is told of.
        work();
        let grandchild = fork(work);
        println!("grandchild={grandchild}");
    });
    println!("child={child}");
}

fn three_generations(ended: &Ended) {
    assert_eq!(ended.quietly().dump().process.forked_from, None);
    let (child, grandchild) = (ended.said("child"), ended.said("grandchild"));
    let from = |pid: u64| ended.dump_named(&format!("{pid}.hl")).process.forked_from;
    assert_eq!((from(child), from(grandchild)), (Some(ended.pid), Some(child as u32)));
}

static ENOUGH: AtomicBool = AtomicBool::new(false);

fn fork_during_work() {
    during_work(|| {
        for number in 0..1_000 {
            // SAFETY: as in `fork`; all but one in a hundred children end without running handlers of exit.
            let pid = unsafe { libc::fork() };
            assert!(pid >= 0);
            if pid == 0 {
                work_in_child(number);
            }
            wait_for(pid);
        }
    });
}

/// Children that share their parent's memory and stop its thread until they end: the child continues the record that
/// the thread has begun.
fn share_memory_during_work() {
    during_work(|| {
        let mut stack = stack_of_child();
        for _ in 0..200 {
            share_memory(work_in_shared_memory, &mut stack);
        }
    });
}

/// Returns a stack for [`share_memory`].
pub fn stack_of_child() -> Vec<u8> {
    vec![0; 256 << 10]
}

/// Runs `child` in a process that shares this process's memory, and waits for its end.
pub fn share_memory(child: extern "C" fn(*mut std::ffi::c_void) -> libc::c_int, stack: &mut [u8]) {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is the child's alone until the call returns, which is after its end.
    let pid = unsafe { libc::clone(child, stack.as_mut_ptr_range().end.cast(), flags, std::ptr::null_mut()) };
    assert!(pid > 0);
    wait_for(pid);
}

extern "C" fn work_in_shared_memory(_argument: *mut std::ffi::c_void) -> libc::c_int {
    for round in 0..500 {
        free(block(16 + round), 16 + round);
    }
    0
}

fn start_commands_during_work() {
    during_work(|| {
        for number in 0..60 {
            let mut command = std::process::Command::new("true");
            if number % 2 == 0 {
                // SAFETY: it does nothing. With it std forks, without it uses `posix_spawn`.
                unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, || Ok(())) };
            }
            assert!(command.status().unwrap().success());
        }
    });
}

/// Calls `what` in this thread while four other threads allocate and free.
fn during_work(what: impl FnOnce()) {
    let busy = || {
        let mut held: Vec<Vec<u8>> = Vec::new();
        for round in 0usize.. {
            held.push(vec![0; 16 + round % 700]);
            if held.len() > 100 {
                held.swap_remove(round % 100);
            }
            if round % 100 == 0 && ENOUGH.load(SeqCst) {
                break;
            }
        }
    };
    let workers: Vec<_> = (0..4).map(|_| thread::spawn(busy)).collect();
    what();
    ENOUGH.store(true, SeqCst);
    for worker in workers {
        worker.join().unwrap();
    }
    lossless_point();
}

fn work_in_child(number: usize) -> ! {
    for round in 0..500 {
        free(block(16 + round), 16 + round);
    }
    let quality = quiet_point();
    let fine =
        quality.lost.total() == 0 && quality.recorded == quality.attempted && quality.attempted >= 1000;
    // SAFETY: both end the process; the first runs nothing more.
    unsafe {
        if !fine {
            libc::_exit(1);
        }
        if number.is_multiple_of(100) { libc::exit(0) } else { libc::_exit(0) }
    }
}

fn start_a_command() {
    let status = std::process::Command::new("true").env_remove("HEAPLEDGER_DUMP").status().unwrap();
    assert!(status.success());
    lossless_point();
}
