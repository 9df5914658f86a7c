//! `heapledger push` against a server on the loopback interface, which reads the request with the messages that
//! Pyroscope publishes (`api/push/v1/push.proto` and `api/types/v1/types.proto`).

#![cfg(feature = "push")]

#[path = "exports/sample.rs"]
#[allow(dead_code, reason = "the tests of exports use all of it")]
mod sample;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use flate2::read::GzDecoder;
use heapledger::Profile;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    series: Vec<RawProfileSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct RawProfileSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelPair>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<RawSample>,
    #[prost(message, repeated, tag = "3")]
    annotations: Vec<LabelPair>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct RawSample {
    #[prost(bytes = "vec", tag = "1")]
    raw_profile: Vec<u8>,
    #[prost(string, tag = "2")]
    id: String,
}

/// What a test needs of a profile of `google/pprof`.
#[derive(Clone, PartialEq, Message)]
struct Pprof {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

/// A request that the server got.
struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn labels(&self) -> Vec<(String, String)> {
        let labels = self.series().labels.into_iter();
        labels.map(|LabelPair { name, value }| (name, value)).collect()
    }

    fn series(&self) -> RawProfileSeries {
        let request = PushRequest::decode(&self.body[..]).expect("the published message");
        assert_eq!((request.series.len(), request.series[0].samples.len()), (1, 1));
        request.series[0].clone()
    }

    /// Returns the sums over all samples, by the name of the figure.
    fn sums(&self) -> Vec<(String, i64)> {
        let raw = self.series().samples.remove(0).raw_profile;
        let mut plain = Vec::new();
        GzDecoder::new(&raw[..]).read_to_end(&mut plain).expect("compressed");
        let pprof = Pprof::decode(&plain[..]).expect("a profile");
        let quality = pprof.comment.iter().map(|at| &pprof.string_table[*at as usize]);
        assert!(
            quality.into_iter().any(|line| line.starts_with("completeness_ppm")),
            "quality travels along"
        );
        let kinds = pprof.sample_type.iter().enumerate();
        let sum = |(at, kind): (usize, &ValueType)| {
            let sum = pprof.sample.iter().map(|sample| sample.value[at]).sum();
            (pprof.string_table[kind.kind as usize].clone(), sum)
        };
        kinds.map(sum).collect()
    }
}

/// Serves one connection for each answer, and returns the requests.
fn server(answers: Vec<Vec<u8>>) -> (String, JoinHandle<Vec<Request>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let serve = move || {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
            requests.push(request(&mut stream));
            stream.write_all(&answer).expect("answered");
        }
        requests
    };
    (url, std::thread::spawn(serve))
}

fn request(stream: &mut TcpStream) -> Request {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = head {
            let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
            let body = bytes.split_off(end + 4);
            let mut request = Request { head, body };
            let length =
                request.header("content-length").map_or(0, |length| length.parse().expect("a number"));
            while request.body.len() < length {
                let read = stream.read(&mut part).expect("a body");
                request.body.extend_from_slice(&part[..read]);
            }
            return request;
        }
        let read = stream.read(&mut part).expect("a head");
        assert!(read > 0, "the head is cut");
        bytes.extend_from_slice(&part[..read]);
    }
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn fine() -> Vec<u8> {
    answer("200 OK", b"")
}

fn dump(directory: &Path, profile: &Profile) -> String {
    let path = directory.join("demo.hl");
    heapledger::dumps::write_with_notes(&path, profile, &[]).expect("a dump");
    path.to_string_lossy().into_owned()
}

fn push(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heapledger"));
    command.arg("push").args(arguments).envs(variables.iter().copied());
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    let output = command.output().expect("the command runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_dump_arrives_as_pyroscope_publishes_it_with_the_figures_of_the_profile() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut profile = sample::ordinary();
    profile.process.host = "host-1".into();
    let (file, totals) = (dump(directory.path(), &profile), profile.totals);
    let (url, served) = server(vec![fine(), fine()]);
    let to = ["--to", &url, "--label", "env=test", "--tenant", "t1", &file];
    let (code, said) = push(&to, &[("HEAPLEDGER_PUSH_TOKEN", "secret")]);
    assert!(code == Some(0) && said.contains("1 profile of"), "{said}");
    let user = ["--to", &format!("{url}/"), "--service", "other", "--user", "me", &file];
    let (code, said) = push(&user, &[("HEAPLEDGER_PUSH_PASSWORD", "p w")]);
    assert_eq!(code, Some(0), "{said}");
    let requests = served.join().expect("served");
    let [first, second] = &requests[..] else { panic!("two requests") };
    assert!(first.head.starts_with("POST /push.v1.PusherService/Push HTTP/1.1\r\n"), "{}", first.head);
    assert!(second.head.starts_with("POST /push.v1.PusherService/Push HTTP/1.1\r\n"), "{}", second.head);
    for (header, expected) in [
        ("content-type", "application/proto"),
        ("connect-protocol-version", "1"),
        ("x-scope-orgid", "t1"),
        ("authorization", "Bearer secret"),
    ] {
        assert_eq!(first.header(header), Some(expected), "{}", first.head);
    }
    assert_eq!(second.header("authorization"), Some("Basic bWU6cCB3"));
    let labels = [
        ("__delta__", "false"),
        ("__name__", "memory"),
        ("env", "test"),
        ("hostname", "host-1"),
        ("service_name", "demo"),
    ];
    assert_eq!(first.labels(), labels.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(second.labels().contains(&("service_name".to_owned(), "other".to_owned())));
    let expected = [
        ("alloc_objects", totals.total_blocks),
        ("alloc_space", totals.total_bytes),
        ("inuse_objects", totals.live_blocks),
        ("inuse_space", totals.live_bytes),
    ];
    assert_eq!(first.sums(), expected.map(|(name, sum)| (name.to_owned(), sum as i64)));
    let id = first.series().samples.remove(0).id;
    assert_eq!(
        (id.len(), &id),
        (36, &second.series().samples.remove(0).id),
        "the same profile has the same id"
    );
}

#[test]
fn a_running_program_is_asked_and_what_it_says_is_passed_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = dump(directory.path(), &sample::ordinary());
    let bytes = std::fs::read(&file).expect("the dump");
    let mut pprof = Vec::new();
    let origin = heapledger_cli::analysis::Origin::default();
    let format = heapledger_cli::export::Format::Pprof;
    heapledger_cli::export::export(format, &sample::ordinary(), &origin, &mut pprof)
        .expect("a vector takes everything");
    let (program, asked) =
        server(vec![answer("200 OK", &bytes), answer("200 OK", &pprof), answer("503 Busy", b"")]);
    let (url, served) = server(vec![fine(), fine()]);
    let heap = format!("{program}/debug/pprof/heap");
    let (code, said) = push(&["--to", &url, &program, &heap, &program], &[]);
    assert!(code == Some(3) && said.contains("answers 503") && said.contains("2 profiles"), "{said}");
    let asked = asked.join().expect("asked");
    assert!(asked[0].head.starts_with("GET /heapledger/dump "), "{}", asked[0].head);
    assert!(asked[1].head.starts_with("GET /debug/pprof/heap "), "{}", asked[1].head);
    let requests = served.join().expect("served");
    assert_eq!(requests[0].sums(), requests[1].sums());
    for request in &requests {
        let labels = request.labels();
        assert!(labels.contains(&("service_name".to_owned(), "demo".to_owned())), "{labels:?}");
        assert!(!labels.iter().any(|(name, _)| name == "__delta__"), "the server takes differences");
    }
}

#[test]
fn what_a_server_refuses_is_told_in_its_words() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = dump(directory.path(), &sample::ordinary());
    let refused = br#"{"code":"invalid_argument","message":"pprof: too many labels"}"#;
    let moved = b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n".to_vec();
    for (answer, expected) in [
        (answer("400 Bad Request", refused), "400 Bad Request: invalid_argument: pprof: too many labels"),
        (answer("401 Unauthorized", b""), "HEAPLEDGER_PUSH_TOKEN"),
        (answer("404 Not Found", b"page\n"), "404 Not Found: page"),
        (answer("413 Content Too Large", b"\x1b[31m"), r"\u{1b}[31m"),
        (answer("429 Too Many Requests", b""), "send later"),
        (moved, "redirects"),
        (b"nonsense\r\n\r\n".to_vec(), "cannot send to"),
    ] {
        let (url, served) = server(vec![answer]);
        let (code, said) = push(&["--to", &url, &file], &[]);
        assert!(code == Some(4) && said.contains(expected), "{said}");
        drop(served);
    }
}

#[test]
fn a_server_that_is_silent_or_absent_is_waited_for_no_longer_than_asked() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = dump(directory.path(), &sample::ordinary());
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let (code, said) = push(&["--to", &url, "--timeout", "1", &file], &[]);
    assert!(code == Some(4) && said.contains("no answer in time"), "{said}");
    drop(silent);
    let (code, said) = push(&["--to", &url, &file], &[]);
    assert!(code == Some(4) && said.contains("is the server running"), "{said}");
}

#[test]
fn mistakes_in_the_arguments_are_named_before_anything_is_sent() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = dump(directory.path(), &sample::ordinary());
    let archive = directory.path().join("a.gz").to_string_lossy().into_owned();
    std::fs::write(&archive, b"\x1f\x8bno archive").expect("written");
    let local = "http://127.0.0.1:9";
    for (arguments, code, expected) in [
        (&["--to", "https://profiles.example", &file][..], 2, "receive_http"),
        (&["--to", "localhost:4040", &file], 2, "no URL of the scheme http"),
        (&["--to", "http://a/?b", &file], 2, "has a query"),
        (&["--to", local, "--label", "a-b=c", &file], 2, "is no label"),
        (&["--to", local, "--user", "me", &file], 2, "HEAPLEDGER_PUSH_PASSWORD"),
        (&["--to", local, "missing.hl"], 3, "missing.hl"),
        (&["--to", local, &archive], 3, "no profile in the format of pprof"),
    ] {
        let (found, said) = push(arguments, &[]);
        assert!(found == Some(code) && said.contains(expected), "{said}");
    }
}
