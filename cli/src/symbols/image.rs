//! Symbols of one object file: its symbol table and its debug information.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use addr2line::gimli::{self, Dwarf, DwarfFileType, DwarfPackage, EndianSlice, LittleEndian, SectionId};
use addr2line::{Context, LookupContinuation, LookupResult, SplitDwarfLoad};

use super::demangle::demangled;
use super::object_file::{Memory, ObjectFile, RAW_NAME_BYTES_MAX, Refusal, Symbol, SymbolTable};
use heapledger::profile::INLINED_MAX;

/// Maximum length of the line program of a compilation unit, in bytes. One byte of a line program can expand to a row
/// of 24 bytes in memory.
const LINE_PROGRAM_BYTES_MAX: usize = 64 << 20;
/// Maximum sum of the lengths of the full paths of a compilation unit, in bytes.
const UNIT_PATH_BYTES_MAX: u64 = 16 << 20;
/// Maximum sum of the lengths of the full paths of all compilation units of an object, in bytes.
const UNITS_PATH_BYTES_MAX: u64 = 4 << 30;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

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

/// Parts of an object file that could not be used, for the notes to the user.
#[derive(Debug, Default)]
pub(super) struct Unused {
    /// Reason why the debug information of the file was not read; `None` if it was read.
    pub(super) debug_information: Option<String>,
    /// Number of addresses in compilation units whose split debug information (`.dwp`, `.dwo`) was not found.
    pub(super) split: Cell<u64>,
    /// Number of names that were skipped because they are too long.
    pub(super) long_names: Cell<u64>,
    /// Whether the file has more symbols than the maximum that is read.
    pub(super) symbols: bool,
}

/// Open object file, from which functions are looked up.
pub(super) struct Image<'a> {
    memory: &'a Memory,
    context: Option<Context<Slice<'a>>>,
    package: Option<DwarfPackage<Slice<'a>>>,
    symbols: SymbolTable<'a>,
    /// Directories with files of split debug information. These directories are searched after the directory in which
    /// the compiler wrote the files.
    split_directories: Vec<PathBuf>,
    pub(super) unused: Unused,
}

impl<'a> Image<'a> {
    /// Opens the object file at `path`. Its sections are mapped, and read on demand. `packages` are the paths where a
    /// package of split debug information may be.
    pub(super) fn open(
        path: &Path,
        packages: &[PathBuf],
        split_directories: Vec<PathBuf>,
        memory: &'a Memory,
    ) -> Result<Self, Refusal> {
        let object = memory.object(path)?;
        let mut unused = Unused::default();
        let context = debug_information(&object, memory);
        let context = context.map_err(|error| unused.debug_information = Some(error)).ok();
        let package = packages.iter().find_map(|path| package(&memory.object(path).ok()?, memory));
        let symbols = object.symbols();
        unused.symbols = symbols.is_cut;
        Ok(Image { memory, context, package, symbols, split_directories, unused })
    }

    /// Returns the functions at an address of the file, innermost first. Each function except the last is inlined into
    /// the next. Returns an empty list if the file has no function at the address. Unreadable parts of the debug
    /// information count as missing.
    pub(super) fn functions(&self, address: u64) -> Vec<Function> {
        let mut functions = self.by_debug_information(address);
        // The outermost function was not inlined, so it has a symbol. The symbol replaces a missing name. It also
        // replaces a name without a path, because debug information reduced to lines names a function without its
        // modules.
        let symbol = match self.symbols.at(address) {
            Symbol::Named(symbol) => Some(symbol),
            Symbol::TooLong => {
                count(&self.unused.long_names);
                None
            }
            Symbol::Unknown => None,
        };
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

    fn by_debug_information(&self, address: u64) -> Vec<Function> {
        let mut functions = Vec::new();
        let Some(context) = &self.context else { return functions };
        let Ok(mut frames) = self.looked_up(context.find_frames(address)) else { return functions };
        while let Ok(Some(frame)) = frames.next() {
            let Some(function) = frame.function else {
                // The compilation unit has a line for this address, but no function. The line may belong to a function
                // that was inlined into the function of the symbol.
                if !self.has_lines_of_symbols(context, address) {
                    return functions;
                }
                functions.push(located(String::new(), frame.location.as_ref()));
                continue;
            };
            let is_long = function.name.len() > RAW_NAME_BYTES_MAX;
            if is_long {
                count(&self.unused.long_names);
            }
            let name = Some(&function).filter(|_| !is_long).and_then(|function| function.raw_name().ok());
            let name = name.map_or(String::new(), |name| demangled(&name));
            functions.push(located(name, frame.location.as_ref()));
            if functions.len() == INLINED_MAX {
                break;
            }
        }
        functions
    }

    /// Returns whether the lines at an address belong to the function of the symbol there. Called for an address at
    /// which the compilation unit has lines but no function. Returns `true` if the unit has only line tables, because
    /// it then lists a function only if another function was inlined into it. Returns `false` if the split debug
    /// information of the unit is missing, because then all its functions are missing.
    fn has_lines_of_symbols(&self, context: &Context<Slice<'a>>, address: u64) -> bool {
        let Some(unit) = self.looked_up(context.find_dwarf_and_unit(address)) else { return false };
        let is_split = unit.dwo_id.is_some() && unit.dwarf.file_type == DwarfFileType::Main;
        if is_split {
            count(&self.unused.split);
        }
        !is_split
    }

    /// Finishes a lookup. Loads the split debug information that the lookup requests.
    fn looked_up<L: LookupContinuation<Buf = Slice<'a>>>(&self, mut lookup: LookupResult<L>) -> L::Output {
        loop {
            match lookup {
                LookupResult::Output(output) => return output,
                LookupResult::Load { load, continuation } => lookup = continuation.resume(self.split(&load)),
            }
        }
    }

    /// Returns the split debug information of a compilation unit: from the package, or else from the unit's separate
    /// file.
    fn split(&self, load: &SplitDwarfLoad<Slice<'a>>) -> Option<Arc<Dwarf<Slice<'a>>>> {
        let packed =
            self.package.as_ref().and_then(|package| package.find_cu(load.dwo_id, &load.parent).ok()?);
        if let Some(packed) = packed {
            return Some(Arc::new(packed));
        }
        let path = path_of(load.path.as_ref()?)?;
        let made_in = load.comp_dir.as_ref().and_then(path_of).unwrap_or_default().join(&path);
        let name = path.file_name()?;
        let moved = self.split_directories.iter().map(|directory| directory.join(name));
        std::iter::once(made_in).chain(moved).find_map(|path| {
            let object = self.memory.object(&path).ok()?;
            let mut dwarf = sections(&object, self.memory, |id| id.dwo_name()).ok()?;
            let unit = dwarf.units().next().ok()??;
            if dwarf.unit(unit).ok()?.dwo_id != Some(load.dwo_id) {
                return None;
            }
            dwarf.make_dwo(&load.parent);
            Some(Arc::new(dwarf))
        })
    }
}

fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

fn located(name: String, location: Option<&addr2line::Location<'_>>) -> Function {
    let file = location.and_then(|location| location.file).filter(|file| file.len() <= RAW_NAME_BYTES_MAX);
    let line = location.and_then(|location| location.line).unwrap_or(0);
    Function { name, file: file.unwrap_or_default().to_owned(), line }
}

fn path_of(bytes: &Slice<'_>) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = Some(bytes.slice()).filter(|bytes| bytes.len() <= RAW_NAME_BYTES_MAX)?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(bytes)))
}

/// Reads the debug information of an object. Returns the reason as an error if the debug information is unreadable or
/// exceeds a limit.
fn debug_information<'a>(object: &ObjectFile<'a>, memory: &'a Memory) -> Result<Context<Slice<'a>>, String> {
    let mut dwarf = sections(object, memory, |id| Some(id.name()))?;
    dwarf.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::Duplicates);
    check_units(&dwarf)?;
    Context::from_dwarf(dwarf).map_err(|error| error.to_string())
}

fn package<'a>(object: &ObjectFile<'a>, memory: &'a Memory) -> Option<DwarfPackage<Slice<'a>>> {
    let load = |id: SectionId| section(object, memory, id.dwo_name()).map_err(|_| gimli::Error::Io);
    DwarfPackage::load(load, EndianSlice::new(&[], LittleEndian)).ok()
}

fn sections<'a>(
    object: &ObjectFile<'a>,
    memory: &'a Memory,
    name: impl Fn(SectionId) -> Option<&'static str>,
) -> Result<Dwarf<Slice<'a>>, String> {
    Dwarf::load(|id| section(object, memory, name(id)))
}

fn section<'a>(object: &ObjectFile<'a>, memory: &'a Memory, name: Option<&str>) -> Result<Slice<'a>, String> {
    // Sections with the locations of variables and with macros are not needed, so they are not loaded. Only a package
    // keeps them, because it is divided into compilation units in all its sections.
    let is_needed = |name: &&str| {
        name.ends_with(".dwo") || !name.starts_with(".debug_loc") && !name.starts_with(".debug_mac")
    };
    let bytes = name.filter(is_needed).map_or(Ok(&[][..]), |name| object.section(name, memory))?;
    Ok(EndianSlice::new(bytes, LittleEndian))
}

/// Checks that the line programs and paths of the units stay within the limits. A reader of a line program builds the
/// full path of each file. In a hostile file, a hundred thousand files can share a directory name of a megabyte.
fn check_units(dwarf: &Dwarf<Slice<'_>>) -> Result<(), String> {
    let (mut units, mut all) = (dwarf.units(), 0u64);
    while let Ok(Some(header)) = units.next() {
        let Ok(unit) = dwarf.unit(header) else { continue };
        let Some(program) = &unit.line_program else { continue };
        let header = program.header();
        let bytes = header.raw_program_buf().len();
        if bytes > LINE_PROGRAM_BYTES_MAX {
            return Err(format!(
                "a line program has {bytes} bytes, and at most {LINE_PROGRAM_BYTES_MAX} are read"
            ));
        }
        let length = |text| dwarf.attr_string(&unit, text).map_or(0, |text| text.len() as u64);
        let base = unit.comp_dir.map_or(0, |directory| directory.len() as u64);
        let mut paths = 0u64;
        for file in header.file_names() {
            paths += base + file.directory(header).map_or(0, length) + length(file.path_name());
            if paths > UNIT_PATH_BYTES_MAX || all + paths > UNITS_PATH_BYTES_MAX {
                return Err(format!("the paths of a unit have more than {UNIT_PATH_BYTES_MAX} bytes"));
            }
        }
        all += paths;
    }
    Ok(())
}

fn is_rust(symbol: &str) -> bool {
    symbol.starts_with("_R") || symbol.starts_with("_ZN")
}

/// Whether `name` has no module path and occurs in `whole`, the name of the same function with its module path. Generic
/// arguments are ignored.
fn is_part_of(name: &str, whole: &str) -> bool {
    let base = name.split('<').next().unwrap_or_default();
    let base = if base.contains("closure") { "closure" } else { base };
    !base.is_empty() && !name.contains("::") && whole.contains(base)
}
