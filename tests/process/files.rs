//! Dumps that cannot be written: one clear line, the exit code of the program, and no file of others is overwritten.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::case::{Case, Ended};
use super::heap::Heap;
use super::laws::complete;
use super::tools::block;

/// Content of a file that existed before and must be unchanged.
const THEIRS: &str = "not a dump";

pub const CASES: &[Case] = &[
    refused("a_missing_directory_costs_one_line", &[("HEAPLEDGER_DUMP", "missing/x.hl")]),
    refused("a_file_in_place_of_a_directory_costs_one_line", &[("HEAPLEDGER_DUMP", "theirs/x.hl")]),
    refused("a_foreign_file_is_left_alone", &[("HEAPLEDGER_DUMP", "theirs")]),
    refused("a_link_to_a_file_is_left_alone", &[("HEAPLEDGER_DUMP", "link")]),
    refused("a_link_to_nothing_is_left_alone", &[("HEAPLEDGER_DUMP", "dangling")]),
    refused("a_directory_is_left_alone", &[("HEAPLEDGER_DUMP", "directory")]),
    refused("a_pipe_is_left_alone", &[("HEAPLEDGER_DUMP", "pipe")]),
    refused("a_device_is_left_alone", &[("HEAPLEDGER_DUMP", "/dev/full")]),
    refused("a_directory_that_takes_no_files_costs_one_line", &[("HEAPLEDGER_DUMP", "/proc/x.hl")]),
    refused("a_limit_of_file_size_costs_one_line", &[("HEAPLEDGER_DUMP", "x.hl")])
        .limits(&[(libc::RLIMIT_FSIZE, 1000)]),
    Case::new("a_limit_of_open_files_costs_one_line", exit_without_files, one_line_and_nothing_changed)
        .heap(Heap::Plain)
        .variables(&[("HEAPLEDGER_DUMP", "x.hl")])
        .prepare(put_obstacles),
    written("without_a_name_the_dump_lies_in_the_working_directory", &[("HEAPLEDGER_DUMP", "")], |ended| {
        let program = std::env::current_exe().unwrap();
        lies_at(ended, &format!("heapledger.{}.{}.hl", program.file_name().unwrap().display(), ended.pid));
    }),
    Case::new("an_older_dump_of_another_process_is_kept", exit_with_code, |ended| {
        let line =
            format!("heapledger: {} is the dump of another process, ", ended.path("older.hl").display());
        assert!(ended.with_code(3).stderr.starts_with(&line), "{}", ended.stderr);
        assert_eq!(
            (ended.stderr.lines().count(), ended.names()),
            (1, vec!["older-2.hl".to_owned(), "older.hl".to_owned()])
        );
        let older = heapledger::dumps::read(ended.path("older.hl")).unwrap();
        assert_eq!(older.profile, heapledger::Profile::default());
        assert_eq!(ended.dump_named("older-2.hl").process.pid, ended.pid);
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_DUMP", "older.hl")])
    .prepare(put_older),
    written(
        "the_environment_overrides_a_builder_that_wants_no_dump",
        &[("HEAPLEDGER_DUMP", "%p%%.hl")],
        |ended| {
            lies_at(ended, &format!("{}%.hl", ended.pid));
        },
    )
    .heap(Heap::NoDump),
    Case::series(
        "a_program_with_foreign_rights_writes_nothing_where_its_caller_says",
        exit_with_code,
        with_rights,
    ),
    Case::new("a_builder_that_wants_no_dump_gets_none", exit_with_code, no_dump)
        .heap(Heap::NoDump)
        .variables(&[("HEAPLEDGER_DUMP", "")]),
    Case::new("off_as_a_name_means_no_dump", exit_with_code, no_dump)
        .heap(Heap::Plain)
        .variables(&[("HEAPLEDGER_DUMP", "off")]),
];

const fn refused(name: &'static str, variables: &'static [(&'static str, &'static str)]) -> Case {
    Case::new(name, exit_with_code, one_line_and_nothing_changed)
        .heap(Heap::Plain)
        .variables(variables)
        .prepare(put_obstacles)
}

const fn written(
    name: &'static str,
    dump: &'static [(&'static str, &'static str)],
    check: fn(&Ended),
) -> Case {
    Case::new(name, exit_with_code, check).heap(Heap::Plain).variables(dump).prepare(put_older)
}

fn exit_with_code() {
    block(4321);
    std::process::exit(3);
}

/// Exits when no file beyond the three standard ones can be opened. The limit is set here, because the loader opens
/// files.
fn exit_without_files() {
    let bound = libc::rlimit { rlim_cur: 3, rlim_max: 3 };
    // SAFETY: `bound` is valid for reads.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &bound) }, 0);
    exit_with_code();
}

fn put_obstacles(directory: &Path) {
    fs::write(directory.join("theirs"), THEIRS).unwrap();
    fs::create_dir(directory.join("directory")).unwrap();
    std::os::unix::fs::symlink("theirs", directory.join("link")).unwrap();
    std::os::unix::fs::symlink("nothing", directory.join("dangling")).unwrap();
    let pipe = std::ffi::CString::new(directory.join("pipe").as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is terminated.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
}

fn one_line_and_nothing_changed(ended: &Ended) {
    ended.with_code(3);
    let line = ended.stderr.strip_suffix('\n').unwrap_or_else(|| panic!("no line: {:?}", ended.stderr));
    assert!(line.starts_with("heapledger: ") && !line.contains('\n') && line.len() < 300, "{line:?}");
    assert_eq!(ended.names(), ["dangling", "directory", "link", "pipe", "theirs"]);
    assert_eq!(fs::read_to_string(ended.path("theirs")).unwrap(), THEIRS);
    assert_eq!(fs::read_dir(ended.path("directory")).unwrap().count(), 0);
    assert_eq!(fs::read_link(ended.path("link")).unwrap(), Path::new("theirs"));
    assert_eq!(fs::read_link(ended.path("dangling")).unwrap(), Path::new("nothing"));
}

fn put_older(directory: &Path) {
    heapledger::dumps::write(&directory.join("older.hl"), &heapledger::Profile::default()).unwrap();
}

/// Asserts that the child's dump has the name `name`, and that only the older dump is beside it.
fn lies_at(ended: &Ended, name: &str) {
    assert!(ended.with_code(3).stderr.is_empty(), "{}", ended.stderr);
    let mut names = vec![name.to_owned(), "older.hl".to_owned()];
    names.sort();
    names.dedup();
    assert_eq!(ended.names(), names);
    let profile = ended.dump_named(name);
    complete(&profile).unwrap();
    assert_eq!(profile.process.pid, ended.pid);
}

fn no_dump(ended: &Ended) {
    assert!(ended.with_code(3).stderr.is_empty());
    assert_eq!(ended.names(), [""; 0]);
}

/// A set-user-id program, which has the rights of its owner. Neither a variable nor the working directory of the caller
/// decides where it writes.
fn with_rights(case: &Case) {
    use std::os::unix::fs::PermissionsExt;
    // SAFETY: no memory is involved.
    if unsafe { libc::geteuid() } != 0 {
        println!("  SKIPPED: only root can give a program foreign rights");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::os::unix::fs::chown(&program, Some(65_534), None).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let ended = case.play_program(&program, &[("HEAPLEDGER_MODE", "senseless")]);
    ended.with_code(3);
    // A senseless mode would be told if the variable were read.
    assert!(ended.stderr.starts_with("heapledger: no dump: a set-user-id program"), "{}", ended.stderr);
    assert_eq!((ended.stderr.lines().count(), ended.names().len()), (1, 0), "{:?}", ended.names());
}
