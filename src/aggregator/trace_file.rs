//! The file of a trace. It is written only while its descriptor still belongs to heapledger.

use std::fs::File;
use std::io::{self, Write};

use crate::sys::descriptors::OwnFile;

/// A file whose descriptor is checked before each write. If a program closes descriptors that it does not know, as
/// daemons do, the trace ends with an error. Without the check, the trace could be written into a file of the program.
#[derive(Debug)]
pub(super) struct TraceFile(OwnFile);

impl TraceFile {
    pub(super) fn new(file: File) -> TraceFile {
        TraceFile(OwnFile::new(file))
    }

    fn checked(&self) -> io::Result<&File> {
        self.0.get().ok_or_else(|| io::Error::other("the program closed the trace's descriptor"))
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
