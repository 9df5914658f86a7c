//! Calls: what one return address stands for. Formats that keep addresses list each call once.

use std::borrow::Cow;

use crate::analysis::Frame;
use heapledger::profile::Module;

/// A function at a call, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Function<'a> {
    /// Its name; where it has none, its object and offset, or the address.
    pub(super) name: Cow<'a, str>,
    /// Its source file, or empty.
    pub(super) file: &'a str,
    /// The line, or 0.
    pub(super) line: u32,
    /// Whether the name is that of a function.
    pub(super) is_named: bool,
}

/// A call with the functions that were inlined there, innermost first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Call<'a> {
    /// The address before the return address: it lies within the call.
    pub(super) address: u64,
    /// Lowest address of the object that it lies in, which tells objects apart.
    pub(super) module_start: Option<u64>,
    /// Group of that object, or empty.
    pub(super) module: &'a str,
    /// Never none.
    pub(super) functions: Vec<Function<'a>>,
}

/// The call that some frames with one address are.
pub(super) fn call<'a>(frames: &[Frame<'a>]) -> Call<'a> {
    let module: Option<&'a Module> = frames.first().and_then(|frame| frame.module);
    let function = |frame: &Frame<'a>| Function {
        name: frame.label(),
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
