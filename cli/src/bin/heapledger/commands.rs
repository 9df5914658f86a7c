//! Subcommands `report`, `verify` and `export`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use heapledger::text::escape::escaped;
use heapledger_cli::export::{ExportOptions, Format, JsonVersion, completeness, export_with};
use heapledger_cli::report::html::write_page_with;
use heapledger_cli::report::{Detail, Layout, ShortForm, write_report_with, write_short, write_verdict};
use heapledger_cli::{analysis, symbols};

use crate::args::{
    ExportArgs, FailOn, FormArgs, FormatArg, ReportArgs, ReportFormat, ReportedArgs, VerifyArgs,
};
use crate::detail::{self, SiteFilters};
use crate::dump_destination::DumpDestination;
use crate::exit::{Exit, Failure, FailureKind, STDOUT, is_same_file, written};
use crate::input::Input;
use crate::page::layout;
use crate::trace_file::{self, TraceFile};
use crate::{names, read, running, sources, tables};

pub fn report(args: &ReportArgs) -> Result<Exit, Failure> {
    // Invalid flags are rejected first, before anything that takes long.
    let filters = SiteFilters::read(&args.reported.sites)?;
    let detail = filters.detail_of(&args.reported);
    short_form(&args.reported)?;
    let files = match &args.files[..] {
        [] => vec![newest()?],
        files => files.to_vec(),
    };
    if args.reported.html.is_some() && files.len() > 1 {
        let error = "a page holds one report, and several files are given";
        return Err(Failure::new(FailureKind::Usage, error).hint("write a page for each file"));
    }
    let mut exit = Exit::Fine;
    for (at, file) in files.iter().enumerate() {
        if at > 0 {
            written(writeln!(io::stdout()), STDOUT)?;
        }
        if report_file(args, file, &detail)? == Exit::Finding {
            exit = Exit::Finding;
        }
    }
    Ok(exit)
}

/// Returns the short form that the flags request; `None` for the normal report.
pub fn short_form(args: &ReportedArgs) -> Result<Option<ShortForm>, Failure> {
    let usage = |error: &str| Failure::new(FailureKind::Usage, error);
    let FormArgs { brief, format } = args.form;
    if args.html.is_some() && (brief || format != ReportFormat::Text) {
        return Err(usage("--html writes a page; --brief and --format have no meaning for it"));
    }
    match (brief, format) {
        (false, ReportFormat::Text) => Ok(None),
        (true, ReportFormat::Text) => Ok(Some(ShortForm::BriefText)),
        (true, ReportFormat::Json) => Ok(Some(ShortForm::BriefJson)),
        (false, ReportFormat::Markdown) => Ok(Some(ShortForm::Markdown)),
        (false, ReportFormat::Json) => Err(usage("a report is JSON only with --brief")
            .hint("heapledger export --format json writes everything")),
        (true, ReportFormat::Markdown) => {
            Err(usage("--brief is text or JSON").hint("--format markdown is short by itself"))
        }
    }
}

/// Writes the report as text, in the form that the flags request.
pub fn write_text(
    input: &Input,
    args: &ReportedArgs,
    layout: &Layout,
    detail: &Detail<'_>,
    out: &mut impl Write,
) -> io::Result<()> {
    let Input { profile, origin, .. } = input;
    match short_form(args) {
        Ok(Some(form)) => write_short(profile, origin, detail, form, out),
        _ => write_report_with(profile, origin, layout, detail, out),
    }
}

/// Returns the newest dump in the working directory, and prints its name to standard error.
fn newest() -> Result<PathBuf, Failure> {
    let place = DumpDestination::of(None)?;
    let Some(dump) = place.newest() else {
        let error = "no file is given, and there is no heapledger.*.hl in the working directory";
        return Err(Failure::new(FailureKind::Usage, error).hint(
            "a program leaves heapledger.<program>.<pid>.hl behind in the directory that it was started in",
        ));
    };
    let shown = escaped(&dump.file_name().unwrap_or_default().to_string_lossy());
    anstream::eprintln!("note: the newest dump here is {shown}");
    Ok(dump)
}

fn report_file(args: &ReportArgs, file: &Path, detail: &Detail<'_>) -> Result<Exit, Failure> {
    let span = &args.span;
    let args = &args.reported;
    if args.html.is_none() && running::is_running(file) {
        return running::report(args, file);
    }
    let mut input = read::span(file, span)?;
    look_up(&mut input, args, file);
    let (result, place) = match &args.html {
        Some(path) => page(path, file, &input, args, detail)?,
        None => {
            let layout = layout(&args.page, &io::stdout());
            let mut out = BufWriter::new(io::stdout().lock());
            let result = write_text(&input, args, &layout, detail, &mut out);
            (result.and_then(|()| out.flush()), STDOUT.to_owned())
        }
    };
    // A requested finding sets the exit code even if the reader of a pipe has closed it.
    written(result, place)?;
    Ok(found(&input, args, detail))
}

/// Looks up the names of functions, unless the flags forbid it. Names of scopes are always set.
pub fn look_up(input: &mut Input, args: &ReportedArgs, file: &Path) {
    if args.no_symbols {
        symbols::name_scopes(&mut input.profile);
    } else {
        names::look_up(&mut input.profile, &args.names, file);
    }
}

/// Returns [`Exit::Finding`] if the profile has a finding that `--fail-on` or `--fail-on-leak` names, else
/// [`Exit::Fine`].
pub fn found(input: &Input, args: &ReportedArgs, detail: &Detail<'_>) -> Exit {
    let is_found = args.fail_on.iter().any(|finding| shows(input, *finding))
        || args.sites.fail_on_leak && detail::has_leaks(&input.profile, detail);
    if is_found { Exit::Finding } else { Exit::Fine }
}

/// Writes the page for a browser. Returns the result of the writing, and the path of the page for messages.
pub fn page(
    path: &Path,
    dump: &Path,
    input: &Input,
    args: &ReportedArgs,
    detail: &Detail<'_>,
) -> Result<(io::Result<()>, String), Failure> {
    let (file, shown) = create(path, dump, "--html")?;
    let mut out = BufWriter::new(file);
    let sources = if args.no_source { Vec::new() } else { sources::read(&input.profile, &detail.view) };
    let detail = Detail { sources, ..detail.clone() };
    let result = write_page_with(&input.profile, &input.origin, &detail, &mut out).and_then(|()| out.flush());
    Ok((result, shown))
}

fn shows(input: &Input, finding: FailOn) -> bool {
    let quality = &input.profile.quality;
    match finding {
        FailOn::Loss => !quality.installed || !quality.is_complete() || !input.origin.is_whole(),
        FailOn::Anomaly => quality.anomalies.total() > 0,
    }
}

pub fn verify(args: &VerifyArgs) -> Result<Exit, Failure> {
    let (input, verdict) = if trace_file::is_at(&args.file) {
        TraceFile::open(&args.file)?.verdict()?
    } else {
        let input = read::whole(&args.file)?;
        let verdict = analysis::verify(&input.profile, &input.origin);
        (input, verdict)
    };
    let layout = layout(&args.page, &io::stdout());
    let mut out = BufWriter::new(io::stdout().lock());
    let result = write_verdict(&input.profile, &verdict, &input.origin, &layout, &mut out);
    written(result.and_then(|()| out.flush()), STDOUT)?;
    Ok(if verdict.broken() > 0 { Exit::Finding } else { Exit::Fine })
}

pub fn export(args: &ExportArgs) -> Result<Exit, Failure> {
    let FormatArg::File(format) = args.format else { return tables::export(args) };
    let chosen = options(format, args)?;
    let format = chosen.0;
    let file = only_file(args, format)?;
    let to_terminal = args.output.is_none() && io::stdout().is_terminal();
    if to_terminal && !format.is_text() {
        let error = format_args!("{format} is not text, and standard output is a terminal");
        return Err(
            Failure::new(FailureKind::Usage, error).hint("name a file with -o, or redirect the output")
        );
    }
    let mut input = read::span(file, &args.span)?;
    if let Some(scope) = &args.scope {
        if format == Format::Json {
            let error = "--scope is not for the format json: its key `scopes` has every scope";
            return Err(Failure::new(FailureKind::Usage, error));
        }
        analysis::scopes::keep(&mut input.profile, scope);
    }
    if args.no_symbols {
        symbols::name_scopes(&mut input.profile);
    } else {
        names::look_up(&mut input.profile, &args.names, file);
    }
    if !format.carries_quality() {
        let said = escaped(&completeness(&input.profile, &input.origin));
        anstream::eprintln!("note: {format} files have no place for the quality of their data: {said}");
    }
    let Some(path) = &args.output else {
        return export_to(BufWriter::new(io::stdout().lock()), STDOUT, &chosen, &input);
    };
    let (out, shown) = create(path, file, "-o")?;
    export_to(BufWriter::new(out), &shown, &chosen, &input)
}

/// Creates an output file. Returns the file, and its path for messages. Returns a failure if `path` is the dump itself.
fn create(path: &Path, dump: &Path, flag: &str) -> Result<(File, String), Failure> {
    let shown = escaped(&path.display().to_string());
    if is_same_file(path, dump) {
        let error = format_args!("{shown} is the dump itself; it was left alone");
        return Err(
            Failure::new(FailureKind::Usage, error).hint(format_args!("choose another file for {flag}"))
        );
    }
    let file = File::create(path).map_err(|error| {
        Failure::new(FailureKind::Unwritable, format_args!("cannot create {shown}: {error}"))
    })?;
    Ok((file, shown))
}

/// Returns the only file of the arguments. Returns a failure if there are several, or flags that only tables use.
fn only_file(args: &ExportArgs, format: Format) -> Result<&Path, Failure> {
    let error = match (&args.files[..], &args.service, &args.host) {
        ([file], None, None) => return Ok(file),
        ([_], ..) => {
            format!("--service and --host are for the format parquet: {format} files have no such names")
        }
        _ => format!("a {format} file holds one dump, and several are given"),
    };
    Err(Failure::new(FailureKind::Usage, error).hint("--format parquet writes many dumps to tables"))
}

/// Returns the requested format with its options. Returns a failure if a flag has no effect on the format.
fn options(format: Format, args: &ExportArgs) -> Result<(Format, ExportOptions), Failure> {
    let (is_csv, is_collapsed) = (format == Format::Csv, matches!(format, Format::Collapsed(_)));
    let is_folded = is_csv || is_collapsed || format == Format::Speedscope;
    for (flag, is_given, has_meaning) in [
        ("--by", args.by.is_some(), is_csv || is_collapsed),
        ("--top", args.top.is_some(), is_csv || is_collapsed),
        ("--format-version", args.format_version.is_some(), format == Format::Json),
        ("--unfolded", args.unfolded, is_folded),
        ("--own", !args.own.is_empty(), is_csv),
    ] {
        if is_given && !has_meaning {
            let error =
                format_args!("{flag} has no meaning for the format {format}, which carries all that it can");
            return Err(Failure::new(FailureKind::Usage, error).hint(format_args!("leave {flag} out")));
        }
    }
    let mut options = ExportOptions::default();
    if args.format_version == Some(1) {
        options.json = JsonVersion::One;
    }
    options.unfolded = args.unfolded;
    options.own.clone_from(&args.own);
    options.by = args.by.map(|by| by.0);
    options.top = args.top;
    Ok((options.by.and_then(|by| format.of_metric(by)).unwrap_or(format), options))
}

fn export_to(
    mut out: impl Write,
    place: &str,
    (format, options): &(Format, ExportOptions),
    input: &Input,
) -> Result<Exit, Failure> {
    let result = export_with(*format, options, &input.profile, &input.origin, &mut out);
    written(result.and_then(|()| out.flush()), place)?;
    Ok(Exit::Fine)
}
