//! The file of a trace, as long as its descriptor is heapledger's.

use std::fs::File;
use std::io::{self, Write};
use std::mem::ManuallyDrop;

use crate::sys::descriptors::{Identity, move_up};

/// A file that is written and closed only while its descriptor is heapledger's. If a program closes descriptors that it
/// does not know, as daemons do, the trace ends with an error, and is not written into files of the program.
#[derive(Debug)]
pub(super) struct TraceFile {
    file: ManuallyDrop<File>,
    /// Identity of the file that was opened.
    identity: Option<Identity>,
}

impl TraceFile {
    /// Takes over the file, under a descriptor that programs do not reach.
    pub(super) fn new(file: File) -> TraceFile {
        #[cfg(unix)]
        {
            use std::os::fd::{FromRawFd, IntoRawFd};
            let descriptor = move_up(file.into_raw_fd());
            // SAFETY: the descriptor was taken from its owner, and nobody else has it.
            let file = unsafe { File::from_raw_fd(descriptor) };
            TraceFile { file: ManuallyDrop::new(file), identity: Identity::of(descriptor) }
        }
        #[cfg(not(unix))]
        TraceFile { file: ManuallyDrop::new(file), identity: Identity::of(move_up(0)) }
    }

    #[cfg(unix)]
    fn is_still_ours(&self) -> bool {
        use std::os::fd::AsRawFd;
        self.identity.is_some_and(|identity| identity.is_behind(self.file.as_raw_fd()))
    }

    #[cfg(not(unix))]
    fn is_still_ours(&self) -> bool {
        self.identity.is_some()
    }

    fn checked(&self) -> io::Result<&File> {
        let lost = || io::Error::other("the program closed the trace's descriptor");
        if self.is_still_ours() { Ok(&self.file) } else { Err(lost()) }
    }
}

impl Write for TraceFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.checked()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.checked()?.flush()
    }
}

impl Drop for TraceFile {
    fn drop(&mut self) {
        if self.is_still_ours() {
            // SAFETY: dropped once, and used no more.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}
