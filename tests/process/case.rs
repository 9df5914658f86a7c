//! A case: the work of a child process, and the assertions on its end and its dump.

use std::ffi::CStr;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use heapledger::dumps;
use heapledger::profile::Profile;
use tempfile::TempDir;

use super::heap::{self, Heap};
use super::laws;
use super::runner::{self, Test};
use super::surroundings::Surroundings;

/// Environment variable with the name of the case of a child.
const VARIABLE: &str = "PROCESS_TEST_CASE";
const VARIABLE_C: &CStr = c"PROCESS_TEST_CASE";
/// Environment variable with the length of the soak, in seconds.
pub const SOAK_VARIABLE: &str = "PROCESS_TEST_SOAK_S";
/// Time after which a child counts as hanging, far above the time of the slowest case.
const HANGS_AFTER: Duration = Duration::from_secs(300);

/// One test.
pub struct Case {
    name: &'static str,
    body: Body,
    heap: Heap,
    variables: &'static [(&'static str, &'static str)],
    /// Resource limits of the child, as for `setrlimit`.
    limits: &'static [(libc::__rlimit_resource_t, u64)],
    prepare: fn(&Path),
    ignored: Option<&'static str>,
}

enum Body {
    /// The function runs in the test's own process.
    Here(fn()),
    /// The first function runs in a child; the second checks the result.
    Child(fn(), fn(&Ended)),
    /// The first function runs in a child; the second starts the child, as often and with such settings as it needs.
    Series(fn(), fn(&Case)),
}

impl Case {
    /// Creates a test of the test tools.
    pub const fn here(name: &'static str, body: fn()) -> Case {
        Case { body: Body::Here(body), ..Case::new(name, || (), |_| ()) }
    }

    /// Creates a case that runs `child` with a counting inner allocator, and then calls `check`.
    pub const fn new(name: &'static str, child: fn(), check: fn(&Ended)) -> Case {
        Case {
            name,
            body: Body::Child(child, check),
            heap: Heap::Counted,
            variables: &[],
            limits: &[],
            prepare: |_| (),
            ignored: None,
        }
    }

    /// Creates a case whose child runs several times, each time with other variables.
    pub const fn series(name: &'static str, child: fn(), drive: fn(&Case)) -> Case {
        Case { body: Body::Series(child, drive), ..Case::new(name, || (), |_| ()) }
    }

    pub const fn heap(mut self, heap: Heap) -> Case {
        self.heap = heap;
        self
    }

    /// Sets variables of the child; an empty value removes a variable.
    pub const fn variables(mut self, variables: &'static [(&'static str, &'static str)]) -> Case {
        self.variables = variables;
        self
    }

    pub const fn limits(mut self, limits: &'static [(libc::__rlimit_resource_t, u64)]) -> Case {
        self.limits = limits;
        self
    }

    /// Marks the case to run only on request.
    pub const fn ignored(mut self, why: &'static str) -> Case {
        self.ignored = Some(why);
        self
    }

    /// Sets the function that prepares the child's directory.
    pub const fn prepare(mut self, prepare: fn(&Path)) -> Case {
        self.prepare = prepare;
        self
    }

    /// Runs the test; panics if it fails.
    pub fn run(&self) {
        match self.body {
            Body::Here(body) => body(),
            Body::Child(_, check) => check(&self.play()),
            Body::Series(_, drive) => drive(self),
        }
    }

    /// Runs the child to its end.
    pub fn play(&self) -> Ended {
        self.play_with(&[])
    }

    /// Runs the child to its end, with further variables.
    pub fn play_with(&self, more: &[(&str, &str)]) -> Ended {
        self.play_program(&std::env::current_exe().expect("this program"), more)
    }

    /// Returns the command of the child, with its settings.
    pub fn command(&self) -> Command {
        self.command_of(&std::env::current_exe().expect("this program"), &[])
    }

    fn command_of(&self, program: &Path, more: &[(&str, &str)]) -> Command {
        let mut command = Command::new(program);
        for name in [
            "HEAPLEDGER",
            "HEAPLEDGER_BLACKBOX",
            "HEAPLEDGER_SIGNALS",
            "HEAPLEDGER_TRIGGERS",
            "HEAPLEDGER_MODE",
            "HEAPLEDGER_CLOCK",
            "HEAPLEDGER_STACKS",
            "HEAPLEDGER_WARN",
            "HEAPLEDGER_TRACE",
            "HEAPLEDGER_LIVE",
            "HEAPLEDGER_SERVE",
        ] {
            command.env_remove(name);
        }
        command.env(VARIABLE, self.name).env(heap::VARIABLE, self.heap.letter().to_string());
        // Separate cases test stacks. Without stacks, figures are known to the byte.
        command.env("HEAPLEDGER_STACKS", "off");
        command.env("HEAPLEDGER_DUMP", "%p.hl").env("RUST_BACKTRACE", "0");
        for (name, value) in self.variables.iter().chain(more) {
            if value.is_empty() {
                command.env_remove(name)
            } else {
                command.env(name, value)
            };
        }
        // SAFETY: between fork and exec, `end_with_parent` makes a single system call, which is safe there.
        unsafe { command.pre_exec(end_with_parent) };
        command
    }

    /// Runs the child as [`Case::play_with`] does, from a copy of this program in another place.
    pub fn play_program(&self, program: &Path, more: &[(&str, &str)]) -> Ended {
        self.play_in(program, more, &Surroundings::default())
    }

    /// Runs the child as [`Case::play_program`] does, in surroundings that the child cannot leave.
    pub fn play_in(&self, program: &Path, more: &[(&str, &str)], surroundings: &Surroundings) -> Ended {
        let directory = tempfile::tempdir().expect("a directory for the child");
        (self.prepare)(directory.path());
        let output = |name| File::create(directory.path().join(name)).expect("a file for the child's output");
        let mut command = self.command_of(program, more);
        command.current_dir(directory.path()).stdin(Stdio::null());
        command.stdout(output("stdout")).stderr(output("stderr"));
        let limits = self.limits;
        let limit = move || {
            // The tests may run with these signals ignored, as under `nohup` and a shell's `&`. A child would inherit
            // that.
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
                // SAFETY: the default needs no handler.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            for (resource, bound) in limits {
                let bound = libc::rlimit { rlim_cur: *bound, rlim_max: *bound };
                // SAFETY: `bound` is valid for reads.
                if unsafe { libc::setrlimit(*resource, &bound) } != 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: between fork and exec, `limit` calls only `signal` and `setrlimit`, which are safe there.
        unsafe { command.pre_exec(limit) };
        surroundings.put_around(&mut command);
        let mut child = loop {
            match command.spawn() {
                // A child that another case has just forked still holds a copied program open, until it runs its own.
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                    sleep(Duration::from_millis(2));
                }
                started => break started.expect("the child starts"),
            }
        };
        let (pid, began) = (child.id(), Instant::now());
        let soak_s = std::env::var(SOAK_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let hangs_after = HANGS_AFTER + Duration::from_secs(soak_s);
        let status = loop {
            match child.try_wait().expect("the child can be waited for") {
                Some(status) => break status,
                None if began.elapsed() < hangs_after => sleep(Duration::from_millis(2)),
                None => {
                    let _ = child.kill();
                    panic!("{} hangs", self.name);
                }
            }
        };
        let text = |name| {
            let bytes = fs::read(directory.path().join(name)).expect("the child's output");
            fs::remove_file(directory.path().join(name)).expect("the child's output");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ended { stdout: text("stdout"), stderr: text("stderr"), pid, status, directory }
    }
}

/// Has the kernel kill this process when the thread that started it ends: a child must not outlive killed tests.
fn end_with_parent() -> std::io::Result<()> {
    // SAFETY: no memory is involved.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Returns the name of the case that this child plays.
pub fn name() -> String {
    std::env::var(VARIABLE).unwrap_or_default()
}

/// Runs the case of a child, or the test runner in any other process.
pub fn main(cases: &'static [&'static [Case]]) -> ExitCode {
    match part_of_child(cases) {
        Some(part) => {
            part();
            ExitCode::SUCCESS
        }
        None => {
            let test = |case: &'static Case| Test {
                name: case.name,
                ignored: case.ignored,
                run: Box::new(move || case.run()),
            };
            runner::run(&cases.iter().copied().flatten().map(test).collect::<Vec<_>>())
        }
    }
}

/// Returns the function of this child, or `None` in the parent. The search does not allocate, so that only the case is
/// recorded.
fn part_of_child(cases: &'static [&'static [Case]]) -> Option<fn()> {
    // SAFETY: the name is terminated, and nobody changes the environment meanwhile.
    let asked = unsafe {
        let value = libc::getenv(VARIABLE_C.as_ptr());
        if value.is_null() {
            return None;
        }
        CStr::from_ptr(value)
    };
    let case = cases.iter().copied().flatten().find(|case| case.name.as_bytes() == asked.to_bytes());
    match case.expect("a case of this name").body {
        Body::Child(child, _) | Body::Series(child, _) => Some(child),
        Body::Here(_) => None,
    }
}

/// A child that has ended.
pub struct Ended {
    pub status: ExitStatus,
    pub pid: u32,
    pub stdout: String,
    pub stderr: String,
    directory: TempDir,
}

impl Ended {
    /// Asserts that the child returned from `main` or called `exit(0)`, and wrote nothing to standard error.
    pub fn quietly(&self) -> &Ended {
        assert!(self.status.success() && self.stderr.is_empty(), "{}", self.told());
        self
    }

    pub fn with_code(&self, code: i32) -> &Ended {
        assert_eq!(self.status.code(), Some(code), "{}", self.told());
        self
    }

    pub fn with_signal(&self, signal: i32) -> &Ended {
        assert_eq!(self.status.signal(), Some(signal), "{}", self.told());
        self
    }

    fn told(&self) -> String {
        format!("{}\nstdout: {}\nstderr: {}", self.status, self.stdout, self.stderr)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the names of all files in the child's directory, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).expect("the child's directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Returns the child's dump at exit. Asserts that it is complete and obeys every law.
    pub fn dump(&self) -> Profile {
        let profile = self.dump_named(&format!("{}.hl", self.pid));
        assert_eq!((profile.process.pid, profile.process.reason.as_str()), (self.pid, "exit"));
        profile
    }

    /// Returns a dump in the child's directory. Asserts that it is complete and obeys every law.
    pub fn dump_named(&self, name: &str) -> Profile {
        let dump = dumps::read(self.path(name))
            .unwrap_or_else(|error| panic!("{name}: {error}\n{:?}\n{}", self.names(), self.told()));
        assert!(dump.damage.is_empty(), "{name}: {:?}", dump.damage);
        laws::obeyed(&dump.profile).unwrap_or_else(|broken| panic!("{name}: {broken}"));
        dump.profile
    }

    /// Returns the number that the child printed as `name=number`.
    pub fn said(&self, name: &str) -> u64 {
        let line = self.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name}\n{}", self.told()))
    }
}
