//! Wrapper of the compiler, which adds the allocator to the programs and tests that cargo compiles.
//!
//! For the packages of the user's workspace, cargo calls the wrapper in place of the compiler
//! (`RUSTC_WORKSPACE_WRAPPER`). The settings of the wrapper are in a file in its directory, not in environment
//! variables. Another wrapper in between (such as sccache) can drop variables.
//!
//! The wrapper adds the arguments `--extern std=LIBRARY`. The name `std`, which every crate uses, then refers to a
//! library that has all of std and a global allocator. The compiler always links this library, whereas it links other
//! crates only if code uses them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

/// Part of the compiler's message for a program with two global allocators.
const CONFLICT: &str = "conflicts with global allocator in";

/// Name of the file with the wrapper's settings, in the directory of the wrapper.
pub(super) const SETTINGS: &str = "settings";
/// Name of the file that lists programs with a global allocator, in the directory of the wrapper.
pub(super) const CONFLICTS: &str = "conflicts";

/// Settings of the wrapper, which say which arguments to add for which crates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settings {
    /// Settings for the build of the library. All crates in this build get additional flags.
    Library {
        /// The user's wrapper of the compiler (`RUSTC_WRAPPER`), such as sccache.
        chained: Option<OsString>,
    },
    /// Settings for the build of the user's package. Programs and tests are linked with the library.
    Program {
        /// The user's wrapper for workspace members (`RUSTC_WORKSPACE_WRAPPER`).
        chained: Option<OsString>,
        /// File of the library that takes the place of std.
        library: PathBuf,
        /// Directories with the crates on which the library depends.
        dependencies: Vec<PathBuf>,
    },
}

impl Settings {
    /// Writes the settings file for the wrapper at `path`.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let text = |path: &OsStr| path.to_string_lossy().into_owned();
        let chained = |chained: &Option<OsString>| chained.as_deref().map(text).unwrap_or_default();
        let lines = match self {
            Settings::Library { chained: wrapper } => vec!["library".to_owned(), chained(wrapper)],
            Settings::Program { chained: wrapper, library, dependencies } => {
                let paths = std::iter::once(library).chain(dependencies).map(|path| text(path.as_os_str()));
                ["program".to_owned(), chained(wrapper)].into_iter().chain(paths).collect()
            }
        };
        write_if_changed(&path.with_file_name(SETTINGS), lines.join("\n").as_bytes())
    }

    /// Reads the settings file of the wrapper at `path`. Returns `None` if there is no such file, because the program
    /// was then not called as a wrapper.
    pub fn read(path: &Path) -> Option<Settings> {
        let text = fs::read_to_string(path.with_file_name(SETTINGS)).ok()?;
        let mut lines = text.split('\n');
        let kind = lines.next()?;
        let chained = lines.next().filter(|line| !line.is_empty()).map(OsString::from);
        match kind {
            "library" => Some(Settings::Library { chained }),
            "program" => Some(Settings::Program {
                chained,
                library: lines.next()?.into(),
                dependencies: lines.map(PathBuf::from).collect(),
            }),
            _ => None,
        }
    }

    /// Returns the arguments to add to a compiler call with the given `arguments`.
    fn added(&self, arguments: &[OsString]) -> Vec<OsString> {
        match self {
            // Embedded bitcode allows linking into a program with LTO. The metadata allows the program to contain the
            // same version of a crate a second time.
            Settings::Library { .. } if is_compilation(arguments) => {
                ["-Cembed-bitcode=yes", "-Cmetadata=heapledger", "--cap-lints=allow"]
                    .map(OsString::from)
                    .into()
            }
            Settings::Program { library, dependencies, .. } if is_program(arguments) => {
                let joined = |start: &str, path: &Path| {
                    let mut word = OsString::from(start);
                    word.push(path);
                    word
                };
                let directories = dependencies.iter();
                let searched = directories.flat_map(|path| ["-L".into(), joined("dependency=", path)]);
                ["--extern".into(), joined("std=", library)].into_iter().chain(searched).collect()
            }
            _ => Vec::new(),
        }
    }

    fn chained(&self) -> Option<&OsStr> {
        let (Settings::Library { chained } | Settings::Program { chained, .. }) = self;
        chained.as_deref()
    }
}

/// Runs the compiler call in `arguments`, with the arguments that `settings` add. `path` is the path of the wrapper.
pub fn run(settings: &Settings, path: &Path, arguments: &[OsString]) -> ExitCode {
    let added = settings.added(arguments);
    let words: Vec<&OsStr> = settings
        .chained()
        .into_iter()
        .chain(arguments.iter().map(OsString::as_os_str))
        .chain(added.iter().map(OsString::as_os_str))
        .collect();
    let Some((program, rest)) = words.split_first() else { return ExitCode::from(2) };
    let mut command = Command::new(program);
    command.args(rest);
    let is_watched = matches!(settings, Settings::Program { .. }) && !added.is_empty();
    let ended = if is_watched { watched(&mut command, path) } else { command.status() };
    match ended {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(101)),
        Err(error) => {
            eprintln!("error: cargo-heapledger cannot start {}: {error}", program.to_string_lossy());
            ExitCode::from(101)
        }
    }
}

/// Runs the compiler. If the compiler reports a second global allocator, adds a line to the file [`CONFLICTS`].
fn watched(command: &mut Command, path: &Path) -> io::Result<ExitStatus> {
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let mut messages = BufReader::new(child.stderr.take().expect("it is piped"));
    let (mut line, mut error) = (Vec::new(), io::stderr());
    while messages.read_until(b'\n', &mut line)? > 0 {
        // A failed write means that nobody reads the messages, so the error is ignored.
        let _ = error.write_all(&line);
        let text = String::from_utf8_lossy(&line);
        if text.contains(CONFLICT) {
            note(path, &text)?;
        }
        line.clear();
    }
    child.wait()
}

/// Adds a line to the file [`CONFLICTS`]. The line has the package, the crate, and the two crates with an allocator,
/// which `message` names.
fn note(path: &Path, message: &str) -> io::Result<()> {
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let name = std::env::var("CARGO_CRATE_NAME").unwrap_or_default();
    // The first crate, from "the `#[global_allocator]` in this crate conflicts …" or "in NAME".
    let owner = message.split("the `#[global_allocator]` in ").nth(1).unwrap_or_default();
    let owner = owner.split(CONFLICT).next().unwrap_or_default().trim();
    let other = message.split(CONFLICT).nth(1).unwrap_or_default().trim_start_matches(':').trim_start();
    let other: String = other.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut file = OpenOptions::new().create(true).append(true).open(path.with_file_name(CONFLICTS))?;
    file.write_all(format!("{package}\t{name}\t{owner}\t{other}\n").as_bytes())
}

/// Whether the call compiles a crate. If not, cargo asks the compiler for its version or other properties.
fn is_compilation(arguments: &[OsString]) -> bool {
    let is_asked = |word: &OsString| {
        let word = word.to_string_lossy();
        word == "-vV" || word == "--version" || word == "--print" || word.starts_with("--print=")
    };
    value(arguments, "--crate-name").is_some_and(|name| name != "___") && !arguments.iter().any(is_asked)
}

/// Whether the call compiles a program or a test. Build scripts and procedural macros do not count.
fn is_program(arguments: &[OsString]) -> bool {
    let is_build_script =
        value(arguments, "--crate-name").is_some_and(|name| name.starts_with("build_script_"));
    let is_macro = values(arguments, "--extern").any(|name| name == "proc_macro")
        || values(arguments, "--crate-type").any(|kind| kind == "proc-macro");
    // A call without a crate type compiles a program, such as a test without the harness.
    let mut kinds = values(arguments, "--crate-type").peekable();
    let is_executable = arguments.iter().any(|word| word == "--test")
        || kinds.peek().is_none()
        || kinds.any(|kind| kind == "bin");
    is_compilation(arguments) && is_executable && !is_build_script && !is_macro
}

fn value(arguments: &[OsString], flag: &str) -> Option<String> {
    values(arguments, flag).next()
}

/// Returns the values of a flag, given as `--flag value` or `--flag=value`.
fn values<'a>(arguments: &'a [OsString], flag: &'a str) -> impl Iterator<Item = String> + 'a {
    arguments.iter().enumerate().filter_map(move |(at, word)| {
        let word = word.to_string_lossy();
        match word.strip_prefix(flag)? {
            "" => arguments.get(at + 1).map(|value| value.to_string_lossy().into_owned()),
            rest => rest.strip_prefix('=').map(str::to_owned),
        }
    })
}

/// Writes a file if it does not have this content yet. A file with this content keeps its time stamp, because cargo
/// builds everything that depends on a newer file.
pub(super) fn write_if_changed(path: &Path, content: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) { Ok(()) } else { fs::write(path, content) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn programs_and_tests_get_the_library_and_nothing_else_does() {
        let program = Settings::Program {
            chained: None,
            library: "/t/libx.rlib".into(),
            dependencies: vec!["/t/deps".into(), "/t/a".into()],
        };
        let expected = words("--extern std=/t/libx.rlib -L dependency=/t/deps -L dependency=/t/a");
        for call in [
            "rustc --crate-name app --edition=2024 src/main.rs --crate-type bin --emit=dep-info,link",
            "rustc --crate-name app src/lib.rs --test",
            "rustc --crate-name plain tests/plain.rs --cfg test --emit=dep-info,link",
            "rustc --crate-name=app --crate-type=bin src/main.rs",
        ] {
            assert_eq!(program.added(&words(call)), expected, "{call}");
        }
        for call in [
            "rustc -vV",
            "rustc - --crate-name ___ --print=file-names --crate-type bin",
            "rustc --crate-name app src/lib.rs --crate-type lib",
            "rustc --crate-name build_script_build build.rs --crate-type bin",
            "rustc --crate-name derive src/lib.rs --crate-type proc-macro --extern proc_macro",
            "rustc --crate-name derive src/lib.rs --test --extern proc_macro",
            "rustc --crate-name app --crate-type cdylib src/lib.rs",
        ] {
            assert_eq!(program.added(&words(call)), Vec::<OsString>::new(), "{call}");
        }
    }

    #[test]
    fn every_crate_of_the_library_can_be_linked_with_lto_and_beside_another_copy() {
        let library = Settings::Library { chained: None };
        assert_eq!(
            library.added(&words("rustc --crate-name libc --crate-type lib src/lib.rs")),
            words("-Cembed-bitcode=yes -Cmetadata=heapledger --cap-lints=allow")
        );
        assert!(library.added(&words("rustc -vV")).is_empty());
    }

    #[test]
    fn settings_are_read_as_they_were_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("cargo-heapledger");
        assert_eq!(Settings::read(&path), None);
        for settings in [
            Settings::Library { chained: Some("sccache".into()) },
            Settings::Program {
                chained: None,
                library: "/a b/l.rlib".into(),
                dependencies: vec!["/a b".into()],
            },
        ] {
            settings.write(&path).expect("written");
            assert_eq!(Settings::read(&path), Some(settings));
        }
    }
}
