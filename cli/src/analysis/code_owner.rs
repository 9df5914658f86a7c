//! Owner of a function: the program, one of its dependencies, or the standard library.
//!
//! A report shows a line of the program where a stack has one, and otherwise a line of a dependency. The path of the
//! source file distinguishes the two: Cargo unpacks registry crates below `registry/src`, and crates of git
//! repositories below `git/checkouts`.
//!
//! Two kinds of programs need more. A program that was itself installed from a registry has all its files below
//! `registry/src`; then the package of `main` is the program. Many programs consist of a small crate with `main` and of
//! crates that do the work. A crate belongs to the program if its name begins with the program's name, as
//! `grass_compiler` in `grass`, or if the user names the crate.

use heapledger::profile::{Profile, scope_of_address};

use super::Frame;
use super::name_simplify::is_library;

/// Owner of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CodeOwner {
    /// The program: the package of `main`, other packages that Cargo did not unpack, and crates whose names begin with
    /// the program's name.
    Program,
    /// A crate from a registry or a git repository, a vendored crate, or a library in another language.
    Dependency,
    /// The standard library of Rust, or the code that starts programs and threads.
    Library,
}

/// Rule that decides the owner of each function in one profile.
#[derive(Debug, Clone, Default)]
pub struct CodeOwners {
    /// Folder of the package of `main`, with a final `/`; `None` unless that package lies where Cargo unpacks
    /// dependencies.
    program_folder: Option<String>,
    /// Start address of the executable. Functions without a source file belong to the program if their object starts
    /// there. `None` without a list of objects.
    executable_start: Option<u64>,
    /// Names of the program and of the crate of `main`. Crates whose names begin with one of these names belong to the
    /// program.
    family: Vec<String>,
    /// Names of crates that the user counts as part of the program.
    own: Vec<String>,
}

impl CodeOwners {
    /// Derives the rule from the functions of a profile.
    pub fn of(profile: &Profile) -> Self {
        Self::with(profile, &[])
    }

    /// Derives the rule from the functions of a profile. Crates named in `own` belong to the program.
    pub fn with(profile: &Profile, own: &[String]) -> Self {
        let symbols = &profile.symbols;
        let mut folder_of_main = None;
        let mut family = vec![normal(&profile.process.program)];
        for frame in symbols.frames.values().flatten() {
            let (file, name) = (symbols.text(frame.file), symbols.text(frame.function));
            if file.is_empty() {
                continue;
            }
            if !is_unpacked(file) {
                family.extend(name.strip_suffix("::main").filter(|name| !name.contains("::")).map(normal));
            } else if (name.ends_with("::main") || name == "main")
                && let Some(folder) = package_folder(file)
            {
                folder_of_main = Some(folder.to_owned());
                family.extend(package_name(file).map(normal));
            }
        }
        // A name of one or two letters is dropped, because too many crates have names that begin with it.
        family.retain(|name| name.len() > 2);
        family.sort();
        family.dedup();
        CodeOwners {
            family,
            own: own.iter().map(|name| normal(name)).collect(),
            program_folder: folder_of_main,
            executable_start: profile.modules.first().map(|module| module.start),
        }
    }

    /// Returns the owner of the function of a frame. The frame of a scope is no place in the program, so it counts as a
    /// dependency.
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
                    || self.is_own_crate(&normal(package_name(file).unwrap_or(crate_of(frame.function))))
            }
        };
        if is_program { CodeOwner::Program } else { CodeOwner::Dependency }
    }
}

impl CodeOwners {
    fn is_own_crate(&self, name: &str) -> bool {
        let begins =
            |whole: &String| name.strip_prefix(whole.as_str()).is_some_and(|rest| rest.starts_with('_'));
        self.family.iter().any(|whole| whole == name || begins(whole))
            || self.own.iter().any(|own| own == name)
    }
}

/// Returns the first component of a function's path: `serde_json` of `<serde_json::Value as Clone>::clone`.
pub fn crate_of(name: &str) -> &str {
    let name = name.trim_start_matches(['<', '&', '*', '(', '[', ' ']);
    let name = ["mut ", "const ", "dyn "].iter().fold(name, |name, word| name.trim_start_matches(word));
    let end = name.find(|sign: char| !sign.is_alphanumeric() && sign != '_').unwrap_or(name.len());
    &name[..end]
}

/// Returns the package name, without the version, of a source file that Cargo unpacked. Returns `None` for a file of a
/// git repository, whose folder is named after a commit.
pub fn package_name(file: &str) -> Option<&str> {
    if file.contains("/git/checkouts/") {
        return None;
    }
    let folder = package_folder(file)?.trim_end_matches('/');
    let folder = &folder[folder.rfind('/').map_or(0, |at| at + 1)..];
    let version =
        folder.match_indices('-').find(|(at, _)| folder[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
    Some(version.map_or(folder, |(at, _)| &folder[..at]))
}

/// Returns the name of a crate as it is written in code: with `_` in place of `-`.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// Whether a source file lies where Cargo unpacks dependencies, or in a folder of vendored crates.
fn is_unpacked(file: &str) -> bool {
    ["/registry/src/", "/git/checkouts/", "/vendor/"].iter().any(|place| file.contains(place))
        || file.starts_with("vendor/")
}

/// Returns the folder of the package of a file that Cargo unpacked, with a final `/`.
fn package_folder(file: &str) -> Option<&str> {
    // Number of folders below each place: registry/src/<index>/<package>/… and git/checkouts/<repository>/<commit>/…
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
    fn crates_of_the_programs_name_and_those_that_are_named_are_the_programs() {
        let [main, family, other] =
            ["grass-0.1.0/src/main.rs", "grass_compiler-0.1.0/src/a.rs", "grassy-1.0.0/src/a.rs"]
                .map(|file| format!("{REGISTRY}{file}"));
        let profile = named(&[&[
            ("grassy::go", &other, 1),
            ("grass_compiler::visit", &family, 4),
            ("grass::main", &main, 6),
        ]]);
        use CodeOwner::{Dependency, Program};
        assert_eq!(owners(&profile), [Dependency, Program, Program]);
        let rule = CodeOwners::with(&profile, &["grassy".to_owned()]);
        let frames = super::super::StackReader::new(&profile).frames(1);
        assert!(frames.iter().all(|frame| rule.owner(frame) == Program));
        // A program whose sources lie in its workspace, and not in the registry.
        let profile = named(&[&[("grass_compiler::visit", &family, 4), ("grass::main", "src/main.rs", 6)]]);
        assert_eq!(owners(&profile), [Program, Program]);
    }

    #[test]
    fn the_name_of_a_package_is_without_its_version() {
        assert_eq!(package_name("/c/registry/src/i/serde-json-1.0.1-rc/src/b.rs"), Some("serde-json"));
        assert_eq!(package_name("/c/vendor/x25519-dalek/src/b.rs"), Some("x25519-dalek"));
        assert_eq!((package_name("/c/git/checkouts/r/7f/src/c.rs"), package_name("src/a.rs")), (None, None));
    }

    #[test]
    fn the_folder_of_a_package_is_found_below_each_place() {
        assert_eq!(package_folder("/c/registry/src/i/a-1/src/b/c.rs"), Some("/c/registry/src/i/a-1/"));
        assert_eq!(package_folder("/c/git/checkouts/r/7f/src/c.rs"), Some("/c/git/checkouts/r/7f/"));
        assert_eq!(package_folder("/c/vendor/a/src/c.rs"), Some("/c/vendor/a/"));
        assert_eq!((package_folder("/c/registry/src/i"), package_folder("src/main.rs")), (None, None));
    }
}
