//! The user's workspace, as cargo describes it in `cargo metadata`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::Problem;

/// The user's workspace: a part of the output of `cargo metadata`.
#[derive(Debug, Clone, Deserialize)]
pub struct Project {
    /// Directory for cargo's build outputs.
    pub target_directory: PathBuf,
    /// Root of the workspace.
    pub workspace_root: PathBuf,
    /// Packages of the workspace. Includes all dependencies if [`Project::find`] was called with `with_dependencies`.
    pub packages: Vec<Package>,
    /// Ids of the packages on which cargo works if the user names no package.
    #[serde(default)]
    pub workspace_default_members: Vec<String>,
}

/// Package of a workspace, or a dependency.
#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    /// Id of the package.
    pub id: String,
    /// Name of the package.
    pub name: String,
    /// Path of the package's `Cargo.toml`.
    pub manifest_path: PathBuf,
    /// Targets of the package: programs, a library, tests.
    pub targets: Vec<Target>,
}

/// Part of a package that is compiled as one crate.
#[derive(Debug, Clone, Deserialize)]
pub struct Target {
    /// Name of the target.
    pub name: String,
    /// Kinds of the target: `bin`, `lib`, `test` and others.
    pub kind: Vec<String>,
    /// Main source file of the target.
    pub src_path: PathBuf,
}

impl Project {
    /// Runs `cargo metadata`. Passes on the flags in `flags` that `cargo metadata` accepts. With `with_dependencies`,
    /// the result has the dependencies too.
    pub fn find(flags: &[OsString], with_dependencies: bool) -> Result<Project, Problem> {
        let mut command = Command::new(cargo());
        command.args(["metadata", "--format-version", "1"]);
        if !with_dependencies {
            command.arg("--no-deps");
        }
        command.args(of_metadata(flags)).stderr(Stdio::inherit());
        let output = command.output().map_err(|error| Problem::NoCargo { error })?;
        if !output.status.success() {
            return Err(Problem::Cargo { code: output.status.code() });
        }
        let mut project: Project = serde_json::from_slice(&output.stdout)
            .map_err(|error| Problem::Metadata { error: error.to_string() })?;
        if let Some(directory) = flag(flags, "--target-dir") {
            project.target_directory = std::path::absolute(directory).unwrap_or_default();
        }
        Ok(project)
    }

    /// Returns the directory to which `cargo heapledger` writes all its files.
    pub fn directory(&self) -> PathBuf {
        self.target_directory.join("heapledger")
    }

    /// Returns the package with this name; without a name, the package that contains the working directory.
    pub fn package(&self, name: Option<&str>) -> Option<&Package> {
        if let Some(name) = name {
            return self.packages.iter().find(|package| package.name == name);
        }
        let here = std::env::current_dir().unwrap_or_default();
        let of_here = self.packages.iter().filter(|package| {
            package.manifest_path.parent().is_some_and(|directory| here.starts_with(directory))
        });
        // A package can lie inside the directory of another package. The innermost one counts.
        let nearest = of_here.max_by_key(|package| package.manifest_path.components().count());
        let is_member = |package: &&Package| self.workspace_default_members.contains(&package.id);
        nearest.or_else(|| self.packages.iter().find(is_member))
    }

    /// Returns the directory of the package whose library is the crate `crate_name`.
    pub fn directory_of(&self, crate_name: &str) -> Option<&Path> {
        let has = |package: &&Package| {
            let mut libraries =
                package.targets.iter().filter(|target| !target.kind.iter().any(|kind| kind == "bin"));
            libraries.any(|target| target.name.replace('-', "_") == crate_name)
        };
        self.packages.iter().find(has)?.manifest_path.parent()
    }
}

/// Returns the cargo executable to call: the value of the environment variable `CARGO`, or else `cargo`.
pub fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Makes cargo update the lock file of a package after a change of its manifest.
pub fn update_lock_file(manifest: &Path) -> Result<(), Problem> {
    let mut command = Command::new(cargo());
    command.args(["update", "--workspace", "--quiet", "--manifest-path"]).arg(manifest);
    let status = command.status().map_err(|error| Problem::NoCargo { error })?;
    if status.success() { Ok(()) } else { Err(Problem::Cargo { code: status.code() }) }
}

/// Returns the value of a cargo flag, given as `--flag value` or `--flag=value`.
pub fn flag<'a>(flags: &'a [OsString], name: &str) -> Option<&'a OsStr> {
    for (at, word) in flags.iter().enumerate() {
        let Some(rest) = word.to_str().and_then(|text| text.strip_prefix(name)) else { continue };
        if rest.is_empty() {
            return flags.get(at + 1).map(OsString::as_os_str);
        }
        if let Some(value) = rest.strip_prefix('=') {
            return Some(OsStr::new(value));
        }
    }
    None
}

/// Returns the flags in `flags` that `cargo metadata` accepts, with their values.
fn of_metadata(flags: &[OsString]) -> Vec<OsString> {
    let valued = ["--manifest-path", "--config"].into_iter();
    let with_value = valued.filter_map(|name| Some([OsString::from(name), flag(flags, name)?.to_owned()]));
    let plain = ["--offline", "--locked", "--frozen"].into_iter();
    let alone = plain.filter(|name| flags.iter().any(|word| word == name)).map(OsString::from);
    with_value.flatten().chain(alone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_read_in_both_forms() {
        let flags: Vec<OsString> =
            ["--release", "--target", "t", "--config=a", "--offline"].map(OsString::from).into();
        assert_eq!(flag(&flags, "--target"), Some(OsStr::new("t")));
        assert_eq!(flag(&flags, "--config"), Some(OsStr::new("a")));
        assert_eq!(flag(&flags, "--profile"), None);
        assert_eq!(of_metadata(&flags), ["--config", "a", "--offline"]);
    }
}
