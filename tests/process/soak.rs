//! Everything at once, for a given time: mixed load, short-lived threads, changes of mode, dumps, forks, signals and
//! refused system calls. A seed decides the order, and the counters are checked all the time.
//!
//! `PROCESS_TEST_SOAK_S` is the length in seconds (3); `PROCESS_TEST_SOAK_SEED` repeats a run.

use std::ffi::c_void;
use std::fs;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use heapledger::{DataQualityMode, Degradation, dumps};

use super::case::{self, Case};
use super::refusals::{self, Refused};
use super::tools::{block, free, settled_accounts, threads};

pub const CASES: &[Case] = &[Case::new("a_soak_of_everything_at_once_is_accounted_for", soak, |ended| {
    ended.with_code(0);
    assert!(ended.stderr.lines().all(|line| line.starts_with("heapledger: ")), "{}", ended.stderr);
    assert_eq!(ended.said("unaccounted"), 0);
    ended.dump();
    for line in ended.stdout.lines() {
        println!("  {line}");
    }
})
.variables(&[
    ("HEAPLEDGER_SIGNALS", "USR1"),
    ("HEAPLEDGER_TRIGGERS", "live:64M,growth:32M,peak,loss,pressure,keep:2,pause:1"),
])];

static STOP: AtomicBool = AtomicBool::new(false);
static THREADS: AtomicU64 = AtomicU64::new(0);

/// A generator of random numbers, with the same results for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Allocates blocks of mixed sizes and lifetimes, and leaves some for the next thread to free.
extern "C" fn load(seed: *mut c_void) -> *mut c_void {
    let mut dice = Dice(seed.addr() as u64 + THREADS.fetch_add(1, SeqCst) * 977);
    let mut held = [(null_mut::<u8>(), 0usize); 256];
    for _ in 0..20_000 {
        let place = dice.roll(held.len() as u64) as usize;
        let (old, old_size) = held[place];
        if !old.is_null() {
            free(old, old_size);
        }
        let magnitude = dice.roll(13);
        let size = 1 + dice.roll(1 << magnitude) as usize;
        held[place] = (block(size), size);
        if STOP.load(SeqCst) {
            break;
        }
    }
    held.iter().filter(|(block, _)| !block.is_null()).for_each(|(block, size)| free(*block, *size));
    null_mut()
}

fn soak() {
    let number =
        |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let seconds = number(case::SOAK_VARIABLE, 3);
    let seed = number("PROCESS_TEST_SOAK_SEED", u64::from(std::process::id()));
    let (mut dice, mut done) = (Dice(seed), [0u64; 6]);
    super::occasions::wait_for_handler(libc::SIGUSR1);
    let loading = std::thread::spawn(|| {
        while !STOP.load(SeqCst) {
            threads::<4>(load);
        }
    });
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        let kind = dice.roll(6) as usize;
        done[kind] += 1;
        match kind {
            0 => heapledger::set_mode(DataQualityMode::ALL[dice.roll(4) as usize]),
            1 => heapledger::set_degradation(Degradation::ALL[dice.roll(4) as usize]),
            2 => dump_and_read(),
            3 => fork_one(),
            4 => refuse_something(&mut dice),
            // SAFETY: no memory is involved.
            _ => assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) }, 0),
        }
        let quality = heapledger::quality();
        super::laws::counted(&quality).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
    }
    [Refused::Mprotect, Refused::Madvise, Refused::Write, Refused::Fsync]
        .into_iter()
        .for_each(refusals::relent);
    STOP.store(true, SeqCst);
    loading.join().expect("the load ends");
    println!("seed={seed}\nseconds={seconds}\nthreads={}", THREADS.load(SeqCst));
    let [modes, levels, dumps, forks, faults, signals] = done;
    println!("modes={modes}\nlevels={levels}\ndumps={dumps}\nforks={forks}\nsignals={signals}");
    println!("faults={faults}\nstruck={}", refusals::struck());
    say_accounts();
}

/// Writes a dump, unless it is refused, and asserts that it is complete and obeys the laws.
fn dump_and_read() {
    if heapledger::dump("soak.hl").is_ok() {
        let dump = dumps::read("soak.hl").expect("it was written");
        assert!(dump.damage.is_empty(), "{:?}", dump.damage);
        super::laws::obeyed(&dump.profile).unwrap();
    }
    let _ = fs::remove_file("soak.hl");
}

fn fork_one() {
    // SAFETY: the child uses what works after a fork here: glibc's allocator and heapledger.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        for size in 16..500 {
            free(block(size), size);
        }
        heapledger::flush();
        let fine = heapledger::quality().is_conserved();
        // SAFETY: it ends the process.
        unsafe { libc::_exit(i32::from(!fine)) };
    }
    let mut status = 0;
    // SAFETY: the status is valid for writes.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "a child ended with {status:#x}");
}

fn refuse_something(dice: &mut Dice) {
    let calls = [Refused::Mprotect, Refused::Madvise, Refused::Write, Refused::Fsync];
    refusals::refuse(calls[dice.roll(4) as usize], 1 + dice.roll(3), 1 + dice.roll(3));
}

fn say_accounts() {
    let (quality, unaccounted) = settled_accounts();
    println!("attempted={}\nrecorded={}", quality.attempted, quality.recorded);
    println!("sampled={}\nlost={}\nunaccounted={unaccounted}", quality.sampled_out, quality.lost.total());
}
