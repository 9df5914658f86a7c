//! The replay of a trace, which computes the figures of a span of time.
//!
//! The figures of a span include the blocks that were allocated in the span, and the frees of these blocks before the
//! end of the span. The other blocks of the span are live at its end. So `allocated − freed = live` holds for a span as
//! for a whole run. Frees of older blocks are counted separately.

use std::io::{self, Read, Seek};

use super::order::in_order;
use super::reader::Trace;
use super::span_sums::{Span, SpanSums};
use crate::replay::{BlockKind, Dated, Heap, Record};

/// Maximum time for which a free waits for its block, in nanoseconds of the trace.
pub(super) const PATIENCE_NS: u64 = 10_000_000_000;

/// The counts of a replay that are not part of the sums of its span.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplayFigures {
    /// Number of records up to the end of the span, including records that are not events, such as the start of a
    /// thread.
    pub records: u64,
    /// Number of events of the span, including events of heapledger's blocks.
    pub events: u64,
    /// Number of events of heapledger's blocks.
    pub own_events: u64,
    /// Number of events of sampled blocks.
    pub sampled_events: u64,
    /// Number of allocations among the events.
    pub allocs: u64,
    /// Number of frees among the events.
    pub frees: u64,
    /// Number of successful reallocs among the events.
    pub reallocs: u64,
    /// Number of failed reallocs among the events.
    pub refused: u64,
    /// Number of frees, in the span, of blocks from before the span.
    pub earlier_frees: u64,
    /// Bytes of the blocks of `earlier_frees`.
    pub earlier_freed_bytes: u64,
    /// Number of blocks that were live at the start of the span.
    pub live_before: u64,
    /// Bytes of the blocks of `live_before`.
    pub live_before_bytes: u64,
    /// Number of frees without a block.
    pub unmatched_frees: u64,
    /// Number of blocks at an address where another block is live, at the end of the replay.
    pub overlapping_blocks: u64,
    /// Number of frees that were paired with a block of another size.
    pub size_mismatches: u64,
    /// Number of allocations at an address that still had a block. With interpolated times, such allocations are
    /// normal.
    pub overlaps: u64,
    /// Number of frees before the allocation of their block. With interpolated times, such frees are normal.
    pub early_frees: u64,
    /// Time of the first event, in nanoseconds since the start.
    pub first_ns: u64,
    /// Time of the last event, in nanoseconds since the start.
    pub last_ns: u64,
}

/// A replay of a span.
#[derive(Debug)]
pub struct Replay {
    pub(super) heap: Heap<SpanSums>,
    figures: ReplayFigures,
    is_in_span: bool,
}

impl Replay {
    /// Replays the trace up to the end of the span. Calls `passed` before it reads a frame, with the frame's offset in
    /// the file.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub fn of<R: Read + Seek>(
        trace: &mut Trace<R>,
        span: Span,
        passed: impl FnMut(u64),
    ) -> io::Result<Replay> {
        let last_ns = trace.frames().map(|frame| frame.head.last_ns).max().unwrap_or(0);
        let mut replay = Replay {
            heap: Heap::new(SpanSums::new(span, last_ns.min(span.to_ns)), PATIENCE_NS),
            figures: ReplayFigures { first_ns: u64::MAX, ..ReplayFigures::default() },
            is_in_span: false,
        };
        in_order(trace, span.to_ns, passed, |dated| replay.apply(dated))?;
        replay.finish();
        Ok(replay)
    }

    /// Returns the counts that are not part of the sums of the span.
    pub fn figures(&self) -> ReplayFigures {
        self.figures
    }

    /// Returns the span.
    pub fn span(&self) -> Span {
        self.heap.sums.span
    }

    fn apply(&mut self, dated: &Dated) {
        if !self.is_in_span && dated.at_ns >= self.span().from_ns {
            self.start_span();
        }
        self.figures.records += 1;
        if dated.record.is_event() && self.span().holds(dated.at_ns) {
            self.count(dated);
        }
        self.heap.apply(dated);
    }

    fn count(&mut self, dated: &Dated) {
        self.heap.sums.row(dated.row).events += 1;
        let figures = &mut self.figures;
        figures.events += 1;
        figures.first_ns = figures.first_ns.min(dated.at_ns);
        figures.last_ns = figures.last_ns.max(dated.at_ns);
        *match dated.record {
            Record::Alloc { .. } => &mut figures.allocs,
            Record::Free { .. } => &mut figures.frees,
            Record::ReallocEnds { .. } => &mut figures.reallocs,
            _ => &mut figures.refused,
        } += 1;
    }

    /// Counts the blocks that are live at the start of the span.
    fn start_span(&mut self) {
        self.is_in_span = true;
        for (_, block) in self.heap.blocks.iter().filter(|(_, block)| block.kind == BlockKind::Program) {
            self.figures.live_before += 1;
            self.figures.live_before_bytes = self.figures.live_before_bytes.saturating_add(block.size);
        }
    }

    fn finish(&mut self) {
        if !self.is_in_span {
            self.start_span();
        }
        self.heap.finish();
        let Heap { sums, blocks, early_frees, size_mismatches, .. } = &self.heap;
        self.figures = ReplayFigures {
            own_events: sums.own_events,
            sampled_events: sums.sampled_events,
            earlier_frees: sums.earlier_frees.0,
            earlier_freed_bytes: sums.earlier_frees.1,
            unmatched_frees: blocks.unmatched(),
            overlapping_blocks: blocks.overlapping(),
            size_mismatches: *size_mismatches,
            overlaps: blocks.overlaps,
            early_frees: *early_frees,
            first_ns: if self.figures.events == 0 { 0 } else { self.figures.first_ns },
            ..self.figures
        };
    }
}
