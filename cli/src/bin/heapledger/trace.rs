//! Subcommand `trace`: a summary of a trace, the heap at one time, or the list of events.

use std::io::{self, BufWriter, Write};

use heapledger::Profile;
use heapledger::text::escape::escaped;
use heapledger::text::units;
use heapledger::trace::{Dated, Record, ReplayFigures, Span, in_order};
use heapledger_cli::report::write_report_with;
use heapledger_cli::symbols;

use crate::args::{At, TraceArgs};
use crate::detail::SiteFilters;
use crate::exit::{Exit, Failure, FailureKind, STDOUT, written};
use crate::names;
use crate::page::layout;
use crate::trace_file::{self, TraceFile};

pub fn trace(args: &TraceArgs) -> Result<Exit, Failure> {
    let filters = SiteFilters::read(&args.sites)?;
    let span = trace_file::span(&args.span)?.unwrap_or(Span::WHOLE);
    if !trace_file::is_at(&args.file) {
        let shown = escaped(&args.file.display().to_string());
        return Err(match args.file.metadata() {
            Err(error) => Failure::new(FailureKind::Unreadable, format_args!("cannot read {shown}: {error}")),
            Ok(_) => Failure::new(FailureKind::Unreadable, format_args!("{shown} is not a heapledger trace"))
                .hint("HEAPLEDGER_TRACE=PATH has a program write one; `heapledger report` reads dumps"),
        });
    }
    let mut open = TraceFile::open(&args.file)?;
    if args.events {
        return list(open, span);
    }
    let Some(at) = args.at else {
        let mut out = BufWriter::new(io::stdout().lock());
        let result = summary(&mut open, span)?;
        written(out.write_all(result.as_bytes()).and_then(|()| out.flush()), STDOUT)?;
        return Ok(Exit::Fine);
    };
    let to_ns = match at {
        At::Time(time) => time.0.saturating_add(1),
        At::Peak => open.replay(Span::WHOLE)?.into_profile(None).profile.peak.at_ns.saturating_add(1),
    };
    let mut input = open.span(Span { from_ns: 0, to_ns })?;
    if args.no_symbols {
        symbols::name_scopes(&mut input.profile);
    } else {
        names::look_up(&mut input.profile, &args.names, &args.file);
    }
    let (layout, detail) = (layout(&args.page, &io::stdout()), filters.detail(&args.sites));
    let mut out = BufWriter::new(io::stdout().lock());
    let result = write_report_with(&input.profile, &input.origin, &layout, &detail, &mut out);
    written(result.and_then(|()| out.flush()), STDOUT)?;
    Ok(Exit::Fine)
}

/// Returns the summary of a trace for a span of time, as text.
fn summary(open: &mut TraceFile, span: Span) -> Result<String, Failure> {
    let replay = open.replay(span)?;
    let figures = replay.figures();
    let (frames, length) = (open.trace.frames().count(), open.trace.length());
    let in_file: u64 = open.trace.frames().map(|frame| frame.head.events).sum();
    let stored: u64 = open.trace.frames().map(|frame| u64::from(frame.head.stored) + 72).sum();
    let lost = open.trace.counts().map_or_else(|| open.lost_so_far(), |counts| counts.lost);
    let (ended, waits) = (open.trace.counts().is_some(), open.trace.counts().unwrap_or_default());
    let profile = replay.into_profile(open.profile()).profile;
    let mut lines = vec![
        format!(
            "{}: {} in {}, {} of events in {}",
            open.shown,
            units::counted(in_file, "event", "events"),
            units::bytes(length),
            units::bytes(stored),
            units::counted(frames as u64, "frame", "frames"),
        ),
        format!("  bytes an event      {:.2}", stored as f64 / in_file.max(1) as f64),
        format!(
            "  not in the trace    {}",
            if lost == 0 {
                "nothing".to_owned()
            } else {
                units::counted(lost, "event", "events") + ": the writer could not keep up"
            }
        ),
        format!(
            "  threads waited      {} for the writer, {} together",
            units::counted(waits.waits, "time", "times"),
            units::duration(waits.waited_ns)
        ),
        format!(
            "  ended               {}",
            if ended { "yes" } else { "no: the process did not come to its end" }
        ),
    ];
    lines.extend(
        open.trace.damage().iter().map(|damage| format!("  damaged             {}", escaped(damage))),
    );
    lines.extend(figure_lines(&figures, &profile));
    Ok(lines.join("\n") + "\n")
}

fn figure_lines(figures: &ReplayFigures, profile: &Profile) -> Vec<String> {
    let (totals, peak) = (&profile.totals, &profile.peak);
    vec![
        format!("from {} to {}", units::duration(figures.first_ns), units::duration(figures.last_ns)),
        format!(
            "  events              {}: {} allocations, {} frees, {} reallocs, {} refused; {} heapledger's own",
            units::count(figures.events),
            units::count(figures.allocs),
            units::count(figures.frees),
            units::count(figures.reallocs),
            units::count(figures.refused),
            units::count(figures.own_events),
        ),
        format!(
            "  allocated           {} in {}",
            units::bytes_exact(totals.total_bytes),
            units::counted(totals.total_blocks, "block", "blocks")
        ),
        format!(
            "  live at the end     {} in {}",
            units::bytes_exact(totals.live_bytes),
            units::counted(totals.live_blocks, "block", "blocks")
        ),
        format!(
            "  peak                {} in {}, at {} ({} ns)",
            units::bytes_exact(peak.bytes),
            units::counted(peak.blocks, "block", "blocks"),
            units::duration(peak.at_ns),
            peak.at_ns
        ),
        format!(
            "  unmatched frees     {}; {} came before their block, {} blocks came before the free of the last one there",
            units::count(figures.unmatched_frees),
            units::count(figures.early_frees),
            units::count(figures.overlaps)
        ),
    ]
}

/// Prints every event in a span of time, one per line.
fn list(mut open: TraceFile, span: Span) -> Result<Exit, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut result = writeln!(out, "ns\tthread\tevent\taddress\tsize\tstack\told address");
    let read = in_order(
        &mut open.trace,
        span.to_ns,
        |_| (),
        |dated| {
            if result.is_ok() && dated.at_ns >= span.from_ns {
                result = line(&mut out, dated);
            }
        },
    );
    let shown = &open.shown;
    read.map_err(|error| {
        Failure::new(FailureKind::Unreadable, format_args!("cannot read {shown}: {error}"))
    })?;
    written(result.and_then(|()| out.flush()), STDOUT)?;
    for damage in open.trace.damage() {
        anstream::eprintln!("warning: {}", escaped(&damage));
    }
    Ok(Exit::Fine)
}

fn line(out: &mut impl Write, dated: &Dated) -> io::Result<()> {
    let Dated { at_ns, row, record } = dated;
    write!(out, "{at_ns}\t{row}\t")?;
    match record {
        Record::Alloc { address, shape } => {
            let what = if shape.is_own() { "own alloc" } else { "alloc" };
            writeln!(out, "{what}\t{address:#x}\t{}\t{}", shape.size, shape.stack)
        }
        Record::Free { address, .. } => writeln!(out, "free\t{address:#x}"),
        Record::ReallocBegins { address, .. } => writeln!(out, "realloc begins\t{address:#x}"),
        Record::ReallocEnds { old_address, address, shape } => {
            writeln!(out, "realloc ends\t{address:#x}\t{}\t{}\t{old_address:#x}", shape.size, shape.stack)
        }
        Record::ReallocRefused { address } => writeln!(out, "realloc refused\t{address:#x}"),
        Record::ThreadStarts => writeln!(out, "thread starts"),
        Record::ThreadEnds => writeln!(out, "thread ends"),
        // Needed because [`Record`] is non-exhaustive.
        _ => writeln!(out, "other"),
    }
}
