//! Names for the addresses of a profile, found in the object files and debug files of this machine.
//!
//! ```text
//!  stacks ─► distinct addresses ─► by module ─► file of that build ─► functions, files, lines ─► Profile::symbols
//!                                                      │
//!                                                      └── not found: a note that says what to do
//! ```
//!
//! The recorded program never looks up names. The command does so later, once for each address. Names that the profile
//! already has (a bundled dump contains its names) are kept.
//!
//! Invariants:
//!
//! 1. **A wrong name is worse than a missing one.** If the module has a build id, only a file with the same build id is
//!    used; see `locate`. A symbol applies only to the addresses that its size covers. A name ends in `?` if another
//!    library may have been loaded at the same address.
//! 2. **A missing name is not an error.** An address stays without a name if its file is missing or stripped, or if it
//!    lies in the `[vdso]` of the kernel or in an unnamed mapping. [`Symbols::notes`] tells the user what to do.
//! 3. **Memory is bounded by the symbols that are found, not by the size of the files.** Files are mapped one after the
//!    other and unmapped again, and each text is stored once. A file can be hostile, so unpacked sections and the
//!    length of names have limits ([`UNPACKED_BYTES_MAX`], [`RAW_NAME_BYTES_MAX`]). A note lists the parts that exceed
//!    a limit.
//!
//! `addr2line` reads DWARF, `object` reads the rest of an object, and `rustc-demangle` and `cpp_demangle` make names
//! readable.

mod cache;
mod demangle;
mod image;
mod locate;
#[allow(unsafe_code, reason = "maps object files")]
mod mapped;
mod notes;
mod object_file;
mod scopes;
mod strings;

use std::path::{Path, PathBuf};

pub use cache::{ADDRESSES_REMEMBERED_MAX, NameCache};

use heapledger::profile::{Module, Profile, Symbols, scope_of_address};
use image::Image;
pub use locate::Options;
use locate::{Located, Search};
pub use mapped::return_freed_memory;
use notes::ModuleCounts;
use object_file::{Memory, Refusal};
pub use object_file::{RAW_NAME_BYTES_MAX, UNPACKED_BYTES_MAX};
pub use scopes::{name_scopes, scope_name};
use strings::Strings;

/// Progress of a symbol lookup, in addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Number of processed addresses.
    pub done: u64,
    /// Number of all addresses to process.
    pub total: u64,
}

/// Maximum number of modules whose files are searched. Programs have some hundred modules, but a hostile dump may list
/// any number.
pub const MODULES_MAX: usize = 1024;
/// Number of addresses between two calls of `progress`.
const PROGRESS_STEP: u64 = 256;

/// Looks up the missing symbols of all addresses in the stacks of `profile`. Stores the symbols in
/// [`Profile::symbols`], with notes on the missing ones. Calls `progress` every 256 addresses, and at the end.
///
/// ```
/// # let mut profile = heapledger::Profile::default();
/// heapledger_cli::symbols::resolve(&mut profile, &Default::default(), &mut |_| {});
/// assert!(profile.symbols.notes.is_empty(), "there was nothing to look up");
/// ```
pub fn resolve(profile: &mut Profile, options: &Options, progress: &mut dyn FnMut(Progress)) {
    let mut symbols = std::mem::take(&mut profile.symbols);
    let mut strings = Strings::of(&mut symbols);
    let groups = by_module(profile, &symbols);
    let total = groups.iter().map(|group| group.addresses.len() as u64).sum();
    let mut told = Progress { done: 0, total };
    let (mut asked, mut unasked) = (0, 0u64);
    let mut search = Search::new(options, profile.process.started_unix_ns);
    let late = Late::of(&profile.modules);
    for group in groups {
        let module = group.module.and_then(|module| profile.modules.get(module));
        let module = module.filter(|module| is_file_name(&module.path));
        let is_asked = asked < MODULES_MAX;
        unasked += u64::from(module.is_some() && !is_asked);
        let Some(module) = module.filter(|_| is_asked) else {
            told.done += group.addresses.len() as u64;
            continue;
        };
        asked += 1;
        let addresses = group.addresses.len() as u64;
        let memory = Memory::default();
        let (image, mut counts) = open(module, addresses, &mut search, options, &memory);
        let is_uncertain = late.may_be_another(module);
        for &address in &group.addresses {
            // A return address is the address after the call instruction, so the byte before it belongs to the call.
            let in_file = address.wrapping_sub(1).wrapping_sub(module.bias);
            let mut functions = image.as_ref().map_or(Vec::new(), |image| image.functions(in_file));
            counts.count(&functions, is_uncertain);
            if is_uncertain {
                functions.iter_mut().for_each(|function| function.name.push(UNCERTAIN));
            }
            if !functions.is_empty() {
                symbols.frames.insert(address, strings.frames(functions));
            }
            told.done += 1;
            if told.done.is_multiple_of(PROGRESS_STEP) {
                progress(told);
            }
        }
        symbols.notes.extend(counts.notes(image.as_ref().map(|image| &image.unused)));
    }
    if unasked > 0 {
        symbols
            .notes
            .push(format!("{unasked} further modules were not searched for names: a profile has too many"));
    }
    progress(told);
    symbols.strings = if symbols.frames.is_empty() { Vec::new() } else { strings.all };
    profile.symbols = symbols;
}

/// Addresses in one module, in ascending order.
struct Group {
    /// Module, as an index into [`Profile::modules`]; `None` for the addresses outside all modules.
    module: Option<usize>,
    addresses: Vec<u64>,
}

/// Returns all addresses without symbols, grouped by module. A return address belongs to the module that contains the
/// call before it.
fn by_module(profile: &Profile, symbols: &Symbols) -> Vec<Group> {
    let mut addresses: Vec<u64> =
        profile.stacks.iter().flat_map(|stack| stack.frames.iter().copied()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.retain(|address| !symbols.frames.contains_key(address) && scope_of_address(*address).is_none());
    let holder = holders(&profile.modules);
    let mut groups: Vec<Group> = Vec::new();
    for address in addresses {
        let module = holder(address);
        match groups.last_mut() {
            Some(group) if group.module == module => group.addresses.push(address),
            _ => groups.push(Group { module, addresses: vec![address] }),
        }
    }
    groups
}

/// Returns a function that maps a return address to the module with the call before it, as an index into `modules`.
fn holders(modules: &[Module]) -> impl Fn(u64) -> Option<usize> {
    let mut sorted: Vec<usize> = (0..modules.len()).collect();
    sorted.sort_by_key(|module| modules[*module].start);
    move |address: u64| {
        let call = address.checked_sub(1)?;
        let after = sorted.partition_point(|module| modules[*module].start <= call);
        let module = *sorted[..after].last()?;
        (call < modules[module].end).then_some(module)
    }
}

/// Suffix of a function name that may be wrong, because another module may have been loaded at the same address
/// ([`Late::may_be_another`]).
const UNCERTAIN: char = '?';

/// Modules that the recorder found after the start of the process, such as plugins. Each module has a number. In the
/// stacks that are taken after a module was found, the addresses in the module carry its number in their upper 16 bits.
struct Late<'a>(Vec<&'a Module>);

impl<'a> Late<'a> {
    fn of(modules: &'a [Module]) -> Self {
        let late = modules.iter().filter(|module| module.start >> NUMBER_SHIFT != 0);
        Late(late.take(MODULES_MAX).collect())
    }

    /// Whether the address range of `module` overlaps the range of a module that was found later, which has a higher
    /// number. The comparison ignores the number in the upper bits. An address in the overlap may belong to either
    /// module.
    fn may_be_another(&self, module: &Module) -> bool {
        let plain = |address: u64| address & ((1 << NUMBER_SHIFT) - 1);
        self.0.iter().any(|late| {
            late.start >> NUMBER_SHIFT > module.start >> NUMBER_SHIFT
                && plain(late.start) < plain(module.end)
                && plain(module.start) < plain(late.end)
        })
    }
}

/// Position of the module's number within an address, in bits from the lowest.
const NUMBER_SHIFT: u32 = 48;

/// Searches for the file with the symbols of a module and opens it. Also returns the counters for the note on the
/// module.
fn open<'a>(
    module: &Module,
    addresses: u64,
    search: &mut Search<'_>,
    options: &Options,
    memory: &'a Memory,
) -> (Option<Image<'a>>, ModuleCounts) {
    let Located { file, has_lines, own, path } = search.locate(module);
    let opened = file.map(|file| {
        let directories = split_directories(&[&path, &file], options);
        Image::open(&file, &packages(&[&path, &file], options), directories, memory)
    });
    let (image, error) = match opened {
        Some(Ok(image)) => (Some(image), None),
        Some(Err(Refusal::NotAFile)) => (None, Some("it is no regular file")),
        Some(Err(Refusal::NotAnObject)) => (None, Some("it is no object file that can be read")),
        Some(Err(Refusal::Missing)) => (None, Some("it cannot be opened")),
        None => (None, None),
    };
    (image, ModuleCounts::new(module, addresses, own, has_lines, error))
}

/// Returns the paths at which a package of split debug information (`.dwp`) can be.
fn packages(files: &[&Path], options: &Options) -> Vec<PathBuf> {
    let beside = files.iter().map(|file| locate::with_extension(file.as_os_str().to_owned(), "dwp").into());
    let names = files.iter().filter_map(|file| file.file_name());
    let names: Vec<_> = names.map(|name| locate::with_extension(name.to_owned(), "dwp")).collect();
    let given =
        options.debug_directories.iter().flat_map(|directory| names.iter().map(|name| directory.join(name)));
    beside.chain(given).collect()
}

/// Returns the directories in which files of split debug information (`.dwo`) can be.
fn split_directories(files: &[&Path], options: &Options) -> Vec<PathBuf> {
    let beside = files.iter().filter_map(|file| file.parent()).map(Path::to_owned);
    beside.chain(options.debug_directories.iter().cloned()).collect()
}

/// Whether the path of a module can be a file. Kernel objects and unnamed mappings have paths that are no files.
fn is_file_name(path: &str) -> bool {
    let is_special = path.is_empty() || path.starts_with('[') || path.starts_with("//anon");
    !is_special && !path.starts_with("linux-vdso.so") && !path.starts_with("linux-gate.so")
}

#[cfg(test)]
mod tests;
