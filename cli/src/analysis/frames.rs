//! Call stacks as functions.
//!
//! A stack of the profile is a list of return addresses. `StackReader` converts a stack into a list of functions,
//! innermost first. An address inside inlined calls yields several functions. The frames of the recorder are removed.
//!
//! **Removed frames** belong to heapledger itself or to the shims through which Rust calls the global allocator
//! (`__rust_alloc` and similar functions, and the functions of `alloc::alloc`). Among the [`CUT_FRAMES`] innermost
//! functions, `StackReader::frames` searches for the outermost such function, and removes it and all functions inside
//! it. Collections of the standard library stay, because the growth of a `Vec` is information. If no function would
//! remain, the stack is shown whole. With line tables only (`debug = "line-tables-only"`), the name of an inlined
//! function lacks its path (`alloc` instead of `alloc::alloc::alloc`). Such a function is recognized by its source
//! file.

use std::borrow::Cow;

use heapledger::profile::{Module, Profile, SymbolFrame};

/// Number of innermost functions of a stack among which frames of the recorder and its shims are searched.
pub const CUT_FRAMES: usize = 24;

/// Function in a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Return address.
    pub address: u64,
    /// Name of the function, demangled; empty if unknown.
    pub function: &'a str,
    /// Source file; empty if unknown.
    pub file: &'a str,
    /// Line in the source file, from 1; 0 if unknown.
    pub line: u32,
    /// Whether the function was inlined into the next function of the stack.
    pub inlined: bool,
    /// Loaded object that contains the call; `None` if unknown.
    pub module: Option<&'a Module>,
}

impl<'a> Frame<'a> {
    /// Returns the name to show: the function if known, else the object with the offset of the call, as in
    /// `libdemo.so+0x1f3a`, else the address of the call. A closure or an async block can lack its module, if the debug
    /// information is reduced to lines; then the file follows the name.
    pub fn display_name(&self) -> Cow<'a, str> {
        if self.function.starts_with('{') && !self.file.is_empty() {
            let file = self.file.rsplit(['/', '\\']).next().unwrap_or_default();
            return Cow::Owned(format!("{} in {file}", self.function));
        }
        if !self.function.is_empty() {
            return Cow::Borrowed(self.function);
        }
        let call = self.address.saturating_sub(1);
        let Some(module) = self.module else { return Cow::Owned(format!("{call:#x}")) };
        let file = module.path.rsplit(['/', '\\']).next().unwrap_or_default();
        Cow::Owned(format!("{file}+{:#x}", call.wrapping_sub(module.bias)))
    }
}

/// Reader of the stacks of one profile. It sorts the loaded objects once, to find the object of an address quickly.
#[derive(Debug, Clone)]
pub struct StackReader<'a> {
    profile: &'a Profile,
    /// Loaded objects, sorted by lowest address.
    modules: Vec<&'a Module>,
}

impl<'a> StackReader<'a> {
    /// Returns a reader of the stacks of `profile`.
    pub fn new(profile: &'a Profile) -> Self {
        let mut modules: Vec<&Module> = profile.modules.iter().collect();
        modules.sort_by_key(|module| module.start);
        StackReader { profile, modules }
    }

    /// Returns the functions of a stack, innermost first, without those of the recorder and its shims (see the
    /// [module](self)).
    pub fn frames(&self, stack: u32) -> Vec<Frame<'a>> {
        let mut all = self.whole_stack(stack);
        let inner = all.iter().take(CUT_FRAMES).rposition(is_cut);
        let cut = inner.map_or(0, |last| last + 1);
        if cut < all.len() {
            all.drain(..cut);
        }
        all
    }

    /// Returns all functions of a stack, innermost first, including those of the recorder and its shims.
    pub fn whole_stack(&self, stack: u32) -> Vec<Frame<'a>> {
        self.addresses(stack).iter().flat_map(|address| self.functions(*address)).collect()
    }

    /// Returns the return addresses of a stack, innermost first.
    pub(super) fn addresses(&self, stack: u32) -> &'a [u64] {
        self.profile.stacks.get(stack as usize).map_or(&[], |stack| &stack.frames)
    }

    /// Returns the functions at a return address, innermost first. An address without names yields one unnamed
    /// function.
    pub(super) fn functions(&self, address: u64) -> Vec<Frame<'a>> {
        let (known, module) = (self.profile.symbols.at(address), self.module_of(address));
        let unnamed = Frame { address, function: "", file: "", line: 0, inlined: false, module };
        let frame = |symbol: &SymbolFrame| Frame {
            function: self.profile.symbols.text(symbol.function),
            file: self.profile.symbols.text(symbol.file),
            line: symbol.line,
            inlined: symbol.inlined,
            ..unnamed
        };
        if known.is_empty() { vec![unnamed] } else { known.iter().map(frame).collect() }
    }

    /// Returns the loaded object that contains the call before a return address. If objects overlap, only the object
    /// with the highest start is considered.
    fn module_of(&self, address: u64) -> Option<&'a Module> {
        let call = address.checked_sub(1)?;
        let after = self.modules.partition_point(|module| module.start <= call);
        self.modules[..after].last().copied().filter(|module| call < module.end)
    }
}

/// Whether a frame belongs to the recorder, or to the shims between the program and its allocator.
pub(super) fn is_cut(frame: &Frame<'_>) -> bool {
    let name = frame.function.trim_start_matches('<').trim_start_matches("__rustc::");
    // The shims are listed one by one, and not by the prefix `__rust_`: every thread has
    // `__rust_begin_short_backtrace`, which calls the program.
    let shims = ["__rust_alloc", "__rust_dealloc", "__rust_realloc", "__rust_no_alloc", "__rg_", "__rdl_"];
    // Functions that run the program's code in a scope stay, because they are callers of that code.
    if name.starts_with("heapledger::scope::") {
        return false;
    }
    let prefixes = ["heapledger::", "alloc::alloc::"].into_iter().chain(shims);
    if prefixes.into_iter().any(|prefix| name.starts_with(prefix)) {
        return true;
    }
    let is_own = frame.file.contains("/heapledger") && frame.file.ends_with("/src/recorder/allocator.rs");
    !name.is_empty() && (is_own || frame.file.ends_with("/library/alloc/src/alloc.rs"))
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use heapledger::profile::Stack;

    fn frames(profile: &Profile, stack: u32) -> Vec<Frame<'_>> {
        StackReader::new(profile).frames(stack)
    }

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
        assert_eq!(StackReader::new(&profile).whole_stack(1).len(), 5);
        assert!(frames(&profile, 9).is_empty());
    }

    #[test]
    fn a_frame_is_called_by_its_function_else_by_its_object_else_by_its_address() {
        let mut profile = sample::empty();
        profile.stacks.push(Stack { frames: vec![0x5011, 0x9001, 0x7001], truncated: false });
        let module = |path: &str, start, bias| Module {
            path: path.into(),
            start,
            end: start + 0x1000,
            bias,
            ..Module::default()
        };
        profile.modules = vec![module("/lib/b.so", 0x9000, 0x8000), module("a", 0x5000, 0x4000)];
        let labels = |frames: Vec<Frame<'_>>| -> Vec<String> {
            frames.iter().map(|frame| frame.display_name().into_owned()).collect()
        };
        let expected = ["a+0x1010", "b.so+0x1000", "0x7000"];
        assert_eq!(labels(frames(&profile, 1)), expected);
        profile.symbols.strings = vec![String::new(), "f".into()];
        profile.symbols.frames.insert(0x7001, vec![SymbolFrame { function: 1, ..SymbolFrame::default() }]);
        assert_eq!(labels(frames(&profile, 1))[2], "f");
    }

    #[test]
    fn a_closure_that_says_nothing_of_its_place_is_named_with_its_file() {
        let frame =
            |function, file| Frame { address: 1, function, file, line: 1, inlined: true, module: None };
        assert_eq!(frame("{closure#0}<u8>", "/a/src/db.rs").display_name(), "{closure#0}<u8> in db.rs");
        assert_eq!(frame("{async_fn#0}", "").display_name(), "{async_fn#0}");
        assert_eq!(frame("a::{closure#0}", "/a/src/db.rs").display_name(), "a::{closure#0}");
    }

    #[test]
    fn what_only_begins_like_a_shim_is_not_cut_nor_what_it_calls() {
        let mut profile = sample::empty();
        profile.stacks.push(Stack { frames: vec![100, 200, 300], truncated: false });
        let texts = ["", "__rustc::__rust_alloc", "work", "__rust_try"];
        profile.symbols.strings = texts.map(str::to_owned).to_vec();
        for (address, function) in [(100, 1), (200, 2), (300, 3)] {
            let symbol = SymbolFrame { function, ..SymbolFrame::default() };
            profile.symbols.frames.insert(address, vec![symbol]);
        }
        let read: Vec<_> = frames(&profile, 1).iter().map(|frame| frame.function).collect();
        assert_eq!(read, ["work", "__rust_try"]);
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
    fn where_a_thread_begins_is_no_shim() {
        let mut profile = sample::empty();
        profile.stacks.push(Stack { frames: vec![100, 200, 300], truncated: false });
        let texts =
            ["", "__rust_alloc", "work", "__rust_begin_short_backtrace<app::main::{closure_env#0}, ()>"];
        profile.symbols.strings = texts.map(str::to_owned).to_vec();
        for (address, function) in [(100, 1), (200, 2), (300, 3)] {
            profile.symbols.frames.insert(address, vec![SymbolFrame { function, ..SymbolFrame::default() }]);
        }
        let read: Vec<_> = frames(&profile, 1).iter().map(|frame| frame.function).collect();
        assert_eq!(read, ["work", texts[3]]);
    }

    #[test]
    fn work_in_a_scope_is_not_cut_with_what_enters_the_scope() {
        let mut profile = sample::empty();
        profile.stacks.push(Stack { frames: vec![100, 200, 300], truncated: false });
        let texts = ["", "__rust_alloc", "work", "heapledger::scope::measurement::measure<(), app::main>"];
        profile.symbols.strings = texts.map(str::to_owned).to_vec();
        for (address, function) in [(100, 1), (200, 2), (300, 3)] {
            profile.symbols.frames.insert(address, vec![SymbolFrame { function, ..SymbolFrame::default() }]);
        }
        let read: Vec<_> = frames(&profile, 1).iter().map(|frame| frame.function).collect();
        assert_eq!(read, ["work", texts[3]]);
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
