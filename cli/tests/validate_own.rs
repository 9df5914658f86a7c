//! `heapledger validate` with a program and a service of the user's own: a program for each request, one for each user,
//! and a small HTTP server of this test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use heapledger::validation::{ConcurrentTestResult, LoadModel, Threshold, ValidationReport};
use tempfile::TempDir;

/// Runs a validation that accepts any load on the machine, and returns its exit code, its runs and what it printed.
fn validate(directory: &TempDir, arguments: &[&str]) -> (i32, Vec<ConcurrentTestResult>, String) {
    let json = directory.path().join("v.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_heapledger"));
    command.env_remove("HEAPLEDGER").current_dir(directory.path()).stdin(Stdio::null());
    command
        .args(["validate", "--max-foreign-cpu", "100", "--pairs", "1", "--json"])
        .arg(&json)
        .args(arguments);
    let Output { status, stdout, stderr } = command.output().expect("the command starts");
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    // A validation that is refused may leave an empty file.
    let text = std::fs::read_to_string(json).ok().filter(|text| !text.is_empty());
    let runs = text.map_or(Vec::new(), |text| {
        let report = ValidationReport::from_json(&text).expect("a report");
        report.scalability.map_or(report.runs, |series| series.test_results)
    });
    (status.code().expect("a code, not a signal"), runs, said)
}

/// A server that answers each request after `pause` with its path, and counts requests and connections.
#[derive(Debug, Default)]
struct Service {
    requests: AtomicU64,
    connections: AtomicU64,
}

impl Service {
    fn start(pause: Duration) -> (Arc<Service>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let service = Arc::new(Service::default());
        let shared = Arc::clone(&service);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                shared.connections.fetch_add(1, Relaxed);
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.serve(&stream, pause));
            }
        });
        (service, format!("http://{address}"))
    }

    fn serve(&self, stream: &TcpStream, pause: Duration) {
        let mut input = BufReader::new(stream);
        let mut line = String::new();
        while input.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut length = 0;
            loop {
                line.clear();
                if input.read_line(&mut line).unwrap_or(0) <= 2 {
                    break;
                }
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().unwrap_or(0);
                }
            }
            let mut body = vec![0; length];
            let _ = input.read_exact(&mut body);
            std::thread::sleep(pause);
            let number = self.requests.fetch_add(1, Relaxed);
            let status = if path.contains("missing") { "404 Not Found" } else { "200 OK" };
            // An answer that differs each time, where a client asks for it.
            let answer = if path.contains("changing") { format!("{path} {number}") } else { path };
            let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
            if (&*stream).write_all(text.as_bytes()).is_err() {
                return;
            }
            line.clear();
        }
    }
}

#[test]
fn a_service_is_driven_in_stages_and_has_its_p95() {
    let directory = tempfile::tempdir().unwrap();
    let (service, address) = Service::start(Duration::from_millis(5));
    std::fs::write(directory.path().join("queries"), "rust\nheap & stack\nring\n").unwrap();
    let url = format!("{address}/search?q={{}}");
    let load = ["--url", &url, "--queries", "queries", "--popularity", "zipf:1.2", "--same-answers"];
    let stages = ["--stages", "200ms:4,800ms:4,200ms:0", "--threshold", "p95(response_ms)<1000"];
    let (code, runs, said) = validate(&directory, &[&load[..], &stages].concat());
    assert!(matches!(code, 0 | 3), "{code}\n{said}");
    let [run] = &runs[..] else { panic!("{} runs", runs.len()) };
    assert!(matches!(&run.load, LoadModel::Staged { stages, .. } if stages.len() == 3));
    assert_eq!((run.failed_requests, run.check_failures), (0, 0), "{said}");
    assert!(run.window_s > 0.7 && run.successful_requests > 200, "{}", run.successful_requests);
    let p95 = run.response.p95_ms.expect("two hundred answers");
    assert!(p95 >= 5.0 && Some(p95) >= run.response.p50_ms, "{p95}");
    assert!(run.completeness.is_none() && run.tracker_overhead.is_none(), "nothing is known of its heap");
    assert!(said.contains("p95 ms") && said.contains("ok     p95(response_ms)<1000"), "{said}");
    // Each user keeps its connection.
    assert!(service.connections.load(Relaxed) <= 4, "{}", service.connections.load(Relaxed));
}

#[test]
fn a_service_that_fails_or_changes_its_answers_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let (_, address) = Service::start(Duration::from_millis(1));
    let drive = |path: &str, condition: &str, more: &[&str]| {
        let url = format!("{address}/{path}");
        let load = ["--url", &url, "--users", "2", "--duration", "200ms", "--warmup", "0s"];
        let (code, runs, said) =
            validate(&directory, &[&load[..], &["--threshold", condition], more].concat());
        assert_eq!(code, 99, "{path}: {said}");
        runs.into_iter().next().expect("a run")
    };
    let run = drive("missing", "rate(error)<=0", &[]);
    assert!(run.failed_requests > 0 && run.successful_requests == 0, "{run:?}");
    let run = drive("changing", "rate(check)>=1", &["--same-answers"]);
    assert!(run.check_failures > 0 && run.failed_requests == 0, "{run:?}");
    let run = drive("right", "rate(error)<=0", &["--fault", "fail=0.5"]);
    assert!(run.failed_requests > 0 && run.successful_requests > 0, "{run:?}");
}

#[test]
fn thirty_two_users_of_a_service_that_takes_20_ms_are_not_throttled() {
    let directory = tempfile::tempdir().unwrap();
    let (_, address) = Service::start(Duration::from_millis(20));
    let load = ["--url", &address, "--users", "32", "--duration", "1s", "--warmup", "300ms"];
    let (_, runs, said) = validate(&directory, &load);
    // Four connections for 32 users gave 178 a second; 1,600 are possible. The rest is for a busy machine.
    assert!(runs[0].requests_per_second > 700.0, "{said}");
    assert_eq!(runs[0].connection_pool_usage.pool_size, 0);
}

#[test]
fn a_program_is_run_for_each_request_with_its_query_and_its_setting() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("queries"), "one\ntwo words\n").unwrap();
    let script = "echo \"$HEAPLEDGER $0\" >> seen; echo \"$0\"";
    let load = ["--users", "1,2", "--duration", "300ms", "--warmup", "0s", "--queries", "queries"];
    let more = ["--same-answers", "--threshold", "rate(error)<=0", "--", "sh", "-c", script, "{}"];
    let (code, runs, said) = validate(&directory, &[&load[..], &more].concat());
    assert!(matches!(code, 0 | 3), "{code}\n{said}");
    assert!(runs.iter().all(|run| run.successful_requests > 3 && run.check_failures == 0), "{said}");
    assert!(runs[0].tracker_overhead.is_some() && runs[0].completeness.is_none(), "{said}");
    let seen = std::fs::read_to_string(directory.path().join("seen")).unwrap();
    for line in ["always one", "always two words", "off one", "off two words"] {
        assert!(seen.lines().any(|seen| seen == line), "{line} is missing");
    }
    let (code, runs, _) = validate(
        &directory,
        &["--users", "1", "--duration", "200ms", "--threshold", "rate(error)<=0", "--", "false"],
    );
    assert!(code == 99 && runs[0].failed_requests > 0);
}

#[test]
fn a_program_for_each_user_answers_line_by_line() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("queries"), "one\ntwo\n").unwrap();
    let load =
        ["--users", "3", "--duration", "300ms", "--warmup", "0s", "--queries", "queries", "--no-overhead"];
    let (code, runs, said) =
        validate(&directory, &[&load[..], &["--same-answers", "--per-user", "--", "cat"]].concat());
    assert!(matches!(code, 0 | 3), "{code}\n{said}");
    assert!(runs[0].successful_requests > 100 && runs[0].check_failures == 0, "{said}");
    assert_eq!(runs[0].failed_requests, 0, "{said}");
    // One that answers once and ends fails from then on.
    let (_, runs, _) = validate(&directory, &[&load[..], &["--per-user", "--", "head", "-n", "1"]].concat());
    assert!(runs[0].failed_requests > 0);
}

#[test]
fn recorded_starts_are_replayed() {
    let directory = tempfile::tempdir().unwrap();
    let starts: String = (0..50).map(|n| format!("{}\n", 1_000.0 + f64::from(n) * 0.01)).collect();
    std::fs::write(directory.path().join("starts"), starts).unwrap();
    let load = ["--replay", "starts", "--workers", "2", "--workload", "alloc", "--no-overhead"];
    let (code, runs, said) = validate(&directory, &load);
    assert!(matches!(code, 0 | 3), "{code}\n{said}");
    assert_eq!(runs[0].total_requests, 50, "{said}");
    assert!(runs[0].is_conserved() && runs[0].completeness.as_ref().unwrap().is_perfect());
}

#[test]
fn help_and_manual_name_every_threshold() {
    let help = Command::new(env!("CARGO_BIN_EXE_heapledger")).args(["validate", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/VALIDATION.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    for name in Threshold::metrics().chain(Threshold::statistics()).chain(Threshold::latencies()) {
        assert!(help.contains(name), "--help does not name {name}");
        assert!(manual.contains(&format!("`{name}`")), "docs/VALIDATION.md does not name {name}");
    }
}

#[test]
fn what_makes_no_sense_of_a_program_or_service_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, said) in [
        (&["--url", "http://example.com/"][..], "not this machine"),
        (&["--url", "http://localhost/", "--workload", "alloc"], "cannot be used with"),
        (&["--url", "http://localhost/", "--", "true"], "cannot be used with"),
        (&["--url", "http://localhost/", "--threshold", "overhead<1"], "cannot be judged with --url"),
        (&["--threshold", "completeness>=1", "--", "true"], "its own dump"),
        (&["--queries", "none", "--", "true"], "none: No such file"),
        (&["--same-answers"], "a program or a service"),
        (&["--fault", "melt=1"], "is no fault"),
        (&["--popularity", "random"], "is no choice"),
        (&["--stages", "10s"], "is no stage"),
        (&["--stages", "1s:2", "--rate", "5"], "cannot be used with"),
        (&["--stages", "1s:2", "--duration", "5s"], "cannot be used with"),
        (&["--stages", "1s:0"], "never sends a request"),
        (&["--replay", "none"], "none: No such file"),
        (&["--workers", "5"], "required"),
    ] {
        let (code, _, found) = validate(&directory, arguments);
        assert!(code == 2 && found.contains(said), "{arguments:?}: {code} {found}");
    }
}
