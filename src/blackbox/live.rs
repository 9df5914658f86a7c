//! Reads the live page of a running process, either from its black box or from a separate file.
//!
//! The page is mapped and read under its sequence lock, so a reader never mixes two writes of the page. The other parts
//! of a black box cannot be read consistently while a process writes it: the tables change while they are copied, and
//! their latches belong to the process.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use crate::dump::{self, ReadError};
use crate::ledger::Facts;
use crate::live::Live;
use crate::live::decode::decode;
use crate::live::page::{self, Content, LIVE_PAGE_BYTES, LivePage, Unread};
use crate::recorder::region_abi::{LAYOUT, VERSION};
use crate::sys::box_file::{MAGIC, is_locked};
use crate::sys::mapped_file::MappedFile;
use crate::sys::pages::PAGE_BYTES;

/// Maximum length of the process's metadata, in bytes. Longer metadata is ignored.
const LIVE_METADATA_BYTES_MAX: u64 = 16 << 20;

/// A reader of the live page of one process. The reader keeps the file open, so each reading costs one copy of the
/// page.
///
/// If the reader may write to the file, it counts each reading in the page. For two seconds after a reading, the
/// process writes the page four times a second.
///
/// ```no_run
/// let mut page = heapledger::dumps::LiveReader::open("/dev/shm/heapledger.1234.live")?;
/// let live = page.read()?;
/// println!("{} bytes are live, {} are resident", live.totals.live_bytes, live.resident_bytes.unwrap_or(0));
/// # Ok::<(), heapledger::dumps::ReadError>(())
/// ```
#[derive(Debug)]
pub struct LiveReader {
    path: PathBuf,
    file: File,
    mapped: MappedFile,
    /// Whether the reader can count its readings in the page.
    is_writable: bool,
    is_box: bool,
    content: Box<Content>,
    /// Place and length, in the file, of the metadata that was read last.
    metadata: (u64, u64),
    known: Live,
}

impl LiveReader {
    /// Opens the black box or the live page's file at `path`.
    ///
    /// # Errors
    ///
    /// Returns a [`ReadError`] if the file is neither a black box nor a live page's file, was written by another build
    /// of heapledger, or has no live page.
    pub fn open(path: impl AsRef<Path>) -> Result<LiveReader, ReadError> {
        let path = path.as_ref();
        let failed = |source| ReadError::Io { path: Some(path.to_owned()), source };
        let file = File::options()
            .read(true)
            .write(true)
            .open(path)
            .or_else(|_| File::open(path))
            .map_err(failed)?;
        let start = bytes_at::<32>(&file, 0).map_err(|_| ReadError::NotADump)?;
        let is_box = start.starts_with(&MAGIC);
        let offset = if is_box {
            place_in_box(&file, &start)?
        } else if start.starts_with(&page::MAGIC) {
            0
        } else {
            return Err(ReadError::NotADump);
        };
        let writable = MappedFile::open_writable(&file, offset, LIVE_PAGE_BYTES).ok();
        let is_writable = writable.is_some();
        let mapped = match writable {
            Some(mapped) => mapped,
            None => MappedFile::open(&file, offset, LIVE_PAGE_BYTES).map_err(failed)?,
        };
        Ok(LiveReader {
            path: path.to_owned(),
            file,
            mapped,
            is_writable,
            is_box,
            content: Content::zeroed(),
            metadata: (0, 0),
            known: Live::default(),
        })
    }

    /// Returns the figures that the process wrote last, with the program's name and modules.
    ///
    /// # Errors
    ///
    /// Returns an error if the process has not written the page yet, if another build of heapledger wrote the page, or
    /// if the page cannot be read.
    pub fn read(&mut self) -> Result<Live, ReadError> {
        let page: NonNull<LivePage> = self.mapped.start().cast();
        // SAFETY: the mapping is as long as a page, begins at one of the system's pages, and lives as long as the
        // reader. A page consists of atomics, so any bytes are a valid page, and other processes may write to it.
        let page = unsafe { page.as_ref() };
        let writes = page.read(&mut self.content).map_err(|unread| match unread {
            Unread::OtherLayout => ReadError::OtherBuild { version: String::from("of another layout") },
            Unread::Unwritten | Unread::Busy => ReadError::NotWrittenYet,
        })?;
        let has_ended = page.has_ended() || !self.is_written();
        // The page of an ended process is not changed.
        if self.is_writable && !has_ended {
            page.note_reading();
        }
        let mut live = decode(&self.content, writes, has_ended);
        self.read_metadata()?;
        live.program.clone_from(&self.known.program);
        live.modules.clone_from(&self.known.modules);
        Ok(live)
    }

    /// Whether the process still writes the page.
    pub fn is_written(&self) -> bool {
        is_written(&self.file, self.content.pid as u32)
    }

    /// Reads the program's name and the loaded objects into `known`, if the process has written them anew. If the
    /// metadata cannot be read whole, `known` stays unchanged.
    fn read_metadata(&mut self) -> Result<(), ReadError> {
        let failed = |source| ReadError::Io { path: Some(self.path.clone()), source };
        let (start, bytes) = if self.is_box {
            let word = u64::from_ne_bytes(bytes_at(&self.file, Facts::offsets()[1]).map_err(failed)?);
            ((word >> 32) * PAGE_BYTES as u64, word & u64::from(u32::MAX))
        } else {
            (self.content.metadata_start, self.content.metadata_bytes)
        };
        if bytes == 0 || bytes > LIVE_METADATA_BYTES_MAX || self.metadata == (start, bytes) {
            return Ok(());
        }
        let mut metadata = vec![0; bytes as usize];
        read_at(&self.file, start, &mut metadata).map_err(failed)?;
        // If the process writes at the same time, the bytes read are damaged. The next call reads them again.
        if let Ok(dump) = dump::read_bytes(&metadata)
            && dump.is_whole()
        {
            self.known.program = dump.profile.process.program;
            self.known.modules = dump.profile.modules;
            self.metadata = (start, bytes);
        }
        Ok(())
    }
}

/// Returns the offset of the live page in a black box that begins with `start`.
fn place_in_box(file: &File, start: &[u8; 32]) -> Result<u64, ReadError> {
    let layout = u64::from_ne_bytes(start[8..16].try_into().unwrap_or_default());
    if layout == 0 {
        return Err(ReadError::NotWrittenYet);
    }
    if layout != LAYOUT || start[16..] != VERSION {
        let version = start[16..].iter().take_while(|byte| byte.is_ascii_graphic());
        return Err(ReadError::OtherBuild { version: version.map(|byte| char::from(*byte)).collect() });
    }
    let page = bytes_at(file, Facts::offsets()[2]).map_err(|_| ReadError::NotWrittenYet)?;
    match u32::from_ne_bytes(page) {
        0 => Err(ReadError::NotWrittenYet),
        page => Ok(u64::from(page) * PAGE_BYTES as u64),
    }
}

/// Returns the id of the process that writes the black box now, or `None` if no process writes it.
pub(super) fn writer_of(file: &File) -> Option<u32> {
    let process = u32::from_ne_bytes(bytes_at(file, Facts::offsets()[0]).ok()?);
    is_written(file, process).then_some(process)
}

/// Whether a process writes the file. Such a process holds the file's lock. If the program has closed the lock's
/// descriptor, the process still maps the file.
fn is_written(file: &File, process: u32) -> bool {
    is_locked(file) || maps(process, file)
}

/// Whether the process maps the file. `false` if the system does not tell.
#[cfg(target_os = "linux")]
fn maps(process: u32, file: &File) -> bool {
    use std::os::linux::fs::MetadataExt;

    let (Ok(about), Ok(maps)) = (file.metadata(), std::fs::read(format!("/proc/{process}/maps"))) else {
        return false;
    };
    let device = about.st_dev();
    let (major, minor) = ((device >> 8) & 0xFFF, (device & 0xFF) | ((device >> 12) & 0xFFF00));
    let place = format!(" {major:02x}:{minor:02x} {} ", about.st_ino());
    String::from_utf8_lossy(&maps).lines().any(|line| line.contains(&place))
}

#[cfg(not(target_os = "linux"))]
fn maps(_process: u32, _file: &File) -> bool {
    false
}

fn bytes_at<const N: usize>(file: &File, offset: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    read_at(file, offset, &mut bytes)?;
    Ok(bytes)
}

fn read_at(mut file: &File, offset: u64, into: &mut [u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(into)
}
