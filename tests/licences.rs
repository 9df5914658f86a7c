//! Every package that is built into heapledger has a licence that `docs/DEPENDENCIES.md` lists, and every accepted
//! advisory is about a package that is built.

use std::process::Command;

const DOCUMENT: &str = include_str!("../docs/DEPENDENCIES.md");

/// Returns the licences of the document: the list at the end of its first paragraph.
fn allowed() -> Vec<&'static str> {
    let section = DOCUMENT.split("## Licences").nth(1).expect("a section on licences");
    let list = section.split("these:").nth(1).expect("a list").split("\n\n").next().expect("its end");
    list.trim().trim_end_matches('.').split(',').map(str::trim).collect()
}

/// Whether an SPDX expression is satisfied by these licences. The older `/` means `OR`.
fn is_met(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any_of(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut met = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    if words.next_if_eq(&"(").is_some() {
        return any_of(words, allowed) & words.next_if_eq(&")").is_some();
    }
    let Some(name) = words.next() else { return false };
    match words.next_if_eq(&"WITH").and_then(|_| words.next()) {
        Some(exception) => allowed.contains(&format!("{name} WITH {exception}").as_str()),
        None => allowed.contains(&name),
    }
}

/// Packages under another licence, which only the command contains.
const IN_THE_COMMAND: &[(&str, &str)] = &[("inferno", "CDDL-1.0")];

/// Returns name and licence of every package that is built with these features, except those of the workspace. Cargo
/// downloads missing packages, including those of other members and platforms, which a build of this package leaves
/// out.
fn packages(features: &[&str]) -> Vec<(String, String)> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["metadata", "--format-version", "1", "--locked"]).args(features);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages").iter();
    let foreign = packages.filter(|package| !package["source"].is_null());
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    foreign.map(|package| (text(&package["name"]), text(&package["license"]))).collect()
}

/// Returns the names of the packages that a program with heapledger links, with every feature of the library.
fn names_in_the_library() -> Vec<String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["tree", "--package", "heapledger", "--all-features", "--edges", "normal,build"]);
    cargo.args(["--locked", "--prefix", "none", "--format", "{p}"]);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn every_package_has_a_listed_licence() {
    let (allowed, packages) = (allowed(), packages(&["--all-features"]));
    assert!(allowed.contains(&"MIT") && packages.len() > 50, "{allowed:?}, {}", packages.len());
    let bad: Vec<_> = packages
        .iter()
        .filter(|(name, licence)| {
            !is_met(licence, &allowed) && !IN_THE_COMMAND.contains(&(name.as_str(), licence.as_str()))
        })
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn the_library_contains_no_package_that_only_the_command_may_contain() {
    let library = names_in_the_library();
    assert!(library.iter().any(|name| name == "bincode"), "{library:?}");
    for (name, licence) in IN_THE_COMMAND {
        assert!(DOCUMENT.contains(&format!("`{name}`")) && DOCUMENT.contains(licence), "{name}");
        assert!(library.iter().all(|package| package != name), "{name}");
    }
}

#[test]
fn every_accepted_advisory_names_a_package_that_is_built() {
    let packages = packages(&["--all-features"]);
    let rows: Vec<_> = DOCUMENT.lines().filter(|line| line.contains("RUSTSEC-")).collect();
    assert!(!rows.is_empty());
    for row in rows {
        let name = row.split('`').nth(1).expect("a name");
        assert!(packages.iter().any(|(package, _)| package == name), "{name} is not there any more");
    }
}

#[test]
fn licence_expressions_are_evaluated() {
    let allowed = ["MIT", "Apache-2.0 WITH LLVM-exception", "Zlib"];
    for met in [
        "MIT",
        "MIT OR GPL-3.0",
        "GPL-3.0/MIT",
        "(GPL-3.0 OR Zlib) AND MIT",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(is_met(met, &allowed), "{met}");
    }
    for not_met in ["", "GPL-3.0", "MIT AND GPL-3.0", "(GPL-3.0 OR MIT", "Apache-2.0", "MIT MIT"] {
        assert!(!is_met(not_met, &allowed), "{not_met}");
    }
}

/// Returns the quoted texts of a list in `deny.toml`.
fn listed(key: &str) -> Vec<&'static str> {
    let rules = include_str!("../deny.toml");
    let list =
        rules.split(&format!("\n{key} = [")).nth(1).expect("the list").split("\n]").next().expect("its end");
    list.split('"').skip(1).step_by(2).collect()
}

#[test]
fn cargo_deny_has_the_same_rules_as_the_document() {
    assert_eq!(listed("allow"), allowed());
    let accepted = DOCUMENT.split("## Advisories").nth(1).expect("a section on advisories");
    let ignored = listed("ignore");
    let numbers = ignored.iter().filter(|text| text.starts_with("RUSTSEC-"));
    for number in numbers.clone() {
        assert!(accepted.contains(number), "{number} is accepted without a reason");
    }
    assert!(numbers.count() > 0);
}
