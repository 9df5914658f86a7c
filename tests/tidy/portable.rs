//! The validation is portable: only two of its files have code for particular systems.

use super::source::{Source, words};
use super::{Finding, finding};

/// The files that may name a system, each with the reason. Each file also has code for all other systems.
const MAY: [&str; 2] = ["src/validation/probe.rs", "src/validation/paired/spawn.rs"];

/// Names of systems.
const SYSTEMS: [&str; 6] = ["std::os", "libc", "unix", "windows", "target_os", "target_family"];

/// Finds names of systems in other files. Reading a file that only some systems have is allowed: the read fails
/// elsewhere, and the figure is unknown.
pub fn systems(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("src/validation/") || MAY.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let found = SYSTEMS.iter().flat_map(|name| {
        // A method with the name of a system is no system: `windows` gives parts of a slice.
        let is_method = |at: usize| source.code[..at].ends_with('.');
        words(&source.code, name).filter(move |at| !is_method(*at)).map(move |at| (at, *name))
    });
    found.map(|(at, name)| finding("portable", source, at, format!("{name} has no place here"))).collect()
}

#[cfg(test)]
mod planted {
    use super::*;

    #[test]
    fn a_system_is_found_where_it_has_no_place() {
        let found = |path: &str, text: &str| systems(&Source::new(path, text)).len();
        for text in [
            "use std::os::fd::AsRawFd;",
            "fn a() { libc::getpid() }",
            "#[cfg(unix)] fn a() {}",
            "#[cfg(target_os = \"linux\")] fn a() {}",
            "#[cfg(windows)] fn a() {}",
        ] {
            assert_eq!(found("src/validation/pool/mod.rs", text), 1, "{text}");
            assert_eq!(found("src/validation/probe.rs", text), 0, "{text}");
            assert_eq!(found("src/sys/platform.rs", text), 0, "{text}");
        }
        assert_eq!(found("src/validation/plan.rs", "fn a(b: &[u8]) { b.windows(2); } // unix"), 0);
    }
}
