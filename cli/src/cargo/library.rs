//! Build of the library that takes the place of std, and the source from which it is built.
//!
//! The library is a small package that re-exports std and adds the global allocator. It is written below cargo's target
//! directory and built with the user's cargo and compiler, once for each version of compiler and heapledger. The source
//! of heapledger comes from the first of these that exists:
//!
//! 1. the directory in the environment variable `HEAPLEDGER_LIBRARY`, for work on heapledger;
//! 2. the source files inside this executable, with their `Cargo.lock`;
//! 3. the registry, if the executable was built without source files.
//!
//! The dependencies of heapledger come from the registry, as usual.

use std::collections::BTreeSet;
use std::env::consts::DLL_EXTENSION;
use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

use serde::Deserialize;

use super::project::{cargo, flag};
use super::wrapper::{Settings, write_if_changed};
use super::{Problem, WRAPPER_NAME};

/// Source files of heapledger, each with its path and content. Empty if this executable was built without source files.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/library_files.rs"));

/// Crate name of the library that takes the place of std.
pub const CRATE: &str = "heapledger_injected";

const SOURCE: &str = "\
//! All of std, and heapledger as the global allocator.
pub use ::std::*;

#[global_allocator]
static HEAP: ::heapledger::HeapLedger = ::heapledger::HeapLedger::system();
";

/// Result of a build of the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// File of the library that takes the place of std.
    pub file: PathBuf,
    /// Directories with the crates on which the library depends.
    pub dependencies: Vec<PathBuf>,
    /// Hash of the path, the modification time and the content of the library's file.
    pub key: String,
}

/// Builds the library below `directory`. Of the user's cargo `flags`, only those that select the target, the
/// configuration or the offline mode are used. The first build takes about a minute, so a line on standard error
/// announces it.
pub fn build(directory: &Path, flags: &[OsString], program: &Path) -> Result<Library, Problem> {
    let package = directory.join("library");
    write_package(&package).map_err(|error| Problem::Unwritable { path: package.clone(), error })?;
    let wrapper = place_wrapper(&package, program)?;
    let chained = env::var_os("RUSTC_WRAPPER").filter(|wrapper| !wrapper.is_empty());
    Settings::Library { chained }
        .write(&wrapper)
        .map_err(|error| Problem::Unwritable { path: wrapper.clone(), error })?;
    let mut command = Command::new(cargo());
    command.args(["build", "--profile", "heapledger", "--message-format", "json-render-diagnostics"]);
    command.arg("--manifest-path").arg(package.join("Cargo.toml"));
    command.args(target_directory(&directory.join("library-target")));
    if let Some(target) = flag(flags, "--target") {
        command.arg("--target").arg(target);
    }
    if let Some(config) = flag(flags, "--config") {
        command.arg("--config").arg(config);
    }
    for name in ["--offline", "--frozen"] {
        // `--locked` is not passed on, because cargo may have to remove unneeded packages from the lock file of the
        // library.
        if flags.iter().any(|word| word == name) {
            command.arg("--offline");
        }
    }
    if !directory.join("library-target").is_dir() {
        eprintln!("note: building heapledger for this workspace, once; this takes about a minute");
    }
    command
        .env("RUSTC_WRAPPER", &wrapper)
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_TARGET_DIR");
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Problem::NoCargo { error })?;
    if !output.status.success() {
        return Err(Problem::Library { code: output.status.code() });
    }
    built(&output.stdout).ok_or(Problem::Metadata { error: format!("no artefact of {CRATE}") })
}

/// Finds the files of the built library in cargo's JSON messages. Returns `None` if the messages name no `.rlib` file
/// of [`CRATE`], or if that file cannot be read.
fn built(messages: &[u8]) -> Option<Library> {
    #[derive(Deserialize)]
    struct Message {
        target: Option<Name>,
        #[serde(default)]
        filenames: Vec<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Name {
        name: String,
    }
    let lines = messages.split(|byte| *byte == b'\n');
    let (mut file, mut dependencies) = (None, BTreeSet::new());
    for message in lines.filter_map(|line| serde_json::from_slice::<Message>(line).ok()) {
        let is_injected = message.target.is_some_and(|target| target.name == CRATE);
        for path in message.filenames {
            let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
            // The directory is taken from cargo's message, because versions of cargo choose the directory of a crate
            // differently.
            if extension == "rlib" || extension == DLL_EXTENSION {
                dependencies.extend(path.parent().map(Path::to_owned));
            }
            if is_injected && extension == "rlib" {
                file = Some(path);
            }
        }
    }
    let file = file?;
    let mut hasher = DefaultHasher::new();
    (file.as_os_str(), fs::metadata(&file).ok()?.modified().ok()).hash(&mut hasher);
    fs::read(&file).ok()?.hash(&mut hasher);
    let dependencies = dependencies.into_iter().collect();
    Some(Library { file, dependencies, key: format!("{:016x}", hasher.finish()) })
}

/// Returns flags that make cargo write all outputs into one directory, even if the user's configuration sets another
/// directory for intermediate outputs.
pub(super) fn target_directory(path: &Path) -> [OsString; 4] {
    let build_directory = format!("build.build-dir={}", quoted(path));
    ["--target-dir".into(), path.into(), "--config".into(), build_directory.into()]
}

fn quoted(path: &Path) -> String {
    serde_json::to_string(&path.to_string_lossy()).unwrap_or_default()
}

/// Returns the `path` or `version` under which a manifest finds heapledger. It is the directory in
/// `HEAPLEDGER_LIBRARY`, else the checkout from which this command was installed, else the version in the registry.
pub(super) fn place() -> String {
    let given = env::var_os("HEAPLEDGER_LIBRARY").filter(|path| !path.is_empty());
    let directory = given.or_else(|| option_env!("HEAPLEDGER_CHECKOUT").map(OsString::from));
    match directory.map(fs::canonicalize) {
        Some(Ok(path)) => format!("path = {}", quoted(&path)),
        _ => format!("version = {:?}", env!("CARGO_PKG_VERSION")),
    }
}

/// Writes the package of the library. Also writes the source files of heapledger if these come from this executable.
fn write_package(package: &Path) -> io::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let given = env::var_os("HEAPLEDGER_LIBRARY").filter(|path| !path.is_empty()).map(fs::canonicalize);
    let given = given.transpose()?;
    let dependency = match &given {
        Some(path) => format!("path = {}", quoted(path)),
        None if FILES.is_empty() => format!("version = \"={version}\""),
        None => "path = \"heapledger\"".to_owned(),
    };
    let manifest = format!(
        "[package]\nname = \"heapledger-injected\"\nversion = \"{version}\"\nedition = \"2024\"\npublish = false\n\n\
         [lib]\nname = \"{CRATE}\"\npath = \"lib.rs\"\n\n[dependencies]\nheapledger = {{ {dependency} }}\n\n\
         [workspace]\n\n[profile.heapledger]\ninherits = \"release\"\nopt-level = 3\ndebug = false\nlto = false\n\
         panic = \"unwind\"\ncodegen-units = 16\nincremental = false\nstrip = \"none\"\n"
    );
    fs::create_dir_all(package)?;
    write_if_changed(&package.join("Cargo.toml"), manifest.as_bytes())?;
    write_if_changed(&package.join("lib.rs"), SOURCE.as_bytes())?;
    let lock = package.join("Cargo.lock");
    if let Some(path) = given {
        if !lock.exists() {
            // The copy fails if the checkout has no lock file, which is no problem.
            let _ = fs::copy(path.join("Cargo.lock"), lock);
        }
        return Ok(());
    }
    for (name, content) in FILES {
        let path = package.join("heapledger").join(name);
        fs::create_dir_all(path.parent().unwrap_or(package))?;
        write_if_changed(&path, content)?;
        // The lock file names the versions with which heapledger is tested. It is written only once, because cargo may
        // change it.
        if *name == "Cargo.lock" && !lock.exists() {
            fs::write(&lock, content)?;
        }
    }
    Ok(())
}

/// Creates a link to the executable `program` in `directory`. When the executable is called by the name of the link, it
/// acts as the wrapper of the compiler. Returns the path of the link.
pub(super) fn place_wrapper(directory: &Path, program: &Path) -> Result<PathBuf, Problem> {
    let wrapper = directory.join(WRAPPER_NAME);
    let place = || {
        fs::create_dir_all(directory)?;
        if fs::read_link(&wrapper).is_ok_and(|to| to == program) {
            return Ok(());
        }
        match fs::remove_file(&wrapper) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        #[cfg(unix)]
        return std::os::unix::fs::symlink(program, &wrapper);
        #[cfg(not(unix))]
        return fs::copy(program, &wrapper).map(drop);
    };
    place().map_err(|error| Problem::Unwritable { path: wrapper.clone(), error })?;
    Ok(wrapper)
}
