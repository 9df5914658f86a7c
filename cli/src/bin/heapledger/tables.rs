//! `heapledger export --format parquet`: writes dumps, black boxes and traces to tables in a directory.
//!
//! If a file cannot be read, the command reports it and continues with the next file. Among files from many hosts, one
//! is often incomplete.

use std::path::Path;

use heapledger::Profile;
use heapledger::text::escape::escaped;
use heapledger::text::units;
use heapledger_cli::export::tables::{Added, Labels, Source, TableWriter, TraceSource};
use heapledger_cli::symbols::{self, NameCache};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::ExportArgs;
use crate::exit::{Exit, Failure, FailureKind};
use crate::input::Input;
use crate::trace_file::{self, TraceFile};
use crate::{names, read};

/// Maximum number of notes on missing names that are printed.
const NOTES_SHOWN: usize = 5;

pub fn export(args: &ExportArgs) -> Result<Exit, Failure> {
    let directory = directory(args)?;
    let labels = Labels { service: args.service.clone(), host: args.host.clone() };
    let mut run = Run {
        args,
        writer: TableWriter::new(directory, labels),
        names: NameCache::default(),
        notes: Vec::new(),
        known: 0,
    };
    // The bar is hidden if standard error is not a terminal.
    let bar = ProgressBar::new(args.files.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("tables {wide_bar} {pos}/{len} files") {
        bar.set_style(style);
    }
    let mut unreadable = 0u64;
    for file in &args.files {
        match run.add(file) {
            Err(failure) if failure.is_unreadable() => {
                bar.suspend(|| failure.print());
                unreadable += 1;
            }
            other => other?,
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let Run { writer, notes, known, .. } = run;
    let written = writer.finish().map_err(|error| unwritable(directory, &error))?;
    for note in notes.iter().take(NOTES_SHOWN) {
        anstream::eprintln!("note: {}", escaped(note));
    }
    if notes.len() > NOTES_SHOWN {
        let more = units::counted((notes.len() - NOTES_SHOWN) as u64, "note", "notes");
        anstream::eprintln!("note: {more} more on missing names");
    }
    let already = match known {
        0 => String::new(),
        known => format!("; {} there already", units::counted(known, "run was", "runs were")),
    };
    anstream::eprintln!(
        "{}: {}, {} in {} of {}{already}",
        escaped(&directory.display().to_string()),
        units::counted(written.runs, "run", "runs"),
        units::counted(written.rows, "row", "rows"),
        units::counted(written.files, "file", "files"),
        units::bytes(written.bytes),
    );
    if unreadable > 0 {
        let error = format!("{} could not be read", units::counted(unreadable, "file", "files"));
        return Err(Failure::new(FailureKind::Unreadable, error));
    }
    Ok(Exit::Fine)
}

/// Returns the directory of the tables. Returns a failure for a flag that has no effect on tables.
fn directory(args: &ExportArgs) -> Result<&Path, Failure> {
    let usage = |error: &str| Err(Failure::new(FailureKind::Usage, error));
    if args.by.is_some() || args.top.is_some() {
        return usage("tables carry every figure of every site: --by and --top have no meaning for parquet");
    }
    if args.format_version.is_some() || args.unfolded || !args.own.is_empty() {
        return usage("--format-version, --unfolded and --own have no meaning for parquet");
    }
    if args.scope.is_some() {
        return usage("tables have every scope: --scope has no meaning for parquet");
    }
    if args.span.from.is_some() || args.span.to.is_some() {
        return usage("tables have every event of a trace: --from and --to have no meaning for parquet");
    }
    let Some(directory) = &args.output else {
        let error = "the format parquet writes a directory of tables";
        return Err(Failure::new(FailureKind::Usage, error).hint("name the directory with -o"));
    };
    if directory.exists() && !directory.is_dir() {
        let error = format_args!("{} is no directory", escaped(&directory.display().to_string()));
        return Err(
            Failure::new(FailureKind::Usage, error).hint("the format parquet writes a directory of tables")
        );
    }
    Ok(directory)
}

fn unwritable(directory: &Path, error: &std::io::Error) -> Failure {
    let shown = escaped(&directory.display().to_string());
    Failure::new(FailureKind::Unwritable, format_args!("cannot write the tables in {shown}: {error}"))
}

/// State of the command while it reads the files.
struct Run<'a> {
    args: &'a ExportArgs,
    writer: TableWriter,
    names: NameCache,
    /// Notes on missing names, each only once.
    notes: Vec<String>,
    /// Number of runs that were already in the tables.
    known: u64,
}

impl Run<'_> {
    fn add(&mut self, file: &Path) -> Result<(), Failure> {
        if !trace_file::is_at(file) {
            let mut input = read::whole(file)?;
            return self.add_input(file, &mut input, None);
        }
        let mut events = TraceFile::open(file)?;
        let mut input = TraceFile::open(file)?.whole()?;
        let bar = trace_file::bar(2 * events.trace.length());
        let (mut done, mut last) = (0, 0);
        let mut passed = |position: u64| {
            // The trace is read twice, and the second time positions start at 0 again.
            if position < last {
                done += last;
            }
            last = position;
            bar.set_position(done + position);
        };
        let source = TraceSource { trace: &mut events.trace, passed: &mut passed };
        let result = self.add_input(file, &mut input, Some(source));
        bar.finish_and_clear();
        result
    }

    fn add_input(
        &mut self,
        file: &Path,
        input: &mut Input,
        trace: Option<TraceSource<'_>>,
    ) -> Result<(), Failure> {
        let shown = file.to_string_lossy();
        let source = Source { profile: &mut input.profile, origin: &input.origin, file: &shown };
        let (args, cache, notes) = (self.args, &mut self.names, &mut self.notes);
        let mut look_up = |profile: &mut Profile| {
            if args.no_symbols {
                return symbols::name_scopes(profile);
            }
            names::look_up_with(profile, &args.names, file, Some(cache));
            for note in profile.symbols.notes.drain(..) {
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
        };
        let added = self.writer.add(source, trace, &mut look_up);
        let directory = self.args.output.as_deref().unwrap_or(Path::new("."));
        match added.map_err(|error| unwritable(directory, &error))? {
            Added::New => {}
            Added::Known => self.known += 1,
        }
        Ok(())
    }
}
