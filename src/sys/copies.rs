//! Detection of several copies of this crate in one process: only the first copy records.
//!
//! A plugin that is loaded at run time can contain a global allocator, and with it a copy of this crate, maybe of
//! another version. Both copies would write their dumps under the same name without knowing of each other. So a copy
//! that opens a ledger leaves a *mark* in the process: an empty mapping whose name contains the time. Names of mappings
//! are in `/proc/self/maps`. This list is read without a lock of the loader, and shows the marks of all copies,
//! whatever symbols the copies export. Of two copies that open a ledger at the same time, each sees the other's mark,
//! and both agree which mark is the earlier one.
//!
//! The same list shows whether this code is in the program itself or in a library. Such a library is kept loaded until
//! the process ends, because heapledger's threads and handlers still run its code.

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod os {
    use std::num::NonZeroUsize;
    use std::ptr::null_mut;

    use super::super::clock::monotonic_ns;
    use super::super::statics::STATICS;

    /// Start of the name of a mark, as shown in `/proc/self/maps`.
    const SHOWN: &[u8] = b"/memfd:heapledger:";
    /// Hexadecimal digits of the time in the name of a mark.
    const DIGITS: usize = 16;
    /// Maximum length of a line of the list of mappings, in bytes. Longer lines, which have a very long path, are
    /// skipped.
    const LINE_BYTES_MAX: usize = 2048;

    /// Returns whether this copy is the first in this process to open a ledger. Called once, by the thread that opens
    /// the ledger. A forked child inherits its parent's mark. If no mark can be made, every copy counts as the first.
    pub(crate) fn claim() -> bool {
        if STATICS.os.mark.get().is_some() {
            return true;
        }
        let time = monotonic_ns();
        let Some(at) = leave_mark(time) else { return true };
        let mut scan = Scan { own: (time, at), is_first: true, code: Path::NONE, program: Path::NONE };
        each_mapping(|line| scan.look(line));
        if !scan.is_first {
            // SAFETY: the mapping is this copy's mark, which is never read.
            unsafe { libc::munmap(std::ptr::with_exposed_provenance_mut(at as usize), 1) };
            return false;
        }
        if scan.code.length > 0 && scan.program.length > 0 && scan.code.bytes != scan.program.bytes {
            // SAFETY: the path is terminated. The library is already loaded, and only gets another flag. The call takes
            // a lock of the loader, but only in a program that loads libraries.
            unsafe {
                libc::dlopen(
                    scan.code.bytes.as_ptr().cast(),
                    libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE,
                )
            };
        }
        // Cannot fail, because only the thread that opens the ledger sets the mark.
        let _ = NonZeroUsize::new(at as usize).map(|at| STATICS.os.mark.set(at));
        true
    }

    /// Makes a mark with this time. Returns the address of the mark.
    fn leave_mark(time: u64) -> Option<u64> {
        const PREFIX: &[u8] = b"heapledger:";
        let mut name = [0u8; PREFIX.len() + DIGITS + 1];
        name[..PREFIX.len()].copy_from_slice(PREFIX);
        for (place, digit) in name[PREFIX.len()..].iter_mut().zip(0..DIGITS) {
            *place = b"0123456789abcdef"[(time >> (4 * (DIGITS - 1 - digit))) as usize & 15];
        }
        // SAFETY: the name is terminated; the file is empty, so the mapping is empty and never read.
        unsafe {
            let file = libc::memfd_create(name.as_ptr().cast(), libc::MFD_CLOEXEC);
            if file < 0 {
                return None;
            }
            let at = libc::mmap(null_mut(), 1, libc::PROT_READ, libc::MAP_SHARED, file, 0);
            libc::close(file);
            (at != libc::MAP_FAILED).then(|| at.expose_provenance() as u64)
        }
    }

    /// The path of a mapping, terminated by a zero byte.
    struct Path {
        bytes: [u8; LINE_BYTES_MAX],
        length: usize,
    }

    impl Path {
        const NONE: Path = Path { bytes: [0; LINE_BYTES_MAX], length: 0 };

        fn set(&mut self, path: &[u8]) {
            if let Some(place) = self.bytes.get_mut(..path.len()).filter(|_| path.len() < LINE_BYTES_MAX) {
                place.copy_from_slice(path);
                self.length = path.len();
            }
        }
    }

    /// The state of the search through the list of mappings.
    struct Scan {
        /// Time and address of this copy's mark.
        own: (u64, u64),
        is_first: bool,
        /// Paths of the object that contains this code (`code`), and of the program itself.
        code: Path,
        program: Path,
    }

    impl Scan {
        fn look(&mut self, line: &[u8]) {
            let Some((start, end, path)) = mapping(line) else { return };
            if let Some(digits) = path.strip_prefix(SHOWN) {
                let mark = (hexadecimal(&digits[..digits.len().min(DIGITS)]), start);
                self.is_first &= mark.1 == self.own.1 || mark > self.own;
            }
            let holds = |address: u64| (start..end).contains(&address);
            if holds(claim as *const () as u64) {
                self.code.set(path);
            }
            // SAFETY: no memory is involved.
            if holds(unsafe { libc::getauxval(libc::AT_ENTRY) }) {
                self.program.set(path);
            }
        }
    }

    /// Calls `look` with each line of the list of mappings. Skips lines that are too long.
    fn each_mapping(mut look: impl FnMut(&[u8])) {
        let mut text = [0u8; LINE_BYTES_MAX];
        let (mut held, mut is_cut) = (0, false);
        // SAFETY: the path is terminated, the buffer is valid for the requested bytes, and this function owns the
        // descriptor.
        unsafe {
            let file = libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            if file < 0 {
                return;
            }
            loop {
                let read = libc::read(file, text.as_mut_ptr().add(held).cast(), text.len() - held);
                let Ok(read @ 1..) = usize::try_from(read) else { break };
                held += read;
                while let Some(end) = text[..held].iter().position(|byte| *byte == b'\n') {
                    if !is_cut {
                        look(&text[..end]);
                    }
                    is_cut = false;
                    text.copy_within(end + 1..held, 0);
                    held -= end + 1;
                }
                if held == text.len() {
                    (held, is_cut) = (0, true);
                }
            }
            libc::close(file);
        }
    }

    /// Returns the start, the end and the path of a mapping; `None` if the mapping has no path.
    fn mapping(line: &[u8]) -> Option<(u64, u64, &[u8])> {
        let dash = line.iter().position(|byte| *byte == b'-')?;
        let space = line.iter().position(|byte| *byte == b' ')?;
        let path = line.iter().position(|byte| *byte == b'/')?;
        let range = (line.get(..dash)?, line.get(dash + 1..space)?);
        Some((hexadecimal(range.0), hexadecimal(range.1), line.get(path..)?))
    }

    fn hexadecimal(digits: &[u8]) -> u64 {
        let value = |digit: &u8| char::from(*digit).to_digit(16).unwrap_or(0);
        digits.iter().fold(0, |number, digit| number << 4 | u64::from(value(digit)))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        const MAIN: &[u8] = b"5600-5700 r-xp 00000000 fd:00 12   /usr/bin/app with a space";

        #[test]
        fn mappings_are_read() {
            assert_eq!(mapping(MAIN), Some((0x5600, 0x5700, &b"/usr/bin/app with a space"[..])));
            assert_eq!(mapping(b"5600-5700 rw-p 00000000 00:00 0 [heap]"), None);
            assert_eq!(mapping(b""), None);
        }

        #[test]
        fn of_two_marks_the_earlier_wins_wherever_it_lies() {
            let first = |own: (u64, u64), line: &[u8]| {
                let mut scan = Scan { own, is_first: true, code: Path::NONE, program: Path::NONE };
                scan.look(line);
                scan.is_first
            };
            let other = b"7000-8000 r--s 00000000 00:01 9 /memfd:heapledger:00000000000000ff (deleted)";
            assert!(first((0xfe, 0x9000), other) && !first((0x100, 0x6000), other));
            assert!(first((0xff, 0x6000), other) && !first((0xff, 0x9000), other));
            assert!(first((0x100, 0x7000), other), "its own");
        }

        #[test]
        fn this_program_is_found_and_a_mark_is_seen() {
            let at = leave_mark(0x1234_5678_9abc_def0).unwrap();
            let mut scan = Scan { own: (u64::MAX, 0), is_first: true, code: Path::NONE, program: Path::NONE };
            each_mapping(|line| scan.look(line));
            assert!(!scan.is_first, "a mark that is earlier");
            assert!(scan.code.length > 0 && scan.code.bytes == scan.program.bytes);
            // SAFETY: the mapping is the mark of this test.
            unsafe { libc::munmap(std::ptr::with_exposed_provenance_mut(at as usize), 1) };
        }
    }
}

#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod os {
    pub(crate) fn claim() -> bool {
        true
    }
}

pub(crate) use os::claim;
