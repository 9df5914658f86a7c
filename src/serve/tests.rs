//! Tests of the endpoint with requests over real sockets, and a heap whose figures are constants.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::address::{Address, AddressError};
use super::heap::{Figures, Heap};
use super::request::{HEAD_BYTES_MAX, parse};
use super::server::{ACCEPTED_AT_ONCE, CONNECTIONS_MAX, Server, UNSENT_BYTES_MAX};
use crate::live::Live;
use crate::profile::{CodeRange, HeapStats, LossReason, Profile, QualityIndicator, Scope, Site, Stack};
use crate::sys::sockets::Listener;

/// A heap that grows by ten bytes with each snapshot.
#[derive(Default)]
struct Growing {
    snapshots: Cell<u64>,
    /// Length of a further argument of the process, in bytes.
    argument_bytes: usize,
}

impl Heap for Growing {
    fn figures(&self, with_scopes: bool) -> Option<Figures> {
        let mut quality = QualityIndicator { recorded: 999_999_999_999, ..QualityIndicator::default() };
        quality.lost.add(LossReason::RingFull, 1);
        let scope =
            |name: &str, parent| Scope { name: name.to_owned(), parent, total_bytes: 7, ..Scope::default() };
        let scopes = vec![scope("a \"b\"\\\n", 0), scope("c", 1), scope("c", 0), scope("c", 0)];
        Some(Figures {
            stats: HeapStats { live_bytes: 5, total_bytes: 9, ..HeapStats::default() },
            quality,
            resident_bytes: Some(4_096),
            scopes: if with_scopes { scopes } else { Vec::new() },
        })
    }

    fn sites(&self) -> Option<Profile> {
        self.snapshots.set(self.snapshots.get() + 1);
        let site =
            Site { stack: 1, total_bytes: 10 * self.snapshots.get(), total_blocks: 1, ..Site::default() };
        let stacks = vec![Stack::default(), Stack { frames: vec![0x11], truncated: false }];
        Some(Profile { sites: vec![site], stacks, ..Profile::default() })
    }

    fn code(&self) -> Vec<CodeRange> {
        Vec::new()
    }

    fn dump(&self) -> Option<Vec<u8>> {
        Some(vec![1; 3_000_000])
    }

    fn live(&self) -> Option<Live> {
        Some(Live::default())
    }

    fn names(&self, addresses: &[u64]) -> Option<Vec<String>> {
        let name = |at: &u64| if *at == 0x11 { "a::b\n".to_owned() } else { String::new() };
        (self.snapshots.get() == 0).then(|| addresses.iter().map(name).collect())
    }

    fn command_line(&self) -> Vec<Vec<u8>> {
        let further = (self.argument_bytes > 0).then(|| vec![b'a'; self.argument_bytes]);
        [b"app".to_vec(), b"--flag".to_vec()].into_iter().chain(further).collect()
    }
}

/// Runs `work` while a server runs in another thread.
fn serving(work: impl FnOnce(SocketAddr)) {
    serving_arguments(0, work);
}

/// Runs `work` while a server runs in another thread. The process has an extra command-line argument of this many
/// bytes; 0 adds none.
fn serving_arguments(argument_bytes: usize, work: impl FnOnce(SocketAddr)) {
    let address = Address::parse("127.0.0.1:0").unwrap();
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = listener.local_address().unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let heap = Growing { argument_bytes, ..Growing::default() };
            let mut server = Server::new(listener, address, &heap);
            assert!(server.run(|| !is_over.load(Ordering::Relaxed)));
            server.close();
        });
        // Ends the server even if an assertion fails.
        struct Ends<'a>(&'a AtomicBool);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _ends = Ends(&is_over);
        work(at);
    });
}

fn connected(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Sends bytes, and returns the whole answer.
fn exchange(at: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = connected(at);
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

fn get(at: SocketAddr, target: &str) -> (u16, String, Vec<u8>) {
    let answer =
        exchange(at, format!("GET {target} HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", at.port()).as_bytes());
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head[9..12].parse().unwrap(), head, answer[end..].to_vec())
}

#[test]
fn every_path_is_answered_and_bodies_have_their_length() {
    serving(|at| {
        for (target, status) in [
            ("/", 200),
            ("/debug/pprof/", 200),
            ("/debug/pprof/heap", 200),
            ("/debug/pprof/allocs?debug=1", 200),
            ("/debug/pprof/cmdline", 200),
            ("/debug/pprof/symbol", 200),
            ("/metrics?scopes=1", 200),
            ("/heapledger/live.json", 200),
            ("/heapledger/dump", 200),
            ("/heapledger/dump", 429),
            ("/etc/passwd", 404),
            ("/debug/pprof/heap?seconds=601", 400),
            ("/debug/pprof/heap?seconds=x", 400),
        ] {
            let (found, head, body) = get(at, target);
            assert_eq!(found, status, "{target}");
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{target}: {head}");
        }
        assert_eq!(get(at, "/debug/pprof/cmdline").2, b"app\0--flag");
        let head = exchange(at, b"HEAD /metrics HTTP/1.1\r\nHost: [::1]\r\n\r\n");
        assert!(head.ends_with(b"\r\n\r\n") && head.starts_with(b"HTTP/1.1 200"));
    });
}

#[test]
fn names_are_answered_as_by_go() {
    serving(|at| {
        let post = |body: &str| {
            let head = format!("POST /debug/pprof/symbol HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
            let answer = String::from_utf8(exchange(at, format!("{head}{body}").as_bytes())).unwrap();
            answer.split_once("\r\n\r\n").unwrap().1.to_owned()
        };
        assert_eq!(get(at, "/debug/pprof/symbol").2, b"num_symbols: 1\n");
        assert_eq!(post("0x11+0x12+nonsense+11"), "num_symbols: 1\n0x11 a::b\\u{a}\n0x11 a::b\\u{a}\n");
        assert_eq!(get(at, "/debug/pprof/symbol?0x11").2, b"num_symbols: 1\n0x11 a::b\\u{a}\n");
        // The test heap has no names after its first snapshot.
        get(at, "/debug/pprof/heap");
        assert_eq!(post("0x11"), "num_symbols: 0\n");
    });
}

#[test]
fn two_scrapes_share_a_snapshot_and_a_difference_takes_two_of_its_own() {
    serving(|at| {
        let (_, _, first) = get(at, "/debug/pprof/heap");
        assert_eq!(first[..2], [0x1F, 0x8B]);
        assert_eq!(first, get(at, "/debug/pprof/heap").2);
        let began = Instant::now();
        let (status, _, text) = get(at, "/debug/pprof/allocs?seconds=1");
        assert!(status == 200 && began.elapsed() >= Duration::from_secs(1));
        // The sample has ten more bytes, which are allocated and live: the values are field 2, packed.
        assert!(text.windows(6).any(|bytes| bytes == [0x12, 4, 0, 10, 0, 10]), "{text:?}");
    });
}

#[test]
fn counters_are_in_the_format_of_prometheus() {
    serving(|at| {
        let text = String::from_utf8(get(at, "/metrics?scopes=1").2).unwrap();
        for line in [
            "heapledger_live_bytes 5",
            "heapledger_events_lost_total{reason=\"ring_full\"} 1",
            "heapledger_completeness_ratio 0.999999999999",
            "process_resident_memory_bytes 4096",
            "heapledger_scope_live_bytes{scope=\"a \\\"b\\\"\\\\\\n\"} 7",
            "heapledger_scope_live_bytes{scope=\"a \\\"b\\\"\\\\\\n/c\"} 7",
            "heapledger_scope_live_bytes{scope=\"c\"} 7",
            "heapledger_scope_live_bytes{scope=\"c#2\"} 7",
        ] {
            assert!(text.lines().any(|found| found.starts_with(line)), "{line}\n{text}");
        }
        assert!(!text.contains("heapledger_completeness_ratio 1\n"));
        let mut seen = std::collections::HashSet::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(seen.insert(name), "{name} is there twice");
            value.parse::<f64>().unwrap();
        }
        assert!(!String::from_utf8(get(at, "/metrics").2).unwrap().contains("scope="));
    });
}

#[test]
fn requests_that_are_none_are_refused_at_once() {
    serving(|at| {
        let long = [b"GET /".as_slice(), &vec![b'a'; 2 * HEAD_BYTES_MAX]].concat();
        for (bytes, status) in [
            (b"\x16\x03\x01\x02\x00\x01\x00".as_slice(), "405"),
            (b"PUT / HTTP/1.1\r\n\r\n", "405"),
            (b"GET / HTTP/2\r\n\r\n", "400"),
            (b"GET /a b HTTP/1.1\r\n\r\n", "400"),
            (b"GET http://x/ HTTP/1.1\r\n\r\n", "400"),
            (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "400"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n", "400"),
            (b"GET /\xFF HTTP/1.1\r\n\r\n", "400"),
            (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", "400"),
            (b"POST / HTTP/1.1\r\nContent-Length: 70000\r\n\r\n", "413"),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
            (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "403"),
            (b"GET / HTTP/1.1\r\nHost: localhost.evil.example:80\r\n\r\n", "403"),
            (&long, "431"),
        ] {
            let mut stream = connected(at);
            // The server may answer and close before it has read all bytes.
            let _ = stream.write_all(bytes);
            let mut answer = [0; 12];
            if stream.read_exact(&mut answer).is_ok() {
                assert_eq!(&answer[9..], status.as_bytes(), "{:?}", String::from_utf8_lossy(bytes).get(..40));
            } else {
                assert_eq!(status, "431", "only a long head can lose its answer");
            }
        }
        assert_eq!(get(at, "/metrics").0, 200);
    });
}

#[test]
fn a_request_that_is_there_when_its_client_is_accepted_is_answered_to_the_end() {
    let heap = Growing::default();
    let (mut server, at) = by_turns(&heap);
    for _ in 0..10 {
        let mut client = connected(at);
        client.write_all(METRICS).unwrap();
        // The connection ends in the same round in which the request is answered.
        turn_until_answered(&mut server, &client);
        assert!(whole_answer(&mut client).starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn a_request_that_comes_after_a_flood_of_silent_clients_is_answered() {
    let heap = Growing::default();
    let (mut server, at) = by_turns(&heap);
    let mut polite = connected(at);
    let silent: Vec<TcpStream> = (0..CONNECTIONS_MAX + 10).map(|_| connected(at)).collect();
    // This round accepts as many connections of the flood as one round may accept.
    assert!(server.turn());
    polite.write_all(METRICS).unwrap();
    turn_until_answered(&mut server, &polite);
    assert!(whole_answer(&mut polite).starts_with("HTTP/1.1 200"));
    assert!(silent.len() > 2 * ACCEPTED_AT_ONCE);
}

const METRICS: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Returns a server and its address. The test calls the server's `turn`.
fn by_turns(heap: &Growing) -> (Server<'_>, SocketAddr) {
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = listener.local_address().unwrap();
    (Server::new(listener, Address::parse("127.0.0.1:0").unwrap(), heap), at)
}

/// Calls `turn` until the client has a part of the answer, or the connection has ended.
fn turn_until_answered(server: &mut Server<'_>, client: &TcpStream) {
    client.set_nonblocking(true).unwrap();
    while client.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
        assert!(server.turn());
    }
    client.set_nonblocking(false).unwrap();
}

/// Reads to the end of the connection, which the server has already ended.
fn whole_answer(client: &mut TcpStream) -> String {
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("the server has ended the connection");
    answer
}

#[test]
fn slow_clients_keep_nobody_out() {
    serving(|at| {
        let slow: Vec<TcpStream> = (0..CONNECTIONS_MAX + 40)
            .map(|_| {
                let mut stream = connected(at);
                stream.write_all(b"GET /metr").unwrap();
                stream
            })
            .collect();
        for _ in 0..10 {
            assert_eq!(get(at, "/metrics").0, 200);
        }
        // The newest connections are still open.
        let mut last = slow.last().unwrap();
        last.write_all(b"ics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        last.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn clients_that_take_no_answer_fill_no_memory() {
    let length = UNSENT_BYTES_MAX / 2;
    serving_arguments(length, |at| {
        let ask = || {
            let mut stream = connected(at);
            stream.write_all(b"GET /debug/pprof/cmdline HTTP/1.0\r\n\r\n").unwrap();
            // The server has begun to answer.
            stream.peek(&mut [0]).unwrap();
            stream
        };
        let slow: Vec<TcpStream> = (0..8).map(|_| ask()).collect();
        assert_eq!(get(at, "/metrics").0, 200);
        let taken: Vec<usize> = slow
            .into_iter()
            .map(|mut stream| {
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer);
                answer.len()
            })
            .collect();
        let whole = taken.iter().filter(|taken| **taken > length).count();
        assert!((1..=4).contains(&whole) && taken.last() > Some(&length), "{taken:?}");
    });
}

#[test]
fn a_head_that_comes_byte_by_byte_is_one_request() {
    let bytes = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\ncontent-LENGTH: 3\r\n\r\nabc";
    for end in 0..bytes.len() - 3 {
        assert_eq!(parse(&bytes[..end]).unwrap(), None, "{end}");
    }
    let request = parse(bytes).unwrap().unwrap();
    assert_eq!((request.head_bytes, request.body_bytes), (bytes.len() - 3, 3));
    assert_eq!(request.host.as_deref(), Some("localhost"));
}

#[test]
fn an_address_of_other_machines_needs_the_word() {
    let tcp = |at: &str, is_public| Ok(Address::Tcp { at: at.parse().unwrap(), is_public });
    assert_eq!(Address::parse("9123"), tcp("127.0.0.1:9123", false));
    assert_eq!(Address::parse(":9123"), tcp("127.0.0.1:9123", false));
    assert_eq!(Address::parse("localhost:9123"), tcp("127.0.0.1:9123", false));
    assert_eq!(Address::parse("[::1]:1"), tcp("[::1]:1", false));
    assert_eq!(Address::parse("public:0.0.0.0:1"), tcp("0.0.0.0:1", true));
    assert_eq!(Address::parse("unix:/run/a"), Ok(Address::Unix("/run/a".to_owned())));
    assert_eq!(Address::parse("0.0.0.0:1"), Err(AddressError::Public("0.0.0.0:1".parse().unwrap())));
    assert_eq!(Address::parse("192.168.0.1:1"), Err(AddressError::Public("192.168.0.1:1".parse().unwrap())));
    for bad in ["", "unix:", "a:b", "127.0.0.1", "public:"] {
        assert_eq!(Address::parse(bad), Err(AddressError::Unreadable), "{bad}");
    }
}
