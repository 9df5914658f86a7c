//! Known sites in every build. The program `tests/matrix/sites.rs` is built in each way that changes how a stack is
//! walked or how an address is named, and runs under the recorder. `heapledger export --format json` must then give
//! every site with its function, file, line and exact counts.
//!
//! By default the test builds one way; with `HEAPLEDGER_MATRIX=all` it builds all, each with a separate build of the
//! library.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");
const HEAPLEDGER: &str = env!("CARGO_BIN_EXE_heapledger");
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A way to build the program.
struct Way {
    name: &'static str,
    /// Flags for every crate.
    all: &'static [&'static str],
    /// Flags for the program alone.
    program: &'static [&'static str],
    profile: &'static [(&'static str, &'static str)],
    /// Flags for the C compiler.
    c: &'static str,
    /// Each run: the requested method of walking stacks, and the method that must have been used.
    runs: &'static [(&'static str, &'static str)],
}

const FRAMES: &str = "-fno-omit-frame-pointer";
const NO_FRAMES: &str = "-fomit-frame-pointer";

const PLAIN: Way = Way {
    name: "plain",
    all: &[],
    program: &[],
    profile: &[],
    c: NO_FRAMES,
    runs: &[("auto", "dwarf"), ("dwarf", "dwarf")],
};

const OTHERS: &[Way] = &[
    Way {
        name: "frame-pointers",
        all: &["-Cforce-frame-pointers=yes"],
        c: FRAMES,
        runs: &[("auto", "frame pointers"), ("fp", "frame pointers"), ("dwarf", "dwarf")],
        ..PLAIN
    },
    // The library has none anyway, unless they are forced.
    Way { name: "no-frame-pointers", program: &["-Cforce-frame-pointers=no"], ..PLAIN },
    Way {
        name: "lto",
        profile: &[("CARGO_PROFILE_RELEASE_LTO", "fat"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")],
        ..PLAIN
    },
    Way { name: "non-pie", program: &["-Crelocation-model=static"], ..PLAIN },
    Way { name: "static-pie", all: &["-Ctarget-feature=+crt-static"], ..PLAIN },
    Way { name: "abort", profile: &[("CARGO_PROFILE_RELEASE_PANIC", "abort")], ..PLAIN },
];

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {} {said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Makes a package of the program, with the library's choice of dependencies. The library is compiled with fewer
/// optimisations, because compiling it takes most of the time.
fn package() -> PathBuf {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("matrix");
    std::fs::create_dir_all(&package).unwrap();
    let manifest = format!(
        "[package]\nname = \"sites\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [[bin]]\nname = \"sites\"\npath = \"{PACKAGE}/tests/matrix/sites.rs\"\n\n\
         [dependencies]\nheapledger = {{ path = \"{PACKAGE}/..\" }}\n\n\
         [profile.release]\ndebug = 1\n\n[profile.release.package.\"*\"]\nopt-level = 1\n\n[workspace]\n"
    );
    write_if_new(&package.join("Cargo.toml"), manifest.as_bytes());
    let lock = package.join("Cargo.lock");
    if !lock.exists() {
        std::fs::copy(Path::new(PACKAGE).join("../Cargo.lock"), lock).unwrap();
    }
    package
}

/// Writes a file unless it has this content, so that an unchanged file keeps its time and is not built again.
fn write_if_new(path: &Path, content: &[u8]) {
    if std::fs::read(path).ok().as_deref() != Some(content) {
        std::fs::write(path, content).unwrap();
    }
}

/// Lock on the path to which all builds write the program. A build begins once the program of the last build is copied.
static BUILD: Mutex<()> = Mutex::new(());

/// Builds the program and returns a copy of it in a separate directory.
fn build(way: &Way, room: &Path) -> PathBuf {
    let _turn = BUILD.lock().unwrap_or_else(PoisonError::into_inner);
    let package = package();
    let callback = package.join(format!("callback-{}.o", way.name));
    let source = Path::new(PACKAGE).join("tests/matrix/callback.c");
    run(Command::new("cc").args(["-c", "-O2", "-fPIC", way.c]).arg(source).arg("-o").arg(&callback));
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["rustc", "--release", "--quiet", "--target", TARGET, "--"]);
    cargo.arg(format!("-Clink-arg={}", callback.display())).arg("-Clink-arg=-Wl,--build-id=sha1");
    cargo.args(way.program).current_dir(&package);
    cargo.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", way.all.join("\u{1f}"));
    cargo.env("CARGO_TARGET_DIR", package.join("target")).envs(way.profile.iter().copied());
    run(&mut cargo);
    let program = room.join("sites");
    std::fs::copy(package.join("target").join(TARGET).join("release/sites"), &program).unwrap();
    program
}

/// The figures that the program prints: blocks, bytes and freed blocks for each chain of frames.
type Answers = BTreeMap<String, [u64; 3]>;

/// Runs the program. Returns the expected figures, and the JSON that the command exports from the dump.
fn recorded(
    program: &Path,
    stacks: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> (Answers, Value) {
    let room = program.parent().unwrap();
    let dump = room.join("dump.hl");
    // A process does not replace the dump of another one.
    let _ = std::fs::remove_file(&dump);
    let mut child = Command::new(program);
    child.current_dir(room).env("HEAPLEDGER_STACKS", stacks).env("HEAPLEDGER_DUMP", &dump);
    child.envs(variables.iter().copied());
    let printed = run(child.env_remove("HEAPLEDGER_MODE").env_remove("HEAPLEDGER_CLOCK"));
    let answers = printed.lines().filter_map(|line| {
        let mut words = line.strip_prefix("answer ")?.splitn(4, ' ');
        let mut number = || words.next().unwrap().parse().unwrap();
        let figures = [number(), number(), number()];
        Some((words.next().unwrap().to_owned(), figures))
    });
    let answers: Answers = answers.collect();
    let json = run(Command::new(HEAPLEDGER)
        .args(["export", "--format", "json", "--format-version", "1"])
        .args(arguments)
        .arg(&dump)
        .current_dir(room));
    (answers, serde_json::from_str(&json).unwrap())
}

/// A line of the program: its file and its number.
type Line = (String, u64);

/// Returns the marks of the program's lines.
fn marks() -> BTreeMap<Line, String> {
    let of_file = |file: &str| {
        let source = std::fs::read_to_string(Path::new(PACKAGE).join("tests/matrix").join(file)).unwrap();
        let marked = source.lines().enumerate().filter_map(|(number, line)| {
            Some(((file.to_owned(), number as u64 + 1), line.rsplit_once("// @")?.1.to_owned()))
        });
        marked.collect::<Vec<_>>()
    };
    ["sites.rs", "planted.rs"].into_iter().flat_map(of_file).collect()
}

/// Returns the frames of a site in the program's files, innermost first: the function and the line.
fn own_frames(site: &Value) -> Vec<(&str, Line)> {
    let text =
        |value: &'static str| site[value].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
    let frames = text("functions").zip(text("lines"));
    frames
        .filter_map(|(function, line)| {
            let (path, line) = line.rsplit_once(':')?;
            let file = path.rsplit_once("tests/matrix/")?.1;
            Some((function, (file.to_owned(), line.parse().unwrap())))
        })
        .collect()
}

/// Whether the frames begin with the frames of the chain: functions by a part of their names, lines by their marks.
fn fits(chain: &str, frames: &[(&str, Line)], marks: &BTreeMap<Line, String>) -> bool {
    let mut frames = frames.iter();
    chain.split("  ").all(|wanted| {
        let (function, mark) = wanted.rsplit_once('@').unwrap();
        frames.next().is_some_and(|(name, line)| {
            name.contains(function) && marks.get(line).is_some_and(|found| found == mark)
        })
    })
}

/// Returns the differences between the expected figures and the exported ones, site by site.
fn faults(answers: &Answers, json: &Value) -> Vec<String> {
    let (marks, mut faults) = (marks(), Vec::new());
    let sites = json["sites"].as_array().unwrap();
    let mut is_known = vec![false; sites.len()];
    for (chain, expected) in answers {
        let mut found = [0; 3];
        for (site, is_known) in sites.iter().zip(&mut is_known) {
            if fits(chain, &own_frames(site), &marks) {
                *is_known = true;
                for (sum, key) in found.iter_mut().zip(["total_blocks", "total_bytes", "freed_blocks"]) {
                    *sum += site[key].as_u64().unwrap();
                }
            }
        }
        if found != *expected {
            faults.push(format!("{chain}: {found:?} and not {expected:?}"));
        }
    }
    // A block of an answer that stands elsewhere: at a marked line, with other callers.
    for (site, _) in sites.iter().zip(is_known).filter(|(_, is_known)| !is_known) {
        let frames = own_frames(site);
        if frames.first().is_some_and(|(_, line)| marks.contains_key(line)) {
            faults.push(format!("a site of no answer: {frames:?}"));
        }
    }
    faults
}

/// Checks one run.
fn check(name: &str, program: &Path, stacks: &str, walker: Option<&str>, arguments: &[&str]) {
    let (answers, json) = recorded(program, stacks, arguments, &[]);
    assert!(answers.len() >= 30, "{name}: {answers:?}");
    assert_eq!(json["quality"]["completeness"], 1.0, "{name}");
    let wrong = faults(&answers, &json);
    if !wrong.is_empty() && std::env::var_os("HEAPLEDGER_MATRIX_SHOW").is_some() {
        for site in json["sites"].as_array().unwrap() {
            eprintln!("{} {:?} {}", site["total_blocks"], own_frames(site), site["functions"]);
        }
    }
    assert!(wrong.is_empty(), "{name}, stacks {stacks}: {} {wrong:#?}", json["stacks"]);
    let said = &json["stacks"];
    assert_eq!(said["failed"], 0, "{name}, stacks {stacks}: {said}");
    assert_eq!(said["truncated"], 0, "{name}, stacks {stacks}: {said}");
    if let Some(walker) = walker {
        assert_eq!(said["walker"], walker, "{name}, stacks {stacks}: {said}");
    }
    println!("{name}, stacks {stacks}: {} sites right, {said}", answers.len());
}

/// Functions that keep data in the frame pointer must cause no crash and no false caller. A stack with an unknown
/// caller must be marked as truncated.
fn check_planted(name: &str, program: &Path) {
    for stacks in ["auto", "dwarf"] {
        let (answers, json) = recorded(program, stacks, &[], &[("SITES_PLANTED", "1")]);
        assert_eq!(answers.len(), 2, "{name}");
        assert_eq!(
            faults(&answers, &json),
            Vec::<String>::new(),
            "{name}, stacks {stacks}: {}",
            json["stacks"]
        );
        let said = &json["stacks"];
        assert_eq!((&said["walker"], &said["failed"]), (&"dwarf".into(), &0.into()), "{name}: {said}");
        assert!(said["truncated"].as_u64() >= Some(14), "{name}: {said}");
        for site in json["sites"].as_array().unwrap() {
            let frames = own_frames(site);
            assert!(frames.iter().all(|(function, _)| !function.contains("forged")), "{name}: {frames:?}");
            let is_untold = frames.first().is_some_and(|(function, _)| function.contains("behind_untold"));
            assert!(
                !is_untold || frames.len() == 1 && site["frames_truncated"] == true,
                "{name}: {frames:?}"
            );
        }
    }
    // Frame pointers that were asked for are believed; but nothing outside the stack is read.
    let (_, json) = recorded(program, "fp", &[], &[("SITES_PLANTED", "1")]);
    assert_eq!(json["quality"]["completeness"], 1.0, "{name}");
}

fn check_way(way: &Way) {
    let room = tempfile::tempdir().unwrap();
    let program = build(way, room.path());
    for (stacks, walker) in way.runs {
        check(way.name, &program, stacks, Some(walker), &[]);
    }
    check_planted(way.name, &program);
}

/// The names of a stripped program must come from a debug file, found by its build id and by the link in the program.
fn check_stripped() {
    let room = tempfile::tempdir().unwrap();
    let program = build(&PLAIN, room.path());
    let tool = |name: &str, arguments: &[&str]| {
        run(Command::new(name).args(arguments).current_dir(room.path()));
    };
    tool("objcopy", &["--only-keep-debug", "sites", "kept"]);
    tool("strip", &["--strip-all", "sites"]);
    let (answers, json) = recorded(&program, "auto", &[], &[]);
    assert_eq!(faults(&answers, &json).len(), answers.len(), "a stripped program has no names");
    let object = |path: &str| {
        json["modules"]
            .as_array()
            .unwrap()
            .iter()
            .find(|module| module["path"].as_str().unwrap().ends_with(path))
            .cloned()
    };
    let id = object("/sites").unwrap()["build_id"].as_str().unwrap().to_owned();
    let by_id = room.path().join("debug/.build-id").join(&id[..2]);
    std::fs::create_dir_all(&by_id).unwrap();
    std::fs::copy(room.path().join("kept"), by_id.join(format!("{}.debug", &id[2..]))).unwrap();
    check("stripped, by build id", &program, "auto", None, &["--debug-dir", "debug"]);
    std::fs::remove_dir_all(room.path().join("debug")).unwrap();
    tool("objcopy", &["--add-gnu-debuglink=kept", "sites"]);
    check("stripped, by debug link", &program, "auto", None, &[]);
}

#[test]
fn every_known_site_has_its_function_its_line_and_its_counts() {
    check_way(&PLAIN);
    check_stripped();
}

#[test]
fn so_it_has_in_every_way_to_build() {
    if std::env::var("HEAPLEDGER_MATRIX").as_deref() != Ok("all") {
        println!("SKIPPED: HEAPLEDGER_MATRIX=all builds the program in every way");
        return;
    }
    for way in OTHERS {
        check_way(way);
    }
}

#[test]
fn a_wrong_caller_a_wrong_line_and_a_wrong_count_are_faults() {
    let line = |mark: &str| {
        let marks = marks();
        let (file, line) = marks.iter().find(|(_, found)| *found == mark).unwrap().0;
        format!("{PACKAGE}/tests/matrix/{file}:{line}")
    };
    let answers = Answers::from([("sites::plain@plain  sites::main@main_plain".to_owned(), [3, 30, 1])]);
    let site = |functions: [&str; 2], lines: [String; 2], blocks: u64| {
        serde_json::json!({"sites": [{
            "functions": functions, "lines": lines, "total_blocks": blocks, "total_bytes": 30, "freed_blocks": 1,
        }]})
    };
    let functions = ["sites::plain", "sites::main"];
    let right = [line("plain"), line("main_plain")];
    assert_eq!(faults(&answers, &site(functions, right.clone(), 3)), Vec::<String>::new());
    assert_eq!(faults(&answers, &site(functions, right.clone(), 4)).len(), 1);
    assert_eq!(faults(&answers, &site(functions, [line("plain"), line("main_inlined")], 3)).len(), 2);
    assert_eq!(faults(&answers, &site(["sites::plain", "sites::other"], right, 3)).len(), 2);
}
