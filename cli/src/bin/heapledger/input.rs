//! Reading of dumps, with a progress bar for large files on a terminal.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::Path;

use heapledger::Profile;
use heapledger::dumps::{self, Dump, ReadError};
use heapledger::text::escape::escaped;
use heapledger_cli::analysis::Origin;
use indicatif::ProgressBar;

use crate::exit::{Failure, FailureKind};

/// Minimum size of a file that is read with a progress bar, in bytes.
const LONG_READ_BYTES: u64 = 16 << 20;

/// Profile, with the damage and notes of its file.
pub struct Input {
    pub profile: Profile,
    pub origin: Origin,
}

/// Reads the dump at `path`; `-` is standard input.
pub fn dump(path: &Path) -> Result<Input, Failure> {
    let dump = open(path).map_err(|error| unreadable(path, &error))?;
    let damage = dump.damage.iter().map(ToString::to_string).collect();
    Ok(Input { profile: dump.profile, origin: Origin::new(damage, dump.notes) })
}

fn open(path: &Path) -> Result<Dump, ReadError> {
    if path.as_os_str() == "-" {
        return dumps::read_from(io::stdin().lock());
    }
    // Without a progress bar, the library opens the file, because its errors explain problems with the path. Black
    // boxes are always opened by the library, which maps only the parts that it needs.
    let length = path.metadata().map_or(0, |metadata| if metadata.is_file() { metadata.len() } else { 0 });
    if length < LONG_READ_BYTES || !io::stderr().is_terminal() || dumps::is_black_box(path) {
        return dumps::read(path);
    }
    let Ok(file) = File::open(path) else { return dumps::read(path) };
    let bar = ProgressBar::new(length);
    let dump = dumps::read_from(bar.wrap_read(file));
    bar.finish_and_clear();
    dump
}

fn unreadable(path: &Path, error: &ReadError) -> Failure {
    let shown = escaped(&path.display().to_string());
    let said = escaped(&error.to_string());
    // These errors already contain the path.
    let failure = match error {
        ReadError::Io { path: Some(_), .. } | ReadError::NotAFile { .. } => {
            Failure::new(FailureKind::Unreadable, said)
        }
        _ => Failure::new(FailureKind::Unreadable, format_args!("cannot read {shown}: {said}")),
    };
    match error {
        ReadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound && shown.contains(['*', '?', '[']) => {
            failure.hint("no file fits this pattern, so the shell passed it on as it is; a pattern in quotes is not expanded")
        }
        ReadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => failure.hint(
            "a program leaves heapledger.<program>.<pid>.hl behind in the directory that it was started in",
        ),
        ReadError::BeingWritten { .. } => failure.hint(format_args!("heapledger top {shown}")),
        ReadError::NotAFile { path } if path.is_dir() => {
            failure.hint(format_args!("look for its dumps with: ls {shown}/*.hl"))
        }
        _ => failure,
    }
}
