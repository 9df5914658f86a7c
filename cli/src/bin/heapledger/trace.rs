//! Traces: opening one, replaying a span of it behind a progress bar, and `heapledger trace`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use heapledger::Profile;
use heapledger::dumps;
use heapledger::text::escape::escaped;
use heapledger::text::units;
use heapledger::trace::{
    Counts, Dated, Found, Record, Replay, Span, SpanProfile, Trace, TraceError, in_order, is_trace, laws,
};
use heapledger_cli::analysis;
use heapledger_cli::analysis::{LawFinding, LawState, Origin};
use heapledger_cli::report::write_report_with;
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{At, SpanArgs, TraceArgs};
use crate::commands::STDOUT;
use crate::detail::Wanted;
use crate::exit::{Cause, Exit, Failure, written};
use crate::input::Input;
use crate::names;
use crate::page::layout;

/// An open trace file, with the dump that it ends with.
pub struct Open {
    trace: Trace<BufReader<File>>,
    dump: Option<dumps::Dump>,
    shown: String,
}

/// Whether the file at `path` begins as a trace does. A pipe is no trace: a replay goes back and forth.
pub fn is_at(path: &Path) -> bool {
    let is_file = path.metadata().is_ok_and(|metadata| metadata.is_file());
    let mut start = [0; 8];
    is_file && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && is_trace(&start)
}

impl Open {
    pub fn at(path: &Path) -> Result<Open, Failure> {
        let shown = escaped(&path.display().to_string());
        let failed = |error: TraceError| {
            Failure::new(
                Cause::Unreadable,
                format_args!("cannot read {shown}: {}", escaped(&error.to_string())),
            )
        };
        let file = File::open(path).map_err(|error| failed(error.into()))?;
        let mut trace = Trace::open(BufReader::new(file)).map_err(failed)?;
        let bytes = trace.dump().map_err(|error| failed(error.into()))?;
        let dump = bytes.and_then(|bytes| dumps::read_bytes(&bytes).ok());
        Ok(Open { trace, dump, shown })
    }

    fn profile(&self) -> Option<&Profile> {
        self.dump.as_ref().map(|dump| &dump.profile)
    }

    /// What a report of the whole run needs: the dump, or, without one, the replay of all there is.
    pub fn whole(mut self) -> Result<Input, Failure> {
        let Some(dump) = self.dump.take() else { return self.span(Span::WHOLE) };
        let mut damage: Vec<String> = dump.damage.iter().map(ToString::to_string).collect();
        damage.extend(self.trace.damage());
        let mut notes = dump.notes;
        notes.extend(left_out(self.trace.counts()));
        Ok(Input { profile: dump.profile, origin: Origin::new(damage, notes) })
    }

    /// What a report of a span needs.
    pub fn span(mut self, span: Span) -> Result<Input, Failure> {
        let replay = self.replay(span)?;
        let lost = self.trace.counts().map_or_else(|| self.lost_so_far(), |counts| counts.lost);
        let mut damage = self.trace.damage();
        let SpanProfile { profile, damage: limits, notes } = replay.into_profile(self.profile());
        damage.extend(limits);
        if lost > 0 {
            damage.push(format!("{lost} events are not in the trace: its writer could not keep up"));
        }
        Ok(Input { profile, origin: Origin::new(damage, notes) })
    }

    fn lost_so_far(&self) -> u64 {
        self.trace.frames().map(|frame| frame.head.lost).max().unwrap_or(0)
    }

    fn replay(&mut self, span: Span) -> Result<Replay, Failure> {
        let bar = bar(self.trace.length());
        let replay = Replay::of(&mut self.trace, span, |bytes| bar.set_position(bytes));
        bar.finish_and_clear();
        let shown = &self.shown;
        replay.map_err(|error| Failure::new(Cause::Unreadable, format_args!("cannot read {shown}: {error}")))
    }

    /// The laws that a whole trace obeys with its dump; none when it has no dump or no end.
    pub fn laws(&mut self) -> Result<Vec<LawFinding>, Failure> {
        let mut replay = self.replay(Span::WHOLE)?;
        let (Some(counts), Some(profile)) = (self.trace.counts(), self.profile()) else {
            return Ok(Vec::new());
        };
        let state = |law: &heapledger::profile::Law| match (law.applies, law.left == law.right) {
            (false, _) => LawState::NotCheckable,
            (true, true) => LawState::Holds,
            (true, false) => LawState::Broken,
        };
        let found = laws(&mut replay, counts, profile);
        Ok(found
            .iter()
            .map(|law| LawFinding { law: law.law, left: law.left, right: law.right, state: state(law) })
            .collect())
    }
}

fn left_out(counts: Option<Counts>) -> Option<String> {
    let lost = counts.map_or(0, |counts| counts.lost);
    (lost > 0).then(|| format!("{lost} events are in these figures but not in the trace"))
}

/// A bar that hides itself when standard error is no terminal.
fn bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("replay {wide_bar} {bytes}/{total_bytes}") {
        bar.set_style(style);
    }
    bar
}

/// The span that flags ask for, if they ask for any.
pub fn asked(args: &SpanArgs) -> Result<Option<Span>, Failure> {
    if args.from.is_none() && args.to.is_none() {
        return Ok(None);
    }
    let span =
        Span { from_ns: args.from.map_or(0, |time| time.0), to_ns: args.to.map_or(u64::MAX, |time| time.0) };
    if span.from_ns >= span.to_ns {
        return Err(
            Failure::new(Cause::Usage, "the span ends before it begins").hint("--from must lie before --to")
        );
    }
    Ok(Some(span))
}

pub fn trace(args: &TraceArgs) -> Result<Exit, Failure> {
    let wanted = Wanted::read(&args.sites)?;
    let span = asked(&args.span)?.unwrap_or(Span::WHOLE);
    if !is_at(&args.file) {
        let shown = escaped(&args.file.display().to_string());
        return Err(match args.file.metadata() {
            Err(error) => Failure::new(Cause::Unreadable, format_args!("cannot read {shown}: {error}")),
            Ok(_) => Failure::new(Cause::Unreadable, format_args!("{shown} is not a heapledger trace"))
                .hint("HEAPLEDGER_TRACE=PATH has a program write one; `heapledger report` reads dumps"),
        });
    }
    let mut open = Open::at(&args.file)?;
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
    if !args.no_symbols {
        names::look_up(&mut input.profile, &args.names);
    }
    let (layout, detail) = (layout(&args.page, &io::stdout()), wanted.detail(&args.sites));
    let mut out = BufWriter::new(io::stdout().lock());
    let result = write_report_with(&input.profile, &input.origin, &layout, &detail, &mut out);
    written(result.and_then(|()| out.flush()), STDOUT)?;
    Ok(Exit::Fine)
}

/// The trace in some lines.
fn summary(open: &mut Open, span: Span) -> Result<String, Failure> {
    let replay = open.replay(span)?;
    let found = replay.found();
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
    lines.extend(figures(&found, &profile));
    Ok(lines.join("\n") + "\n")
}

fn figures(found: &Found, profile: &Profile) -> Vec<String> {
    let (totals, peak) = (&profile.totals, &profile.peak);
    vec![
        format!("from {} to {}", units::duration(found.first_ns), units::duration(found.last_ns)),
        format!(
            "  events              {}: {} allocations, {} frees, {} reallocs, {} refused; {} heapledger's own",
            units::count(found.events),
            units::count(found.allocs),
            units::count(found.frees),
            units::count(found.reallocs),
            units::count(found.refused),
            units::count(found.own_events),
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
            units::count(found.unmatched_frees),
            units::count(found.early_frees),
            units::count(found.overlaps)
        ),
    ]
}

/// Every record of a span, one a line.
fn list(mut open: Open, span: Span) -> Result<Exit, Failure> {
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
    read.map_err(|error| Failure::new(Cause::Unreadable, format_args!("cannot read {shown}: {error}")))?;
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
        // The library may come to know more.
        _ => writeln!(out, "other"),
    }
}

/// The verdict on a trace: that on its dump, and whether the replay comes to the same.
pub fn verdict(path: &Path) -> Result<(Input, analysis::Verdict), Failure> {
    let mut open = Open::at(path)?;
    let laws = open.laws()?;
    let input = open.whole()?;
    let mut verdict = analysis::verify(&input.profile, &input.origin);
    verdict.laws.extend(laws);
    Ok((input, verdict))
}
