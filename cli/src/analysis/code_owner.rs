//! Owner of a function: the program, one of its dependencies, or the standard library.
//!
//! A reader looks for lines of the program first, and for lines of dependencies where a stack has none of the program.
//! The path of the source file decides: Cargo unpacks crates of a registry below `registry/src`, and those of a
//! repository below `git/checkouts`. A program that was itself installed from a registry has all its files there; then
//! the package of `main` is the program.

use heapledger::profile::{Profile, scope_of_address};

use super::Frame;
use super::name_simplify::is_library;

/// Owner of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CodeOwner {
    /// The program: its package, or a package beside it.
    Program,
    /// A crate of a registry or a repository, a vendored crate, or a library in another language.
    Dependency,
    /// The standard library of Rust, or the code that starts programs and threads.
    Library,
}

/// Rule that tells the owner of a function in one profile.
#[derive(Debug, Clone, Default)]
pub struct CodeOwners {
    /// Folder of the package of `main`, with a final `/`, if that package lies where Cargo unpacks dependencies.
    program_folder: Option<String>,
    /// Start of the executable, to tell it from libraries; `None` without a list of objects.
    executable_start: Option<u64>,
}

impl CodeOwners {
    /// Derives the rule from the functions of a profile.
    pub fn of(profile: &Profile) -> Self {
        let symbols = &profile.symbols;
        let mut folder_of_main = None;
        for frame in symbols.frames.values().flatten() {
            let file = symbols.text(frame.file);
            if file.is_empty() || !is_unpacked(file) {
                continue;
            }
            let name = symbols.text(frame.function);
            if (name.ends_with("::main") || name == "main")
                && let Some(folder) = package_folder(file)
            {
                folder_of_main = Some(folder.to_owned());
            }
        }
        CodeOwners {
            program_folder: folder_of_main,
            executable_start: profile.modules.first().map(|module| module.start),
        }
    }

    /// Returns the owner of the function of a frame. The frame of a scope counts as a dependency: it is no place in the
    /// program.
    pub fn owner(&self, frame: &Frame<'_>) -> CodeOwner {
        if is_library(frame) {
            return CodeOwner::Library;
        }
        if scope_of_address(frame.address).is_some() {
            return CodeOwner::Dependency;
        }
        let is_program = match frame.file {
            "" => frame.module.is_none_or(|module| Some(module.start) == self.executable_start),
            file => {
                !is_unpacked(file)
                    || self.program_folder.as_ref().is_some_and(|folder| file.starts_with(folder.as_str()))
            }
        };
        if is_program { CodeOwner::Program } else { CodeOwner::Dependency }
    }
}

/// Whether a source file lies where Cargo unpacks dependencies, or in a folder of vendored ones.
fn is_unpacked(file: &str) -> bool {
    ["/registry/src/", "/git/checkouts/", "/vendor/"].iter().any(|place| file.contains(place))
        || file.starts_with("vendor/")
}

/// Returns the folder of the package of an unpacked file, with a final `/`.
fn package_folder(file: &str) -> Option<&str> {
    // registry/src/<index>/<package>/… and git/checkouts/<repository>/<commit>/…
    let (place, folders) = [("/registry/src/", 2), ("/git/checkouts/", 2), ("/vendor/", 1)]
        .into_iter()
        .find_map(|(place, folders)| Some((file.find(place)? + place.len(), folders)))?;
    let end = file[place..].match_indices('/').nth(folders - 1)?.0;
    Some(&file[..=place + end])
}

#[cfg(test)]
mod tests {
    use super::super::paths::named;
    use super::*;

    const REGISTRY: &str = "/home/me/.cargo/registry/src/index.crates.io-1/";

    fn owners(profile: &Profile) -> Vec<CodeOwner> {
        let rule = CodeOwners::of(profile);
        super::super::StackReader::new(profile).frames(1).iter().map(|frame| rule.owner(frame)).collect()
    }

    #[test]
    fn the_file_tells_the_owner() {
        let serde = format!("{REGISTRY}serde_json-1.0.1/src/de.rs");
        let profile = named(&[&[
            ("alloc::vec::Vec<T>::push", "/rustc/1/library/alloc/src/vec/mod.rs", 3),
            ("serde_json::from_str", &serde, 4),
            ("inflate", "/src/vendor/zlib/inflate.c", 5),
            ("app::main", "src/main.rs", 6),
        ]]);
        use CodeOwner::{Dependency, Library, Program};
        assert_eq!(owners(&profile), [Library, Dependency, Dependency, Program]);
    }

    #[test]
    fn a_program_that_was_installed_owns_its_package() {
        let (main, grass) =
            (format!("{REGISTRY}tool-1.0.0/src/main.rs"), format!("{REGISTRY}grass-0.1/src/x.rs"));
        let profile = named(&[&[("grass::compile", &grass, 4), ("tool::main", &main, 6)]]);
        assert_eq!(owners(&profile), [CodeOwner::Dependency, CodeOwner::Program]);
    }

    #[test]
    fn the_folder_of_a_package_is_found_below_each_place() {
        assert_eq!(package_folder("/c/registry/src/i/a-1/src/b/c.rs"), Some("/c/registry/src/i/a-1/"));
        assert_eq!(package_folder("/c/git/checkouts/r/7f/src/c.rs"), Some("/c/git/checkouts/r/7f/"));
        assert_eq!(package_folder("/c/vendor/a/src/c.rs"), Some("/c/vendor/a/"));
        assert_eq!((package_folder("/c/registry/src/i"), package_folder("src/main.rs")), (None, None));
    }
}
