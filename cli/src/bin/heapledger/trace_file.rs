//! Opening and replay of trace files, with a progress bar.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use heapledger::Profile;
use heapledger::dumps;
use heapledger::text::escape::escaped;
use heapledger::trace::{Counts, Replay, Span, SpanProfile, Trace, TraceError, is_trace, laws};
use heapledger_cli::analysis::{LawFinding, LawState, Origin, Verification, verify};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::SpanArgs;
use crate::exit::{Failure, FailureKind};
use crate::input::Input;

/// Open trace file, with the dump that a complete trace has at its end.
pub struct TraceFile {
    pub trace: Trace<BufReader<File>>,
    dump: Option<dumps::Dump>,
    /// Path of the file, escaped for messages.
    pub shown: String,
}

/// Whether the file at `path` starts with the magic number of a trace. A pipe is never a trace, because a replay seeks.
pub fn is_at(path: &Path) -> bool {
    let is_file = path.metadata().is_ok_and(|metadata| metadata.is_file());
    let mut start = [0; 8];
    is_file && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && is_trace(&start)
}

impl TraceFile {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let shown = escaped(&path.display().to_string());
        let failed = |error: TraceError| {
            Failure::new(
                FailureKind::Unreadable,
                format_args!("cannot read {shown}: {}", escaped(&error.to_string())),
            )
        };
        let file = File::open(path).map_err(|error| failed(error.into()))?;
        let mut trace = Trace::open(BufReader::new(file)).map_err(failed)?;
        let bytes = trace.dump().map_err(|error| failed(error.into()))?;
        let dump = bytes.and_then(|bytes| dumps::read_bytes(&bytes).ok());
        Ok(TraceFile { trace, dump, shown })
    }

    pub fn profile(&self) -> Option<&Profile> {
        self.dump.as_ref().map(|dump| &dump.profile)
    }

    /// Returns the input for a report on the whole run: the dump at the end of the trace. If the trace has no dump,
    /// replays all events.
    pub fn whole(mut self) -> Result<Input, Failure> {
        let Some(dump) = self.dump.take() else { return self.span(Span::WHOLE) };
        let mut damage: Vec<String> = dump.damage.iter().map(ToString::to_string).collect();
        damage.extend(self.trace.damage());
        let mut notes = dump.notes;
        notes.extend(left_out(self.trace.counts()));
        Ok(Input { profile: dump.profile, origin: Origin::new(damage, notes) })
    }

    /// Returns the input for a report on a span of time, from a replay.
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

    pub fn lost_so_far(&self) -> u64 {
        self.trace.frames().map(|frame| frame.head.lost).max().unwrap_or(0)
    }

    pub fn replay(&mut self, span: Span) -> Result<Replay, Failure> {
        let bar = bar(self.trace.length());
        let replay = Replay::of(&mut self.trace, span, |bytes| bar.set_position(bytes));
        bar.finish_and_clear();
        let shown = &self.shown;
        replay.map_err(|error| {
            Failure::new(FailureKind::Unreadable, format_args!("cannot read {shown}: {error}"))
        })
    }

    /// Replays the trace and checks the laws that relate it to its dump. Returns none if the trace has no dump or no
    /// end.
    fn laws(&mut self) -> Result<Vec<LawFinding>, Failure> {
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

    /// Returns the input for a report on the whole trace, and the verification of the dump at its end. The verification
    /// includes the laws that compare the dump with a replay of all events.
    pub fn verdict(mut self) -> Result<(Input, Verification), Failure> {
        let laws = self.laws()?;
        let input = self.whole()?;
        let mut verdict = verify(&input.profile, &input.origin);
        verdict.laws.extend(laws);
        Ok((input, verdict))
    }
}

fn left_out(counts: Option<Counts>) -> Option<String> {
    let lost = counts.map_or(0, |counts| counts.lost);
    (lost > 0).then(|| format!("{lost} events are in these figures but not in the trace"))
}

/// Returns a progress bar for a replay. The bar is hidden if standard error is not a terminal.
pub fn bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("replay {wide_bar} {bytes}/{total_bytes}") {
        bar.set_style(style);
    }
    bar
}

/// Returns the span of time that `--from` and `--to` select; `None` without these flags.
pub fn span(args: &SpanArgs) -> Result<Option<Span>, Failure> {
    if args.from.is_none() && args.to.is_none() {
        return Ok(None);
    }
    let span =
        Span { from_ns: args.from.map_or(0, |time| time.0), to_ns: args.to.map_or(u64::MAX, |time| time.0) };
    if span.from_ns >= span.to_ns {
        return Err(Failure::new(FailureKind::Usage, "the span ends before it begins")
            .hint("--from must lie before --to"));
    }
    Ok(Some(span))
}
