//! Call paths: stacks as lists of functions, simplified so that stacks which look equal to a user compare equal.
//!
//! A report ranks some ten thousand stacks. [`StackReader`] would expand each of them anew. `Paths` expands every
//! address once, simplifies every name once, matches it once against the filters, and represents a path as a list of
//! numbers.
//!
//! Two stacks have the same path if they have the same functions, and also the same lines from the innermost function
//! up to the first function outside the standard library. So two calls in one function are different paths. Lines
//! further out, such as the line in `main` that calls the function, make no difference, and neither do the addresses.
//!
//! Work and memory are limited, because in a hostile file one address can have hundreds of inlined functions. A path
//! has up to [`PATH_FUNCTIONS_MAX`] functions, and all paths together have about [`STEPS_MAX`]. Beyond these limits,
//! functions at the outer end of the path are dropped.

use std::collections::HashMap;

use super::code_owner::{CodeOwner, CodeOwners, crate_of, package_name};
use super::frames::{CUT_FRAMES, Frame, StackReader, is_cut};
use super::interner::Interner;
use super::name_simplify::without_generics;
use super::suppressions::Suppression;
use heapledger::profile::{Profile, scope_of_address};

/// Maximum number of functions of one path.
pub const PATH_FUNCTIONS_MAX: usize = 1024;
/// Number of functions in all paths together after which each further path keeps only its `FUNCTIONS_BEYOND` innermost
/// functions.
pub const STEPS_MAX: usize = 1 << 26;
/// Maximum number of functions of a path after all paths together have reached [`STEPS_MAX`].
const FUNCTIONS_BEYOND: usize = 16;

/// Predicate on the function, file or module name of a frame.
pub type Matcher<'a> = &'a dyn Fn(&str) -> bool;

/// Options for reading stacks as paths: simplification, filters and grouping.
#[derive(Clone, Default)]
pub struct View<'a> {
    /// Whether names keep their generic arguments.
    pub with_generics: bool,
    /// Whether paths keep every library function. If not, only the library functions that the program called are kept.
    pub with_library: bool,
    /// Names of crates that count as part of the program.
    pub own: Vec<String>,
    /// Key by which a [`SiteBook`](super::SiteBook) sums sites into lines.
    pub group: GroupBy,
    /// Filter: keeps a stack if one of the matchers accepts a function, file or module of the stack. An empty list
    /// keeps all stacks.
    pub focus: Vec<Matcher<'a>>,
    /// Filter: drops a stack if one of the matchers accepts a function, file or module of the stack.
    pub ignore: Vec<Matcher<'a>>,
    /// Filter: keeps only stacks in a scope whose name the matcher accepts. `None` keeps all stacks.
    pub scope: Option<Matcher<'a>>,
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("with_generics", &self.with_generics)
            .field("with_library", &self.with_library)
            .field("focus", &self.focus.len())
            .field("ignore", &self.ignore.len())
            .field("has_scope", &self.scope.is_some())
            .finish()
    }
}

/// Key by which the sites of one line of a report are summed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum GroupBy {
    /// The whole path of functions.
    Stack,
    /// The function that [`place_in`] names, with its line.
    #[default]
    Line,
    /// The function that [`place_in`] names.
    Function,
    /// The crate of the function that [`place_in`] names.
    Crate,
    /// The innermost scope of the stack, with the scopes around it. All stacks outside scopes have one key.
    Scope,
    /// The thread that allocated.
    Thread,
}

impl GroupBy {
    /// Whether the key is a place in the program.
    pub fn is_place(self) -> bool {
        !matches!(self, GroupBy::Scope | GroupBy::Thread)
    }
}

/// Function that occurs in a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Function {
    /// Name, simplified as the [`View`] says. A function without a name has the name of its object with the offset, or
    /// its address.
    pub name: String,
    /// Source file; empty if unknown.
    pub file: String,
    /// Owner of the function.
    pub owner: CodeOwner,
}

impl Function {
    /// Returns the crate of the function: the package in the path of its file, else the first component of its name.
    /// Returns an empty text if the crate is unknown.
    pub fn crate_name(&self) -> &str {
        match package_name(&self.file) {
            Some(package) => package,
            // Without `::`, the first component is not the crate: debug information reduced to lines names inlined
            // functions without their crate.
            None if self.name.contains("::") || self.file.is_empty() => crate_of(&self.name),
            None if self.owner == CodeOwner::Program => "(this program)",
            None => "",
        }
    }
}

/// Step of a path: a function and a line in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PathStep {
    /// Function, as an index into [`Paths::functions`].
    pub function: u32,
    /// Line of the call. 0 if unknown, and 0 in the outer steps, whose lines do not distinguish paths.
    pub line: u32,
}

/// Result of reading a stack as a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Functions of the path, innermost first; empty for an event without a stack.
    pub path: Vec<PathStep>,
    /// Source line of each function, for display; 0 if unknown.
    pub lines: Vec<u32>,
    /// Whether the stack passes the filters of the view.
    pub is_seen: bool,
    /// Index of the first suppression that matches a frame of the stack.
    pub suppression: Option<usize>,
}

/// Returns the index of the function that a report names as the place of a path. This is the innermost function of the
/// program, else the innermost function of a dependency, else the innermost function.
pub fn place_in(path: &[PathStep], functions: &[Function]) -> usize {
    let owner = |step: &PathStep| functions.get(step.function as usize).map(|function| function.owner);
    let first = |wanted| path.iter().position(|step| owner(step) == Some(wanted));
    first(CodeOwner::Program).or_else(|| first(CodeOwner::Dependency)).unwrap_or(0)
}

/// Function at an address, with the result of every filter for it.
struct Place {
    function: u32,
    line: u32,
    /// Index of the first suppression that matches the function, or [`NO_SUPPRESSION`].
    suppression: u32,
    is_cut: bool,
    is_library: bool,
    is_focus: bool,
    is_ignored: bool,
    is_scope: bool,
}

const NO_SUPPRESSION: u32 = u32::MAX;

/// Key by which equal frames are recognized: function, file, line, start of the object, and address. The address is 0
/// if the frame has a name and is not that of a scope.
type FrameKey<'p> = (&'p str, &'p str, u32, Option<u64>, u64);

/// Reader of stacks as paths.
pub struct Paths<'p> {
    reader: StackReader<'p>,
    owners: CodeOwners,
    view: &'p View<'p>,
    suppressions: &'p [Suppression],
    /// Functions of all paths read so far.
    functions: Interner<Function>,
    places: Vec<Place>,
    by_frame: HashMap<FrameKey<'p>, u32>,
    /// Maps an address to the range of its functions in `expanded`, which holds indices into `places`.
    by_address: HashMap<u64, (u32, u32)>,
    expanded: Vec<u32>,
    steps_left: usize,
}

impl std::fmt::Debug for Paths<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Paths").field("functions", &self.functions().len()).finish_non_exhaustive()
    }
}

impl<'p> Paths<'p> {
    /// Returns a reader of the stacks of `profile`.
    pub fn new(profile: &'p Profile, view: &'p View<'p>, suppressions: &'p [Suppression]) -> Self {
        Paths {
            reader: StackReader::new(profile),
            owners: CodeOwners::with(profile, &view.own),
            view,
            suppressions,
            functions: Interner::default(),
            places: Vec::new(),
            by_frame: HashMap::new(),
            by_address: HashMap::new(),
            expanded: Vec::new(),
            steps_left: STEPS_MAX,
        }
    }

    /// Returns the functions of all paths read so far.
    pub fn functions(&self) -> &[Function] {
        self.functions.items()
    }

    /// Returns the functions of all paths read so far, as an owned list.
    pub fn into_functions(self) -> Vec<Function> {
        self.functions.into_items()
    }

    /// Reads one stack as a path, and applies the filters and suppressions to it.
    pub fn read(&mut self, stack: u32) -> Reading {
        let places = self.places_of(stack);
        let places = self.without_recorder(&places);
        let flags = |flag: fn(&Place) -> bool| places.iter().any(|place| flag(&self.places[*place as usize]));
        let is_in_focus = self.view.focus.is_empty() || flags(|place| place.is_focus);
        let is_in_scope = self.view.scope.is_none() || flags(|place| place.is_scope);
        let is_seen = is_in_focus && is_in_scope && !flags(|place| place.is_ignored);
        let suppression = places.iter().map(|place| self.places[*place as usize].suppression).min();
        let suppression = suppression.filter(|known| *known != NO_SUPPRESSION).map(|known| known as usize);
        let kept = self.folded(places);
        let is_own = |place: &&u32| !self.places[**place as usize].is_library;
        let lines_up_to = kept.iter().position(|place| is_own(&place)).unwrap_or(kept.len());
        let step = |(at, place): (usize, &u32)| {
            let Place { function, line, .. } = self.places[*place as usize];
            PathStep { function, line: if at <= lines_up_to { line } else { 0 } }
        };
        let path: Vec<PathStep> = kept.iter().enumerate().map(step).collect();
        let lines = kept.iter().map(|place| self.places[*place as usize].line).collect();
        self.steps_left = self.steps_left.saturating_sub(path.len());
        Reading { path, lines, is_seen, suppression }
    }

    /// Returns the functions of a stack, innermost first, as indices into `places`. Beyond the limits
    /// `PATH_FUNCTIONS_MAX` and `STEPS_MAX`, drops functions at the outer end.
    fn places_of(&mut self, stack: u32) -> Vec<u32> {
        let most = if self.steps_left > 0 { PATH_FUNCTIONS_MAX } else { FUNCTIONS_BEYOND };
        let frames = self.reader.addresses(stack);
        let mut all = Vec::with_capacity(frames.len().min(most));
        for &address in frames {
            let (start, end) = match self.by_address.get(&address) {
                Some(there) => *there,
                None => {
                    let start = self.expanded.len() as u32;
                    self.expand(address);
                    let there = (start, self.expanded.len() as u32);
                    self.by_address.insert(address, there);
                    there
                }
            };
            let there = &self.expanded[start as usize..end as usize];
            all.extend_from_slice(&there[..there.len().min(most - all.len())]);
            if all.len() == most {
                break;
            }
        }
        all
    }

    /// Removes the functions of the recorder, by the rule of [`StackReader::frames`].
    fn without_recorder<'a>(&self, places: &'a [u32]) -> &'a [u32] {
        let is_cut = |place: &u32| self.places[*place as usize].is_cut;
        let inner = places.iter().take(CUT_FRAMES).rposition(is_cut).map_or(0, |last| last + 1);
        if inner < places.len() { &places[inner..] } else { places }
    }

    /// Replaces each run of library functions by its outermost function. Drops the run at the outer end, which only
    /// leads to `main`. Does neither if [`View::with_library`] is set.
    fn folded(&self, places: &[u32]) -> Vec<u32> {
        let is_library = |place: &u32| self.places[*place as usize].is_library;
        let outermost = places.iter().rposition(|place| !is_library(place));
        let (Some(outermost), false) = (outermost, self.view.with_library) else { return places.to_vec() };
        let places = &places[..=outermost];
        let is_inside = |at: usize| is_library(&places[at]) && places.get(at + 1).is_some_and(is_library);
        (0..places.len()).filter(|at| !is_inside(*at)).map(|at| places[at]).collect()
    }

    /// Appends the functions at an address to `expanded`.
    fn expand(&mut self, address: u64) {
        for frame in self.reader.functions(address) {
            let is_by_address = frame.function.is_empty() || scope_of_address(frame.address).is_some();
            let unnamed = if is_by_address { frame.address } else { 0 };
            let key =
                (frame.function, frame.file, frame.line, frame.module.map(|module| module.start), unnamed);
            let place = self.by_frame.get(&key).copied().unwrap_or_else(|| self.add(&frame));
            self.by_frame.insert(key, place);
            self.expanded.push(place);
        }
    }

    /// Adds a frame to `places`, with the result of every filter for it. Returns its index in `places`.
    fn add(&mut self, frame: &Frame<'_>) -> u32 {
        let module = frame.module;
        let owner = self.owners.owner(frame);
        let name = match (frame.function, module) {
            ("", Some(module)) => {
                let object = module.path.rsplit(['/', '\\']).next().unwrap_or_default();
                let object = if object.is_empty() { "(unnamed mapping)" } else { object };
                format!("{object}+{:#x}", frame.address.wrapping_sub(1).wrapping_sub(module.bias))
            }
            ("", None) => format!("{:#x}", frame.address),
            (name, _) if name.starts_with('{') && !self.view.with_generics => {
                without_generics(&frame.display_name())
            }
            (_, _) if frame.function.starts_with('{') => frame.display_name().into_owned(),
            (name, _) if self.view.with_generics || scope_of_address(frame.address).is_some() => {
                name.to_owned()
            }
            (name, _) => without_generics(name),
        };
        let texts = [frame.function, frame.file, module.map_or("", |module| module.path.as_str())];
        let any = |matches: &dyn Fn(&str) -> bool| texts.iter().any(|text| !text.is_empty() && matches(text));
        let scope = scope_of_address(frame.address)
            .and_then(|_| frame.function.strip_prefix("[scope ").and_then(|name| name.strip_suffix(']')));
        let place = Place {
            function: 0,
            line: frame.line,
            is_cut: is_cut(frame),
            is_library: owner == CodeOwner::Library,
            is_focus: self.view.focus.iter().any(|matcher| any(*matcher)),
            is_ignored: self.view.ignore.iter().any(|matcher| any(*matcher)),
            is_scope: self.view.scope.zip(scope).is_some_and(|(matches, name)| matches(name)),
            suppression: self
                .suppressions
                .iter()
                .position(|known| any(&|text| known.matches(text)))
                .map_or(NO_SUPPRESSION, |known| known as u32),
        };
        let function = Function { name, file: frame.file.to_owned(), owner };
        self.places.push(Place { function: self.functions.number(function), ..place });
        self.places.len() as u32 - 1
    }
}

#[cfg(test)]
pub(super) use tests::named;

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use heapledger::profile::{Module, Stack, SymbolFrame, scope_address};

    /// Returns a profile with one stack for each element of `calls`. Stack number n goes through the functions `calls[n
    /// - 1]`, innermost first, each given as (name, file, line).
    pub(in crate::analysis) fn named(calls: &[&[(&str, &str, u32)]]) -> Profile {
        let mut profile = sample::empty();
        profile.symbols.strings = vec![String::new()];
        for stack in calls {
            let mut frames = Vec::new();
            for (name, file, line) in *stack {
                let address = 0x1000 + 16 * profile.symbols.frames.len() as u64;
                let strings = &mut profile.symbols.strings;
                strings.extend([(*name).to_owned(), (*file).to_owned()]);
                let (function, file) = (strings.len() as u32 - 2, strings.len() as u32 - 1);
                let frame = SymbolFrame { function, file, line: *line, inlined: false };
                profile.symbols.frames.insert(address, vec![frame]);
                frames.push(address);
            }
            profile.stacks.push(Stack { frames, truncated: false });
        }
        profile
    }

    fn names(paths: &Paths<'_>, reading: &Reading) -> Vec<String> {
        reading.path.iter().map(|step| paths.functions()[step.function as usize].name.clone()).collect()
    }

    const LIBRARY: &str = "/rustc/1/library/alloc/src/vec/mod.rs";

    #[test]
    fn library_runs_are_folded_and_the_way_to_main_is_left_out() {
        let profile = named(&[&[
            ("alloc::alloc::alloc", LIBRARY, 1),
            ("alloc::raw_vec::RawVec<T>::grow", LIBRARY, 2),
            ("alloc::vec::Vec<T>::push", LIBRARY, 3),
            ("demo::add", "a.rs", 4),
            ("core::iter::for_each<u8>", LIBRARY, 5),
            ("demo::main", "a.rs", 6),
            ("std::rt::lang_start", LIBRARY, 7),
            ("_start", "", 0),
        ]]);
        let view = View::default();
        let mut paths = Paths::new(&profile, &view, &[]);
        let reading = paths.read(1);
        let folded = ["alloc::vec::Vec<..>::push", "demo::add", "core::iter::for_each<..>", "demo::main"];
        assert_eq!(names(&paths, &reading), folded);
        assert_eq!(reading.path.iter().map(|step| step.line).collect::<Vec<_>>(), [3, 4, 0, 0]);
        assert_eq!(reading.lines, [3, 4, 5, 6]);
        let whole = View { with_library: true, with_generics: true, ..View::default() };
        let mut paths = Paths::new(&profile, &whole, &[]);
        let reading = paths.read(1);
        let expected: Vec<String> =
            StackReader::new(&profile).frames(1).iter().map(|frame| frame.function.to_owned()).collect();
        assert_eq!(names(&paths, &reading), expected);
        assert_eq!(expected.len(), 7);
        assert_eq!(paths.read(0), Reading { is_seen: true, ..Reading::default() });
    }

    #[test]
    fn stacks_are_the_same_when_functions_are_and_the_line_of_the_allocation_is() {
        let stack = |inner, outer| vec![("demo::add", "a.rs", inner), ("demo::main", "a.rs", outer)];
        let stacks = [stack(1, 9), stack(1, 8), stack(2, 9)];
        let stacks: Vec<&[_]> = stacks.iter().map(Vec::as_slice).collect();
        let profile = named(&stacks);
        let view = View::default();
        let mut paths = Paths::new(&profile, &view, &[]);
        let read = [paths.read(1).path, paths.read(2).path, paths.read(3).path];
        assert_eq!(read[0], read[1]);
        assert_ne!(read[0], read[2]);
    }

    #[test]
    fn focus_and_ignore_look_at_functions_files_and_modules() {
        let mut profile = named(&[&[("demo::add", "src/add.rs", 1)]]);
        profile.modules.push(Module {
            path: "/opt/demo".into(),
            start: 0,
            end: 1 << 40,
            ..Module::default()
        });
        let seen = |focus: &[&'static str], ignore: &[&'static str]| {
            let contains = |wanted: &&'static str| {
                let wanted = *wanted;
                move |text: &str| text.contains(wanted)
            };
            let matchers: Vec<_> = focus.iter().chain(ignore).map(contains).collect();
            let matchers: Vec<Matcher<'_>> = matchers.iter().map(|matcher| matcher as Matcher<'_>).collect();
            let (focus, ignore) = matchers.split_at(focus.len());
            let view = View { focus: focus.to_vec(), ignore: ignore.to_vec(), ..View::default() };
            Paths::new(&profile, &view, &[]).read(1).is_seen
        };
        assert!(
            seen(&[], &[]) && seen(&["add.rs"], &[]) && seen(&["/opt/"], &[]) && seen(&["x", "demo::"], &[])
        );
        assert!(!seen(&["x"], &[]) && !seen(&[], &["/opt"]) && !seen(&["demo"], &["add"]));
    }

    #[test]
    fn a_scope_is_known_by_its_frame_and_not_by_a_function_of_its_name() {
        let mut profile = named(&[&[("demo::add", "add.rs", 1), ("[scope parse]", "", 0)]]);
        profile.symbols.strings.push("[scope parse]".into());
        let function = profile.symbols.strings.len() as u32 - 1;
        let name = SymbolFrame { function, ..SymbolFrame::default() };
        profile.symbols.frames.insert(scope_address(1), vec![name]);
        let frames = vec![profile.stacks[1].frames[0], scope_address(1)];
        profile.stacks.push(Stack { frames, truncated: false });
        let is_parse = |name: &str| name == "parse";
        let view = View { scope: Some(&is_parse), ..View::default() };
        let mut paths = Paths::new(&profile, &view, &[]);
        assert_eq!([0, 1, 2].map(|stack| paths.read(stack).is_seen), [false, false, true]);
    }

    #[test]
    fn frames_without_a_name_are_object_and_offset() {
        let mut profile = sample::empty();
        profile.stacks.push(Stack { frames: vec![0x5001, 0x10, 0], truncated: false });
        let module = |path: &str, start| Module {
            path: path.into(),
            start,
            end: start + 0x1000,
            bias: start,
            ..Module::default()
        };
        profile.modules = vec![module("/lib/libx.so", 0x5000), module("", 0)];
        let view = View::default();
        let mut paths = Paths::new(&profile, &view, &[]);
        let reading = paths.read(1);
        assert_eq!(names(&paths, &reading), ["libx.so+0x0", "(unnamed mapping)+0xf", "0x0"]);
    }

    #[test]
    fn an_address_that_stands_for_many_functions_does_not_make_paths_long() {
        let mut profile = sample::empty();
        profile.symbols.strings = vec![String::new(), "f".into()];
        profile.symbols.frames.insert(1, vec![SymbolFrame { function: 1, ..SymbolFrame::default() }; 256]);
        profile.stacks.push(Stack { frames: vec![1; 60_000], truncated: false });
        let view = View::default();
        assert_eq!(Paths::new(&profile, &view, &[]).read(1).path.len(), PATH_FUNCTIONS_MAX);
    }
}
