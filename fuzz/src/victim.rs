//! Processes that are killed, for their regions.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::{env, fs, io, thread};

use heapledger::trace::Trace;
use heapledger::{HeapLedger, Scope, dumps};

/// Allocator of the victims, which records only if the environment asks for it.
#[global_allocator]
static HEAP: HeapLedger = HeapLedger::system().on_request();

const VARIABLE: &str = "HEAPLEDGER_FUZZ_VICTIM";
/// Length of a victim's black box, in bytes. All work of a victim fits into it; the minimum is six million.
const BOX_BYTES: &str = "8388608";
/// Maximum number of processes that are killed until one is killed during a batch.
const KILLS_MAX: u64 = 200;

/// Settings of the victims, in addition to the variables of all victims.
const VICTIMS: &[(&str, &[(&str, &str)])] = &[
    ("ends", &[]),
    ("stamps", &[("HEAPLEDGER_CLOCK", "per-event"), ("HEAPLEDGER_STACKS", "off")]),
    ("sampled", &[("HEAPLEDGER_MODE", "throughput")]),
    ("full", &[("HEAPLEDGER_STACKS", "off"), ("HEAPLEDGER_BLACKBOX_BYTES", "6291456")]),
];

/// Does the work of a victim if this process is one.
pub fn be_one() {
    let Some(kind) = env::var_os(VARIABLE) else { return };
    let rounds = match kind.to_str() {
        Some("killed") => u64::MAX,
        Some("full") => 40_000,
        Some("traced") => 30,
        _ => 200,
    };
    let (send, receive) = mpsc::sync_channel::<Vec<u8>>(64);
    let workers: Vec<_> = (0..3).map(|number| (number, send.clone())).collect();
    let workers: Vec<_> = workers
        .into_iter()
        .map(|(number, send)| thread::spawn(move || work(number, rounds, &send)))
        .collect();
    drop(send);
    // Blocks that this thread has not made are freed here.
    receive.into_iter().for_each(drop);
    workers.into_iter().for_each(|worker| worker.join().expect("it does not panic"));
    if kind == "traced" {
        // The trace ends at the process's exit.
        std::process::exit(0);
    }
    std::process::abort();
}

fn work(number: u64, rounds: u64, send: &mpsc::SyncSender<Vec<u8>>) {
    let mut kept = Vec::new();
    let scopes = ["search", "session", "export"].map(Scope::named);
    let _thread = Scope::named("worker").enter();
    for round in 0..rounds {
        let _entered = scopes.get(round as usize % 5).map(Scope::enter);
        let mut grown = vec![0u8; 24];
        grown.extend(std::iter::repeat_n(1u8, (round % 7) as usize * 100));
        match round % 5 {
            0 => kept.push(grown),
            1 => drop(send.send(grown)),
            2 => drop(deeper(round % 11, grown)),
            _ => drop(grown),
        }
        if round % 64 == 63 {
            kept.drain(..(number as usize * 2).min(kept.len()));
        }
        if rounds == u64::MAX && kept.len() > 2_000 {
            kept.clear();
        }
    }
    kept.leak();
}

/// Allocates at a different stack for each depth.
#[inline(never)]
fn deeper(depth: u64, block: Vec<u8>) -> Box<Vec<u8>> {
    if depth == 0 {
        std::hint::black_box(Box::new(block))
    } else {
        std::hint::black_box(deeper(depth - 1, block))
    }
}

fn victim(kind: &str, path: &Path) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command
        .env(VARIABLE, kind)
        .env("HEAPLEDGER", "always")
        .env("HEAPLEDGER_DUMP", "off")
        .env("HEAPLEDGER_BLACKBOX", path);
    command.env("HEAPLEDGER_BLACKBOX_BYTES", BOX_BYTES).stdin(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

/// Stores a region of each victim in a directory.
pub fn make_regions(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (kind, settings) in VICTIMS {
        let path = directory.join(kind);
        victim(kind, &path)?
            .envs(settings.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value))))
            .status()?;
        let events = dumps::read(&path).map_err(io::Error::other)?.profile.quality.attempted;
        // Of a sampling one it is chance how many.
        assert!(events > 100, "{kind} left {events} events");
    }
    let path = directory.join("killed");
    for kill in 0..KILLS_MAX {
        let mut child = victim("killed", &path)?.spawn()?;
        thread::sleep(std::time::Duration::from_micros(20_000 + kill * 331));
        child.kill()?;
        child.wait()?;
        if dumps::read(&path).is_ok_and(|dump| dump.profile.quality.in_flight > 0) {
            return Ok(());
        }
    }
    Err(io::Error::other("no kill met a process during a batch"))
}

/// Writes the trace of a victim that works in scopes, small enough for an input.
pub fn make_trace(path: &Path) -> io::Result<()> {
    // A trace of an earlier run would be kept.
    fs::remove_file(path).or_else(|error| if path.exists() { Err(error) } else { Ok(()) })?;
    let mut command = Command::new(env::current_exe()?);
    command.env(VARIABLE, "traced").env("HEAPLEDGER", "always").env("HEAPLEDGER_TRACE", path);
    command.env("HEAPLEDGER_DUMP", "off").stdin(Stdio::null()).stderr(Stdio::null()).status()?;
    let mut trace = Trace::open(fs::File::open(path)?).map_err(io::Error::other)?;
    let dump = trace.dump()?.map(|bytes| dumps::read_bytes(&bytes)).transpose().map_err(io::Error::other)?;
    let scopes = dump.map_or(0, |dump| dump.profile.scopes.len());
    assert!(trace.frames().count() > 0 && scopes > 4, "{scopes} scopes");
    assert!(trace.length() < 1 << 16, "{} bytes", trace.length());
    Ok(())
}
