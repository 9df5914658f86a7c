//! Notes on missing symbols, with the remedy.

use super::image::Function;
use super::locate::OwnFile;
use heapledger::profile::Module;

/// Counts of the addresses of one module, and the state of its file.
#[derive(Debug)]
pub(super) struct ModuleCounts {
    path: String,
    build_id: String,
    addresses: u64,
    named: u64,
    with_line: u64,
    own: OwnFile,
    has_lines: bool,
    error: Option<String>,
}

impl ModuleCounts {
    pub(super) fn new(
        module: &Module,
        addresses: u64,
        own: OwnFile,
        has_lines: bool,
        error: Option<String>,
    ) -> Self {
        let (path, build_id) = (module.path.clone(), module.build_id.clone());
        ModuleCounts { path, build_id, addresses, named: 0, with_line: 0, own, has_lines, error }
    }

    /// Counts an address with the functions found at that address.
    pub(super) fn count(&mut self, functions: &[Function]) {
        self.named += u64::from(!functions.is_empty());
        self.with_line += u64::from(functions.iter().any(|function| function.line > 0));
    }

    /// Returns the note on the module; `None` if no symbols are missing, or if no remedy exists.
    pub(super) fn note(&self) -> Option<String> {
        let unnamed = self.addresses - self.named;
        let path = &self.path;
        if let Some(error) = &self.error {
            return Some(format!(
                "the names of {path} cannot be read ({error}): {} without a name",
                of(unnamed)
            ));
        }
        // With the debug file of the recorded build, the state of the object itself is irrelevant.
        if unnamed == 0 && (self.with_line > 0 || self.is_system()) {
            return None;
        }
        Some(match &self.own {
            OwnFile::Missing if !self.has_lines => format!(
                "{path} is not on this machine, so {} no name: run `heapledger bundle` where the program ran, or \
                 give the directory of its debug file with --debug-dir",
                have(unnamed)
            ),
            OwnFile::NotAnObject if !self.has_lines => format!(
                "{path} is no object file any more, so {} no name: give the directory of its debug file with \
                 --debug-dir",
                have(unnamed)
            ),
            OwnFile::Rebuilt { build_id } if !self.has_lines => format!(
                "{path} is another build than the one recorded (build id {}, recorded {}), so {} no name: bring the \
                 old file back, or give the directory of its debug file with --debug-dir; next time, run `heapledger \
                 bundle` before building again",
                if build_id.is_empty() { "none" } else { build_id },
                self.build_id,
                have(unnamed)
            ),
            OwnFile::Newer if !self.has_lines => format!(
                "{path} has no build id and was changed after the program had started, so {} no name: it may be \
                 another build; link with `-C link-arg=-Wl,--build-id`, or run `heapledger bundle` before building again",
                have(unnamed)
            ),
            _ if !self.has_lines => format!(
                "{path} has no debug information: of {}, {} no name and {} no line; build with `debug = \
                 \"line-tables-only\"`, or give the directory of its debug file with --debug-dir",
                of(self.addresses),
                self.have_of(unnamed),
                self.have_of(self.addresses - self.with_line)
            ),
            // The object has a line table but code without lines: assembly, or parts built without debug information.
            // This has no remedy.
            _ => return None,
        })
    }

    /// Whether the object belongs to the system; missing lines in such an object are no problem.
    fn is_system(&self) -> bool {
        ["/lib", "/usr/lib"].iter().any(|directory| self.path.starts_with(directory))
    }

    fn have_of(&self, count: u64) -> String {
        format!("{count} {}", if count == 1 { "has" } else { "have" })
    }
}

fn of(addresses: u64) -> String {
    format!("{addresses} {}", if addresses == 1 { "address" } else { "addresses" })
}

fn have(addresses: u64) -> String {
    format!("{} {}", of(addresses), if addresses == 1 { "has" } else { "have" })
}
