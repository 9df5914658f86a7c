//! Dumps while the process runs, on signals and on triggers. A signal ends the process under heapledger if, and only
//! if, it would end it without.

use std::ffi::{CStr, c_int};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use super::case::{Case, Ended};
use super::heap::Heap;
use super::laws::complete;
use super::refusals::{self, Refused};
use super::surroundings::{MemoryGroup, Surroundings};
use super::tools::{block, free, lossless_point, threads};

const ALL_SIGNALS: &[(&str, &str)] = &[("HEAPLEDGER_SIGNALS", "HUP,INT,TERM,USR1,USR2")];
const CHAINED: &CStr = c"a_signal_with_a_handler_calls_it_and_dumps_beside_it";
const IGNORED: &CStr = c"a_signal_that_is_ignored_stays_ignored";

pub const CASES: &[Case] = &[
    Case::new(
        "a_signal_that_ends_the_process_leaves_a_dump_first",
        || end_by(libc::SIGTERM),
        |ended| {
            ended_by(ended, libc::SIGTERM, "SIGTERM");
        },
    )
    .variables(ALL_SIGNALS),
    Case::new(
        "control_c_leaves_a_dump_first",
        || end_by(libc::SIGINT),
        |ended| {
            ended_by(ended, libc::SIGINT, "SIGINT");
        },
    )
    .variables(ALL_SIGNALS),
    Case::new(
        "the_end_of_the_terminal_leaves_a_dump_first",
        || end_by(libc::SIGHUP),
        |ended| {
            ended_by(ended, libc::SIGHUP, "SIGHUP");
        },
    )
    .heap(Heap::Watchful),
    Case::new("a_signal_during_work_in_every_thread_leaves_an_honest_dump", end_during_work, |ended| {
        let profile = ended.with_signal(libc::SIGTERM).dump_named(&format!("{}.hl", ended.pid));
        assert_eq!((profile.process.reason.as_str(), profile.quality.lost.total()), ("SIGTERM", 0));
        assert!(profile.quality.recorded > 10_000 && ended.names().len() == 1, "{:?}", ended.names());
    })
    .variables(ALL_SIGNALS),
    Case::new(
        "without_the_wish_a_signal_ends_the_process_as_ever",
        || end_by(libc::SIGTERM),
        |ended| {
            assert_eq!(ended.with_signal(libc::SIGTERM).names(), [""; 0]);
        },
    ),
    Case::new("a_second_signal_ends_a_process_whose_dump_hangs", hang_and_repeat, |ended| {
        assert!(ended.with_signal(libc::SIGTERM).names().iter().all(|name| name.ends_with(".tmp")));
    })
    .variables(ALL_SIGNALS),
    Case::new("a_dump_that_hangs_delays_the_end_by_ten_seconds_at_most", hang, |ended| {
        assert!(ended.with_signal(libc::SIGTERM).names().iter().all(|name| name.ends_with(".tmp")));
    })
    .variables(ALL_SIGNALS),
    Case::new("a_dump_on_demand_is_numbered_and_the_process_goes_on", ask_for_dumps, |ended| {
        complete(&ended.quietly().dump()).unwrap();
        let profile = ended.dump_named(&format!("{}.1.hl", ended.pid));
        assert_eq!(profile.process.reason, "SIGUSR1");
        assert_eq!(ended.dump_named(&format!("{}.2.hl", ended.pid)).process.reason, "SIGUSR2");
        assert_eq!(ended.names().len(), 3, "{:?}", ended.names());
    })
    .variables(ALL_SIGNALS),
    Case::new(
        "of_numbered_dumps_the_last_few_are_kept",
        || (1..=5).for_each(ask_and_wait),
        |ended| {
            let kept = [".4.hl", ".5.hl", ".hl"].map(|end| format!("{}{end}", ended.quietly().pid));
            assert_eq!(ended.names(), kept);
        },
    )
    .variables(&[("HEAPLEDGER_SIGNALS", "USR1"), ("HEAPLEDGER_TRIGGERS", "keep:2")]),
    Case::new(
        match CHAINED.to_str() {
            Ok(name) => name,
            Err(_) => "",
        },
        call_their_handler,
        |ended| {
            complete(&ended.quietly().dump()).unwrap();
            assert_eq!(ended.dump_named(&format!("{}.1.hl", ended.pid)).process.reason, "SIGTERM");
        },
    )
    .variables(ALL_SIGNALS),
    Case::new(
        match IGNORED.to_str() {
            Ok(name) => name,
            Err(_) => "",
        },
        raise_ignored,
        |ended| {
            complete(&ended.quietly().dump()).unwrap();
            assert_eq!(ended.names().len(), 1, "{:?}", ended.names());
        },
    )
    .variables(ALL_SIGNALS),
    Case::new("a_forked_child_answers_signals_for_itself", fork_and_end, |ended| {
        complete(&ended.quietly().dump()).unwrap();
        let child = ended.dump_named(&format!("{}.hl", ended.said("child")));
        assert_eq!((child.process.reason.as_str(), child.process.forked_from), ("SIGTERM", Some(ended.pid)));
    })
    .variables(ALL_SIGNALS),
    triggered("live_bytes_above_a_limit_have_a_dump_written", grow, "live bytes above the limit")
        .variables(&[("HEAPLEDGER_TRIGGERS", "live:5M")]),
    triggered("fast_growth_has_a_dump_written", grow, "live bytes grew fast")
        .variables(&[("HEAPLEDGER_TRIGGERS", "growth:5M")]),
    triggered("a_new_peak_has_a_dump_written_when_it_is_over", grow, "new peak")
        .variables(&[("HEAPLEDGER_TRIGGERS", "peak")]),
    triggered(
        "live_bytes_above_a_limit_of_the_builder_have_a_dump_written",
        grow,
        "live bytes above the limit",
    )
    .heap(Heap::Watchful),
    Case::new("a_loss_has_a_dump_written", lose, |ended| {
        let profile = ended.quietly().dump_named(&format!("{}.1.hl", ended.pid));
        assert_eq!(profile.process.reason, "events were lost");
        assert!(profile.quality.lost.total() > 0);
    })
    .variables(&[("HEAPLEDGER_TRIGGERS", "loss")]),
    Case::series("a_control_group_at_its_limit_has_a_dump_written", press, press_in_a_group)
        .variables(&[("HEAPLEDGER_TRIGGERS", "pressure")]),
];

const fn triggered(name: &'static str, child: fn(), reason: &'static str) -> Case {
    // A function pointer takes nothing along, so each reason has its own.
    let check: fn(&Ended) = match reason.as_bytes()[5] {
        b'b' if reason.len() > 22 => |ended| dumped_for(ended, "live bytes above the limit"),
        b'b' => |ended| dumped_for(ended, "live bytes grew fast"),
        _ => |ended| dumped_for(ended, "new peak"),
    };
    Case::new(name, child, check)
}

fn dumped_for(ended: &Ended, reason: &str) {
    complete(&ended.quietly().dump()).unwrap();
    let profile = ended.dump_named(&format!("{}.1.hl", ended.pid));
    assert_eq!(profile.process.reason, reason);
    assert!(profile.totals.peak_bytes >= GROWN_BYTES as u64);
    // The pause lets no second one through.
    assert_eq!(ended.names().len(), 2, "{:?}", ended.names());
}

const MARK_BYTES: usize = 54_321;

fn send(signal: c_int) {
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::kill(libc::getpid(), signal) }, 0);
}

/// Waits forever. The runner reports a child that no signal ends as hanging.
fn wait_for_the_end() -> ! {
    loop {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the background thread has set the handler of a signal.
pub fn wait_for_handler(signal: c_int) {
    if std::env::var_os("HEAPLEDGER_SIGNALS").is_none() && super::heap::chosen() != Heap::Watchful {
        return;
    }
    // SAFETY: the action is valid for writes.
    let is_set = || unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, null_mut(), &mut action);
        action.sa_sigaction != libc::SIG_DFL && action.sa_sigaction != their_handler as *const () as usize
    };
    while !is_set() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn wait_for_file(name: &str) {
    while !Path::new(name).exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn numbered(number: u32) -> String {
    format!("{}.{number}.hl", std::process::id())
}

fn end_by(signal: c_int) {
    block(MARK_BYTES);
    wait_for_handler(signal);
    send(signal);
    wait_for_the_end();
}

fn ended_by(ended: &Ended, signal: i32, reason: &str) {
    assert!(ended.with_signal(signal).stderr.is_empty(), "{}", ended.stderr);
    let profile = ended.dump_named(&format!("{}.hl", ended.pid));
    complete(&profile).unwrap();
    assert_eq!(profile.process.reason, reason);
    assert_eq!(profile.live.iter().filter(|block| block.size == MARK_BYTES as u64).count(), 1);
    assert_eq!(ended.names().len(), 1, "{:?}", ended.names());
}

static DONE: AtomicU64 = AtomicU64::new(0);

extern "C" fn work_on(_number: *mut std::ffi::c_void) -> *mut std::ffi::c_void {
    loop {
        free(block(48), 48);
        if DONE.fetch_add(1, SeqCst) == 20_000 {
            send(libc::SIGTERM);
        }
    }
}

fn end_during_work() {
    wait_for_handler(libc::SIGTERM);
    threads::<4>(work_on);
}

fn hang() {
    block(100);
    wait_for_handler(libc::SIGTERM);
    refusals::refuse(Refused::Hang, 1, u64::MAX);
    send(libc::SIGTERM);
    while refusals::seen(Refused::Hang) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    if super::case::name() != "a_second_signal_ends_a_process_whose_dump_hangs" {
        wait_for_the_end();
    }
}

fn hang_and_repeat() {
    hang();
    send(libc::SIGTERM);
    wait_for_the_end();
}

fn ask_for_dumps() {
    wait_for_handler(libc::SIGUSR2);
    send(libc::SIGUSR1);
    wait_for_file(&numbered(1));
    send(libc::SIGUSR2);
    wait_for_file(&numbered(2));
    lossless_point();
}

fn ask_and_wait(number: u32) {
    wait_for_handler(libc::SIGUSR1);
    send(libc::SIGUSR1);
    wait_for_file(&numbered(number));
}

static CALLED: AtomicBool = AtomicBool::new(false);

extern "C" fn their_handler(_signal: c_int) {
    CALLED.store(true, SeqCst);
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = set_dispositions;

/// Sets the program's reaction to signals, before its first allocation.
extern "C" fn set_dispositions() {
    // SAFETY: names are terminated, nobody changes the environment before `main`, the handler does what it may.
    unsafe {
        let case = libc::getenv(c"PROCESS_TEST_CASE".as_ptr());
        if case.is_null() {
            return;
        }
        if libc::strcmp(case, CHAINED.as_ptr()) == 0 {
            libc::signal(libc::SIGTERM, their_handler as *const () as usize);
        } else if libc::strcmp(case, IGNORED.as_ptr()) == 0 {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
        }
    }
}

fn call_their_handler() {
    wait_for_handler(libc::SIGTERM);
    send(libc::SIGTERM);
    wait_for_file(&numbered(1));
    assert!(CALLED.load(SeqCst));
    lossless_point();
}

fn raise_ignored() {
    wait_for_handler(libc::SIGUSR2);
    send(libc::SIGHUP);
    lossless_point();
}

fn fork_and_end() {
    wait_for_handler(libc::SIGTERM);
    // SAFETY: the child uses what works after a fork here: glibc's allocator and heapledger.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // The first event opens a ledger, whose thread then waits for signals. Before, a signal would end the child at once.
        block(100);
        let is_there = || {
            fs::read_dir("/proc/self/task").unwrap().flatten().any(|task| {
                fs::read_to_string(task.path().join("wchan")).is_ok_and(|place| place.contains("futex"))
                    && fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.contains("-dump"))
            })
        };
        for _ in 0..300 {
            if is_there() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        send(libc::SIGTERM);
        wait_for_the_end();
    }
    let mut status = 0;
    // SAFETY: the status is valid for writes.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGTERM, "{status:#x}");
    println!("child={child}");
    lossless_point();
}

const GROWN_BYTES: usize = 8 << 20;

fn grow() {
    let blocks: Vec<*mut u8> = (0..8).map(|_| block(GROWN_BYTES / 8)).collect();
    wait_for_file(&numbered(1));
    blocks.into_iter().for_each(|block| free(block, GROWN_BYTES / 8));
    lossless_point();
}

fn lose() {
    super::losses::outlive_the_lane();
    wait_for_file(&numbered(1));
}

/// Environment variable with the directory of the child's control group.
const GROUP: &str = "PROCESS_TEST_GROUP";

/// Fills the group with memory that the kernel can drop: pages of a file.
fn press() {
    let chunk = vec![1u8; 1 << 20];
    let dump = numbered(1);
    let peak = Path::new(&std::env::var_os(GROUP).unwrap()).join("memory.max_usage_in_bytes");
    // In rounds, because the first may come before the first reading; the highest use is forgotten in between.
    while !Path::new(&dump).exists() {
        let mut file = fs::File::create("pages").unwrap();
        let _ = fs::write(&peak, "0");
        std::thread::sleep(Duration::from_millis(150));
        for _ in 0..(2 * GROUP_BYTES) >> 20 {
            file.write_all(&chunk).unwrap();
        }
        std::thread::sleep(Duration::from_millis(150));
    }
    fs::remove_file("pages").unwrap();
    drop(chunk);
    lossless_point();
}

const GROUP_BYTES: u64 = 48 << 20;

fn press_in_a_group(case: &Case) {
    // Which of its limits a group meets, and where the kernel counts it, depends on the limit of its swap.
    for make in [MemoryGroup::new, MemoryGroup::with_swap] {
        let group = match make(GROUP_BYTES) {
            Ok(group) => group,
            Err(why) => return println!("pressure in a control group is left out: {why}"),
        };
        let surroundings = Surroundings { group: Some(&group), ..Surroundings::default() };
        let path = group.path().to_str().unwrap();
        let ended = case.play_in(&std::env::current_exe().unwrap(), &[(GROUP, path)], &surroundings);
        complete(&ended.quietly().dump()).unwrap();
        let reason = ended.dump_named(&format!("{}.1.hl", ended.pid)).process.reason;
        assert_eq!((reason.as_str(), group.killed()), ("memory pressure", 0));
    }
}
