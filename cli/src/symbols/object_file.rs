//! Reader of object files that trusts no input: the path comes from a dump, and both the dump and the file can be
//! hostile.
//!
//! Only regular files are opened, because opening a pipe can block for ever, and opening a device can have effects.
//! Every length and every count from a file is limited. Section names are compared in place, without a search for the
//! end of a name. In a hostile file, a hundred thousand sections can share one name of a hundred megabytes.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use memmap2::Mmap;
use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64, Sym64};
use object::read::elf::{CompressionHeader, ElfFile64, ProgramHeader, SectionHeader, Sym};
use object::read::{CompressedData, CompressionFormat};
use object::{Endianness, ReadRef};
use typed_arena::Arena;

use super::mapped;

/// Maximum number of bytes that are unpacked from compressed sections, for all files of one module together.
pub const UNPACKED_BYTES_MAX: u64 = 512 << 20;
/// Maximum length of a name or path in an object file, in bytes. A longer name is ignored.
pub const RAW_NAME_BYTES_MAX: usize = 64 << 10;
/// Maximum number of sections of an object file. A file with more sections is not read.
const SECTIONS_MAX: usize = 65_536;
/// Maximum number of symbols that are read from an object file.
const SYMBOLS_MAX: usize = 8 << 20;
/// Maximum length of an object file, in bytes. A longer file is not read.
const OBJECT_BYTES_MAX: u64 = 64 << 30;
/// Maximum number of ELF notes of an object file among which the build id is searched.
const OBJECT_NOTES_MAX: usize = 1024;

/// Reason why a file is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The path has no file, or the file cannot be opened.
    Missing,
    /// The path leads to a pipe, a device, a socket or a directory.
    NotAFile,
    /// The file is no 64-bit little-endian ELF object, or exceeds a limit.
    NotAnObject,
}

/// Opens a regular file. Never blocks, and refuses files of any other kind.
pub(super) fn open(path: &Path) -> Result<File, Refusal> {
    let is_file = |file: std::fs::Metadata| if file.is_file() { Ok(()) } else { Err(Refusal::NotAFile) };
    is_file(path.metadata().map_err(|_| Refusal::Missing)?)?;
    // Checks again after opening, because a pipe or a device may have replaced the file since the first check.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = file.map_err(|_| Refusal::Missing)?;
    is_file(file.metadata().map_err(|_| Refusal::Missing)?)?;
    Ok(file)
}

/// Memory of the files of one module: the mapped files and the unpacked sections.
#[derive(Default)]
pub(super) struct Memory {
    mappings: Arena<Mmap>,
    unpacked: Arena<Vec<u8>>,
    unpacked_bytes: Cell<u64>,
}

impl Memory {
    /// Maps the file at `path` and reads its headers.
    pub(super) fn object(&self, path: &Path) -> Result<ObjectFile<'_>, Refusal> {
        let mapping = mapped::map(&open(path)?, OBJECT_BYTES_MAX).ok_or(Refusal::NotAnObject)?;
        ObjectFile::parse(self.mappings.alloc(mapping)).ok_or(Refusal::NotAnObject)
    }

    /// Unpacks a section. Returns an error with the reason if the section is damaged, or if all unpacked sections
    /// together would exceed [`UNPACKED_BYTES_MAX`].
    fn unpack<'a>(&'a self, packed: CompressedData<'a>) -> Result<&'a [u8], String> {
        let bytes = packed.uncompressed_size;
        let before = self.unpacked_bytes.get();
        let sum = before.checked_add(bytes).filter(|sum| *sum <= UNPACKED_BYTES_MAX);
        let Some(sum) = sum else {
            return Err(format!(
                "claims {bytes} bytes unpacked, and at most {} of a module are unpacked",
                UNPACKED_BYTES_MAX
            ));
        };
        self.unpacked_bytes.set(sum);
        let plain = packed.decompress().map_err(|error| error.to_string())?;
        Ok(self.unpacked.alloc(plain.into_owned()))
    }
}

/// Object file whose headers were read.
pub(super) struct ObjectFile<'a> {
    file: ElfFile64<'a, Endianness>,
    bytes: &'a [u8],
    /// Names of the sections, one after the other, each ended by a zero byte.
    section_names: &'a [u8],
}

impl<'a> ObjectFile<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let file = ElfFile64::<Endianness>::parse(bytes).ok()?;
        let table = file.elf_section_table();
        if file.endian() != Endianness::Little || table.len() > SECTIONS_MAX {
            return None;
        }
        let header: &FileHeader64<Endianness> = file.elf_header();
        let names = object::read::elf::FileHeader::shstrndx(header, file.endian(), bytes).unwrap_or(0);
        let names = table.section(object::SectionIndex(names as usize)).ok();
        let section_names = names.and_then(|names| names.data(file.endian(), bytes).ok()).unwrap_or(&[]);
        Some(ObjectFile { file, bytes, section_names })
    }

    fn endian(&self) -> Endianness {
        self.file.endian()
    }

    /// Returns the section of this name; `None` if it is missing or empty.
    fn find(&self, name: &str) -> Option<&'a SectionHeader64<Endianness>> {
        let is_named = |section: &&SectionHeader64<Endianness>| {
            let at = section.sh_name(self.endian()) as usize;
            let found = self.section_names.get(at..).and_then(|rest| rest.strip_prefix(name.as_bytes()));
            found.is_some_and(|rest| rest.first() == Some(&0))
        };
        let section = self.file.elf_section_table().iter().find(is_named)?;
        let (offset, size) = section.file_range(self.endian())?;
        (size > 0 && offset < self.bytes.len() as u64).then_some(section)
    }

    /// Whether the file has a section of this name with content.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Returns the content of a section, unpacked; empty if the file has no such section.
    pub(super) fn section(&self, name: &str, memory: &'a Memory) -> Result<&'a [u8], String> {
        let Some(section) = self.find(name) else { return Ok(&[]) };
        let wrong = |error: object::Error| format!("{name}: {error}");
        let Some((header, offset, size)) = section.compression(self.endian(), self.bytes).map_err(wrong)?
        else {
            return section.data(self.endian(), self.bytes).map_err(wrong);
        };
        let format = match header.ch_type(self.endian()) {
            elf::ELFCOMPRESS_ZLIB => CompressionFormat::Zlib,
            elf::ELFCOMPRESS_ZSTD => CompressionFormat::Zstandard,
            _ => return Err(format!("{name} is packed in an unknown way")),
        };
        let data = self.bytes.read_bytes_at(offset, size).map_err(|()| format!("{name} is cut"))?;
        let uncompressed_size = header.ch_size(self.endian());
        let packed = CompressedData { format, data, uncompressed_size };
        memory.unpack(packed).map_err(|error| format!("{name} {error}"))
    }

    /// Returns the build id in hexadecimal; empty if the file has none.
    pub(super) fn build_id(&self) -> String {
        let endian = self.endian();
        let in_sections = self
            .file
            .elf_section_table()
            .iter()
            .filter_map(|section| section.notes(endian, self.bytes).ok().flatten());
        let headers: &[ProgramHeader64<Endianness>] = self.file.elf_program_headers();
        let in_segments = headers.iter().filter_map(|header| header.notes(endian, self.bytes).ok().flatten());
        let notes = in_sections
            .chain(in_segments)
            .flat_map(|mut notes| std::iter::from_fn(move || notes.next().ok().flatten()));
        let mut notes = notes.take(OBJECT_NOTES_MAX);
        let found = notes.find(|note| note.n_type(endian) == elf::NT_GNU_BUILD_ID && note.name() == b"GNU");
        let id = found.map_or(&[][..], |note| note.desc());
        id.iter().take(64).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the name and the checksum of the separate debug file, from the section `.gnu_debuglink`. A name with a
    /// directory is ignored, because it could lead out of the searched directories.
    pub(super) fn debug_link(&self) -> Option<(String, u32)> {
        let content = self.find(".gnu_debuglink")?.data(self.endian(), self.bytes).ok()?;
        let end = content.iter().take(4096).position(|byte| *byte == 0)?;
        let name = str::from_utf8(content.get(..end)?).ok()?;
        let crc_at = (end + 1).next_multiple_of(4);
        let crc32 = u32::from_le_bytes(content.get(crc_at..crc_at + 4)?.try_into().ok()?);
        let is_plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
        is_plain.then(|| (name.to_owned(), crc32))
    }

    /// Returns the symbols of functions and data, sorted by address.
    pub(super) fn symbols(&self) -> SymbolTable<'a> {
        let tables = [self.file.elf_symbol_table(), self.file.elf_dynamic_symbol_table()];
        let Some(table) = tables.into_iter().find(|table| !table.is_empty()) else {
            return SymbolTable::default();
        };
        let sections = self.file.elf_section_table();
        let strings = sections.section(table.string_section()).ok();
        let names = strings.and_then(|strings| strings.data(self.endian(), self.bytes).ok()).unwrap_or(&[]);
        let mut entries: Vec<Entry> =
            table.iter().take(SYMBOLS_MAX).filter_map(|symbol| self.entry(symbol)).collect();
        // Of several symbols at one address, the symbol with the best priority is kept. Of symbols with the same
        // priority, the last one is kept, because it is likely to be more specific.
        entries.reverse();
        entries.sort_by_key(|entry| (entry.address, entry.priority));
        entries.dedup_by_key(|entry| entry.address);
        SymbolTable { entries, names, is_cut: table.len() > SYMBOLS_MAX }
    }

    fn entry(&self, symbol: &Sym64<Endianness>) -> Option<Entry> {
        let endian = self.endian();
        let section = symbol.st_shndx(endian);
        let is_unknown = match symbol.st_type() {
            elf::STT_FUNC | elf::STT_GNU_IFUNC | elf::STT_OBJECT => false,
            elf::STT_NOTYPE => true,
            _ => return None,
        };
        let is_defined = section != elf::SHN_UNDEF && section != elf::SHN_ABS && section != elf::SHN_COMMON;
        let name = symbol.st_name(endian);
        if !is_defined || name == 0 {
            return None;
        }
        let size = symbol.st_size(endian);
        let is_local = symbol.st_bind() == elf::STB_LOCAL;
        let priority = u8::from(is_unknown) << 2 | u8::from(size == 0) << 1 | u8::from(is_local);
        Some(Entry { address: symbol.st_value(endian), size, name, priority })
    }
}

/// Symbol of an object file.
#[derive(Debug, Clone, Copy)]
struct Entry {
    address: u64,
    /// Size of the symbol, in bytes. 0 if the size is unknown; then the symbol extends to the next symbol.
    size: u64,
    /// Offset of the symbol's name in `names` of [`SymbolTable`].
    name: u32,
    priority: u8,
}

/// Symbols of an object file, sorted by address.
#[derive(Debug, Default)]
pub(super) struct SymbolTable<'a> {
    entries: Vec<Entry>,
    names: &'a [u8],
    /// Whether the file has more than [`SYMBOLS_MAX`] symbols, so that some were not read.
    pub(super) is_cut: bool,
}

/// Result of a search for the symbol at an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Symbol<'a> {
    Named(&'a str),
    /// The symbol's name is longer than [`RAW_NAME_BYTES_MAX`].
    TooLong,
    Unknown,
}

impl<'a> SymbolTable<'a> {
    /// Returns the name of the symbol that covers an address.
    pub(super) fn at(&self, address: u64) -> Symbol<'a> {
        let after = self.entries.partition_point(|entry| entry.address <= address);
        let Some(entry) = after.checked_sub(1).and_then(|at| self.entries.get(at)) else {
            return Symbol::Unknown;
        };
        if entry.size > 0 && address - entry.address >= entry.size {
            return Symbol::Unknown;
        }
        let Some(rest) = self.names.get(entry.name as usize..) else { return Symbol::Unknown };
        match rest.iter().take(RAW_NAME_BYTES_MAX + 1).position(|byte| *byte == 0) {
            None if rest.len() > RAW_NAME_BYTES_MAX => Symbol::TooLong,
            None | Some(0) => Symbol::Unknown,
            Some(end) => str::from_utf8(&rest[..end]).map_or(Symbol::Unknown, Symbol::Named),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_that_are_too_large_only_together_are_refused() {
        let memory = Memory::default();
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packer, &[7; 1000]).unwrap();
        let content = packer.finish().unwrap();
        let unpack = |claim| {
            let format = CompressionFormat::Zlib;
            memory.unpack(CompressedData { format, data: &content, uncompressed_size: claim })
        };
        memory.unpacked_bytes.set(UNPACKED_BYTES_MAX - 1500);
        assert_eq!(unpack(1000).unwrap(), [7; 1000]);
        assert!(unpack(1000).unwrap_err().contains("claims 1000 bytes"));
        assert!(unpack(u64::MAX).is_err());
        assert_eq!(unpack(400).unwrap(), [7; 400], "what it holds beyond its claim is not unpacked");
    }

    #[test]
    fn the_best_symbol_of_an_address_is_taken_and_none_beyond_its_end() {
        let entry = |address, size, name, priority| Entry { address, size, name, priority };
        let entries = vec![entry(10, 5, 1, 0), entry(20, 0, 3, 0)];
        let table = SymbolTable { entries, names: b"\0a\0b\0", is_cut: false };
        let named: Vec<_> = [9, 10, 14, 15, 20, 99].map(|address| table.at(address)).into();
        let (a, b) = (Symbol::Named("a"), Symbol::Named("b"));
        assert_eq!(named, [Symbol::Unknown, Symbol::Named("a"), a, Symbol::Unknown, Symbol::Named("b"), b]);
    }
}
