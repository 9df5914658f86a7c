//! The call of cargo that builds the user's package with heapledger in it, and runs it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::arguments::Arguments;
use super::library::{self, place_wrapper};
use super::project::{Project, cargo, flag};
use super::wrapper::{CONFLICTS, Settings};
use super::{Problem, conflict};

/// Command of cargo that builds and runs the package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `cargo run`: runs a program, or an example if the flags for cargo name one.
    Run,
    /// `cargo test`: runs the tests.
    Test,
    /// `cargo bench`: runs the benches.
    Bench,
}

/// Prepared call of cargo.
#[derive(Debug)]
pub struct Invocation {
    /// Workspace of the user.
    pub project: Project,
    /// Directory to which the programs write their dumps.
    pub dumps: PathBuf,
    wrapper: PathBuf,
    command: Command,
}

impl Invocation {
    /// Builds the library and prepares the call of cargo. `program` is the path of the executable `heapledger`.
    pub fn new(action: Action, arguments: &Arguments, program: &Path) -> Result<Invocation, Problem> {
        let flags = &arguments.cargo;
        let project = Project::find(flags, false)?;
        let directory = project.directory();
        let dumps = directory.join("dumps");
        fs::create_dir_all(&dumps).map_err(|error| Problem::Unwritable { path: dumps.clone(), error })?;
        let library = library::build(&directory, flags, program)?;
        // Each build of the library has a wrapper at another path, so that cargo keeps separate build outputs for it.
        let wrapper = place_wrapper(&directory.join("wrappers").join(&library.key), program)?;
        let chained = env::var_os("RUSTC_WORKSPACE_WRAPPER").filter(|wrapper| !wrapper.is_empty());
        Settings::Program { chained, library: library.file, dependencies: library.dependencies }
            .write(&wrapper)
            .map_err(|error| Problem::Unwritable { path: wrapper.clone(), error })?;
        let _ = fs::remove_file(wrapper.with_file_name(CONFLICTS));
        let mut command = Command::new(cargo());
        command.arg(match action {
            Action::Run => "run",
            Action::Test => "test",
            Action::Bench => "bench",
        });
        command
            .args(without_target_directory(flags))
            .args(library::target_directory(&directory.join("target")));
        if !arguments.program.is_empty() {
            command.arg("--").args(&arguments.program);
        }
        command.env("RUSTC_WORKSPACE_WRAPPER", &wrapper);
        if action == Action::Test {
            // The thread of a test has the test's name, which is often longer than the name that the system keeps. With
            // this setting, heapledger reads the name from std.
            command.env("HEAPLEDGER_STD_THREADS", "1");
        }
        for (name, value) in profile_settings(action, flags) {
            if env::var_os(&name).is_none() {
                command.env(name, value);
            }
        }
        Ok(Invocation { project, dumps, wrapper, command })
    }

    /// Returns the command that calls cargo, ready to start.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Returns a message for each program that cannot be built because it already has a global allocator. To be called
    /// after cargo has failed.
    pub fn conflicts(&self, flags: &[OsString]) -> Vec<String> {
        let noted = fs::read_to_string(self.wrapper.with_file_name(CONFLICTS)).unwrap_or_default();
        let mut lines: Vec<&str> = noted.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        lines.into_iter().map(|line| conflict::explain(line, || Project::find(flags, true).ok())).collect()
    }
}

/// Returns two environment variables that change the cargo profile in use, so that reports have names. The first
/// variable sets limited debug information (lines, and names with their modules). The second variable keeps the
/// symbols.
fn profile_settings(action: Action, flags: &[OsString]) -> [(String, &'static str); 2] {
    let is_release = flags.iter().any(|word| word == "--release" || word == "-r");
    let named = flag(flags, "--profile").map(|name| name.to_string_lossy().into_owned());
    let profile = named.unwrap_or_else(|| match action {
        Action::Bench => "bench".to_owned(),
        _ if is_release => "release".to_owned(),
        _ => "dev".to_owned(),
    });
    let start = format!("CARGO_PROFILE_{}", profile.to_uppercase().replace('-', "_"));
    [(format!("{start}_DEBUG"), "limited"), (format!("{start}_STRIP"), "none")]
}

fn without_target_directory(flags: &[OsString]) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut words = flags.iter();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--target-dir") => drop(words.next()),
            Some(text) if text.starts_with("--target-dir=") => {}
            _ => kept.push(word.clone()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_in_use_gets_lines_and_keeps_its_symbols() {
        let of = |action, flags: &[&str]| {
            let flags: Vec<OsString> = flags.iter().map(OsString::from).collect();
            profile_settings(action, &flags).map(|(name, _)| name)
        };
        assert_eq!(of(Action::Run, &[])[0], "CARGO_PROFILE_DEV_DEBUG");
        assert_eq!(of(Action::Test, &["-r"])[1], "CARGO_PROFILE_RELEASE_STRIP");
        assert_eq!(of(Action::Bench, &[])[0], "CARGO_PROFILE_BENCH_DEBUG");
        assert_eq!(of(Action::Run, &["--profile", "release-lto"])[0], "CARGO_PROFILE_RELEASE_LTO_DEBUG");
    }

    #[test]
    fn a_target_directory_of_the_user_is_replaced_by_one_below_it() {
        let flags = ["-r", "--target-dir", "x", "--target-dir=y", "--bin", "a"].map(OsString::from);
        assert_eq!(without_target_directory(&flags), ["-r", "--bin", "a"]);
    }
}
