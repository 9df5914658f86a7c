//! The loaded objects (*modules*): their addresses, paths, build ids and unwind tables.
//!
//! The objects are found in `/proc/thread-self/maps` and read through `/proc/thread-self/mem`, because the files of the
//! same names under `/proc/self` are empty once the main thread has ended. This takes no lock of the loader, and
//! reading from an object that is being unloaded fails instead of crashing. ELF headers are read from memory. Files are
//! not opened, because their content may have changed since they were loaded.
//!
//! The functions allocate, so they are called only in internal scopes.

use std::borrow::Cow;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
#[cfg(unix)]
use std::os::unix::fs::FileExt;

use crate::sys::loaded_object::HEAD_BYTES;

/// Maximum size of an object's unwind tables, in bytes. Larger tables are ignored.
const TABLE_BYTES_MAX: u64 = 1 << 30;
/// Maximum number of program headers of an object.
const HEADERS_MAX: u16 = 256;
/// Maximum number of bytes of an object's notes that are searched for its build id.
const NOTE_BYTES_MAX: u64 = 64 << 10;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const PF_EXECUTE: u32 = 1;
const NOTE_BUILD_ID: u32 = 3;

/// Suffix that the system appends to the path of a file that was removed or replaced.
pub(crate) const DELETED: &str = " (deleted)";

/// A segment of an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Segment {
    kind: u32,
    flags: u32,
    file_offset: u64,
    address: u64,
    memory_bytes: u64,
}

/// A range of addresses that holds code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) start: u64,
    /// First address above the range.
    pub(crate) end: u64,
    /// Offset in the object's file of the byte at `start`.
    #[cfg_attr(not(feature = "serve"), allow(dead_code, reason = "only the endpoint tells it"))]
    pub(crate) file_offset: u64,
}

/// A copied range of an object, with its address as in the object's file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) address: u64,
    pub(crate) bytes: Vec<u8>,
}

/// A loaded object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Module {
    /// Path of the object's file when it was loaded. Bytes that are not UTF-8 are written as `\xff`.
    pub(crate) path: String,
    /// Whether the file was removed from that path, or replaced there.
    pub(crate) is_deleted: bool,
    /// The build id in hexadecimal; empty if there is none.
    pub(crate) build_id: String,
    /// Lowest address of the object; `end` is the first address above the object.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The difference between an address in memory and the corresponding address in the file.
    pub(crate) bias: u64,
    /// Number of an object that was loaded later; 0 for an object that was loaded from the start. Addresses in stacks
    /// carry this number in their upper 16 bits, because another object may have the same addresses at another time.
    pub(crate) number: u16,
    /// Time at which the object was first seen, in nanoseconds; 0 if it was there from the start.
    pub(crate) since_ns: u64,
    /// Hash of the object's first bytes, which contain headers, build id and names of symbols.
    fingerprint: u64,
    pub(crate) code: Vec<Code>,
    /// Address and length of the index of the unwind tables, and the end of the segment that holds the tables.
    tables: Option<(u64, u64, u64)>,
}

/// The memory of this process, for reads that may fail.
#[derive(Debug)]
pub(crate) struct Memory(File);

impl Memory {
    pub(crate) fn open() -> Option<Memory> {
        open_own("mem").ok().map(Memory)
    }

    fn read(&self, address: u64, bytes: u64) -> Option<Vec<u8>> {
        let mut content = vec![0; usize::try_from(bytes).ok()?];
        #[cfg(unix)]
        self.0.read_exact_at(&mut content, address).ok()?;
        #[cfg(not(unix))]
        let _ = (address, &self.0);
        Some(content)
    }
}

/// Opens a file of this process in `/proc`. Kernels before 3.17 have no `/proc/thread-self`.
pub(crate) fn open_own(name: &str) -> io::Result<File> {
    File::open(format!("/proc/thread-self/{name}")).or_else(|_| File::open(format!("/proc/self/{name}")))
}

/// Number of bytes at the start of an object from which its fingerprint is computed.
const FINGERPRINT_BYTES: usize = HEAD_BYTES;

impl Memory {
    /// Returns a hash of the first bytes of an object.
    fn fingerprint(&self, start: u64) -> Option<u64> {
        let mut bytes = [0u8; FINGERPRINT_BYTES];
        #[cfg(unix)]
        let length = self.0.read_at(&mut bytes, start).ok()?;
        #[cfg(not(unix))]
        let length = 0;
        Some(fingerprint(start, bytes.get(..length)?))
    }
}

/// Returns the hash of the first bytes of an object that begins at `start`.
fn fingerprint(start: u64, bytes: &[u8]) -> u64 {
    let word = |bytes: &[u8]| bytes.iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    bytes.chunks(8).fold(super::Hash::new(start), |hash, bytes| hash.add(word(bytes))).finish()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// Returns all loaded objects, in the order of their addresses; `None` without memory or file descriptors. If the
/// headers of an object cannot be read now, the entry of `known` for an object at the same place is kept: the system
/// may have dropped the page of the headers, and have no memory to load it again.
pub(crate) fn loaded(known: &[Module]) -> Option<Vec<Module>> {
    let mut maps = Vec::new();
    open_own("maps").and_then(|mut file| file.read_to_end(&mut maps)).ok()?;
    let memory = Memory::open()?;
    let mappings = maps.split(|byte| *byte == b'\n').filter_map(first_mapping);
    Some(mappings.filter_map(|mapping| at_mapping(&memory, &mapping, known)).collect())
}

/// Returns the object that begins at a mapping, if there is one.
fn at_mapping(memory: &Memory, mapping: &Mapping<'_>, known: &[Module]) -> Option<Module> {
    let start = mapping.start;
    let (path, is_deleted) = mapping.path();
    let path = text_of(&path);
    let known = known.iter().find(|module| module.start == start && module.path == path);
    let now = module_at(&|address, bytes| memory.read(address, bytes), start).map(|module| Module {
        path,
        is_deleted,
        ..module
    });
    let is_worse =
        |known: &Module| now.as_ref().is_none_or(|now| now.build_id.is_empty() && !known.build_id.is_empty());
    let known = known.filter(|known| is_worse(known));
    known.map(|known| Module { is_deleted, ..known.clone() }).or(now)
}

/// A mapping with which an object can begin: it is readable, and lies at the start of a file or is the vDSO.
#[derive(Debug, PartialEq, Eq)]
struct Mapping<'a> {
    start: u64,
    inode: u64,
    /// Path as the system shows it, with `\012` for a line break, and with [`DELETED`] at the end if the file was
    /// removed.
    shown: &'a [u8],
}

fn first_mapping(line: &[u8]) -> Option<Mapping<'_>> {
    let mut fields = line.split(|byte| *byte == b' ').map(|field| str::from_utf8(field).ok());
    let (range, access, offset) = (fields.next()??, fields.next()??, fields.next()??);
    let inode = fields.nth(1)??.parse().ok()?;
    let shown = line.iter().position(|byte| matches!(byte, b'/' | b'[')).and_then(|at| line.get(at..))?;
    let is_object = shown.starts_with(b"/") || shown == b"[vdso]";
    if !access.starts_with('r') || !is_object || u64::from_str_radix(offset, 16) != Ok(0) {
        return None;
    }
    let start = u64::from_str_radix(range.split('-').next()?, 16).ok()?;
    Some(Mapping { start, inode, shown })
}

impl<'a> Mapping<'a> {
    /// Returns the path of the file, and whether the file was removed from there. The system inserts [`LINE_BREAK`] and
    /// [`DELETED`], but a real path can contain them too. So if the mapped file is at the shown path, the shown path is
    /// returned unchanged.
    fn path(&self) -> (Cow<'a, [u8]>, bool) {
        let is_plain = !self.shown.ends_with(DELETED.as_bytes()) && line_breaks(self.shown).next().is_none();
        if is_plain || self.is_at(self.shown) {
            return (Cow::Borrowed(self.shown), false);
        }
        let is_deleted = |path: &[u8]| path.ends_with(DELETED.as_bytes()) && !self.is_at(path);
        let mut path = Vec::with_capacity(self.shown.len());
        let mut from = 0;
        for at in line_breaks(self.shown) {
            path.extend_from_slice(self.shown.get(from..at).unwrap_or(&[]));
            path.push(b'\n');
            from = at + LINE_BREAK.len();
        }
        path.extend_from_slice(self.shown.get(from..).unwrap_or(&[]));
        let is_deleted = is_deleted(&path);
        if is_deleted {
            path.truncate(path.len() - DELETED.len());
        }
        (Cow::Owned(path), is_deleted)
    }

    /// Returns whether the mapped file is at `path`.
    #[cfg(unix)]
    fn is_at(&self, path: &[u8]) -> bool {
        use std::os::unix::{ffi::OsStrExt, fs::MetadataExt};
        let found = std::fs::metadata(std::ffi::OsStr::from_bytes(path));
        found.is_ok_and(|found| found.ino() == self.inode)
    }

    #[cfg(not(unix))]
    fn is_at(&self, _path: &[u8]) -> bool {
        false
    }
}

/// The form of a line break in a path in the list of mappings.
const LINE_BREAK: &[u8] = b"\\012";

fn line_breaks(shown: &[u8]) -> impl Iterator<Item = usize> {
    shown.windows(LINE_BREAK.len()).enumerate().filter(|(_, part)| *part == LINE_BREAK).map(|(at, _)| at)
}

/// Returns a path without links and `.`, as the list of mappings shows it, if it leads to a file now.
fn plain_path(path: &[u8]) -> Cow<'_, [u8]> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        if let Ok(plain) = std::fs::canonicalize(std::ffi::OsStr::from_bytes(path)) {
            return Cow::Owned(plain.into_os_string().into_vec());
        }
    }
    Cow::Borrowed(path)
}

/// Returns a path as text. Bytes that are not UTF-8 are written as `\xff`.
fn text_of(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Returns the object that begins at an address, if there is one. `read` returns bytes of the object's memory.
fn module_at(read: &dyn Fn(u64, u64) -> Option<Vec<u8>>, start: u64) -> Option<Module> {
    let header = read(start, 64)?;
    // Accepts only 64-bit little-endian objects.
    if header.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (offset, size, count) = (u64_at(&header, 32)?, u16_at(&header, 54)?, u16_at(&header, 56)?);
    if size != 56 || count > HEADERS_MAX {
        return None;
    }
    let headers = read(start.checked_add(offset)?, u64::from(size) * u64::from(count))?;
    let segments: Vec<Segment> = headers.chunks_exact(56).filter_map(segment).collect();
    let loads = || segments.iter().filter(|segment| segment.kind == PT_LOAD);
    let lowest = loads().map(|load| load.address).min()? & !0xfff;
    let highest = loads().map(|load| load.address.saturating_add(load.memory_bytes)).max()?;
    let bias = start.wrapping_sub(lowest);
    let code = |load: &Segment| {
        let start = bias.wrapping_add(load.address);
        Code { start, end: start.saturating_add(load.memory_bytes), file_offset: load.file_offset }
    };
    let code = loads().filter(|load| load.flags & PF_EXECUTE != 0).map(code).collect();
    let tables = segments.iter().find(|segment| segment.kind == PT_GNU_EH_FRAME).map(|index| {
        let holder = loads().find(|load| {
            (load.address..load.address.saturating_add(load.memory_bytes)).contains(&index.address)
        });
        let end = holder.map_or(index.address, |load| load.address.saturating_add(load.memory_bytes));
        (index.address, index.memory_bytes, end)
    });
    let notes = segments.iter().filter(|segment| segment.kind == PT_NOTE);
    let build_id = notes.filter_map(|note| {
        let bytes = note.memory_bytes.min(NOTE_BYTES_MAX);
        build_id(&read(bias.wrapping_add(note.address), bytes)?)
    });
    Some(Module {
        path: String::new(),
        is_deleted: false,
        build_id: build_id.into_iter().next().unwrap_or_default(),
        start,
        end: bias.wrapping_add(highest),
        bias,
        number: 0,
        since_ns: 0,
        fingerprint: fingerprint(start, &read(start, FINGERPRINT_BYTES as u64)?),
        code,
        tables,
    })
}

fn segment(header: &[u8]) -> Option<Segment> {
    Some(Segment {
        kind: u32_at(header, 0)?,
        flags: u32_at(header, 4)?,
        file_offset: u64_at(header, 8)?,
        address: u64_at(header, 16)?,
        memory_bytes: u64_at(header, 40)?,
    })
}

/// Returns the build id in an object's notes, in hexadecimal.
fn build_id(notes: &[u8]) -> Option<String> {
    let mut at = 0usize;
    loop {
        let (name_bytes, id_bytes, kind) = (
            u32_at(notes, at)? as usize,
            u32_at(notes, at.checked_add(4)?)? as usize,
            u32_at(notes, at.checked_add(8)?)?,
        );
        let name_at = at.checked_add(12)?;
        let id_at = name_at.checked_add(name_bytes.checked_next_multiple_of(4)?)?;
        let id = notes.get(id_at..id_at.checked_add(id_bytes)?)?;
        if kind == NOTE_BUILD_ID && notes.get(name_at..name_at.checked_add(4)?)? == b"GNU\0" {
            return Some(id.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        at = id_at.checked_add(id_bytes.checked_next_multiple_of(4)?)?;
    }
}

impl Module {
    /// Returns the object that began at `start` with the bytes `head`. If the path leads to no file now, it is kept as
    /// it is.
    pub(crate) fn of_head(start: u64, head: &[u8; HEAD_BYTES], path: &[u8]) -> Option<Module> {
        let read = |address: u64, bytes: u64| {
            let from = usize::try_from(address.checked_sub(start)?).ok()?;
            head.get(from..from.checked_add(usize::try_from(bytes).ok()?)?).map(<[u8]>::to_vec)
        };
        Some(Module { path: text_of(&plain_path(path)), ..module_at(&read, start)? })
    }

    /// Returns whether `other` has the same place and the same first bytes.
    pub(crate) fn has_head_of(&self, other: &Module) -> bool {
        (self.start, self.fingerprint) == (other.start, other.fingerprint)
    }

    /// Returns whether `other` is the same object at the same place. Later changes of the object's file do not matter.
    pub(crate) fn is_same(&self, other: &Module) -> bool {
        let place = |module: &Module| (module.start, module.end, module.bias, module.fingerprint);
        place(self) == place(other) && (&self.path, &self.build_id) == (&other.path, &other.build_id)
    }

    /// Returns whether the two objects share addresses.
    pub(crate) fn overlaps(&self, other: &Module) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Returns whether the object is still loaded at its addresses. Allocates nothing.
    pub(crate) fn is_loaded(&self, memory: &Memory) -> bool {
        memory.fingerprint(self.start) == Some(self.fingerprint)
    }

    /// Returns whether an address lies in the object's code.
    pub(crate) fn has_code_at(&self, address: u64) -> bool {
        self.code.iter().any(|code| (code.start..code.end).contains(&address))
    }

    /// Returns the index of the unwind tables, and the tables themselves (`.eh_frame_hdr`, `.eh_frame`), copied from
    /// memory.
    pub(crate) fn unwind_tables(&self, memory: &Memory) -> Option<(Section, Section)> {
        let (address, bytes, end) = self.tables?;
        let index = Section {
            address,
            bytes: memory.read(self.bias.wrapping_add(address), bytes.min(TABLE_BYTES_MAX))?,
        };
        // Requires version 1, and the only form of a pointer to the tables that linkers write: 32 bits, relative to
        // itself.
        if index.bytes.get(..2)? != [1, 0x1b] {
            return None;
        }
        let distance = i64::from(u32_at(&index.bytes, 4)?.cast_signed());
        let address = address.checked_add(4)?.checked_add_signed(distance)?;
        let bytes = end.checked_sub(address).filter(|bytes| *bytes <= TABLE_BYTES_MAX)?;
        let tables = Section { address, bytes: memory.read(self.bias.wrapping_add(address), bytes)? };
        Some((index, tables))
    }
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_cannot_be_read_just_now_is_not_gone() {
        let memory = Memory::open().unwrap();
        let program = loaded(&[]).unwrap().swap_remove(0);
        let known = std::slice::from_ref(&program);
        let at = |start, path: &'static str| Mapping { start, inode: 0, shown: path.as_bytes() };
        let path: &'static str = program.path.clone().leak();
        let again = |start, path| at_mapping(&memory, &at(start, path), known);
        assert_eq!(again(program.start, path), Some(program.clone()));
        // The lowest addresses are not readable.
        let unread = Module { start: 64, ..program.clone() };
        let of_unread = |path| at_mapping(&memory, &at(64, path), std::slice::from_ref(&unread));
        assert_eq!(of_unread(path), Some(unread.clone()));
        assert_eq!((again(64, path), of_unread("/other")), (None, None));
    }

    #[test]
    fn this_program_and_its_libraries_are_found_with_their_tables() {
        let modules = loaded(&[]).unwrap();
        let here = this_program_and_its_libraries_are_found_with_their_tables as fn() as usize as u64;
        let this = modules.iter().find(|module| module.has_code_at(here)).expect("the program itself");
        assert!(
            std::fs::canonicalize(&this.path).is_ok_and(|path| Some(path) == std::env::current_exe().ok())
        );
        let (index, tables) = this.unwind_tables(&Memory::open().unwrap()).unwrap();
        assert!(index.bytes.len() > 100 && tables.bytes.len() > 100);
        assert!(modules.iter().any(|module| module.path.contains("libc")), "{modules:?}");
        assert!(modules.windows(2).all(|pair| pair[0].end <= pair[1].start), "{modules:?}");
    }

    #[test]
    fn code_lies_where_the_system_has_mapped_its_part_of_the_file() {
        let modules = loaded(&[]).unwrap();
        let mut maps = String::new();
        open_own("maps").unwrap().read_to_string(&mut maps).unwrap();
        let hexadecimal = |text: &str| u64::from_str_radix(text, 16).unwrap();
        for module in modules.iter().filter(|module| module.path.starts_with('/')) {
            for code in &module.code {
                let offset = maps.lines().find_map(|line| {
                    let mut fields = line.split_whitespace();
                    let (start, end) = fields.next()?.split_once('-')?;
                    let (start, end) = (hexadecimal(start), hexadecimal(end));
                    let is_here = fields.next()?.contains('x') && (start..end).contains(&code.start);
                    is_here.then(|| hexadecimal(fields.next().unwrap()) + code.start - start)
                });
                assert_eq!(offset, Some(code.file_offset), "{}: {code:x?}", module.path);
            }
        }
        assert!(modules.iter().flat_map(|module| &module.code).count() > 2);
    }

    #[test]
    fn a_build_id_is_found_among_other_notes_and_bad_notes_end() {
        let note = |kind: u32, name: &[u8], id: &[u8]| {
            let mut note = Vec::new();
            for number in [name.len() as u32, id.len() as u32, kind] {
                note.extend(number.to_le_bytes());
            }
            note.extend(name);
            note.resize(note.len().next_multiple_of(4), 0);
            note.extend(id);
            note.resize(note.len().next_multiple_of(4), 0);
            note
        };
        let notes = [note(1, b"GNU\0", b"12345"), note(3, b"GNU\0", b"\xab\xcd\x01")].concat();
        assert_eq!(build_id(&notes).as_deref(), Some("abcd01"));
        assert_eq!(build_id(&notes[..notes.len() - 4]), None);
        assert_eq!(build_id(&[0xff; 64]), None);
    }

    #[test]
    fn only_the_start_of_an_object_is_looked_at() {
        let line = "7f0-800 r--p 00000000 fe:00 12   /usr/lib/a b.so";
        let mapping = Mapping { start: 0x7f0, inode: 12, shown: b"/usr/lib/a b.so" };
        assert_eq!(first_mapping(line.as_bytes()), Some(mapping));
        for other in [
            "7f0-800 r-xp 00001000 fe:00 12 /usr/lib/a.so",
            "7f0-800 rw-p 00000000 00:00 0",
            "7f0-800 rw-p 0 0 0 [stack]",
            "",
        ] {
            assert_eq!(first_mapping(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_path_loses_what_the_system_adds_and_nothing_else() {
        let directory = std::env::temp_dir().join(format!("heapledger-paths-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let inode = |name: &str| {
            use std::os::unix::fs::MetadataExt;
            std::fs::write(directory.join(name), "").unwrap();
            std::fs::metadata(directory.join(name)).unwrap().ino()
        };
        let of = |shown: &str, inode| {
            let shown = directory.join(shown).into_os_string().into_encoded_bytes();
            let (path, is_deleted) = Mapping { start: 0, inode, shown: &shown }.path();
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap();
            (text_of(name), is_deleted)
        };
        let named = |name: &str, is_deleted| (name.to_owned(), is_deleted);
        let (svc, marked) = (inode("svc"), inode("svc (deleted)"));
        assert_eq!(
            of("svc (deleted)", svc),
            named("svc", true),
            "replaced by a file that has the mark in its name"
        );
        assert_eq!(of("svc (deleted)", marked), named("svc (deleted)", false));
        assert_eq!(of("gone (deleted) (deleted)", 1), named("gone (deleted)", true));
        let (broken, literal) = (inode("a\nb"), inode("c\\012d"));
        assert_eq!(of("a\\012b", broken), named("a\nb", false));
        assert_eq!(of("c\\012d", literal), named("c\\012d", false));
        assert_eq!(of("e\\012\\012f (deleted)", 1), named("e\n\nf", true));
        let line = b"7f0-800 r--p 00000000 fe:00 12   /usr/\xff\xc3\xa4/a.so\r";
        assert_eq!(text_of(first_mapping(line).unwrap().shown), "/usr/\\xff\u{e4}/a.so\r");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
