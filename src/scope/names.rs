//! Names of functions, with files and lines, looked up in the running process. They are used in the message of a
//! failing assertion, and for clients of the HTTP endpoint that ask for symbols.

use crate::profile::Module;

/// A function at an address.
#[cfg_attr(not(any(test, feature = "names")), allow(dead_code, reason = "nothing has a name"))]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// Path of the source file; empty if it is not known.
    pub(super) file: String,
    pub(super) line: u32,
}

/// Parts of paths that identify the sources of dependencies.
const UNPACKED: [&str; 3] = ["/registry/src/", "/git/checkouts/", "/vendor/"];

impl Function {
    /// Whether the function belongs to the standard library, to heapledger, or to the code that starts programs.
    pub(super) fn is_of_a_library(&self) -> bool {
        let is_of_rust = ["/rustc/", "/rust/deps/"].iter().any(|folder| self.file.starts_with(folder))
            || self.file.contains("/rustlib/src/rust/library/");
        let name = self.name.trim_start_matches(['<', '&', '*', '(', '[', ' ']);
        let roots = ["std::", "core::", "alloc::", "__rust", "_start", "__libc_start"];
        let is_ours = self.file.starts_with(concat!(env!("CARGO_MANIFEST_DIR"), "/src/"));
        is_of_rust
            || is_ours
            || name.starts_with("heapledger::")
            || (self.file.is_empty() && (name == "main" || roots.iter().any(|root| name.starts_with(root))))
    }

    /// Whether the function is an entry point of the global allocator. The functions that it calls belong to the
    /// allocator.
    pub(super) fn is_of_the_allocator(&self) -> bool {
        ["__rust_alloc", "__rust_realloc", "__rg_alloc", "__rg_realloc"]
            .iter()
            .any(|name| self.name.contains(name))
    }

    /// Whether the function belongs to the program: not to a library, and not to a dependency.
    pub(super) fn is_of_the_program(&self) -> bool {
        !self.is_of_a_library()
            && !self.file.is_empty()
            && !UNPACKED.iter().any(|folder| self.file.contains(folder))
    }
}

/// Looks up names in the files of the loaded objects of the process. Without the feature `names` no name is found.
pub(super) struct Names<'a> {
    #[cfg(feature = "names")]
    objects: Vec<(&'a Module, Option<addr2line::Loader>)>,
    #[cfg(not(feature = "names"))]
    _modules: &'a [Module],
}

#[cfg(not(feature = "names"))]
impl<'a> Names<'a> {
    pub(super) fn new(modules: &'a [Module]) -> Names<'a> {
        Names { _modules: modules }
    }

    pub(super) fn at(&mut self, _address: u64) -> Vec<Function> {
        Vec::new()
    }
}

#[cfg(feature = "names")]
impl<'a> Names<'a> {
    pub(super) fn new(modules: &'a [Module]) -> Names<'a> {
        Names { objects: modules.iter().map(|module| (module, None)).collect() }
    }

    /// Returns the functions at a return address, innermost first. Inlined functions come before the function that
    /// contains them.
    pub(super) fn at(&mut self, address: u64) -> Vec<Function> {
        let found = self.object(address).and_then(|(loader, at)| functions(loader, at));
        found.unwrap_or_default()
    }

    /// Returns the file of the object that contains the call before a return address, and the address of the call in
    /// that file.
    fn object(&mut self, address: u64) -> Option<(&addr2line::Loader, u64)> {
        let at = address.saturating_sub(1);
        let is_there =
            |(_, (module, _)): &(usize, &mut (&Module, _))| (module.start..module.end).contains(&at);
        let (index, (module, loader)) = self.objects.iter_mut().enumerate().find(is_there)?;
        if loader.is_none() {
            // The file at the program's path may have been replaced since the start. `/proc/self/exe` is always the
            // running file.
            let path = if index == 0 { "/proc/self/exe" } else { module.path.as_str() };
            *loader = addr2line::Loader::new(path).ok();
        }
        Some((loader.as_ref()?, at.wrapping_sub(module.bias)))
    }
}

/// Returns the name of the symbol at each address; empty for an address without a symbol. Returns `None` without the
/// feature `names`.
#[cfg(feature = "serve")]
pub(crate) fn symbols_at(modules: &[Module], addresses: &[u64]) -> Option<Vec<String>> {
    #[cfg(feature = "names")]
    {
        let mut names = Names::new(modules);
        let mut symbol = |address: &u64| {
            let (loader, at) = names.object(*address)?;
            loader.find_symbol(at).map(demangled)
        };
        Some(addresses.iter().map(|address| symbol(address).unwrap_or_default()).collect())
    }
    #[cfg(not(feature = "names"))]
    {
        let _ = (modules, addresses);
        None
    }
}

#[cfg(feature = "names")]
fn demangled(raw: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(raw))
}

/// Returns the functions at an address of an object's file.
#[cfg(feature = "names")]
fn functions(loader: &addr2line::Loader, at: u64) -> Option<Vec<Function>> {
    let mut found = Vec::new();
    let mut frames = loader.find_frames(at).ok()?;
    while let Some(frame) = frames.next().ok()? {
        let raw = frame.function.as_ref().and_then(|function| function.raw_name().ok());
        let location = frame.location;
        found.push(Function {
            name: raw.map(|raw| demangled(&raw)).unwrap_or_default(),
            file: location.as_ref().and_then(|location| location.file).unwrap_or_default().to_owned(),
            line: location.and_then(|location| location.line).unwrap_or_default(),
        });
    }
    // With line tables alone, the frames have no function names. The symbol at the address then names the outermost
    // frame.
    let symbol = loader.find_symbol(at).map(demangled);
    match found.last_mut() {
        Some(outermost) if outermost.name.is_empty() => outermost.name = symbol.unwrap_or_default(),
        Some(_) => {}
        None => found.extend(symbol.map(|name| Function { name, ..Function::default() })),
    }
    found.retain(|function| !function.name.is_empty());
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_tells_the_owner_and_else_the_name() {
        let owner = |name: &str, file: &str| {
            let function = Function { name: name.into(), file: file.into(), line: 1 };
            (function.is_of_the_program(), function.is_of_a_library())
        };
        assert_eq!(owner("alloc::vec::push", "/rustc/1/library/alloc/src/vec.rs"), (false, true));
        assert_eq!(owner("parse::words", "/home/me/parse/src/lib.rs"), (true, false));
        assert_eq!(owner("serde::de", "/home/me/.cargo/registry/src/i/serde-1/src/de.rs"), (false, false));
        assert_eq!(owner("heapledger::recorder::alloc", "/home/me/heapledger/src/lib.rs"), (false, true));
        assert_eq!(owner("<alloc::string::String as core::fmt::Write>::write", ""), (false, true));
        assert_eq!(owner("main", ""), (false, true));
        assert_eq!(owner("main", "src/main.c"), (true, false));
    }

    #[cfg(all(feature = "names", target_os = "linux"))]
    #[test]
    fn a_function_of_this_program_has_its_name_file_and_line() {
        let address = the_file_tells_the_owner_and_else_the_name as fn() as usize as u64;
        let mut modules = Vec::new();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let exe = std::env::current_exe().unwrap();
        let own = maps.lines().filter(|line| line.ends_with(exe.to_str().unwrap()));
        let spans: Vec<_> = own
            .map(|line| {
                let (start, rest) = line.split_once('-').unwrap();
                let end = rest.split_once(' ').unwrap().0;
                [start, end].map(|text| u64::from_str_radix(text, 16).unwrap())
            })
            .collect();
        let start = spans[0][0];
        modules.push(Module { start, end: spans.last().unwrap()[1], bias: start, ..Module::default() });
        let found = Names::new(&modules).at(address + 5);
        let function = found.last().unwrap();
        assert!(function.name.ends_with("the_file_tells_the_owner_and_else_the_name"), "{found:?}");
        assert!(function.file.ends_with("src/scope/names.rs") && function.line > 100, "{found:?}");
    }
}
