//! The endpoint of a real process: what it answers, who may ask, and what hostile clients cost.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use heapledger::dumps;

use super::case::Case;
use super::heap::Heap;
use super::tools::{block, free};

const SOCKET: &str = "heap.socket";

pub const CASES: &[Case] = &[
    Case::series("the_endpoint_says_what_the_process_says", keep_and_wait, |case| {
        let mut running = Running::start(case);
        let [blocks, bytes, live_bytes] = running.said[..] else { panic!("{:?}", running.said) };
        let metrics = String::from_utf8(running.get("/metrics?scopes=1")).unwrap();
        for line in [
            format!("heapledger_allocations_total {blocks}"),
            format!("heapledger_allocated_bytes_total {bytes}"),
            format!("heapledger_live_bytes {live_bytes}"),
            "heapledger_completeness_ratio 1".to_owned(),
            "heapledger_scope_live_bytes{scope=\"kept\"} 100000".to_owned(),
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
        }
        let dump = dumps::read_bytes(&running.get("/heapledger/dump")).unwrap();
        assert!(dump.is_whole() && dump.broken_laws.is_empty());
        let totals = &dump.profile.totals;
        assert_eq!([totals.total_blocks, totals.total_bytes, totals.live_bytes], [blocks, bytes, live_bytes]);
        let live: heapledger::live::Live = loop {
            // The page is written a quarter of a second after the last event at the latest.
            let live: heapledger::live::Live =
                serde_json::from_slice(&running.get("/heapledger/live.json")).unwrap();
            if live.totals.total_bytes == bytes {
                break live;
            }
            thread::sleep(Duration::from_millis(50));
        };
        assert_eq!((live.pid, live.totals.live_bytes), (running.child.id(), live_bytes));
        assert!(live.program.starts_with("process") && live.scopes[0].live_bytes == 100_000);
        let text = String::from_utf8(running.get("/debug/pprof/heap?debug=1")).unwrap();
        assert!(text.contains("97.7 KiB live in 100 blocks"), "{text}");
        assert_eq!(running.get("/debug/pprof/heap")[..2], [0x1F, 0x8B]);
        running.end();
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_SERVE", "127.0.0.1:0"), ("HEAPLEDGER_STACKS", "auto")]),
    Case::series("a_socket_file_is_its_users_alone_and_goes_with_the_process", keep_and_wait, |case| {
        let mut running = Running::start(case);
        let path = running.directory.path().join(SOCKET);
        let about = fs::metadata(&path).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o600);
        assert!(String::from_utf8(running.get("/metrics")).unwrap().contains("heapledger_live_bytes"));
        running.end();
        assert!(!path.exists());
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_SERVE", "unix:heap.socket")]),
    Case::new(
        "a_public_address_without_the_word_is_refused_with_a_line",
        || free(block(100), 100),
        |ended| {
            let line =
                "heapledger: no endpoint at 0.0.0.0:0: other machines could read what the program allocates";
            assert!(ended.with_code(0).stderr.contains(line), "{}", ended.stderr);
        },
    )
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_SERVE", "0.0.0.0:0")]),
    Case::new("a_forked_child_closes_its_parents_endpoint", fork_and_try, |ended| {
        assert_eq!(ended.with_code(0).said("refused"), 1, "{}", ended.stderr);
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_SERVE", "unix:heap.socket")]),
    Case::series("hostile_clients_cost_no_event_and_no_memory", churn_and_wait, |case| {
        let mut running = Running::start(case);
        // In the other rounds another process is attacked, so that the clients load the machine in all rounds.
        let mut bystander = Running::start(case);
        let targets = [bystander.address.unwrap(), running.address.unwrap()];
        let seconds = std::env::var("ATTACK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        let (before, began) = (running.cpu_ms(true), Instant::now());
        let own_bytes = running.metric("heapledger_own_bytes");
        let rounds = if seconds < 12 { 2 } else { 12 };
        let mut sums = [Round::default(), Round::default()];
        for round in 0..rounds {
            let until = Instant::now() + Duration::from_secs(2 * seconds) / rounds;
            let is_attacked = round as usize % 2;
            sums[is_attacked].add(running.round(until, targets[is_attacked]));
        }
        let [quiet, attacked] = &mut sums;
        println!("quiet {quiet}\nattacked {attacked}");
        let used = running.cpu_ms(true) - before;
        println!("the endpoint used {used} ms in {:?}", began.elapsed());
        assert!(!attacked.waits.is_empty());
        // A fiftieth of a processor, and the burst before it.
        assert!(used <= 500 + 100 + began.elapsed().as_millis() as u64 / 50 + 50, "{used} ms");
        let grown = running.metric("heapledger_own_bytes").saturating_sub(own_bytes);
        assert!(grown < 1 << 20, "{grown} bytes");
        running.end();
        bystander.end();
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_SERVE", "127.0.0.1:0")]),
];

/// What the program did, and how long a polite client waited for each answer.
#[derive(Default)]
struct Round {
    blocks: u64,
    cpu_ms: u64,
    waits: Vec<Duration>,
}

impl Round {
    fn add(&mut self, other: Round) {
        self.blocks += other.blocks;
        self.cpu_ms += other.cpu_ms;
        self.waits.extend(other.waits);
        self.waits.sort_unstable();
    }
}

impl std::fmt::Display for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let wait = |of_100: usize| {
            self.waits.get((self.waits.len() * of_100 / 100).min(self.waits.len() - 1)).unwrap()
        };
        let ns = self.cpu_ms as f64 * 1e6 / self.blocks as f64;
        write!(f, "{} blocks of {ns:.2} ns; ", self.blocks)?;
        write!(
            f,
            "{} answers after {:?}, {:?}, {:?} (median, 99th percentile, longest)",
            self.waits.len(),
            wait(50),
            wait(99),
            wait(100)
        )
    }
}

/// A child with an endpoint, which has said its figures.
struct Running {
    child: Child,
    directory: tempfile::TempDir,
    /// `None` if it listens at the socket file.
    address: Option<SocketAddr>,
    said: Vec<u64>,
}

impl Running {
    fn start(case: &Case) -> Running {
        let directory = tempfile::tempdir().unwrap();
        let mut command = case.command();
        command
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said = line.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
        let socket = directory.path().join(SOCKET);
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let address =
            if command.get_envs().any(|(_, value)| value.is_some_and(|value| value == "unix:heap.socket")) {
                wait_for(&socket);
                None
            } else {
                let mut line = String::new();
                errors.read_line(&mut line).unwrap();
                let at = line
                    .trim()
                    .strip_prefix("heapledger: the endpoint is at http://")
                    .unwrap_or_else(|| panic!("{line}"));
                Some(at.trim_end_matches('/').parse().unwrap())
            };
        // Nothing else is said.
        thread::spawn(move || drop(errors.read_to_end(&mut Vec::new())));
        Running { child, directory, address, said }
    }

    /// Returns the body of an answer of status 200.
    fn get(&self, target: &str) -> Vec<u8> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut answer = Vec::new();
        match self.address {
            Some(at) => exchange(TcpStream::connect(at).unwrap(), &request, &mut answer),
            None => {
                let path = self.directory.path().join(SOCKET);
                exchange(UnixStream::connect(path).unwrap(), &request, &mut answer);
            }
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{target}: {}", String::from_utf8_lossy(&answer));
        let end = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
        answer.split_off(end + 4)
    }

    fn metric(&self, name: &str) -> u64 {
        let metrics = String::from_utf8(self.get("/metrics")).unwrap();
        let line =
            metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{metrics}"));
        line.trim().parse().unwrap()
    }

    /// Returns the processor time of the endpoint's thread, or of the program's threads, in milliseconds.
    fn cpu_ms(&self, of_endpoint: bool) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let asked = tasks.flatten().filter(|task| {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            if of_endpoint { name.starts_with("heapledger-http") } else { !name.starts_with("heapledger-") }
        });
        // The first figure is the time on a processor, in nanoseconds.
        let times = asked.filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
        times.map(|text| text.split(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>() / 1_000_000
    }

    /// Asks for the counters again and again until an instant, while hostile clients attack the endpoint at `target`.
    fn round(&self, until: Instant, target: SocketAddr) -> Round {
        let count = || (self.metric("heapledger_allocations_total"), self.cpu_ms(false));
        let (before, mut waits) = (count(), Vec::new());
        thread::scope(|scope| {
            for attack in [slow_loris, thousand_connections, garbage, huge_heads, takes_no_answer] {
                scope.spawn(move || attack(target, until));
            }
            while Instant::now() < until {
                let asked = Instant::now();
                self.get("/metrics");
                waits.push(asked.elapsed());
                thread::sleep(Duration::from_millis(50));
            }
        });
        let after = count();
        Round { blocks: after.0 - before.0, cpu_ms: after.1 - before.1, waits }
    }

    fn end(&mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
        // The dump at exit obeys every law, and nothing was lost.
        let dump = fs::read_dir(self.directory.path())
            .unwrap()
            .flatten()
            .find(|file| file.file_name().to_string_lossy().ends_with(".hl"));
        let profile = dumps::read(dump.unwrap().path()).unwrap().profile;
        super::laws::obeyed(&profile).unwrap();
        assert_eq!(profile.quality.lost.total(), 0);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(path: &Path) {
    while UnixStream::connect(path).is_err() {
        thread::sleep(Duration::from_millis(10));
    }
}

fn exchange(mut stream: impl Read + Write, request: &str, answer: &mut Vec<u8>) {
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_to_end(answer).unwrap();
}

/// Connects, unless the other side holds back too many.
fn connected(at: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&at, Duration::from_millis(200)).ok()?;
    stream.set_write_timeout(Some(Duration::from_millis(50))).ok()?;
    Some(stream)
}

fn slow_loris(at: SocketAddr, until: Instant) {
    let mut streams: Vec<TcpStream> = Vec::new();
    while Instant::now() < until {
        if streams.len() < 200 {
            streams.extend(connected(at));
        }
        streams.retain_mut(|stream| stream.write_all(b"G").is_ok());
        thread::sleep(Duration::from_millis(5));
    }
}

fn thousand_connections(at: SocketAddr, until: Instant) {
    let mut streams = Vec::new();
    while Instant::now() < until && streams.len() < 1_000 {
        streams.extend(connected(at));
    }
    thread::sleep(until.saturating_duration_since(Instant::now()));
}

fn garbage(at: SocketAddr, until: Instant) {
    let mut noise = 0x9E37_79B9_7F4A_7C15u64;
    while Instant::now() < until {
        let Some(mut stream) = connected(at) else { continue };
        let mut bytes = [0; 700];
        for byte in &mut bytes {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (noise >> 56) as u8;
        }
        let _ = stream.write_all(&bytes);
    }
}

fn huge_heads(at: SocketAddr, until: Instant) {
    let head = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &vec![b'x'; 1 << 20]].concat();
    while Instant::now() < until {
        if let Some(mut stream) = connected(at) {
            let _ = stream.write_all(&head);
        }
    }
}

/// Asks for answers, and reads none.
fn takes_no_answer(at: SocketAddr, until: Instant) {
    let mut streams = Vec::new();
    while Instant::now() < until {
        if let Some(mut stream) = connected(at) {
            let _ = stream.write_all(b"GET /debug/pprof/heap?debug=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
            streams.push(stream);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Keeps 100 blocks in a scope, says the totals, and waits for the end of its input.
fn keep_and_wait() {
    let scope = heapledger::Scope::named("kept");
    {
        let _entered = scope.enter();
        for _ in 0..100 {
            block(1_000);
        }
    }
    free(block(5_000), 5_000);
    // What follows allocates nothing.
    let mut output = std::io::stdout().lock();
    write!(output, " ").unwrap();
    heapledger::flush();
    let stats = heapledger::stats();
    writeln!(output, "{} {} {}", stats.total_blocks, stats.total_bytes, stats.live_bytes).unwrap();
    wait_for_end();
}

/// Waits for the end of the input without allocating.
fn wait_for_end() {
    let mut byte = [0u8; 1];
    // SAFETY: the buffer has a byte.
    while unsafe { libc::read(0, byte.as_mut_ptr().cast(), 1) } > 0 {}
}

fn churn_and_wait() {
    static IS_OVER: AtomicBool = AtomicBool::new(false);
    let busy = thread::spawn(|| {
        while !IS_OVER.load(Relaxed) {
            for size in 1..100 {
                free(block(size), size);
            }
        }
    });
    println!("1");
    wait_for_end();
    IS_OVER.store(true, Relaxed);
    busy.join().unwrap();
}

/// A child that outlives its parent must not keep the address: only the parent's socket answers.
fn fork_and_try() {
    wait_for(Path::new(SOCKET));
    // Its thread is past the begin once it answers.
    let mut answer = Vec::new();
    exchange(UnixStream::connect(SOCKET).unwrap(), "GET / HTTP/1.0\r\n\r\n", &mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    // SAFETY: the child of this process allocates, looks, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        block(100);
        let listens = (3..2_000).any(|descriptor| {
            let (mut value, mut length) = (0, 4);
            // SAFETY: the value has four bytes.
            let asked = unsafe {
                let value = (&raw mut value).cast();
                libc::getsockopt(descriptor, libc::SOL_SOCKET, libc::SO_ACCEPTCONN, value, &mut length)
            };
            asked == 0 && value == 1
        });
        // SAFETY: ends the process.
        unsafe { libc::_exit(i32::from(listens)) }
    }
    let mut status = -1;
    // SAFETY: the child is ours.
    unsafe { libc::waitpid(child, &mut status, 0) };
    println!("refused={}", u64::from(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0));
    assert!(UnixStream::connect(SOCKET).is_ok(), "the parent still answers");
}
