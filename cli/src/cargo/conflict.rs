//! Message for a program that already has a global allocator. The message tells the user how to put heapledger around
//! this allocator.

use std::fs;
use std::path::{Path, PathBuf};

use heapledger::text::escape::escaped;

use super::library::{self, CRATE};
use super::project::Project;

/// Global allocator found in source text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Allocator {
    file: PathBuf,
    line: usize,
    name: String,
    kind: String,
    value: String,
}

/// Returns the message for `noted`, one line of the file [`CONFLICTS`](super::wrapper::CONFLICTS). The line names the
/// package, the crate, and the two crates that define an allocator. `workspace` asks cargo for the dependencies. It is
/// called only if a dependency defines one of the allocators.
pub(super) fn explain(noted: &str, workspace: impl Fn() -> Option<Project>) -> String {
    let fields: Vec<&str> = noted.split('\t').collect();
    let [package, program, owners @ ..] = &fields[..] else { return String::new() };
    let program = escaped(program);
    let dependency = owners.iter().find(|owner| !owner.is_empty() && !["this crate", CRATE].contains(owner));
    let Some(dependency) = dependency else {
        return of_program(&program, found(Path::new(package)), Path::new(package));
    };
    let found = workspace().and_then(|project| found(project.directory_of(dependency)?));
    let dependency = escaped(dependency);
    let place = found.map_or_else(String::new, |allocator| {
        format!(": {}:{}", escaped(&allocator.file.display().to_string()), allocator.line)
    });
    format!(
        "{program} has a global allocator already, which its dependency {dependency} defines{place}\n\
         hint: a program has one global allocator, and cargo heapledger does not replace another one. If a feature \
         of {dependency} defines it, build without that feature, and write heapledger around it in {program} yourself."
    )
}

/// Returns the message for a package with a global allocator in its sources. Returns `None` if no source defines one.
pub(super) fn of_package(name: &str, package: &Path) -> Option<String> {
    let allocator = found(package)?;
    Some(of_program(&escaped(name), Some(allocator), package))
}

fn of_program(program: &str, allocator: Option<Allocator>, package: &Path) -> String {
    let Some(Allocator { file, line, name, kind, value }) = allocator else {
        return format!(
            "{program} has a global allocator of its own\nhint: write heapledger around it: \
             `static NAME: heapledger::HeapLedger<TYPE> = heapledger::HeapLedger::new(VALUE);`"
        );
    };
    let file = escaped(&file.strip_prefix(package).unwrap_or(&file).display().to_string());
    if kind.contains("HeapLedger") {
        return format!(
            "{program} has heapledger as its global allocator already ({file}:{line})\n\
             hint: heapledger run -- cargo run"
        );
    }
    let [name, kind, value] = [name, kind, value].map(|text| escaped(&text));
    format!(
        "{program} has a global allocator of its own ({file}:{line}), which cargo heapledger does not replace\n\
         hint: write heapledger around it there, with `heapledger = {{ {} }}` among the dependencies; then \
         `heapledger run -- cargo run`\n\n    \
         #[global_allocator]\n    \
         static {name}: heapledger::HeapLedger<{kind}> = heapledger::HeapLedger::new({value});\n",
        library::place()
    )
}

/// Searches the sources of a package for a global allocator, and returns the first one.
fn found(package: &Path) -> Option<Allocator> {
    let mut files = Vec::new();
    collect(package, &mut files, 0);
    files.sort();
    files.into_iter().find_map(|file| {
        let text = fs::read_to_string(&file).ok()?;
        allocator_in(&text).map(|found| Allocator { file, ..found })
    })
}

/// Maximum depth of the searched directories below the directory of the package.
const DIRECTORY_DEPTH_MAX: usize = 12;

fn collect(directory: &Path, files: &mut Vec<PathBuf>, depth: usize) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory
            && name != "target"
            && !name.to_string_lossy().starts_with('.')
            && depth < DIRECTORY_DEPTH_MAX
        {
            collect(&path, files, depth + 1);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Returns the static item below the attribute `#[global_allocator]`, with an empty file name.
fn allocator_in(text: &str) -> Option<Allocator> {
    const ATTRIBUTE: &str = "global_allocator]";
    let mut from = 0;
    while let Some(at) = text[from..].find(ATTRIBUTE).map(|at| at + from) {
        from = at + ATTRIBUTE.len();
        let line_start = text[..at].rfind('\n').map_or(0, |end| end + 1);
        if text[line_start..at].trim_start().starts_with("//") {
            continue;
        }
        let item = &text[from..];
        let (head, value) = item.split_once('=')?;
        // The first `=` can be in a further attribute before the static item.
        let declared = match head.contains("static ") {
            true => Some((head, value)),
            false => item.find("static ").and_then(|start| item[start..].split_once('=')),
        };
        let (head, value) = declared?;
        let (name, kind) = head.rsplit_once("static ")?.1.split_once(':')?;
        return Some(Allocator {
            file: PathBuf::new(),
            line: text[..from + item.find("static ")?].matches('\n').count() + 1,
            name: name.trim().to_owned(),
            kind: one_line(kind),
            value: one_line(value.split_once(';')?.0),
        });
    }
    None
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> [String; 3] {
        let found = allocator_in(text).expect("an allocator");
        [found.name, found.kind, found.value]
    }

    #[test]
    fn the_allocators_that_people_use_are_read() {
        assert_eq!(
            lines(
                "use mimalloc::MiMalloc;\n#[global_allocator]\nstatic GLOBAL: MiMalloc = MiMalloc;\nfn main() {}"
            ),
            ["GLOBAL", "MiMalloc", "MiMalloc"]
        );
        assert_eq!(
            lines(
                "#[cfg(not(target_env = \"msvc\"))]\n#[global_allocator]\nstatic ALLOC: tikv_jemallocator::Jemalloc =\n    tikv_jemallocator::Jemalloc;"
            ),
            ["ALLOC", "tikv_jemallocator::Jemalloc", "tikv_jemallocator::Jemalloc"]
        );
        assert_eq!(
            lines(
                "#[global_allocator]\n#[cfg(target_os = \"linux\")]\nstatic GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;"
            ),
            ["GLOBAL", "&StatsAlloc<System>", "&INSTRUMENTED_SYSTEM"]
        );
        assert_eq!(allocator_in("// #[global_allocator]\nstatic A: u8 = 1;"), None);
    }

    #[test]
    fn the_message_has_the_two_lines_to_write() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("src")).expect("created");
        let source = "use mimalloc::MiMalloc;\n\n#[global_allocator]\nstatic GLOBAL: MiMalloc = MiMalloc;\n";
        fs::write(directory.path().join("src/main.rs"), source).expect("written");
        let noted = format!("{}\tapp\tthis crate\t{CRATE}", directory.path().display());
        let text = explain(&noted, || None);
        assert!(text.contains("app has a global allocator of its own (src/main.rs:4)"), "{text}");
        assert!(
            text.contains(
                "static GLOBAL: heapledger::HeapLedger<MiMalloc> = heapledger::HeapLedger::new(MiMalloc);"
            ),
            "{text}"
        );
        let other = explain("/p\tapp\tfast_heap\theapledger_injected", || None);
        assert!(other.contains("its dependency fast_heap defines"), "{other}");
    }

    #[test]
    fn a_program_with_heapledger_is_told_to_run_it() {
        let found = allocator_in(
            "#[global_allocator]\nstatic HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system();",
        );
        let text = of_program("app", found, Path::new("/p"));
        assert!(text.contains("already") && text.contains("heapledger run -- cargo run"), "{text}");
    }
}
