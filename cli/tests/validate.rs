//! `heapledger validate` as its users run it: measurements, files and exit codes. No other subcommand records.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use heapledger::validation::{ChangeVerdict, LoadModel, ValidationReport};
use tempfile::TempDir;

fn heapledger(directory: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heapledger"));
    for name in ["HEAPLEDGER", "HEAPLEDGER_DUMP", "HEAPLEDGER_MODE", "HEAPLEDGER_CLOCK", "HEAPLEDGER_STACKS"]
    {
        command.env_remove(name);
    }
    command.current_dir(directory.path()).stdin(Stdio::null());
    command
}

/// Returns the command of a short validation that accepts any load on the machine.
fn validate(directory: &TempDir, arguments: &[&str]) -> Command {
    let mut command = heapledger(directory);
    command.args(["validate", "--max-foreign-cpu", "100", "--warmup", "50ms"]).args(arguments);
    command
}

fn ended(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the command starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("a code, not a signal"), text(stdout), text(stderr))
}

fn report(path: &Path) -> ValidationReport {
    ValidationReport::from_json(&std::fs::read_to_string(path).expect("the file")).expect("a report")
}

fn names(directory: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(directory.path()).expect("the directory");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

const SHORT: [&str; 8] = ["--workload", "alloc", "--users", "1,2", "--duration", "200ms", "--pairs", "2"];

#[test]
fn every_level_is_complete_and_equal_to_the_oracle_and_all_forms_agree() {
    let directory = tempfile::tempdir().unwrap();
    let outputs = ["--json", "v.json", "--html", "v.html", "--svg", "v.svg", "--csv", "v.csv"];
    let condition = ["--threshold", "completeness>=1", "--seed", "5"];
    let (code, text, _) = ended(validate(&directory, &SHORT).args(outputs).args(condition));
    // 3: the window drifted, on a machine that does other things too.
    assert!(matches!(code, 0 | 3), "{code}\n{text}");
    let report = report(&directory.path().join("v.json"));
    let series = report.scalability.as_ref().unwrap();
    assert_eq!((series.test_results.len(), report.runs_without_tracker.len()), (4, 4));
    for run in &series.test_results {
        let c = run.completeness.as_ref().expect("its tracker was on");
        assert!(c.is_perfect() && c.completeness == Some(1.0), "{c:?}");
        // The status of the run is told while it lasts, and not even that is an event.
        assert!(c.oracle_error == Some(0) && c.observed >= 1000, "{c:?}");
        assert_eq!(run.tracker_overhead.expect("there are pairs").pairs, 2);
    }
    assert!(report.runs_without_tracker.iter().all(|run| run.completeness.is_none()));
    assert!(report.tracker.as_ref().is_some_and(|t| t.contains("mode perfect")), "{:?}", report.tracker);
    assert_eq!(text.matches("100.000").count(), 2, "{text}");
    assert!(text.contains("overhead        2 users: throughput ") && text.contains("95 %: "), "{text}");
    let csv = std::fs::read_to_string(directory.path().join("v.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 8);
    let page = std::fs::read_to_string(directory.path().join("v.html")).unwrap();
    assert!(page.contains("100.000 %") && page.contains("</html>"));
    let svg = std::fs::read_to_string(directory.path().join("v.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    assert_eq!(names(&directory), ["v.csv", "v.html", "v.json", "v.svg"], "and nothing else");
}

#[test]
fn open_loads_are_sent_at_their_rate_with_their_gap() {
    let directory = tempfile::tempdir().unwrap();
    let load = ["--workload", "alloc", "--rate", "200,400", "--arrivals", "uniform", "--workers", "4"];
    let rest = ["--duration", "500ms", "--no-overhead", "--pairs", "1", "--json", "-"];
    let (_, text, _) = ended(validate(&directory, &load).args(rest));
    let report = ValidationReport::from_json(&text).expect("JSON and nothing else");
    assert!(report.scalability.is_none() && report.runs_without_tracker.is_empty());
    assert_eq!(report.runs.len(), 2);
    for run in &report.runs {
        let LoadModel::Open { rate_per_sec, max_in_flight: 4, .. } = run.load else {
            panic!("{:?}", run.load)
        };
        let offered = run.offered_rate.unwrap();
        assert!((offered / rate_per_sec - 1.0).abs() < 0.03, "{offered} of {rate_per_sec}");
        assert!(run.co_gap.is_some() && run.tracker_overhead.is_none() && run.is_conserved());
        assert!(run.completeness.as_ref().unwrap().is_perfect());
    }
}

#[test]
fn a_breached_threshold_is_code_99_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let condition = ["--no-overhead", "--threshold", "throughput>=1e15"];
    let (code, text, _) = ended(validate(&directory, &SHORT).args(condition));
    assert_eq!(code, 99, "{text}");
    assert!(text.contains("BREACH throughput>=1e15 with 2 users"), "{text}");
}

/// Real runs on a machine that does other things too: what is certain of them, and that the judgement is the exit code.
#[test]
fn a_run_is_compared_with_an_earlier_one() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = [&SHORT[..], &["--no-overhead", "--json", "before.json"]].concat();
    ended(&mut validate(&directory, &arguments));
    let path = directory.path().join("before.json");
    let mut before = report(&path);
    let compared = |out: &str| {
        let arguments = [&SHORT[..], &["--no-overhead", "--baseline", "before.json", "--json", out]].concat();
        let (code, text, _) = ended(&mut validate(&directory, &arguments));
        let now = report(&directory.path().join(out));
        assert_eq!(code, now.exit_code() as i32, "{text}");
        let changes = now.changes.clone().expect("a baseline was given");
        assert_eq!((changes.reasons.len(), changes.loads.len()), (0, 2), "{text}");
        for complete in changes.loads.iter().map(|l| &l.figures[4]) {
            assert_eq!(complete.verdict, ChangeVerdict::NoDifferenceSeen, "{text}");
        }
        (code, text)
    };
    let (_, text) = compared("now.json");
    assert!(text.contains("baseline        intervals hold all at once with 95 %"), "{text}");
    // A baseline that lost an event it never lost, and thousands of times as fast: less is lost now, and of the speed nothing
    // can be said.
    let series = before.scalability.as_mut().unwrap();
    for run in &mut series.test_results {
        run.requests_per_second *= 1e6;
        run.completeness.as_mut().unwrap().aggregated -= 1;
    }
    std::fs::write(&path, before.to_json().unwrap()).unwrap();
    let arguments = [&SHORT[..], &["--no-overhead", "--baseline", "before.json"]].concat();
    let (code, text, _) = ended(&mut validate(&directory, &arguments));
    assert!(matches!(code, 0 | 3) && text.matches("not comparable  ").count() == 2, "{code}\n{text}");
    assert_eq!(text.matches("better").count(), 2, "{text}");
    // Another set-up: nothing can be said, and that is no success.
    let (code, text, _) = ended(validate(&directory, &arguments).args(["--seed", "8"]));
    assert!(
        code == 3 && text.contains("baseline        not comparable: configuration: seed is"),
        "{code}\n{text}"
    );
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_begins() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("foreign.json"), "{\"metrics\": {}}").unwrap();
    for (arguments, code, said) in [
        (&["--threshold", "p98(response_ms)<5"][..], 2, "column 1: expected a metric"),
        (&["--users", "0"], 2, "the load has no users"),
        (&["--users", "2,many"], 2, "invalid value"),
        (&["--rate", "0"], 2, "the load never sends a request"),
        (&["--rate", "inf"], 2, "not a usable number"),
        (&["--rate", "5", "--users", "2"], 2, "cannot be used with"),
        (&["--duration", "10"], 2, "is no time"),
        (&["--duration", "0s"], 2, "the measured window has no length"),
        (&["--pairs", "0"], 2, "no pairs"),
        (&["--no-overhead", "--threshold", "overhead<=0.1"], 2, "cannot be judged"),
        (&["--json", "a", "--csv", "a"], 2, "asked to hold two things"),
        (&["--baseline", "none.json"], 2, "the baseline cannot be used: none.json: No such file"),
        (&["--baseline", "foreign.json"], 2, "foreign.json: no report of a validation: missing field"),
        (&["--worse-by", "3"], 2, "--baseline"),
        (&["--html", "no/such/directory.html"], 4, "cannot write no/such/directory.html"),
        (&["--documents", "0"], 3, "the workload has no queries"),
    ] {
        let (found, out, err) = ended(&mut validate(&directory, arguments));
        assert_eq!(found, code, "{arguments:?}: {out}{err}");
        assert!(err.contains(said), "{arguments:?}: {err}");
    }
}

#[test]
fn an_old_result_stays_until_there_is_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("v.json");
    std::fs::write(&path, "old").unwrap();
    let (code, ..) =
        ended(validate(&directory, &["--json", "v.json", "--documents", "0"]).args(["--users", "1"]));
    assert_eq!((code, std::fs::read_to_string(&path).unwrap().as_str()), (3, "old"));
}

#[cfg(unix)]
mod interrupted {
    use super::*;

    /// Starts a validation of several hours and waits for its first run to begin.
    fn begin(directory: &TempDir) -> std::process::Child {
        let load = ["--workload", "alloc", "--users", "1,2", "--pairs", "50", "--duration", "300ms"];
        let mut command = validate(directory, &load);
        command.args(["--json", "v.json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // Ends with the line of the second run; what comes after is thrown away.
        let mut lines = lines.map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with("2 of 200")), "the runs are told");
        std::thread::spawn(move || lines.for_each(drop));
        child
    }

    #[allow(unsafe_code, reason = "std can only kill")]
    fn signal(child: &std::process::Child, number: libc::c_int) {
        // SAFETY: the call takes numbers only; the process has not been waited for, so the number is still its own.
        assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, number) }, 0);
    }

    fn end(child: &mut std::process::Child) -> Option<i32> {
        let begun = Instant::now();
        loop {
            match child.try_wait().expect("it can be waited for") {
                Some(status) => return status.code(),
                None if begun.elapsed() < Duration::from_secs(60) => {
                    std::thread::sleep(Duration::from_millis(5))
                }
                None => {
                    let _ = child.kill();
                    panic!("it hangs");
                }
            }
        }
    }

    #[test]
    fn an_interrupt_ends_the_window_and_not_the_report() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = begin(&directory);
        signal(&child, libc::SIGINT);
        let mut text = String::new();
        let mut out = child.stdout.take().unwrap();
        let code = end(&mut child);
        out.read_to_string(&mut text).unwrap();
        assert!(matches!(code, Some(0 | 3)), "{code:?}\n{text}");
        let report = report(&directory.path().join("v.json"));
        let runs = report.scalability.unwrap().test_results;
        assert!(!runs.is_empty() && runs.len() < 100, "{}", runs.len());
        assert!(runs.iter().all(|run| run.completeness.as_ref().unwrap().completeness == Some(1.0)));
        assert!(text.contains("100.000"), "{text}");
    }

    #[test]
    fn an_interrupt_does_not_wait_for_an_index() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = validate(&directory, &["--workload", "hybrid", "--documents", "1000000"]);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the command starts");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("runs, ")), "the handler stands by then");
        signal(&child, libc::SIGINT);
        assert_eq!(end(&mut child), Some(3));
        assert!(lines.any(|line| line.contains("stopped before the first run was over")));
    }

    #[test]
    fn children_do_not_outlive_their_parent() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = begin(&directory);
        let children = children_of(child.id());
        assert!(!children.is_empty() || !cfg!(target_os = "linux"));
        signal(&child, libc::SIGKILL);
        end(&mut child);
        let begun = Instant::now();
        while children.iter().any(|id| is_alive(*id)) {
            assert!(begun.elapsed() < Duration::from_secs(30), "they see the end of their input");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn children_of(parent: u32) -> Vec<u32> {
        let path = format!("/proc/{parent}/task/{parent}/children");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
    }

    fn is_alive(id: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // A process that has ended and that nobody waited for is still listed.
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
    }
}

#[test]
fn no_other_subcommand_records_or_leaves_anything_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut profile = heapledger::Profile::default();
    profile.process.program = "demo".into();
    let dump = directory.path().join("heapledger.demo.7.hl");
    heapledger::dumps::write(&dump, &profile).unwrap();
    let before = std::fs::read(&dump).unwrap();
    for switch in ["on", "off"] {
        let mut command = heapledger(&directory);
        command.env("HEAPLEDGER", switch).env("HEAPLEDGER_DUMP", &dump).env("HEAPLEDGER_WARN", "1");
        let (code, _, err) = ended(command.args(["report", "heapledger.demo.7.hl"]));
        assert_eq!((code, err.as_str()), (0, ""));
        assert_eq!(std::fs::read(&dump).unwrap(), before, "the dump that was read is as it was");
    }
    assert_eq!(names(&directory), ["heapledger.demo.7.hl"]);
}
