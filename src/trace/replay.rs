//! Replay of a trace: the figures of a span.
//!
//! A span has the blocks that were allocated in it, their frees up to its end, and what is left of them then. So
//! `allocated − freed = live` holds for a span as it does for a whole run. Frees of older blocks are counted separately.

use std::io::{self, Read, Seek};

use super::order::in_order;
use super::reader::Trace;
use super::span_sums::{Span, SpanSums};
use crate::replay::{BlockKind, Dated, Heap, Record};

/// Time for which a free waits for its block, in nanoseconds of the trace.
const PATIENCE_NS: u64 = 10_000_000_000;

/// Figures of a replay besides the sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplayFigures {
    /// Records, including those that are no events.
    pub records: u64,
    /// Events of the span, including heapledger's own.
    pub events: u64,
    /// Events of heapledger's own blocks.
    pub own_events: u64,
    /// Events of sampled blocks.
    pub sampled_events: u64,
    /// Allocations among the events.
    pub allocs: u64,
    /// Frees among the events.
    pub frees: u64,
    /// Successful reallocs among the events.
    pub reallocs: u64,
    /// Failed reallocs among the events.
    pub refused: u64,
    /// Frees, in the span, of blocks from before the span.
    pub earlier_frees: u64,
    /// Bytes of those blocks.
    pub earlier_freed_bytes: u64,
    /// Blocks that were live at the start of the span.
    pub live_before: u64,
    /// Bytes of those blocks.
    pub live_before_bytes: u64,
    /// Frees without a block.
    pub unmatched_frees: u64,
    /// Blocks at an address where another block is live.
    pub overlapping_blocks: u64,
    /// Frees that were paired with a block of another size.
    pub size_mismatches: u64,
    /// Allocations at an address that still had a block: an effect of interpolated times.
    pub overlaps: u64,
    /// Frees before the allocation of their block: an effect of interpolated times.
    pub early_frees: u64,
    /// Time of the first event.
    pub first_ns: u64,
    /// Time of the last event.
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
    /// Replays a span. `passed` is called with the offset in the file that was reached, once a frame.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
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

    /// The figures besides the sums.
    pub fn figures(&self) -> ReplayFigures {
        self.figures
    }

    /// The span.
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

    /// Counts the blocks that are live where the span starts.
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
