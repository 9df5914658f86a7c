//! Calls: the functions at one return address. Formats with addresses list each call once.

use std::borrow::Cow;

use crate::analysis::Frame;
use heapledger::profile::Module;

/// Function at a return address, with its source line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Function<'a> {
    /// Name of the function. A function without a name has the name of its object with the offset, or its address.
    pub(super) name: Cow<'a, str>,
    /// Source file; empty if unknown.
    pub(super) file: &'a str,
    /// Line in the source file; 0 if unknown.
    pub(super) line: u32,
    /// Whether `name` is a real name, and not an object or an address.
    pub(super) is_named: bool,
}

/// Call: a return address with all functions at it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Call<'a> {
    /// Address within the call: the return address minus one.
    pub(super) address: u64,
    /// Lowest address of the object that contains the call, which identifies the object; `None` outside all objects.
    pub(super) module_start: Option<u64>,
    /// Path of the object that contains the call; empty outside all objects.
    pub(super) module: &'a str,
    /// Functions at the address, innermost first: the inlined functions, and the function that contains them.
    pub(super) functions: Vec<Function<'a>>,
}

/// Converts the frames at one return address to a call.
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
