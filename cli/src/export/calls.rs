//! Calls: the functions at one return address. Formats with addresses list each call once.

use std::borrow::Cow;

use crate::analysis::Frame;
use heapledger::profile::Module;

/// A function at a call, with its source line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Function<'a> {
    /// Its name; where it has none, its object and offset, or the address.
    pub(super) name: Cow<'a, str>,
    /// Its source file, or empty.
    pub(super) file: &'a str,
    /// The line, or 0.
    pub(super) line: u32,
    /// Whether `name` is the name of a function.
    pub(super) is_named: bool,
}

/// A call with the functions that were inlined there, innermost first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Call<'a> {
    /// The address before the return address: it lies within the call.
    pub(super) address: u64,
    /// Lowest address of its object, which identifies the object.
    pub(super) module_start: Option<u64>,
    /// Path of its object, or empty.
    pub(super) module: &'a str,
    /// The functions; at least one.
    pub(super) functions: Vec<Function<'a>>,
}

/// Converts the frames at one address to a call.
pub(super) fn call<'a>(frames: &[Frame<'a>]) -> Call<'a> {
    let module: Option<&'a Module> = frames.first().and_then(|frame| frame.module);
    let function = |frame: &Frame<'a>| Function {
        name: frame.display_name(),
        file: frame.file,
        line: frame.line,
        is_named: !frame.function.is_empty(),
    };
    Call {
        address: frames.first().map_or(0, |frame| frame.address.saturating_sub(1)),
        module_start: module.map(|module| module.start),
        module: module.map_or("", |module| module.path.as_str()),
        functions: frames.iter().map(function).collect(),
    }
}
