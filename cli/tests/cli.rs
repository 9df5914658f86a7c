//! The `heapledger` command as its users run it: output and exit codes.
//!
//! The library writes the dumps, from a small profile with known figures. For `run`, a shell script replaces a program
//! with a ledger: it copies a dump to the path that `HEAPLEDGER_DUMP` names.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use heapledger::dumps;
use heapledger::profile::{LossReason, Profile, Site, ThreadRow};
use tempfile::TempDir;

const DUMP_NAME: &str = "heapledger.demo.7.hl";

fn heapledger() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heapledger"));
    command.env_remove("HEAPLEDGER_DUMP").env_remove("CLICOLOR_FORCE").env("LC_ALL", "C.UTF-8");
    command.stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the command starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("a code, not a signal"), text(stdout), text(stderr))
}

fn profile() -> Profile {
    let mut profile = Profile::default();
    profile.quality.installed = true;
    profile.quality.current_completeness = 1.0;
    profile.quality.target_completeness = 0.95;
    profile.quality.attempted = 2;
    profile.quality.recorded = 2;
    profile.quality.retained = 2;
    profile.process.program = "demo".into();
    profile.process.duration_ns = 1_000_000_000;
    profile.totals.total_blocks = 2;
    profile.totals.total_bytes = 3_000;
    profile.totals.freed_blocks = 2;
    profile.totals.freed_bytes = 3_000;
    profile.totals.peak_bytes = 2_000;
    profile.peak.bytes = 2_000;
    let mut site =
        Site { total_blocks: 2, total_bytes: 3_000, freed_blocks: 2, freed_bytes: 3_000, ..Site::default() };
    site.sizes.add(1_500, 2);
    site.lifetimes.add(10, 2);
    profile.sites = vec![site];
    profile.stacks = vec![heapledger::profile::Stack::default()];
    profile.threads = vec![ThreadRow {
        name: "main".into(),
        threads: 1,
        attempted: 2,
        recorded: 2,
        total_bytes: 3_000,
        ..ThreadRow::default()
    }];
    profile.timeline.interval_ns = 1_000_000_000;
    profile.timeline.intervals = vec![heapledger::profile::Interval {
        allocated_blocks: 2,
        allocated_bytes: 3_000,
        freed_blocks: 2,
        freed_bytes: 3_000,
        ..Default::default()
    }];
    profile
}

fn with_loss() -> Profile {
    let mut profile = profile();
    profile.quality.lost.add(LossReason::RingFull, 3);
    profile.quality.attempted += 3;
    profile.quality.current_completeness = 0.4;
    profile.threads[0].lost.add(LossReason::RingFull, 3);
    profile.threads[0].attempted += 3;
    profile
}

/// Returns a directory with a dump of `profile`.
fn directory_with(profile: &Profile) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(DUMP_NAME);
    dumps::write(&path, profile).expect("a dump");
    (directory, path)
}

#[test]
fn help_names_every_subcommand_and_each_has_its_own() {
    let (code, out, _) = run(heapledger().arg("--help"));
    assert_eq!(code, 0);
    for command in ["report", "verify", "export", "diff", "run"] {
        assert!(out.contains(&format!("\n  {command} ")), "{out}");
        let (code, help, _) = run(heapledger().args([command, "--help"]));
        assert_eq!(code, 0);
        assert!(help.contains("Usage: heapledger"), "{help}");
    }
    assert!(out.contains("Exit codes:"), "{out}");
    let (code, out, _) = run(heapledger().arg("--version"));
    assert_eq!((code, out), (0, format!("heapledger {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn usage_errors_exit_with_2() {
    for arguments in
        [&["frobnicate"][..], &[], &["report"], &["export", "x.hl"], &["report", "x.hl", "--fail-on", "rain"]]
    {
        let (code, out, _) = run(heapledger().args(arguments));
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
    }
}

#[test]
fn a_report_shows_the_findings_first_and_the_figures() {
    let (_directory, path) = directory_with(&profile());
    let (code, out, err) = run(heapledger().arg("report").arg(&path));
    assert_eq!((code, err.as_str()), (0, ""));
    let first = out.lines().position(|line| line == "Findings").expect("findings");
    assert!(first < out.lines().position(|line| line == "Totals").expect("totals"));
    assert!(out.contains("100.000 %") && out.contains("2 blocks, 2.9 KiB (3,000 B)"), "{out}");
    assert!(!out.contains("\nQuality\n"), "{out}");
    let (_, all, _) = run(heapledger().args(["report", "--all"]).arg(&path));
    assert!(all.contains("\nQuality\n") && all.lines().count() > out.lines().count(), "{all}");
}

#[test]
fn a_report_without_a_file_is_of_the_newest_dump_and_several_files_are_several_reports() {
    let (directory, path) = directory_with(&profile());
    let (older, newer) =
        (directory.path().join("heapledger.a.1.hl"), directory.path().join("heapledger.b.2.hl"));
    fs::copy(&path, &older).expect("copied");
    fs::copy(&path, &newer).expect("copied");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3_600);
    fs::File::options().write(true).open(&older).expect("there").set_modified(long_ago).expect("set");
    fs::remove_file(&path).expect("removed");
    let (code, out, err) = run(heapledger().arg("report").current_dir(directory.path()));
    assert_eq!((code, out.matches("\nFindings\n").count()), (0, 1), "{out}");
    assert!(err.contains("heapledger.b.2.hl") && !err.contains("heapledger.a.1.hl"), "{err}");
    let (code, out, _) = run(heapledger().arg("report").args([&older, &newer]));
    assert_eq!((code, out.matches("\nFindings\n").count()), (0, 2), "{out}");
    let page = directory.path().join("page.html");
    let (code, ..) = run(heapledger().arg("report").args([&older, &newer]).arg("--html").arg(page));
    assert_eq!(code, 2);
}

#[test]
fn input_that_cannot_be_read_exits_with_3_and_one_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = directory.path().join("notes.txt");
    fs::write(&text, "this is no dump at all, whatever it is").expect("written");
    let empty = directory.path().join("empty.hl");
    fs::write(&empty, "").expect("written");
    let inputs = [text, empty, directory.path().join("missing.hl"), directory.path().to_path_buf()];
    for path in inputs {
        for command in [&["report"][..], &["verify"], &["export", "--format", "json"]] {
            let (code, out, err) = run(heapledger().args(command).arg(&path));
            assert_eq!((code, out.as_str()), (3, ""), "{}: {err}", path.display());
            assert_eq!(err.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{err}");
            assert!(
                err.lines().all(|line| line.starts_with("error: ") || line.starts_with("hint: ")),
                "{err}"
            );
            let name = path.file_name().expect("a name").to_string_lossy();
            assert!(err.contains(&*name), "{err} does not name {name}");
        }
    }
}

#[test]
fn a_damaged_file_is_read_and_says_so_in_every_face() {
    let (_directory, path) = directory_with(&profile());
    let bytes = fs::read(&path).expect("the dump");
    fs::write(&path, &bytes[..bytes.len() * 3 / 4]).expect("cut");
    let faces =
        [&["report"][..], &["verify"], &["export", "--format", "json"], &["export", "--format", "csv"]];
    for face in faces {
        let (code, out, err) = run(heapledger().args(face).arg(&path));
        assert!(code <= 1, "{err}");
        assert!(out.contains("are not in the file") || out.contains("no end section"), "{out}");
    }
    let (code, ..) = run(heapledger().args(["report", "--fail-on", "loss"]).arg(&path));
    assert_eq!(code, 1);
}

#[test]
fn findings_that_were_asked_for_exit_with_1_and_others_do_not() {
    let (_directory, path) = directory_with(&with_loss());
    let exits = |arguments: &[&str]| run(heapledger().arg("report").arg(&path).args(arguments)).0;
    assert_eq!(exits(&[]), 0);
    assert_eq!(exits(&["--fail-on", "anomaly"]), 0);
    assert_eq!(exits(&["--fail-on", "anomaly", "--fail-on", "loss"]), 1);
    let (code, out, _) = run(heapledger().arg("report").arg(&path));
    assert_eq!(code, 0);
    assert!(
        out.contains("40.000 %") && out.contains("ring_full 3") && out.contains("HEAPLEDGER_MODE=perfect"),
        "{out}"
    );
    let mut odd = profile();
    odd.quality.anomalies.unmatched_frees = 1;
    let (_directory, path) = directory_with(&odd);
    assert_eq!(run(heapledger().args(["report", "--fail-on", "anomaly"]).arg(&path)).0, 1);
}

#[test]
fn verify_exits_with_1_for_a_planted_fault_only() {
    let (_directory, path) = directory_with(&profile());
    let (code, out, err) = run(heapledger().arg("verify").arg(&path));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("  totals            exact"), "{out}");
    let mut broken = profile();
    broken.quality.attempted += 1;
    let (_directory, path) = directory_with(&broken);
    let (code, out, _) = run(heapledger().arg("verify").arg(&path));
    assert_eq!(code, 1);
    assert!(out.contains("  BROKEN            attempted = recorded + lost + in_flight: 3 is not 2"), "{out}");
}

#[test]
fn exported_json_has_the_promised_keys() {
    let (directory, path) = directory_with(&with_loss());
    let target = directory.path().join("out.json");
    let (code, out, _) = run(heapledger().args(["export", "--format", "json", "-o"]).arg(&target).arg(&path));
    assert_eq!((code, out.as_str()), (0, ""));
    let value: serde_json::Value =
        serde_json::from_slice(&fs::read(&target).expect("written")).expect("JSON");
    for key in ["format_version", "quality", "totals", "sites", "threads", "timeline"] {
        assert!(value.get(key).is_some(), "{key}");
    }
    for key in ["attempted", "recorded", "lost", "in_flight", "completeness", "lost_by_reason"] {
        assert!(value["quality"].get(key).is_some(), "quality.{key}");
    }
    for key in ["total_blocks", "total_bytes", "live_blocks", "live_bytes", "peak_blocks", "peak_bytes"] {
        assert!(value["totals"].get(key).is_some(), "totals.{key}");
    }
    assert_eq!(value["quality"]["lost_by_reason"]["ring_full"], 3);
}

#[test]
fn an_export_never_replaces_the_dump_and_says_where_it_cannot_write() {
    let (directory, path) = directory_with(&profile());
    let before = fs::read(&path).expect("the dump");
    let (code, _, err) = run(heapledger().args(["export", "--format", "csv", "-o"]).arg(&path).arg(&path));
    assert_eq!(code, 2, "{err}");
    assert_eq!(fs::read(&path).expect("the dump"), before);
    let nowhere = directory.path().join("no/such/directory/out.csv");
    let (code, _, err) = run(heapledger().args(["export", "--format", "csv", "-o"]).arg(&nowhere).arg(&path));
    assert_eq!(code, 4);
    assert!(err.starts_with("error: cannot create"), "{err}");
}

#[test]
fn every_format_is_written_and_the_metric_is_for_the_one_that_needs_it() {
    let (directory, path) = directory_with(&with_loss());
    for format in ["json", "csv", "pprof", "dhat", "collapsed", "speedscope", "heaptrack", "firefox"] {
        let target = directory.path().join(format);
        let mut command = heapledger();
        command.args(["export", "--format", format, "-o"]).arg(&target).arg(&path);
        let (code, out, err) = run(&mut command);
        assert_eq!((code, out.as_str()), (0, ""), "{format}: {err}");
        // What a file cannot carry is said beside it.
        assert_eq!(err.contains("completeness 40.0000 %"), format == "collapsed", "{format}: {err}");
        let written = fs::read(&target).expect("written");
        assert_eq!(written.starts_with(&[0x1f, 0x8b]), format == "pprof", "{format}");
        let takes = |flags: &[&str]| {
            let mut command = heapledger();
            command.args(["export", "--format", format, "-o"]).arg(&target).arg(&path).args(flags);
            let (code, _, err) = run(&mut command);
            assert!(code == 0 || code == 2 && err.contains("has no meaning"), "{format}: {err}");
            code == 0
        };
        let is_ranked = ["collapsed", "csv"].contains(&format);
        assert_eq!([takes(&["--by", "total"]), takes(&["--top", "1"])], [is_ranked; 2], "{format}");
        assert_eq!(takes(&["--format-version", "1"]), format == "json");
        assert_eq!(takes(&["--unfolded"]), is_ranked || format == "speedscope", "{format}");
        assert_eq!(takes(&["--own", "demo"]), format == "csv", "{format}");
    }
    let (_, out, _) =
        run(heapledger().args(["export", "--format", "collapsed", "--metric", "count"]).arg(&path));
    assert_eq!(out, "(no stack) 2\n");
}

/// `script` of util-linux gives a command a terminal. Without it, this test passes.
#[cfg(target_os = "linux")]
#[test]
fn nothing_binary_goes_to_a_terminal() {
    let (_directory, path) = directory_with(&profile());
    let on_a_terminal = |format: &str| {
        let command =
            format!("'{}' export --format {format} '{}'", env!("CARGO_BIN_EXE_heapledger"), path.display());
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).output().ok()
    };
    let Some(refused) = on_a_terminal("pprof") else {
        return println!("passed over: script is not installed");
    };
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("standard output is a terminal") && said.contains("hint: "), "{said}");
    assert_eq!(on_a_terminal("csv").expect("as before").status.code(), Some(0));
}

#[test]
fn a_diff_shows_growth_and_exits_with_1_when_asked_to() {
    let (_first, before) = directory_with(&profile());
    let mut grown = profile();
    grown.totals.total_bytes += 500;
    grown.totals.live_bytes += 500;
    grown.sites[0].total_bytes += 500;
    let (directory, after) = directory_with(&grown);
    let diff = |arguments: &[&str]| run(heapledger().arg("diff").args([&before, &after]).args(arguments));
    let (code, out, err) = diff(&[]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("+500 B") && out.contains("(no stack)"), "{out}");
    assert_eq!(diff(&["--fail-on-growth", "500"]).0, 0);
    assert_eq!(diff(&["--fail-on-growth", "499"]).0, 1);
    assert_eq!(diff(&["--fail-on-growth", "0", "--metric", "count"]).0, 0);
    assert!(diff(&["--color", "always"]).1.contains('\u{1b}') && !out.contains('\u{1b}'));
    let value: serde_json::Value = serde_json::from_str(&diff(&["--format", "json"]).1).expect("JSON");
    assert_eq!(value["after"]["totals"]["live_bytes"], 500);
    let page = directory.path().join("diff.html");
    assert_eq!(diff(&["--html", page.to_str().expect("text")]).0, 0);
    assert!(fs::read_to_string(&page).expect("written").contains("<svg"));
    let kept = fs::read(&after).expect("the dump");
    assert_eq!(diff(&["--html", after.to_str().expect("text")]).0, 2);
    assert_eq!(fs::read(&after).expect("the dump"), kept);
    assert_eq!(diff(&["--html", "/no/such/directory/x.html"]).0, 4);
}

#[test]
fn the_old_shape_of_the_json_is_written_on_request() {
    let (_directory, path) = directory_with(&profile());
    let written = |flags: &[&str]| -> serde_json::Value {
        let (code, out, err) = run(heapledger().args(["export", "--format", "json"]).arg(&path).args(flags));
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).expect("JSON")
    };
    let (new, old) = (written(&[]), written(&["--format-version", "1"]));
    assert_eq!((&new["format_version"], &old["format_version"]), (&2.into(), &1.into()));
    assert!(old["sites"][0]["functions"].is_array() && old.get("calls").is_none(), "{old}");
    assert!(new["calls"]["parents"].is_array() && new["frames"].is_array(), "{new}");
}

#[test]
fn figures_of_threads_and_scopes_are_ranked_and_what_is_not_recorded_is_refused() {
    let (_directory, path) = directory_with(&profile());
    let report = |flags: &[&str]| run(heapledger().arg("report").arg(&path).args(flags));
    let (code, out, err) = report(&["--group", "thread"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("by bytes allocated: ") && out.contains("n/a"), "{out}");
    let (code, _, err) = report(&["--group", "thread", "--by", "peak"]);
    assert!(code == 2 && err.contains("not recorded by thread"), "{err}");
    let (code, _, err) = report(&["--group", "thread", "--focus", "x"]);
    assert!(code == 2 && err.contains("of all stacks"), "{err}");
    let (code, _, err) = report(&["--group", "scope"]);
    assert_eq!(code, 0, "{err}");
}

#[test]
fn the_environment_is_listed_and_a_pattern_that_fits_nothing_is_named() {
    let (code, out, _) = run(heapledger().arg("environment"));
    assert!(code == 0 && out.contains("HEAPLEDGER_STACKS"), "{out}");
    let (code, help, _) = run(heapledger().args(["help", "environment"]));
    assert!(code == 0 && help.contains("HEAPLEDGER_TRIGGERS"), "{help}");
    let (code, _, err) = run(heapledger().args(["report", "/no/such/heapledger.*.hl"]));
    assert!(code == 3 && err.contains("no file fits this pattern"), "{err}");
}

#[test]
fn dumps_that_cannot_be_compared_are_refused_unless_forced() {
    let (_first, before) = directory_with(&profile());
    let (_second, after) = directory_with(&with_loss());
    let (code, out, err) = run(heapledger().arg("diff").args([&before, &after]));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("cannot be compared: events were lost") && err.contains("hint: --force"), "{err}");
    let (code, out, _) = run(heapledger().arg("diff").args([&before, &after]).arg("--force"));
    assert_eq!(code, 0);
    assert!(out.contains("NOT COMPARABLE"), "{out}");
    let (code, ..) = run(heapledger().arg("diff").arg(&before).arg("/no/such/dump.hl"));
    assert_eq!(code, 3);
}

#[test]
fn a_page_is_written_instead_of_the_text_and_never_over_the_dump() {
    let (directory, dump) = directory_with(&with_loss());
    let page = directory.path().join("page.html");
    let asked = |path: &Path| {
        let mut command = heapledger();
        command.arg("report").arg(&dump).arg("--html").arg(path);
        run(&mut command)
    };
    let (code, out, err) = asked(&page);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
    let text = fs::read_to_string(&page).expect("the page");
    assert!(text.starts_with("<!doctype html>") && text.ends_with("</html>\n"));
    assert!(text.contains("\"ring_full\",\"3\""), "the loss is in it");
    let (code, _, err) = asked(&dump);
    assert!(code == 2 && err.contains("is the dump itself") && err.contains("--html"), "{err}");
    let (code, _, err) = asked(&directory.path().join("missing/page.html"));
    assert!(code == 4 && err.starts_with("error: cannot create"), "{err}");
    let (code, ..) =
        run(heapledger().arg("report").arg(&dump).arg("--html").arg(&page).args(["--fail-on", "loss"]));
    assert_eq!(code, 1);
}

#[test]
fn colours_appear_when_asked_for_only() {
    let (_directory, path) = directory_with(&profile());
    let escapes =
        |arguments: &[&str]| run(heapledger().arg("report").arg(&path).args(arguments)).1.contains('\u{1b}');
    assert!(escapes(&["--color", "always"]));
    assert!(!escapes(&["--color", "never"]) && !escapes(&[]), "standard output is no terminal here");
}

#[test]
fn ascii_is_drawn_where_asked_for_and_where_the_locale_has_nothing_else() {
    let (_directory, path) = directory_with(&profile());
    let is_ascii = |command: &mut Command| run(command.arg("report").arg(&path)).1.is_ascii();
    assert!(!is_ascii(&mut heapledger()));
    assert!(is_ascii(heapledger().env("LC_ALL", "C")));
    let (_, out, _) = run(heapledger().args(["report", "--ascii"]).arg(&path));
    assert!(out.is_ascii() && out.contains('#'), "{out}");
}

#[test]
fn standard_input_is_a_file_like_any_other() {
    let (_directory, path) = directory_with(&profile());
    let input = fs::File::open(&path).expect("the dump");
    let (code, out, _) = run(heapledger().args(["verify", "-"]).stdin(input));
    assert_eq!(code, 0);
    assert!(out.contains("Conclusions"), "{out}");
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_panic_and_a_full_disk_is_an_error() {
    // Long enough not to fit into the buffer of a pipe, so that the command is still writing when it is closed.
    let mut profile = profile();
    profile.sites.resize(20_000, Site::default());
    let (_directory, path) = directory_with(&profile);
    let mut child = heapledger()
        .args(["export", "--format", "json"])
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut first = [0; 10];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("some output");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    if Path::new("/dev/full").exists() {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("the device");
        let mut command = heapledger();
        let status = command.args(["report"]).arg(&path).stdout(full).stderr(Stdio::null()).status();
        assert_eq!(status.expect("it ends").code(), Some(4));
    }
}

#[cfg(unix)]
mod run_command {
    use super::*;

    /// Runs `heapledger run` over a shell script that gets the path of a dump as `$1`.
    fn run_script(directory: &Path, options: &[&str], dump: &Path, script: &str) -> (i32, String, String) {
        let mut command = heapledger();
        command
            .current_dir(directory)
            .arg("run")
            .args(options)
            .args(["--", "sh", "-c", script, "sh"])
            .arg(dump);
        run(&mut command)
    }

    #[test]
    fn the_page_takes_the_place_of_the_text_unless_both_are_asked_for() {
        let (_source, dump) = directory_with(&profile());
        let place = tempfile::tempdir().unwrap();
        let script = "cp \"$1\" \"$HEAPLEDGER_DUMP\"; exit 5";
        for (options, has_text) in [
            (&["--html", "page.html", "-o", "one.hl"][..], false),
            (&["--report", "--html", "page.html", "-o", "two.hl"], true),
            (&["--report", "-o", "three.hl"], true),
        ] {
            let (code, _, err) = run_script(place.path(), options, &dump, script);
            assert_eq!((code, err.contains("\nFindings\n")), (5, has_text), "{options:?} {err}");
            let page = place.path().join("page.html");
            let is_page = fs::read_to_string(&page).is_ok_and(|page| page.contains("</html>"));
            assert_eq!(is_page, options.contains(&"--html"), "{options:?}");
            let _ = fs::remove_file(page);
        }
        let (code, _, err) = run_script(place.path(), &["--html", "/no/such/place.html"], &dump, "exit 5");
        assert_eq!(code, 5, "{err}");
    }

    #[test]
    fn the_exit_code_and_the_streams_are_the_programs_own_and_the_report_is_printed() {
        let (_source, dump) = directory_with(&profile());
        let place = tempfile::tempdir().expect("a directory");
        let script = r#"echo to stdout; echo to stderr >&2; cp "$1" "$HEAPLEDGER_DUMP"; exit 7"#;
        let (code, out, err) = run_script(place.path(), &["-o", "one.hl"], &dump, script);
        assert_eq!((code, out.as_str()), (7, "to stdout\n"), "{err}");
        assert!(
            err.starts_with("to stderr\n") && err.contains("\nFindings\n") && err.contains("one.hl"),
            "{err}"
        );
    }

    #[test]
    fn in_a_directory_the_programs_own_dump_is_reported_and_the_others_are_named() {
        let (_source, dump) = directory_with(&profile());
        let place = tempfile::tempdir().expect("a directory");
        // An older dump that the run did not make must not be taken for its own.
        fs::copy(&dump, place.path().join("heapledger.old.1.hl")).expect("copied");
        let script = r#"d=$(dirname "$HEAPLEDGER_DUMP"); cp "$1" "$d/heapledger.sh.$$.hl"; cp "$1" "$d/heapledger.sub.1.hl""#;
        let (code, _, err) = run_script(place.path(), &[], &dump, script);
        assert_eq!(code, 0, "{err}");
        let last = err.lines().last().expect("a line");
        assert!(last.starts_with("The dump is ") && last.contains("heapledger.sh."), "{err}");
        assert!(err.contains("another process left") && err.contains("heapledger.sub.1.hl"), "{err}");
        assert!(!err.contains("heapledger.old.1.hl"), "{err}");
    }

    #[test]
    fn a_program_without_a_ledger_gets_the_line_to_add_and_keeps_its_exit_code() {
        let (_source, dump) = directory_with(&profile());
        let place = tempfile::tempdir().expect("a directory");
        let (code, _, err) = run_script(place.path(), &[], &dump, "exit 3");
        assert_eq!(code, 3);
        assert!(
            err.contains("left no dump behind")
                && err.contains("hint: ")
                && err.contains("#[global_allocator]"),
            "{err}"
        );
    }

    #[test]
    fn a_program_that_aborts_gets_no_line_to_add_that_it_has() {
        let (_source, dump) = directory_with(&profile());
        let place = tempfile::tempdir().expect("a directory");
        let hint = |err: &str| {
            err.lines().find(|line| line.starts_with("hint: ")).unwrap_or_else(|| panic!("{err}")).to_owned()
        };
        // The command itself contains a ledger, and records nothing without being asked.
        let mut command = heapledger();
        command.current_dir(place.path()).args(["run", "--", env!("CARGO_BIN_EXE_heapledger"), "--version"]);
        let (code, _, err) = run(&mut command);
        assert_eq!(code, 0, "{err}");
        assert!(
            hint(&err).contains("HEAPLEDGER_BLACKBOX=PATH") && !err.contains("global_allocator"),
            "{err}"
        );
        let (code, _, err) = run_script(place.path(), &[], &dump, "kill -ABRT $$");
        assert_eq!(code, 134, "{err}");
        assert!(hint(&err).starts_with("hint: signal 6 ended it"), "{err}");
        let (_, _, err) = run(heapledger().env("HEAPLEDGER", "off").args(["run", "--", "true"]));
        assert!(hint(&err).contains("HEAPLEDGER=off is set"), "{err}");
    }

    #[test]
    fn an_older_dump_in_the_named_file_is_replaced_by_a_new_one_only() {
        let (_source, dump) = directory_with(&profile());
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("one.hl");
        fs::write(&file, fs::read(&dump).unwrap()).unwrap();
        let names = || fs::read_dir(place.path()).unwrap().count();
        let (_, _, err) = run_script(place.path(), &["-o", "one.hl"], &dump, "exit 0");
        assert!(err.contains("left no dump behind"), "{err}");
        assert_eq!((names(), fs::read(&file).unwrap() == fs::read(&dump).unwrap()), (1, true));
        // Two processes: a program finds no older dump in its way, and numbers its own behind that of another process.
        let script = r#"f="$HEAPLEDGER_DUMP"; test -e "$f" && exit 1; cp "$1" "$f"; cp "$1" "${f%.hl}-2.hl""#;
        let (code, _, err) = run_script(place.path(), &["-o", "one.hl"], &dump, script);
        assert_eq!((code, names()), (0, 2), "{err}");
        assert!(err.contains("\nFindings\n") && err.contains("another process left "), "{err}");
    }

    #[test]
    fn a_signal_ends_it_as_in_a_shell_and_a_missing_program_is_127() {
        let (_source, dump) = directory_with(&profile());
        let place = tempfile::tempdir().expect("a directory");
        assert_eq!(run_script(place.path(), &[], &dump, "kill -9 $$").0, 137);
        let (code, _, err) = run(heapledger().args(["run", "--", "/no/such/program"]));
        assert_eq!(code, 127, "{err}");
        let (code, _, err) = run(heapledger().args(["run", "-o", "/no/such/place/", "--", "true"]));
        assert_eq!(code, 2, "{err}");
    }
}
