//! Where the files of a process lie: in the directory in which it started, beside those of other processes, and under
//! the name of the program, whatever the system hides of it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use heapledger::dumps;

use super::case::{Case, Ended};
use super::heap::Heap;
use super::laws::complete;
use super::refusals;
use super::surroundings::{Surroundings, may_mount};
use super::tools::block;

const BOX: &str = "b.box";
const BOX_BYTES: (&str, &str) = ("HEAPLEDGER_BLACKBOX_BYTES", "33554432");

pub const CASES: &[Case] = &[
    Case::new(
        "a_program_that_changes_its_directory_leaves_its_files_where_it_started",
        go_elsewhere,
        |ended| {
            let profile = ended.quietly().dump();
            complete(&profile).unwrap();
            assert_eq!(Path::new(&profile.process.directory), ended.path("").components().as_path());
            let child = ended.dump_named(&format!("{}.hl", ended.said("child")));
            assert_eq!(child.process.directory, profile.process.directory);
            let [own, child] = [ended.pid, child.process.pid].map(|pid| format!("{pid}.hl"));
            let mut names = vec![own, child, "other".to_owned(), "t.hlt".to_owned()];
            names.sort();
            assert_eq!(ended.names(), names, "and the black box was removed");
            assert_eq!(fs::read(ended.path("other").join(BOX)).unwrap(), b"mine");
            assert_eq!(fs::read_dir(ended.path("other")).unwrap().count(), 1);
        },
    )
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_TRACE", "t.hlt"), ("HEAPLEDGER_BLACKBOX", BOX), BOX_BYTES])
    .prepare(|directory| {
        fs::create_dir(directory.join("other")).unwrap();
        fs::write(directory.join("other").join(BOX), "mine").unwrap();
    }),
    Case::series("a_program_whose_directory_is_gone_says_which", remove_directory, |case| {
        let parent = tempfile::tempdir().unwrap();
        let start = parent.path().join("start");
        fs::create_dir(&start).unwrap();
        let said = said(case.command().current_dir(&start));
        let line = |what: &str| {
            let shown = start.display();
            format!("heapledger: {what}{shown}")
        };
        let lost = "the directory in which the program started, is gone";
        assert!(said.contains(&format!("{}, {lost}", line("no dump: "))), "{said}");
        assert!(said.contains(&line("the trace ")) && said.contains("was removed"), "{said}");
        assert_eq!(said.lines().count(), 2, "{said}");
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_TRACE", "t.hlt")]),
    Case::new("processes_with_one_fixed_path_keep_each_others_dumps", fork_with_one_path, three_of_each)
        .heap(Heap::Plain)
        .variables(&[("HEAPLEDGER_DUMP", "one.hl")]),
    Case::series("a_second_run_keeps_the_dump_and_the_trace_of_the_first", allocate, |case| {
        let directory = tempfile::tempdir().unwrap();
        let run = || said(case.command().current_dir(&directory));
        assert_eq!(run(), "");
        let first = ["one.hl", "t.hlt"].map(|name| fs::read(directory.path().join(name)).unwrap());
        let lines = run();
        assert!(lines.contains("one.hl is the dump of another process, this one is "), "{lines}");
        assert!(lines.contains("t.hlt is the trace of another process, this one is "), "{lines}");
        assert_eq!(lines.lines().count(), 2, "{lines}");
        assert_eq!(["one.hl", "t.hlt"].map(|name| fs::read(directory.path().join(name)).unwrap()), first);
        let pid = |name: &str| dumps::read(directory.path().join(name)).unwrap().profile.process.pid;
        assert_ne!(pid("one.hl"), pid("one-2.hl"));
        assert!(directory.path().join("t-2.hlt").is_file());
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_DUMP", "one.hl"), ("HEAPLEDGER_TRACE", "t.hlt")]),
    Case::series("a_restarted_process_keeps_the_black_box_of_the_killed_one", abort, |case| {
        let directory = tempfile::tempdir().unwrap();
        let run = || {
            let mut child =
                case.command().current_dir(&directory).stderr(std::process::Stdio::piped()).spawn().unwrap();
            let pid = child.id();
            let lines = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
            child.wait().unwrap();
            (pid, lines)
        };
        let pid_in = |name: &str| dumps::read(directory.path().join(name)).unwrap().profile.process.pid;
        let (first, lines) = run();
        assert_eq!((pid_in(BOX), lines.as_str()), (first, ""));
        let (second, lines) = run();
        assert!(lines.contains("the black box of an earlier process was left; it is now "), "{lines}");
        assert_eq!([pid_in(BOX), pid_in("b.box.older")], [second, first]);
        let (third, _) = run();
        assert_eq!([pid_in(BOX), pid_in("b.box.older")], [third, second]);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "crashes do not fill the disk");
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_BLACKBOX", BOX), BOX_BYTES]),
    Case::series(
        "without_proc_the_program_has_its_name_and_the_dump_says_what_is_missing",
        allocate,
        |case| {
            if !may_mount() {
                return println!("left out: no right to mount");
            }
            let surroundings = Surroundings { is_without_proc: true, ..Surroundings::default() };
            let program = std::env::current_exe().unwrap();
            let ended = case.play_in(&program, &[("HEAPLEDGER_STACKS", "auto")], &surroundings);
            let profile = named_after(ended.quietly(), &program);
            let unread = profile.process.unread.join("\n");
            assert!(unread.contains("the executable file of the process: "), "{unread}");
            assert!(
                unread.contains("its loaded objects, without which there are no call stacks: "),
                "{unread}"
            );
            let figures = &profile.stack_figures;
            assert_eq!((figures.walker.as_str(), figures.checked), ("frame pointers", 0), "{figures:?}");
        },
    )
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_DUMP", "%e.hl")]),
    Case::new(
        "after_the_main_thread_has_ended_the_program_has_its_name_and_its_stacks",
        end_the_main_thread,
        |ended| {
            let profile = named_after(ended.quietly(), &std::env::current_exe().unwrap());
            assert!(profile.process.unread.is_empty(), "{:?}", profile.process.unread);
            let block = profile.live.iter().find(|block| block.size == LATE_BYTES as u64).unwrap();
            assert!(profile.stacks[block.stack as usize].frames.len() > 2, "{:?}", profile.stack_figures);
            assert!(
                profile.modules.iter().any(|module| module.path.contains("process-")),
                "{:?}",
                profile.modules
            );
        },
    )
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_DUMP", "%e.hl"), ("HEAPLEDGER_STACKS", "auto")]),
    Case::new("stacks_that_cannot_be_taken_are_not_said_to_agree", say_why, |ended| {
        assert!(ended.stdout.contains("why=the list of loaded objects cannot be read"), "{}", ended.stdout);
        assert!(ended.stdout.contains("unread=its loaded objects, without which"), "{}", ended.stdout);
    })
    .heap(Heap::Plain)
    .variables(&[
        ("HEAPLEDGER_DUMP", "off"),
        ("HEAPLEDGER_STACKS", "auto"),
        (refusals::VARIABLE, "open:1:0"),
    ]),
];

/// Runs a child to its end and returns what it said on standard error.
fn said(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{status}\n{stderr}");
    stderr
}

fn allocate() {
    block(100);
}

fn go_elsewhere() {
    block(100);
    std::env::set_current_dir("other").unwrap();
    let child = super::forks::fork(allocate);
    println!("child={child}");
}

fn remove_directory() {
    block(100);
    while !fs::exists("t.hlt").unwrap() {
        heapledger::flush();
    }
    fs::remove_dir_all(std::env::current_dir().unwrap()).unwrap();
}

fn abort() {
    block(100);
    std::process::abort();
}

/// A process and two children, which write their dumps at the same time.
fn fork_with_one_path() {
    block(100);
    let mut children = Vec::new();
    for _ in 0..2 {
        // SAFETY: there is one thread but heapledger's, which promises that a child can go on.
        match unsafe { libc::fork() } {
            0 => {
                children.clear();
                break;
            }
            child => children.push(child),
        }
    }
    block(100);
    let paths = [(); 2].map(|()| heapledger::dump("mine.hl").unwrap().path);
    assert_eq!(paths[0], paths[1], "its own earlier one is replaced");
    for child in children {
        let mut status = 0;
        // SAFETY: the status is valid for writes.
        assert!(unsafe { libc::waitpid(child, &mut status, 0) } == child && status == 0, "{status}");
    }
}

fn three_of_each(ended: &Ended) {
    ended.with_code(0);
    let names: Vec<String> = ["mine", "one"]
        .iter()
        .flat_map(|stem| ["-2.hl", "-3.hl", ".hl"].map(|end| format!("{stem}{end}")))
        .collect();
    assert_eq!(ended.names(), names, "{}", ended.stderr);
    for three in names.chunks(3) {
        let mut pids: Vec<u32> = three.iter().map(|name| ended.dump_named(name).process.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        assert_eq!(pids.len(), 3, "{three:?}");
    }
    let told = ended.stderr.lines().filter(|line| line.contains("one.hl is the dump of another process"));
    assert_eq!((told.count(), ended.stderr.lines().count()), (2, 2), "{}", ended.stderr);
}

/// The dump of a program that is named after its executable file.
fn named_after(ended: &Ended, program: &Path) -> heapledger::Profile {
    let name = program.file_name().unwrap().to_str().unwrap();
    assert_eq!(ended.names(), [format!("{name}.hl")]);
    let profile = ended.dump_named(&format!("{name}.hl"));
    assert_eq!(profile.process.program, name);
    profile
}

const LATE_BYTES: usize = 22_222;

fn end_the_main_thread() {
    block(100);
    let main = std::process::id();
    std::thread::spawn(move || {
        let has_ended =
            || fs::read_to_string(format!("/proc/{main}/stat")).is_ok_and(|stat| stat.contains(") Z "));
        while !has_ended() {
            std::thread::yield_now();
        }
        block(LATE_BYTES);
        std::process::exit(0);
    });
    // SAFETY: ends this thread and no other.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

fn say_why() {
    let profile = heapledger::snapshot().unwrap();
    println!("why={}", profile.stack_figures.why);
    for source in profile.process.unread {
        println!("unread={source}");
    }
}
