//! The live page: figures of a process while it runs, read by another process.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use heapledger::Scope;
use heapledger::dumps::{self, LiveReader, ReadError};
use heapledger::live::Live;
use tempfile::TempDir;

use super::case::Case;
use super::heap::Heap;
use super::tools::{block, free};

const BOX: &str = "black.box";
const PAGE: &str = "live.page";

pub const CASES: &[Case] = &[
    Case::series("a_box_that_is_being_written_is_live_and_not_killed", keep_and_wait, |case| {
        let mut running = Running::start(case);
        match dumps::read(running.path(BOX)) {
            Err(ReadError::BeingWritten { pid }) => assert_eq!(pid, running.child.id()),
            other => panic!("{other:?}"),
        }
        let mut page = opened(&running.path(BOX));
        agrees(&running, &after_two_writings(&mut page));
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        assert!(page.read().unwrap().has_ended);
        let profile = dumps::read(running.path(BOX)).unwrap().profile;
        assert_eq!(profile.process.reason, "killed, from a black box");
        assert!(profile.live.iter().filter(|block| block.size == 1_000).count() >= 100);
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_BLACKBOX", BOX), ("HEAPLEDGER_BLACKBOX_BYTES", "33554432"), STACKS]),
    Case::series("a_live_page_in_its_own_file_goes_with_its_process", keep_and_wait, |case| {
        let mut running = Running::start(case);
        let mut page = opened(&running.path(PAGE));
        let live = after_two_writings(&mut page);
        agrees(&running, &live);
        assert!(matches!(dumps::read(running.path(PAGE)), Err(ReadError::BeingWritten { .. })));
        assert!(live.program.starts_with("process") && !live.modules.is_empty(), "{live:?}");
        running.tell("end");
        assert!(running.child.wait().unwrap().success());
        assert!(!running.path(PAGE).exists() && page.read().unwrap().has_ended);
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_LIVE", PAGE), STACKS]),
    Case::series("no_reading_of_a_live_page_mixes_two_writings", churn_and_wait, |case| {
        let running = Running::start(case);
        let mut page = opened(&running.path(PAGE));
        after_two_writings(&mut page);
        let (reads, mut last) = (reads(), 0);
        for _ in 0..reads {
            let live = page.read().unwrap();
            assert!(live.writes >= last);
            last = live.writes;
            assert!(is_of_one_writing(&live), "{live:?}");
        }
        println!("{reads} readings of {last} writings");
        // A writing lasts for microseconds, so that only a long series finds what ignores the sequence.
        if reads >= 1_000_000 {
            let torn = (0..reads / 4).filter(|_| !is_of_one_writing(&copied(&running))).count();
            println!("{torn} of {} copies that ignore the sequence mix two writings", reads / 4);
            assert!(torn > 0);
        }
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_LIVE", PAGE), STACKS]),
    Case::series("a_page_of_an_idle_process_is_written_for_its_readers", keep_and_wait, |case| {
        let running = Running::start(case);
        let mut page = opened(&running.path(PAGE));
        agrees(&running, &after_two_writings(&mut page));
        drop(page);
        idles_until_the_thread_sleeps();
        let (before, began) = (copied(&running).writes, Instant::now());
        thread::sleep(LOOKED_AT);
        let unread = copied(&running).writes - before;
        // Four a second would be 16. Under load more time passes.
        let most = 1 + began.elapsed().as_secs() / 10;
        println!("{unread} writings that nobody reads, at most {most}");
        assert!(unread <= most, "{unread}");
        let mut page = opened(&running.path(PAGE));
        let first = page.read().unwrap().writes;
        while page.read().unwrap().writes < first + 10 {
            thread::sleep(Duration::from_millis(50));
        }
        agrees(&running, &page.read().unwrap());
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_LIVE", PAGE), STACKS]),
    Case::series("the_thread_of_an_idle_process_with_a_live_page_sleeps", keep_and_wait, sleeps)
        .heap(Heap::Plain)
        .variables(&[("HEAPLEDGER_LIVE", PAGE), STACKS]),
    Case::series("the_thread_of_an_idle_process_with_a_black_box_sleeps", keep_and_wait, sleeps)
        .heap(Heap::Plain)
        .variables(&[("HEAPLEDGER_BLACKBOX", BOX), ("HEAPLEDGER_BLACKBOX_BYTES", "33554432"), STACKS]),
    Case::new("a_forked_child_writes_no_page_of_its_parents", fork_and_wait, |ended| {
        assert_eq!(ended.quietly().said("writes_of_child"), 0);
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_LIVE", PAGE)]),
];

const STACKS: (&str, &str) = ("HEAPLEDGER_STACKS", "auto");

/// Time in which writings and wake-ups are counted.
const LOOKED_AT: Duration = Duration::from_secs(4);

/// Waits until the pauses of heapledger's thread have grown, and the last reading is two seconds ago.
fn idles_until_the_thread_sleeps() {
    thread::sleep(Duration::from_secs(7));
}

/// Asserts that heapledger's thread wakes up once in some seconds, and not 16 times a second.
fn sleeps(case: &Case) {
    let running = Running::start(case);
    idles_until_the_thread_sleeps();
    let (before, began) = (wakeups(running.child.id()), Instant::now());
    thread::sleep(LOOKED_AT);
    let woken = wakeups(running.child.id()) - before;
    let most = 2 + began.elapsed().as_secs();
    println!("{woken} wake-ups, at most {most}");
    assert!(woken <= most, "{woken}");
}

/// Returns how often heapledger's thread has slept.
fn wakeups(process: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let status = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap());
    let of_thread = |status: String| {
        status.strip_prefix("Name:\theapledger\n")?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
    };
    status.filter_map(of_thread).sum()
}

/// Returns the number of readings; `LIVE_READS` overrides it.
fn reads() -> u64 {
    std::env::var("LIVE_READS").ok().and_then(|text| text.parse().ok()).unwrap_or(5_000)
}

fn is_of_one_writing(live: &Live) -> bool {
    let (totals, quality) = (&live.totals, &live.quality);
    totals.total_bytes.wrapping_sub(totals.freed_bytes) == totals.live_bytes
        && quality.attempted == quality.recorded + quality.in_flight + quality.lost.total()
        && live.intervals.last().is_some_and(|interval| interval.end_ns == live.at_ns)
}

/// Reads a copy of the page, with a sequence that says that no writing was in progress.
fn copied(running: &Running) -> Live {
    let mut bytes = fs::read(running.path(PAGE)).unwrap();
    // Magic number, layout and end are before the sequence.
    bytes[24] &= !1;
    let copy = running.path("copy.page");
    fs::write(&copy, bytes).unwrap();
    opened(&copy).read().unwrap()
}

/// A child that has said that it is ready.
struct Running {
    child: Child,
    directory: TempDir,
    said: Vec<u64>,
}

impl Running {
    fn start(case: &Case) -> Running {
        let directory = tempfile::tempdir().unwrap();
        let mut command = case.command();
        command.current_dir(directory.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "begin").unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said = line.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
        Running { child, directory, said }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens a page once its process has made it.
fn opened(path: &Path) -> LiveReader {
    loop {
        match LiveReader::open(path) {
            Ok(page) => return page,
            Err(ReadError::NotWrittenYet | ReadError::Io { .. }) => thread::sleep(Duration::from_millis(10)),
            Err(error) => panic!("{error}"),
        }
    }
}

fn after_two_writings(page: &mut LiveReader) -> Live {
    let first = loop {
        match page.read() {
            Ok(live) => break live.writes,
            Err(ReadError::NotWrittenYet) => thread::sleep(Duration::from_millis(10)),
            Err(error) => panic!("{error}"),
        }
    };
    loop {
        let live = page.read().unwrap();
        if live.writes >= first + 2 {
            return live;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Asserts that the page shows what the child said of itself, to the byte.
fn agrees(running: &Running, live: &Live) {
    assert_eq!(live.pid, running.child.id());
    let totals = &live.totals;
    let shown = [totals.total_blocks, totals.total_bytes, totals.live_blocks, totals.live_bytes];
    assert_eq!(shown, running.said[..4], "{live:?}");
    assert!(live.quality.completeness() == 1.0 && live.resident_bytes.is_some_and(|bytes| bytes > 0));
    let scope = live.scopes.iter().find(|scope| scope.name == "kept").unwrap();
    assert_eq!((scope.live_blocks, scope.live_bytes, scope.growth_bytes), (100, 100_000, 100_000));
    let site = &live.sites[0];
    assert_eq!((site.live_blocks, site.live_bytes, site.scope), (100, 100_000, scope.number), "{site:?}");
    assert_eq!(site.growth_bytes, Some(100_000));
    assert!(site.frames.len() > 1 && !site.is_cut || cfg!(not(target_arch = "x86_64")), "{site:?}");
    let interval = live.intervals.last().unwrap();
    assert_eq!(
        (interval.live_bytes, interval.allocated_blocks),
        (totals.live_bytes, 0),
        "nothing happens now"
    );
}

/// Keeps 100 blocks in a scope, says the totals, and waits for a line. Nothing is allocated while it waits.
fn keep_and_wait() {
    let scope = Scope::named("kept");
    {
        let _entered = scope.enter();
        for _ in 0..100 {
            block(1_000);
        }
    }
    free(block(5_000), 5_000);
    let mut line = String::with_capacity(100);
    let (input, mut output) = (std::io::stdin(), std::io::stdout());
    // The buffers of both are allocated before the totals are taken.
    let mut input = input.lock();
    input.fill_buf().unwrap();
    write!(output, " ").unwrap();
    heapledger::flush();
    let stats = heapledger::stats();
    let (blocks, bytes) = (stats.total_blocks, stats.total_bytes);
    writeln!(output, "{blocks} {bytes} {} {}", stats.live_blocks, stats.live_bytes).unwrap();
    output.flush().unwrap();
    input.read_line(&mut line).unwrap();
    input.read_line(&mut line).unwrap();
}

fn churn_and_wait() {
    static IS_OVER: AtomicBool = AtomicBool::new(false);
    let busy = || {
        while !IS_OVER.load(Relaxed) {
            free(block(64), 64);
        }
    };
    let threads = [thread::spawn(busy), thread::spawn(busy)];
    println!("1");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    std::io::stdin().read_line(&mut line).unwrap();
    IS_OVER.store(true, Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn fork_and_wait() {
    let mut page = opened(Path::new(PAGE));
    after_two_writings(&mut page);
    // SAFETY: the child of this process allocates, waits, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        for _ in 0..60 {
            block(77_777);
            thread::sleep(Duration::from_millis(10));
        }
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) }
    }
    // SAFETY: the child is ours, and the status is not asked for.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    let live = after_two_writings(&mut page);
    println!(
        "writes_of_child={}",
        u64::from(live.pid != std::process::id() || live.totals.total_bytes > 2_000_000)
    );
}
