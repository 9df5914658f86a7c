//! Symbols of one object file.

use std::path::Path;

use addr2line::Loader;

use super::demangle::demangled;
use heapledger::profile::INLINED_MAX;

/// Function at an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Function {
    /// Demangled name.
    pub(super) name: String,
    /// Source file; empty if unknown.
    pub(super) file: String,
    /// Line in the source file; 0 if unknown.
    pub(super) line: u32,
}

/// Open object file.
pub(super) struct Image {
    loader: Loader,
}

impl Image {
    /// Opens the object file at `path`; its sections are mapped, and read on demand.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        Loader::new(path).map(|loader| Image { loader }).map_err(|error| error.to_string())
    }

    /// Returns the functions at an address of the file, innermost first; each except the last is inlined into the
    /// next. Returns an empty list if the file has no function at the address. Unreadable parts of the debug
    /// information count as missing.
    pub(super) fn functions(&self, address: u64) -> Vec<Function> {
        let mut functions = Vec::new();
        if let Ok(mut frames) = self.loader.find_frames(address) {
            while let Ok(Some(frame)) = frames.next() {
                let name = frame.function.as_ref().and_then(|function| function.raw_name().ok());
                let name = name.map_or(String::new(), |name| demangled(&name));
                let location = frame.location;
                let file =
                    location.as_ref().and_then(|location| location.file).unwrap_or_default().to_owned();
                let line = location.and_then(|location| location.line).unwrap_or(0);
                functions.push(Function { name, file, line });
                if functions.len() == INLINED_MAX {
                    break;
                }
            }
        }
        // The outermost function was not inlined, so it has a symbol. The symbol is used if the debug information has
        // no name, or a name without a path: debug information reduced to lines names a function without its modules.
        let symbol = self.loader.find_symbol(address);
        match (functions.last_mut(), symbol) {
            (Some(outer), Some(symbol)) if outer.name.is_empty() => outer.name = demangled(symbol),
            (Some(outer), Some(symbol)) if is_rust(symbol) => {
                let whole = demangled(symbol);
                if is_part_of(&outer.name, &whole) {
                    outer.name = whole;
                }
            }
            (None, Some(symbol)) => {
                functions.push(Function { name: demangled(symbol), ..Function::default() });
            }
            _ => {}
        }
        functions.retain(|function| !function.name.is_empty());
        functions
    }
}

fn is_rust(symbol: &str) -> bool {
    symbol.starts_with("_R") || symbol.starts_with("_ZN")
}

/// Whether `name` has no path, and occurs without its generic arguments in the path `whole`.
fn is_part_of(name: &str, whole: &str) -> bool {
    let base = name.split('<').next().unwrap_or_default();
    let base = if base.contains("closure") { "closure" } else { base };
    !base.is_empty() && !name.contains("::") && whole.contains(base)
}
