//! What does a stack read like?
//!
//! A stack of the profile is a list of return addresses. Shown to a person it is a list of functions, innermost first:
//! an address inside inlined calls stands for several of them, and what lies between the program's call and the
//! recorder tells nobody anything.
//!
//! **What is cut** from the inner end: everything up to the last frame, within the first [`CUT_FRAMES`], that belongs
//! to heapledger itself or to the shims through which Rust reaches the global allocator (`__rust_alloc` and its
//! relatives, and what stands in `alloc::alloc`). Collections of the standard library are not cut: that a
//! `Vec` grew is part of the story. A stack that would be cut as a whole is shown as it is. Debug information that is
//! reduced to lines names an inlined function without its modules; it is then told by its source file.

use crate::profile::{Module, Profile};

/// Functions at the inner end of a stack among which the recorder and its shims are looked for.
pub const CUT_FRAMES: usize = 24;

/// A function in a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The return address.
    pub address: u64,
    /// Name of the function, demangled; empty when it is not known.
    pub function: &'a str,
    /// Source file; empty when it is not known.
    pub file: &'a str,
    /// Line in that file, from 1; 0 when it is not known.
    pub line: u32,
    /// Whether the function was inlined into the next one.
    pub inlined: bool,
    /// The loaded object that the address lies in.
    pub module: Option<&'a Module>,
}

/// The functions of a stack, innermost first, without the recorder's own.
pub fn frames(profile: &Profile, stack: u32) -> Vec<Frame<'_>> {
    let mut all = whole_stack(profile, stack);
    let inner = all.iter().take(CUT_FRAMES).rposition(is_cut);
    let cut = inner.map_or(0, |last| last + 1);
    if cut < all.len() {
        all.drain(..cut);
    }
    all
}

/// The functions of a stack, innermost first, with the recorder's own.
pub fn whole_stack(profile: &Profile, stack: u32) -> Vec<Frame<'_>> {
    let Some(stack) = profile.stacks.get(stack as usize) else { return Vec::new() };
    let mut all = Vec::with_capacity(stack.frames.len());
    for &address in &stack.frames {
        let module = module_of(profile, address);
        let known = profile.symbols.at(address);
        all.extend(known.iter().map(|symbol| Frame {
            address,
            function: profile.symbols.text(symbol.function),
            file: profile.symbols.text(symbol.file),
            line: symbol.line,
            inlined: symbol.inlined,
            module,
        }));
        if known.is_empty() {
            all.push(Frame { address, function: "", file: "", line: 0, inlined: false, module });
        }
    }
    all
}

/// The loaded object that the call before a return address lies in.
pub fn module_of(profile: &Profile, address: u64) -> Option<&Module> {
    let call = address.checked_sub(1)?;
    profile.modules.iter().find(|module| (module.start..module.end).contains(&call))
}

pub(super) fn is_cut(frame: &Frame<'_>) -> bool {
    let name = frame.function.trim_start_matches('<').trim_start_matches("__rustc::");
    // Not all of `__rust_`: a thread begins in `__rust_begin_short_backtrace`.
    let prefixes = [
        "heapledger::",
        "__rust_alloc",
        "__rust_realloc",
        "__rust_dealloc",
        "__rg_",
        "__rdl_",
        "alloc::alloc::",
    ];
    if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
        return true;
    }
    let is_own = frame.file.contains("/heapledger") && frame.file.ends_with("/src/recorder/allocator.rs");
    !name.is_empty() && (is_own || frame.file.ends_with("/library/alloc/src/alloc.rs"))
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::profile::{Stack, SymbolFrame};

    #[test]
    fn inlined_functions_are_shown_and_the_recorder_is_not() {
        let mut profile = sample::empty();
        profile.stacks.push(Stack { frames: vec![100, 200, 300], truncated: false });
        let texts =
            ["", "heapledger::x", "__rust_alloc", "small", "__rust_begin_short_backtrace<()>", "big.rs"];
        profile.symbols.strings = texts.map(str::to_owned).to_vec();
        let symbol = |function, inlined| SymbolFrame { function, file: 5, line: 7, inlined };
        profile.symbols.frames.insert(100, vec![symbol(1, true), symbol(2, false)]);
        profile.symbols.frames.insert(200, vec![symbol(3, true), symbol(4, false)]);
        let read: Vec<_> = frames(&profile, 1).iter().map(|frame| (frame.function, frame.inlined)).collect();
        assert_eq!(read, [("small", true), ("__rust_begin_short_backtrace<()>", false), ("", false)]);
        assert_eq!(whole_stack(&profile, 1).len(), 5);
        assert!(frames(&profile, 9).is_empty());
    }

    #[test]
    fn a_shim_without_its_modules_is_told_by_its_file() {
        let mut profile = sample::empty();
        profile.stacks.push(Stack { frames: vec![100], truncated: false });
        let texts = ["", "alloc", "/rustc/1234/library/alloc/src/alloc.rs", "with_room", "src/main.rs"];
        profile.symbols.strings = texts.map(str::to_owned).to_vec();
        let symbol = |function, file, inlined| SymbolFrame { function, file, line: 7, inlined };
        profile.symbols.frames.insert(100, vec![symbol(1, 2, true), symbol(3, 4, false)]);
        let read: Vec<_> = frames(&profile, 1).iter().map(|frame| frame.function).collect();
        assert_eq!(read, ["with_room"]);
    }

    #[test]
    fn what_only_begins_like_a_shim_is_not_cut() {
        let names =
            ["__rustc::__rust_alloc", "demo::fill", "__rust_begin_short_backtrace<fn(), ()>", "demo::main"];
        let profile = super::super::paths::named(&[&names.map(|name| (name, "", 0))]);
        let read: Vec<_> = frames(&profile, 1).iter().map(|frame| frame.function).collect();
        assert_eq!(read, names[1..]);
    }

    #[test]
    fn a_stack_of_nothing_else_is_shown_whole() {
        let mut profile = sample::empty();
        profile.stacks.push(Stack { frames: vec![100], truncated: false });
        profile.symbols.strings = vec![String::new(), "__rust_alloc".into()];
        profile.symbols.frames.insert(100, vec![SymbolFrame { function: 1, ..SymbolFrame::default() }]);
        assert_eq!(frames(&profile, 1).len(), 1);
    }
}
