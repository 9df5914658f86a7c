//! The program's own file: its name, and what becomes of both when the file is replaced, is called through the loader,
//! or has a path that no list prints as it is.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use heapledger::profile::Profile;

use super::case::{Case, Ended};
use super::laws::complete;
use super::tools::block;

const VARIABLES: &[(&str, &str)] = &[("HEAPLEDGER_STACKS", "auto"), ("HEAPLEDGER_DUMP", "")];

pub const CASES: &[Case] = &[
    Case::series(
        "a_program_replaced_while_it_runs_keeps_its_name_and_is_not_unloaded",
        replace_itself,
        replaced,
    )
    .variables(VARIABLES),
    Case::series("a_program_called_through_its_loader_has_its_own_name", allocate, through_the_loader)
        .variables(VARIABLES),
    Case::series("a_version_at_the_end_of_a_name_is_no_extension", allocate, with_a_version)
        .variables(VARIABLES),
    Case::series("a_path_with_a_line_break_and_no_utf8_is_listed_as_it_is", allocate, with_a_strange_path)
        .variables(VARIABLES),
    Case::new("stacks_of_which_none_was_taken_are_not_said_to_agree", allocate_without_files, |ended| {
        let figures = ended.with_code(0).dump().stack_figures;
        assert!(figures.checked == 0 && figures.failed > 0, "{figures:?}");
        assert!(!figures.why.contains("agree") && figures.why.contains("no stack"), "{figures:?}");
    })
    .variables(&[("HEAPLEDGER_STACKS", "auto"), ("PROCESS_TEST_NO_FILES", "yes")]),
];

fn allocate() {
    block(4321);
}

/// Puts another file in place of its own, as a deployment does.
fn replace_itself() {
    allocate();
    let own = PathBuf::from(std::env::args_os().next().unwrap());
    let new = own.with_file_name("new");
    fs::write(&new, "another build").unwrap();
    fs::rename(&new, &own).unwrap();
    // Looks for what is loaded.
    drop(heapledger::snapshot().unwrap());
    allocate();
}

/// Keeps the child from opening files, from before its first event on: what is loaded is not known.
extern "C" fn forbid_files() {
    // SAFETY: the name is terminated; before `main` nobody else changes limits or the environment.
    unsafe {
        if !libc::getenv(c"PROCESS_TEST_NO_FILES".as_ptr()).is_null() {
            set_files_max(3);
        }
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = forbid_files;

fn set_files_max(files: libc::rlim_t) {
    let mut bound = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `bound` is valid for reads and writes.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut bound);
        bound.rlim_cur = files.min(bound.rlim_max);
        libc::setrlimit(libc::RLIMIT_NOFILE, &bound);
    }
}

fn allocate_without_files() {
    allocate();
    // For the dump.
    set_files_max(libc::RLIM_INFINITY);
}

/// A copy of this program at `path` in a directory of its own.
fn copied(path: &OsStr) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join(path);
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    (directory, program)
}

/// The dump of a child whose name is `name`.
fn dump_of(ended: &Ended, name: &str) -> Profile {
    let file = format!("heapledger.{name}.{}.hl", ended.quietly().pid);
    assert_eq!(ended.names(), [file.as_str()]);
    let profile = ended.dump_named(&file);
    complete(&profile).unwrap();
    assert_eq!(profile.process.program, name);
    profile
}

fn replaced(case: &Case) {
    let (_directory, program) = copied(OsStr::new("svc"));
    let profile = dump_of(&case.play_program(&program, &[]), "svc");
    let unloaded = profile.changes.iter().find(|change| change.what.contains("svc"));
    assert_eq!(unloaded, None);
    let own: Vec<_> = profile.modules.iter().filter(|module| module.path.contains("/svc")).collect();
    let [own] = &own[..] else { panic!("{:?}", profile.modules) };
    // Without a build id the path must not lead to the file that is there now.
    let mark = if own.build_id.is_empty() { " (deleted)" } else { "" };
    assert_eq!(own.path, format!("{}{mark}", program.canonicalize().unwrap().display()));
}

fn through_the_loader(case: &Case) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let is_loader =
        |path: &&str| Path::new(path).file_name().is_some_and(|name| name.as_bytes().starts_with(b"ld"));
    let Some(loader) = maps.split_ascii_whitespace().find(|word| word.starts_with('/') && is_loader(word))
    else {
        println!("  SKIPPED: this program has no loader");
        return;
    };
    let (_directory, program) = copied(OsStr::new("app"));
    let here = tempfile::tempdir().unwrap();
    let mut command = Command::new(loader);
    command.arg(&program).current_dir(here.path());
    for (name, value) in case.command().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    assert!(command.status().unwrap().success());
    let files: Vec<OsString> =
        fs::read_dir(here.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    assert!(file.as_bytes().starts_with(b"heapledger.app."), "{file:?}");
    assert_eq!(heapledger::dumps::read(here.path().join(file)).unwrap().profile.process.program, "app");
}

fn with_a_version(case: &Case) {
    let (_directory, program) = copied(OsStr::new("tool-1.2.3"));
    dump_of(&case.play_program(&program, &[]), "tool-1.2.3");
}

fn with_a_strange_path(case: &Case) {
    let (_directory, program) = copied(OsStr::from_bytes(b"a\nb\xff/app"));
    let profile = dump_of(&case.play_program(&program, &[]), "app");
    let own = profile.modules.iter().find(|module| module.path.ends_with("/app"));
    assert!(own.is_some_and(|own| own.path.ends_with("/a\nb\\xff/app")), "{:?}", profile.modules);
}
