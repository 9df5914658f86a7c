//! Notes to the user on missing symbols: the reason, and what to do.

use super::image::{Function, Unused};
use super::locate::OwnFile;
use super::object_file::RAW_NAME_BYTES_MAX;
use heapledger::profile::Module;

/// Counts of the addresses of one module, and the state of its file.
#[derive(Debug)]
pub(super) struct ModuleCounts {
    path: String,
    build_id: String,
    addresses: u64,
    named: u64,
    uncertain: u64,
    with_line: u64,
    own: OwnFile,
    has_lines: bool,
    error: Option<&'static str>,
}

impl ModuleCounts {
    pub(super) fn new(
        module: &Module,
        addresses: u64,
        own: OwnFile,
        has_lines: bool,
        error: Option<&'static str>,
    ) -> Self {
        let (path, build_id) = (module.path.clone(), module.build_id.clone());
        ModuleCounts {
            path,
            build_id,
            addresses,
            named: 0,
            uncertain: 0,
            with_line: 0,
            own,
            has_lines,
            error,
        }
    }

    /// Counts one address, with the `functions` that were found at it. `is_uncertain` says whether these functions may
    /// belong to another module.
    pub(super) fn count(&mut self, functions: &[Function], is_uncertain: bool) {
        self.named += u64::from(!functions.is_empty());
        self.uncertain += u64::from(is_uncertain && !functions.is_empty());
        self.with_line += u64::from(functions.iter().any(|function| function.line > 0));
    }

    /// Returns the notes on the module: which parts of its file were not used, and how to get missing symbols.
    pub(super) fn notes(&self, unused: Option<&Unused>) -> Vec<String> {
        let path = &self.path;
        let mut notes = Vec::new();
        if let Some(reason) = unused.and_then(|unused| unused.debug_information.as_ref()) {
            notes.push(format!(
                "the debug information of {path} was refused ({reason}): its functions have no lines"
            ));
        }
        let split = unused.map_or(0, |unused| unused.split.get());
        if split > 0 {
            notes.push(format!(
                "the split debug information of {path} is not here: {} the function of the symbol table, without line \
                 and inlined calls; keep its .dwp and .dwo files, or give their directory with --debug-dir",
                self.have_of_addresses(split)
            ));
        }
        let long = unused.map_or(0, |unused| unused.long_names.get());
        if long > 0 {
            notes.push(format!(
                "{path} has names longer than {RAW_NAME_BYTES_MAX} bytes, which were refused: {}",
                of(long)
            ));
        }
        if unused.is_some_and(|unused| unused.symbols) {
            notes.push(format!("{path} has too many symbols; the last ones were not read"));
        }
        if notes.is_empty() {
            notes.extend(self.remedy());
        }
        if self.uncertain > 0 {
            notes.push(format!(
                "names that end in ? ({}): {path} was at these addresses when the loaded libraries were listed, and \
                 another library can have been there when a stack was taken",
                of(self.uncertain)
            ));
        }
        notes
    }

    /// Returns the sentence on how to get missing symbols. Returns `None` if none are missing, or if nothing helps.
    fn remedy(&self) -> Option<String> {
        let unnamed = self.addresses - self.named;
        let path = &self.path;
        if let Some(error) = &self.error {
            return Some(format!(
                "the names of {path} cannot be read ({error}): {} without a name",
                of(unnamed)
            ));
        }
        // All names were found, and lines too, perhaps in a debug file. So the state of the module's file does not
        // matter.
        if unnamed == 0 && (self.with_line > 0 || self.is_system()) {
            return None;
        }
        Some(match &self.own {
            OwnFile::Missing if !self.has_lines => format!(
                "{path} is not on this machine, so {} no name: run `heapledger bundle` where the program ran, or \
                 give the directory of its debug file with --debug-dir",
                have(unnamed)
            ),
            OwnFile::NotAFile if !self.has_lines => format!(
                "{path} is a pipe, a device or a directory and was not opened, so {} no name: give the directory of its \
                 debug file with --debug-dir",
                have(unnamed)
            ),
            OwnFile::Replaced if !self.has_lines => format!(
                "{path} was replaced while the program ran, and has no build id to find its file by, so {} no name: link \
                 with `-C link-arg=-Wl,--build-id`",
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
                 \"line-tables-only\"`{}, or give the directory of its debug file with --debug-dir",
                of(self.addresses),
                self.have_of(unnamed),
                self.have_of(self.addresses - self.with_line),
                // A build without debug information still has the names of its functions. `strip` removes these too.
                if unnamed == self.addresses { " and without `strip = true`" } else { "" }
            ),
            // The object has a line table, but some of its code has no lines: assembly, or parts built without debug
            // information. Nothing helps here.
            _ => return None,
        })
    }

    /// Whether the object belongs to the system. The user does not need lines in such an object.
    fn is_system(&self) -> bool {
        ["/lib", "/usr/lib"].iter().any(|directory| self.path.starts_with(directory))
    }

    fn have_of_addresses(&self, count: u64) -> String {
        format!(
            "{} of {} {}",
            count,
            self.addresses,
            if count == 1 { "address has" } else { "addresses have" }
        )
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
