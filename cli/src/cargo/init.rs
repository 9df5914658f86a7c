//! `cargo heapledger init`: adds the dependency and the global allocator to a package, behind a cargo feature, and
//! removes both again.
//!
//! In the manifest, every added line has a mark. The lines that are added to the source file are always the same. So
//! exactly the added lines can be removed, even if other lines have changed since.

use std::fs;
use std::path::{Path, PathBuf};

use super::conflict;
use super::line_diff::line_diff;
use super::project::{Package, update_lock_file};
use super::{Problem, library};

const MARK: &str = " # cargo heapledger init";
const COMMENT: &str =
    "// cargo heapledger init: records where HEAPLEDGER=always is set; --undo takes this out.";
const LINES: [&str; 4] = [
    COMMENT,
    "#[cfg(feature = \"heapledger\")]",
    "#[global_allocator]",
    "static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system().on_request();",
];

/// Change of a text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    path: PathBuf,
    before: String,
    after: String,
}

impl Change {
    /// Returns the change as a diff, with `+` and `-` before the changed lines.
    pub fn diff(&self) -> String {
        line_diff(&self.path.display().to_string(), &self.before, &self.after)
    }
}

/// Returns the changes that add heapledger to a program of a package. With `is_undo`, returns the changes that remove
/// it.
pub fn changes(package: &Package, program: Option<&str>, is_undo: bool) -> Result<Vec<Change>, Problem> {
    let source = main_file(package, program)?;
    let manifest = read(&package.manifest_path)?;
    let main = read(source)?;
    let (new_manifest, new_main) = if is_undo {
        (without_marked(&manifest), without_lines(&main))
    } else {
        refuse(package, &manifest, &main)?;
        (with_dependency(&manifest), with_lines(&main))
    };
    let change = |path: &Path, before: String, after: String| Change { path: path.to_owned(), before, after };
    let both = [change(&package.manifest_path, manifest, new_manifest), change(source, main, new_main)];
    let changes: Vec<Change> = both.into_iter().filter(|change| change.before != change.after).collect();
    if changes.is_empty() {
        return Err(Problem::Package {
            error: format!("{} has nothing that cargo heapledger init wrote", package.name),
            hint: "it looks for the lines with its mark".to_owned(),
        });
    }
    Ok(changes)
}

/// Writes the changes, and makes cargo update its lock file. If cargo fails, restores the files and returns cargo's
/// error.
pub fn apply(changes: &[Change]) -> Result<(), Problem> {
    let write = |path: &Path, text: &str| {
        fs::write(path, text).map_err(|error| Problem::Unwritable { path: path.to_owned(), error })
    };
    for change in changes {
        write(&change.path, &change.after)?;
    }
    let manifest = changes.iter().find(|change| change.path.ends_with("Cargo.toml"));
    let updated = manifest.map(|change| update_lock_file(&change.path));
    let Some(Err(problem)) = updated else { return Ok(()) };
    for change in changes {
        write(&change.path, &change.before)?;
    }
    Err(problem)
}

/// Returns an error if the package already has heapledger or another global allocator.
fn refuse(package: &Package, manifest: &str, main: &str) -> Result<(), Problem> {
    let is_there = manifest.lines().any(|line| {
        let line = line.trim_start();
        line.starts_with("heapledger") || line.starts_with("[dependencies.heapledger")
    });
    if is_there || main.contains(COMMENT) {
        return Err(Problem::Package {
            error: format!("{} names heapledger already", package.name),
            hint: "cargo heapledger init --undo takes out what it wrote".to_owned(),
        });
    }
    let directory = package.manifest_path.parent().unwrap_or(Path::new("."));
    match conflict::of_package(&package.name, directory) {
        Some(message) => Err(Problem::Package {
            error: message,
            hint: "with the lines above, nothing is left for init to write".to_owned(),
        }),
        None => Ok(()),
    }
}

fn main_file<'a>(package: &'a Package, program: Option<&str>) -> Result<&'a Path, Problem> {
    let programs: Vec<_> =
        package.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "bin")).collect();
    let named = |name: &str| programs.iter().find(|target| target.name == name);
    match (program, &programs[..]) {
        (Some(name), _) if named(name).is_some() => Ok(&named(name).expect("just found").src_path),
        (None, [only]) => Ok(&only.src_path),
        _ => Err(Problem::Package {
            error: format!("{} has {} programs, and one is needed", package.name, programs.len()),
            hint: "name a program of the package with --bin, and a package with --package".to_owned(),
        }),
    }
}

fn read(path: &Path) -> Result<String, Problem> {
    fs::read_to_string(path).map_err(|error| Problem::Unreadable { path: path.to_owned(), error })
}

fn with_dependency(manifest: &str) -> String {
    let place = library::place();
    let dependency = format!("heapledger = {{ {place}, optional = true }}");
    let text = with_line(manifest, "[dependencies]", &dependency);
    with_line(&text, "[features]", "heapledger = [\"dep:heapledger\"]")
}

/// Adds a line to a section of a manifest. Adds the section too if it is missing.
fn with_line(manifest: &str, section: &str, line: &str) -> String {
    let mut text = String::new();
    let mut is_added = false;
    for old in manifest.split_inclusive('\n') {
        text.push_str(old);
        if !is_added && old.trim() == section && old.ends_with('\n') {
            text.push_str(&format!("{line}{MARK}\n"));
            is_added = true;
        }
    }
    if !is_added {
        text.push_str(&format!("{section}{MARK}\n{line}{MARK}\n"));
    }
    text
}

fn without_marked(manifest: &str) -> String {
    manifest.split_inclusive('\n').filter(|line| !line.trim_end().ends_with(MARK)).collect()
}

fn with_lines(main: &str) -> String {
    let end = if main.is_empty() || main.ends_with('\n') { "" } else { "\n" };
    format!("{main}{end}{}\n", LINES.join("\n"))
}

fn without_lines(main: &str) -> String {
    main.replacen(&format!("{}\n", LINES.join("\n")), "", 1)
}

#[cfg(test)]
mod tests {
    use super::super::project::Target;
    use super::*;

    fn package(manifest: &str, main: &str) -> (tempfile::TempDir, Package) {
        let directory = tempfile::tempdir().expect("a directory");
        let (manifest_path, src_path) =
            (directory.path().join("Cargo.toml"), directory.path().join("main.rs"));
        fs::write(&manifest_path, manifest).expect("written");
        fs::write(&src_path, main).expect("written");
        let targets = vec![Target { name: "app".into(), kind: vec!["bin".into()], src_path }];
        let package = Package { id: String::new(), name: "app".into(), manifest_path, targets };
        (directory, package)
    }

    #[test]
    fn what_is_written_is_taken_out_to_the_byte() {
        let head = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        for rest in ["", "\n[dependencies]\nlibc = \"0.2\"\n", "\n[features]\nx = []\n\n[dependencies]\n"] {
            let (manifest, main) = (format!("{head}{rest}"), "fn main() {}\n");
            let (_directory, package) = package(&manifest, main);
            for change in changes(&package, None, false).expect("changes") {
                assert!(change.diff().contains("\n+"), "{}", change.diff());
                fs::write(&change.path, &change.after).expect("written");
            }
            let written = fs::read_to_string(&package.manifest_path).expect("there");
            assert!(written.contains("optional = true") && written.contains("dep:heapledger"), "{written}");
            assert!(changes(&package, None, false).is_err(), "twice");
            for change in changes(&package, None, true).expect("changes") {
                fs::write(&change.path, &change.after).expect("written");
            }
            assert_eq!(fs::read_to_string(&package.manifest_path).expect("there"), manifest);
            assert_eq!(fs::read_to_string(&package.targets[0].src_path).expect("there"), main);
            assert!(changes(&package, None, true).is_err(), "nothing is left");
        }
    }

    #[test]
    fn another_allocator_is_refused_with_the_lines_to_write() {
        let main =
            "#[global_allocator]\nstatic GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;\nfn main() {}\n";
        let (_directory, package) = package("[package]\nname = \"app\"\n", main);
        let refused = changes(&package, None, false).expect_err("refused").to_string();
        assert!(refused.contains("heapledger::HeapLedger<mimalloc::MiMalloc>"), "{refused}");
    }
}
