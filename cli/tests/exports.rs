//! Exports, read by the programs that they are for.
//!
//! Each format's reader prints its sums, which must equal those of the profile. If a reader is not installed, the test
//! skips it and prints that; with `HEAPLEDGER_READERS=all` it fails. The unit tests of each format check the sums with
//! separate readers.

#[path = "exports/sample.rs"]
mod sample;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use heapledger::Profile;
use heapledger_cli::analysis::{Origin, SiteOrder};
use heapledger_cli::export::{Format, export};
use tempfile::TempDir;

fn exported(format: Format, profile: &Profile) -> Vec<u8> {
    let mut out = Vec::new();
    export(format, profile, &Origin::default(), &mut out).expect("a vector takes everything");
    out
}

fn file(directory: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, content).expect("written");
    path
}

/// Returns the output of `command` on both streams, or `None` if there is no such program.
fn output(command: &mut Command) -> Option<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let Ok(output) = command.stdin(Stdio::null()).output() else {
        assert!(std::env::var_os("HEAPLEDGER_READERS").is_none(), "{program} is not installed");
        println!("passed over: {program} is not installed");
        return None;
    };
    let text =
        [output.stdout, output.stderr].map(|stream| String::from_utf8_lossy(&stream).into_owned()).concat();
    assert!(output.status.success(), "{program} failed:\n{text}");
    Some(text)
}

/// Returns the profiles that every format must accept, each with a name.
fn profiles() -> Vec<(&'static str, Profile)> {
    vec![
        ("ordinary", sample::ordinary()),
        ("hostile names", sample::with_hostile_names()),
        ("no stacks", sample::without_stacks()),
        ("empty", sample::empty()),
        ("many", sample::large(2_000, 12)),
    ]
}

#[test]
fn pprof_finds_the_totals() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, profile) in profiles() {
        let path = file(&directory, "heap.pb.gz", &exported(Format::Pprof, &profile));
        let totals = profile.totals;
        for (index, expected) in [
            ("alloc_objects", totals.total_blocks),
            ("alloc_space", totals.total_bytes),
            ("inuse_objects", totals.live_blocks),
            ("inuse_space", totals.live_bytes),
        ] {
            let mut command = pprof(&directory);
            let index_flag = format!("-sample_index={index}");
            command.args(["-top", "-unit=bytes", "-nodefraction=0", &index_flag]).arg(&path);
            let Some(text) = output(&mut command) else { return };
            // "Showing nodes accounting for 5000B, 100% of 5000B total"
            let line = text.lines().find(|line| line.starts_with("Showing nodes accounting for"));
            let all = line.and_then(|line| line.strip_suffix(" total")?.rsplit_once(" of "));
            let all =
                all.map(|(_, all)| all.trim_end_matches(char::is_alphabetic).parse::<u64>().expect(&text));
            assert_eq!(all.unwrap_or(0), expected, "{name}, {index}:\n{text}");
        }
    }
}

fn pprof(directory: &TempDir) -> Command {
    let mut command = Command::new("go");
    command.args(["tool", "pprof"]).env("HOME", directory.path()).env("PPROF_TMPDIR", directory.path());
    command
}

#[test]
fn pprof_shows_functions_lines_and_comments() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = file(&directory, "heap.pb.gz", &exported(Format::Pprof, &sample::ordinary()));
    let mut command = pprof(&directory);
    let Some(text) = output(command.args(["-traces", "-lines", "-sample_index=alloc_space"]).arg(&path))
    else {
        return;
    };
    assert!(
        text.contains("demo::parse src/parse.rs:10") && text.contains("demo::main src/main.rs:5"),
        "{text}"
    );
    assert!(text.contains("alloc::vec::Vec<T>::push src/vec.rs:20 (inline)"), "{text}");
    let comments = output(pprof(&directory).arg("-comments").arg(&path)).expect("the same program");
    assert!(comments.contains("completeness_ppm 1000000\n"), "{comments}");
}

#[test]
fn dhat_viewer_builds_its_tree() {
    let viewer = Path::new("/usr/libexec/valgrind/dh_view.js");
    if !viewer.exists() {
        assert!(std::env::var_os("HEAPLEDGER_READERS").is_none(), "dh_view.js is not installed");
        println!("passed over: dh_view.js is not installed");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    // The viewer's functions without its page: what it needs of the page to build the tree is a menu.
    let mut script = "const document = {}, window = {};\n".to_owned();
    script.push_str(&fs::read_to_string(viewer).expect("the viewer"));
    script.push_str(
        "\ngSelect = { selectedIndex: 0, childNodes: gSelectData.map(() => ({})) };\n\
         gData = JSON.parse(require('fs').readFileSync(process.argv[2], 'utf8'));\n\
         buildTree();\n\
         console.log([gRoot._totalBytes, gRoot._totalBlocks, gRoot._atTGmaxBytes, gRoot._atTGmaxBlocks,\n\
             gRoot._atTEndBytes, gRoot._atTEndBlocks].join(' '));\n",
    );
    let script = file(&directory, "viewer.js", script.as_bytes());
    for (name, profile) in profiles() {
        let path = file(&directory, "dhat.json", &exported(Format::Dhat, &profile));
        let Some(text) = output(Command::new("node").arg(&script).arg(&path)) else { return };
        let totals = profile.totals;
        let expected = [
            totals.total_bytes,
            totals.total_blocks,
            totals.peak_bytes,
            totals.peak_blocks,
            totals.live_bytes,
            totals.live_blocks,
        ];
        assert_eq!(text.trim(), expected.map(|figure| figure.to_string()).join(" "), "{name}");
    }
}

#[test]
fn heaptrack_finds_the_totals() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, profile) in profiles() {
        let path = file(&directory, "heap.txt", &exported(Format::Heaptrack, &profile));
        let totals = profile.totals;
        let temporary = profile.sites.iter().map(|site| site.temporary_blocks).sum::<u64>();
        for (cost, expected) in [
            ("allocations", totals.total_blocks),
            ("temporary", temporary),
            ("peak", totals.peak_bytes),
            ("leaked", totals.live_bytes),
        ] {
            let flames = directory.path().join("flames.txt");
            let mut command = Command::new("heaptrack_print");
            command.arg("-F").arg(&flames).args(["--flamegraph-cost-type", cost]).arg("-f").arg(&path);
            let Some(text) = output(&mut command) else { return };
            assert!(!text.contains("failed to parse") && !text.contains("unexpected"), "{name}:\n{text}");
            let flames = fs::read_to_string(&flames).expect("collapsed stacks");
            let figures = flames.lines().filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
            assert_eq!(figures.sum::<u64>(), expected, "{name}, {cost}:\n{text}");
        }
    }
}

#[test]
fn inferno_draws_every_line() {
    for (name, profile) in profiles() {
        for metric in SiteOrder::ALL {
            let text = String::from_utf8(exported(Format::Collapsed(metric), &profile)).expect("text");
            let expected: u64 = profile.sites.iter().map(|site| metric.value(site)).sum();
            let figures = text.lines().map(|line| line.rsplit_once(' ').expect("a figure").1);
            let sum: u64 = figures.map(|figure| figure.parse::<u64>().expect("a number")).sum();
            assert_eq!(sum, expected, "{name}, {metric:?}");
            if sum == 0 {
                continue;
            }
            let mut options = inferno::flamegraph::Options::default();
            options.count_name = "units".into();
            let mut drawn = Vec::new();
            inferno::flamegraph::from_lines(&mut options, text.lines(), &mut drawn).expect("readable");
            let drawn = String::from_utf8(drawn).expect("text");
            let all = drawn.split("<title>all (").nth(1).and_then(|rest| rest.split(' ').next());
            assert_eq!(
                all.map(|figure| figure.replace(',', "")),
                Some(sum.to_string()),
                "{name}, {metric:?}"
            );
        }
    }
}

/// Writes files of all formats for a very large profile, and prints the times: `cargo test --release --all-features
/// --test exports -- --ignored --nocapture`.
#[test]
#[ignore = "for people: it prints times"]
fn a_large_profile_takes_time_by_its_length() {
    let profile = sample::large(100_000, 40);
    for format in Format::ALL {
        let started = std::time::Instant::now();
        let mut count = Counted(0);
        export(*format, &profile, &Origin::default(), &mut count).expect("nothing fails to count");
        let highest = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let highest = highest.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned();
        println!("{format}: {} bytes in {:?}; {highest}", count.0, started.elapsed());
    }
}

struct Counted(u64);

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
