//! Names of compiled programs. The same program is built in every way that changes the place of its names. It prints
//! some of its stacks, and each stack must get the right functions, files and lines.
//!
//! Marks in the program's source (`// @name`) give the lines, so the test does not repeat them.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::Command;

use heapledger::Profile;
use heapledger::profile::{Module, Stack};
use heapledger_cli::analysis::StackReader;
use heapledger_cli::symbols::{Options, resolve};
use object::{Object, ObjectSegment};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/symbols/walker.rs");

/// The program, built into a separate directory.
struct Built {
    directory: tempfile::TempDir,
    program: PathBuf,
}

impl Built {
    fn new(flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("walker");
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
        rustc.args(["--edition", "2024", SOURCE, "-o"]).arg(&program).args(flags);
        run(rustc.args(["-C", "link-arg=-Wl,--build-id=sha1"]).current_dir(directory.path()));
        Built { directory, program }
    }

    fn tool(&self, name: &str, arguments: &[&str]) {
        run(Command::new(name).args(arguments).current_dir(self.directory.path()));
    }

    /// Returns the profile of a run. Its stacks are in the order in which they were printed; stack 0 is empty.
    fn profile(&self) -> (Profile, Vec<String>) {
        let printed = run(Command::new(&self.program).current_dir(self.directory.path()));
        let mut profile = heapledger::Profile::default();
        profile.stacks.push(Stack::default());
        let mut labels = vec![String::new()];
        for line in printed.lines() {
            let mut words = line.split(' ');
            match words.next() {
                Some("stack") => {
                    labels.push(words.next().unwrap().to_owned());
                    let frames = words.map(hexadecimal).filter(|frame| *frame > 0).collect();
                    profile.stacks.push(Stack { frames, truncated: false });
                }
                Some("object") => {
                    let (bias, path) = (hexadecimal(words.next().unwrap()), words.next().unwrap());
                    // The program itself has no name there.
                    let path = if path.is_empty() { self.program.to_str().unwrap() } else { path };
                    profile.modules.extend(module(Path::new(path), bias));
                }
                _ => {}
            }
        }
        assert_eq!(labels.len(), 6, "{printed}");
        (profile, labels)
    }
}

/// Returns the module of the object file at `path`, loaded with `bias`; `None` for the kernel's objects, which have no
/// file.
fn module(path: &Path, bias: u64) -> Option<Module> {
    let bytes = std::fs::read(path).ok()?;
    let object = object::File::parse(&*bytes).unwrap();
    let id = object.build_id().unwrap().unwrap_or_default();
    Some(Module {
        path: path.to_str().unwrap().to_owned(),
        build_id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
        start: bias + object.segments().map(|segment| segment.address()).min().unwrap(),
        end: bias + object.segments().map(|segment| segment.address() + segment.size()).max().unwrap(),
        bias,
    })
}

fn hexadecimal(word: &str) -> u64 {
    u64::from_str_radix(word, 16).unwrap()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {} {said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the line of a mark in the source.
fn marked(mark: &str) -> u32 {
    let source = std::fs::read_to_string(SOURCE).unwrap();
    let wanted = format!("// @{mark}");
    source.lines().position(|line| line.ends_with(&wanted)).expect("the mark is there") as u32 + 1
}

/// Returns the resolved stack `label`: (function, line) from the function that called `print` to `main`.
fn read(profile: &Profile, labels: &[String], label: &str) -> Vec<(String, u32)> {
    let stack = labels.iter().position(|listed| listed == label).unwrap();
    let frames = StackReader::new(profile).whole_stack(stack as u32);
    let from = frames.iter().position(|frame| frame.function == "walker::print");
    let from = from.unwrap_or_else(|| panic!("{label}: {frames:#?}"));
    let mut read = Vec::new();
    for frame in &frames[from + 1..] {
        assert!(frame.file.ends_with("walker.rs"), "{label}: {frame:?}");
        read.push((frame.function.to_owned(), frame.line));
        if frame.function == "walker::main" {
            return read;
        }
    }
    panic!("{label}: main is not in {frames:#?}");
}

/// Resolves a run of `built` and checks every stack.
fn check(built: &Built, options: &Options) {
    check_inlined(built, options, "walker::");
}

/// Checks as [`check`] does, for debug information that prefixes the names of inlined functions with `path`.
fn check_inlined(built: &Built, options: &Options, path: &str) {
    let (mut profile, labels) = built.profile();
    resolve(&mut profile, options, &mut |_| {});
    let at = |function: &str, mark| (format!("walker::{function}"), marked(mark));
    let read = |label| read(&profile, &labels, label);
    let short = |name| (format!("{path}{name}"), marked(name));
    let inlined = [short("inner"), short("middle"), at("outer", "outer"), at("main", "main")];
    assert_eq!(read("inlined"), inlined);
    let first = |label| read(label).swap_remove(0);
    assert!(first("generic").0.starts_with("walker::generic"), "{:?}", first("generic"));
    assert_eq!(first("generic").1, marked("generic"));
    let again = at("recursive", "again");
    let three = [at("recursive", "recursive"), again.clone(), again];
    assert_eq!(read("recursive")[..3], three);
    let (object, line) = first("object");
    assert!(object.contains("walker::Square as walker::Shape>::draw"), "{object}");
    assert_eq!(line, marked("object"));
    let (closure, line) = first("closure");
    assert!(closure.contains("closure"), "{closure}");
    assert_eq!(line, marked("closure"));
}

/// Asserts that no function of the program has a name, and that a note contains `parts`.
fn check_unnamed(profile: &mut Profile, options: &Options, parts: &[&str]) {
    resolve(profile, options, &mut |_| {});
    let program = profile.modules.iter().find(|module| module.path.ends_with("walker")).unwrap();
    let named = profile.symbols.frames.keys().filter(|frame| (program.start..program.end).contains(frame));
    assert_eq!(named.count(), 0, "{:?}", profile.symbols.strings);
    let note = profile.symbols.notes.iter().find(|note| note.contains("walker"));
    let note = note.unwrap_or_else(|| panic!("{:?}", profile.symbols.notes));
    assert!(parts.iter().all(|part| note.contains(part)), "{note}");
}

#[test]
fn every_way_to_build_gives_the_right_functions_files_and_lines() {
    let ways: [&[&str]; 6] = [
        &["-g"],
        &["-C", "debuginfo=line-tables-only", "-C", "opt-level=3", "-C", "symbol-mangling-version=v0"],
        &["-g", "-C", "opt-level=3", "-C", "lto=fat", "-C", "codegen-units=1", "-C", "panic=abort"],
        &["-g", "-C", "relocation-model=static"],
        &["-g", "-C", "target-feature=+crt-static"],
        &["-g", "-C", "split-debuginfo=packed"],
    ];
    for way in ways {
        eprintln!("{way:?}");
        let is_reduced = way.contains(&"debuginfo=line-tables-only");
        check_inlined(&Built::new(way), &Options::default(), if is_reduced { "" } else { "walker::" });
    }
}

#[test]
fn separate_debug_files_are_found_by_build_id_by_name_and_by_link() {
    let built = Built::new(&["-g", "-C", "opt-level=2"]);
    let (profile, _) = built.profile();
    let id = profile.modules[0].build_id.clone();
    built.tool("objcopy", &["--only-keep-debug", "walker", "walker.debug"]);
    built.tool("strip", &["--strip-all", "walker"]);
    built.tool("mv", &["walker.debug", "kept"]);
    check_unnamed(&mut built.profile().0, &Options::default(), &["has no debug information", "--debug-dir"]);

    let here = built.directory.path();
    let given = Options { debug_directories: vec![here.join("debug")], ..Options::default() };
    let by_id = here.join("debug/.build-id").join(&id[..2]).join(format!("{}.debug", &id[2..]));
    for place in [by_id, here.join("debug/walker.debug")] {
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(here.join("kept"), &place).unwrap();
        check(&built, &given);
        std::fs::remove_file(&place).unwrap();
    }

    std::fs::create_dir(here.join(".debug")).unwrap();
    std::fs::copy(here.join("kept"), here.join(".debug/linked")).unwrap();
    built.tool("objcopy", &["--add-gnu-debuglink=.debug/linked", "walker"]);
    check(&built, &Options::default());
    // The checksum of the link no longer fits.
    let mut bytes = std::fs::read(here.join(".debug/linked")).unwrap();
    bytes.push(0);
    std::fs::write(here.join(".debug/linked"), bytes).unwrap();
    check_unnamed(&mut built.profile().0, &Options::default(), &["has no debug information"]);
}

#[test]
fn a_program_that_was_built_again_gets_no_names() {
    let built = Built::new(&["-g"]);
    let (mut profile, _) = built.profile();
    let other = Built::new(&["-g", "-C", "opt-level=1"]);
    std::fs::copy(&other.program, &built.program).unwrap();
    check_unnamed(&mut profile, &Options::default(), &["is another build", "build id", "heapledger bundle"]);
    // A debug file of the other build is not taken either.
    let (mut profile, _) = Built::new(&["-g", "-C", "opt-level=2"]).profile();
    let given = Options { debug_directories: vec![other.directory.path().to_owned()], ..Options::default() };
    check_unnamed(&mut profile, &given, &["is not on this machine"]);
}

#[test]
fn split_debug_information_that_is_gone_leaves_the_right_function_without_a_line() {
    let built = Built::new(&["-g", "-C", "split-debuginfo=packed"]);
    let here = built.directory.path();
    std::fs::create_dir(here.join("debug")).unwrap();
    std::fs::rename(here.join("walker.dwp"), here.join("debug/walker.dwp")).unwrap();
    let (mut profile, labels) = built.profile();
    resolve(&mut profile, &Options::default(), &mut |_| {});
    let stack = labels.iter().position(|listed| listed == "inlined").unwrap();
    let frames = StackReader::new(&profile).whole_stack(stack as u32);
    let own: Vec<_> = frames.iter().filter(|frame| frame.function.starts_with("walker::")).collect();
    let functions: Vec<_> = own.iter().map(|frame| frame.function).collect();
    assert_eq!(functions, ["walker::print", "walker::outer", "walker::main"]);
    assert!(own.iter().all(|frame| frame.file.is_empty() && frame.line == 0), "{own:?}");
    let note = profile.symbols.notes.iter().find(|note| note.contains("walker")).unwrap();
    assert!(note.contains("split debug information") && note.contains("--debug-dir"), "{note}");
    check(&built, &Options { debug_directories: vec![here.join("debug")], ..Options::default() });
}

#[test]
fn a_program_replaced_while_it_ran_is_found_by_its_build_id_under_any_name() {
    let built = Built::new(&["-g"]);
    let (profile, labels) = built.profile();
    let other = Built::new(&["-g", "-C", "opt-level=1"]);
    let here = built.directory.path();
    std::fs::rename(&built.program, here.join("old")).unwrap();
    std::fs::copy(&other.program, &built.program).unwrap();
    let is_named = |options: &Options| {
        let mut profile = profile.clone();
        resolve(&mut profile, options, &mut |_| {});
        if profile.symbols.strings.iter().any(|name| name == "walker::main") {
            assert_eq!(read(&profile, &labels, "inlined")[0], ("walker::inner".to_owned(), marked("inner")));
            return true;
        }
        false
    };
    assert!(is_named(&Options::default()), "beside the file that took its place");
    let elsewhere = tempfile::tempdir().unwrap();
    let place = elsewhere.path().to_owned();
    std::fs::copy(here.join("old"), place.join("whatever")).unwrap();
    std::fs::remove_file(here.join("old")).unwrap();
    assert!(!is_named(&Options::default()));
    assert!(is_named(&Options { dump_directory: Some(place.clone()), ..Options::default() }));
    assert!(is_named(&Options { debug_directories: vec![place], ..Options::default() }));
}

#[test]
fn a_stripped_program_with_a_symbol_table_keeps_its_functions() {
    let built = Built::new(&["-C", "strip=debuginfo"]);
    let (mut profile, labels) = built.profile();
    resolve(&mut profile, &Options::default(), &mut |_| {});
    let stack = labels.iter().position(|label| label == "recursive").unwrap();
    let frames = StackReader::new(&profile).whole_stack(stack as u32);
    let recursive = frames.iter().filter(|frame| frame.function == "walker::recursive").count();
    assert_eq!(recursive, 3, "{frames:#?}");
    let note = profile.symbols.notes.iter().find(|note| note.contains("walker")).unwrap();
    assert!(note.contains("line-tables-only"), "{note}");
}

fn heapledger(arguments: &[&str], directory: &Path) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heapledger"));
    let output = command.args(arguments).current_dir(directory).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_bundle_keeps_its_names_when_the_program_is_gone() {
    let built = Built::new(&["-g"]);
    let (profile, labels) = built.profile();
    let here = built.directory.path();
    heapledger::dumps::write(&here.join("plain.hl"), &profile).unwrap();
    let (code, _, said) = heapledger(&["bundle", "plain.hl", "-o", "other.hl"], here);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("other.hl: ") && said.contains("addresses with names"), "{said}");
    let (code, ..) = heapledger(&["bundle", "plain.hl"], here);
    assert_eq!(code, 0);
    std::fs::remove_file(&built.program).unwrap();
    for name in ["plain.hl", "other.hl"] {
        // A bundle that is bundled again keeps its names, though the program is gone.
        assert_eq!(heapledger(&["bundle", name], here).0, 0);
        let mut bundled = heapledger::dumps::read(here.join(name)).unwrap().profile;
        assert_eq!(read(&bundled, &labels, "inlined")[0], ("walker::inner".to_owned(), marked("inner")));
        bundled.symbols = Default::default();
        assert_eq!(bundled, profile);
    }
}

#[test]
fn a_damaged_dump_is_not_bundled() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.hl");
    let mut bytes = Vec::new();
    heapledger::dumps::write_to(&mut bytes, &heapledger::Profile::default()).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let (code, _, said) = heapledger(&["bundle", "cut.hl"], directory.path());
    assert!(code == 3 && said.contains("would hide that"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), &bytes[..bytes.len() - 1]);
    let (code, _, said) = heapledger(&["bundle", "-"], directory.path());
    assert_eq!(code, 3, "nothing comes from standard input: {said}");
}

/// Returns the profile of a run in which stack *n* allocated 2 blocks of 100 × *n* bytes, one of them still live.
fn allocating(built: &Built) -> Profile {
    let (mut profile, _) = built.profile();
    profile.quality.installed = true;
    profile.settings.stacks = heapledger::Stacks::Auto;
    profile.process.reason = "exit".into();
    profile.stack_figures.walker = "dwarf".into();
    profile.stack_figures.why = "by hand".into();
    profile.stack_figures.taken = 10;
    profile.threads.push(heapledger::profile::ThreadRow { threads: 1, ..Default::default() });
    for stack in 1..profile.stacks.len() as u32 {
        let size = 100 * u64::from(stack);
        let mut site = heapledger::profile::Site {
            stack,
            total_blocks: 2,
            total_bytes: 2 * size,
            freed_blocks: 1,
            freed_bytes: size,
            at_peak_bytes: size,
            ..Default::default()
        };
        site.sizes.add(size, 2);
        site.lifetimes.add(5, 1);
        profile.sites.push(site);
        let block = heapledger::profile::LiveBlock { address: size, size, stack, ..Default::default() };
        profile.live.push(block);
    }
    profile
}

#[test]
fn a_report_names_places_trees_and_leaks() {
    let built = Built::new(&["-g"]);
    let here = built.directory.path();
    heapledger::dumps::write(&here.join("a.hl"), &allocating(&built)).unwrap();
    let report = |more: &[&str]| {
        let (code, text, said) = heapledger(&[&["report", "a.hl"], more].concat(), here);
        assert!(code < 2, "{said}");
        (code, text)
    };
    let (code, text) = report(&["--all", "--group", "stack"]);
    assert_eq!(code, 0);
    let position = |mark| format!("walker.rs:{}", marked(mark));
    for mark in ["inner", "middle", "outer", "main", "generic", "recursive", "again", "object", "closure"] {
        assert!(text.contains(&position(mark)), "{mark}\n{text}");
    }
    // By its figure: stack 5, of the closure, allocated most.
    let sites = text.split("\nSites\n").nth(1).unwrap();
    assert!(sites.find("closure") < sites.find("walker::recursive"), "{sites}");

    let (code, text) = report(&["--leaks", "--fail-on-leak", "--tree", "callers", "--top", "2"]);
    assert_eq!(code, 1);
    assert!(
        text.contains("\nLeaks\n") && text.contains("5 blocks, 1.5 KiB (1,500 B), from 5 places"),
        "{text}"
    );

    std::fs::write(here.join("known"), "# all of it\nleak:walker::main\n").unwrap();
    let (code, text) = report(&["--fail-on-leak", "--suppressions", "known"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("suppressed        5 blocks, 1.5 KiB by leak:walker::main"), "{text}");

    let (_, text) = report(&["--focus", "recurs", "--tree", "callees", "--unfolded"]);
    assert!(text.contains("not looked at     4 sites of 5"), "{text}");
    assert!(!text.contains("walker::outer") && text.contains("walker::recursive"), "{text}");

    let (_, text) = report(&["--no-symbols"]);
    assert!(!text.contains("walker::main") && text.contains("walker+0x"), "{text}");
    let (code, _, said) = heapledger(&["report", "a.hl", "--focus", "("], here);
    assert!(code == 2 && said.contains("no regular expression"), "{said}");
}
