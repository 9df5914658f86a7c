//! Lists the sources of the library for `cargo heapledger`, which builds the library with the compiler of the program
//! that it records. With the sources inside, the installed command needs no checkout, and the library that writes a
//! dump is the one whose dumps the command reads.
//!
//! In a package from the registry the library does not lie beside the command; the list is then empty, and the
//! library of the same version comes from the registry.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Parts of the library that its default features leave out.
const LEFT_OUT: [&str; 4] = ["validation", "strategies", "tests", "tests.rs"];

/// Sections of the manifest that a build of the library needs.
const SECTIONS: [&str; 5] = ["[package]", "[features]", "[dependencies", "[target.", "[lib]"];

fn main() -> io::Result<()> {
    let command = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let root = command.parent().unwrap_or(&command);
    let mut list = String::from("&[\n");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap_or_default();
    if manifest.contains("\nname = \"heapledger\"\n") && root.join("src/lib.rs").is_file() {
        fs::write(out.join("Cargo.toml"), reduced(&manifest))?;
        println!("cargo::rustc-env=HEAPLEDGER_CHECKOUT={}", root.display());
        let mut files = vec![root.join("Cargo.lock"), root.join("README.md")];
        collect(&root.join("src"), &mut files)?;
        files.sort();
        writeln!(list, "(\"Cargo.toml\", include_bytes!({:?})),", out.join("Cargo.toml")).expect("memory");
        for path in files {
            let name = path.strip_prefix(root).expect("below").to_string_lossy().replace('\\', "/");
            writeln!(list, "({name:?}, include_bytes!({path:?})),").expect("memory");
        }
        for name in ["Cargo.toml", "Cargo.lock", "README.md", "src"] {
            println!("cargo::rerun-if-changed={}", root.join(name).display());
        }
    }
    list.push_str("]\n");
    println!("cargo::rerun-if-changed=build.rs");
    fs::write(out.join("library_files.rs"), list)
}

/// Returns the manifest without its workspace, its tests and what only they need.
fn reduced(manifest: &str) -> String {
    let (mut text, mut is_kept) = (String::new(), true);
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_kept = SECTIONS.iter().any(|section| line.starts_with(section));
        }
        // What a lint says of the library is for those who change it.
        if is_kept && !line.starts_with("include = ") {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if LEFT_OUT.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
