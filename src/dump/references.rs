//! References between tables, by row number. If a chunk of a table is missing, the later rows have other numbers in
//! memory, and references to the missing rows dangle. [`redirect`] corrects both, without reserving memory for missing
//! rows.

use super::codec::CodecError;
use super::error::{DamageKind, DamageList};
use super::format::Tag;
use crate::profile::{Profile, Scope, Stack, SymbolFrame, Symbols, Table, lost_thread, references};

/// A run of consecutive rows of a table that were read. The first row of the run is row `in_file` of the table in the
/// file and row `in_memory` of the table in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    in_file: u64,
    in_memory: u64,
    rows: u64,
}

/// The spans of one table, in ascending order. Spans that are adjacent in the file are joined.
#[derive(Debug, Default)]
pub(super) struct Spans {
    spans: Vec<Span>,
}

impl Spans {
    /// Returns the spans of a table that is complete in memory: one span of all its rows.
    fn whole(rows: usize) -> Spans {
        Spans { spans: vec![Span { in_file: 0, in_memory: 0, rows: rows as u64 }] }
    }

    /// Returns the span of a chunk of `rows` rows, as the next span of the table. Returns an error if the chunk starts
    /// before the end of the last span.
    pub(super) fn next(&self, in_file: u64, rows: u64, in_memory: usize) -> Result<Span, CodecError> {
        let free_from = self.spans.last().map_or(0, |last| last.in_file + last.rows);
        if in_file < free_from || in_file.checked_add(rows).is_none() {
            return Err(CodecError::OutOfRange("number of its first row"));
        }
        Ok(Span { in_file, in_memory: in_memory as u64, rows })
    }

    /// Adds a span that [`Spans::next`] returned, once its rows are read.
    pub(super) fn push(&mut self, span: Span) {
        match self.spans.last_mut() {
            Some(last) if last.in_file + last.rows == span.in_file => last.rows += span.rows,
            _ => self.spans.push(span),
        }
    }

    /// Returns the number of rows in all spans.
    pub(super) fn rows(&self) -> u64 {
        self.spans.iter().map(|span| span.rows).sum()
    }

    /// Returns the row in memory that holds row `in_file` of the file, or `None` if that row is missing.
    fn find(&self, in_file: u64) -> Option<u64> {
        let after = self.spans.partition_point(|span| span.in_file <= in_file);
        let span = self.spans[..after].last()?;
        let step = in_file - span.in_file;
        (step < span.rows).then(|| span.in_memory + step)
    }
}

/// A table that rows of other tables refer to.
struct Target<'a> {
    tag: Tag,
    spans: &'a Spans,
    /// Number by which the rows in memory are shifted: 1 if a placeholder replaces a missing row 0, else 0.
    shift: u64,
    dangling: u64,
}

impl<'a> Target<'a> {
    fn new(tag: Tag, spans: &'a Spans, is_referred_to: bool) -> Self {
        let loses_row_0 = spans.find(0).is_none() && (is_referred_to || spans.rows() > 0);
        Target { tag, spans, shift: u64::from(loses_row_0), dangling: 0 }
    }

    fn lead(&mut self, reference: &mut u32) {
        let row = self.spans.find(u64::from(*reference)).map(|row| row + self.shift);
        match row.and_then(|row| u32::try_from(row).ok()) {
            Some(row) => *reference = row,
            None => {
                // A reference to row 0 does not dangle, because the placeholder is row 0.
                self.dangling += u64::from(*reference != 0);
                *reference = 0;
            }
        }
    }

    fn report(&self, damage: &mut DamageList) {
        if self.shift > 0 {
            damage.add(Some(self.tag.name()), None, DamageKind::PlaceholderRow);
        }
        if self.dangling > 0 {
            let kind = DamageKind::Dangling { entries: self.dangling, table: self.tag.name() };
            damage.add(None, None, kind);
        }
    }
}

/// Redirects references beyond the end of a table to row 0. Returns the number of these references.
pub(crate) fn redirect_dangling(profile: &mut Profile) -> u64 {
    let (stacks, threads) = (Spans::whole(profile.stacks.len()), Spans::whole(profile.threads.len()));
    redirect(profile, &stacks, &threads, &mut DamageList::default())
}

/// Changes every reference in `profile` from the row in the file to the same row in memory. References to missing rows
/// become references to row 0; they are added to `damage`, and their number is returned.
pub(super) fn redirect(
    profile: &mut Profile,
    stacks: &Spans,
    threads: &Spans,
    damage: &mut DamageList,
) -> u64 {
    let (mut to_stacks, mut to_threads) = (false, false);
    references(profile, |table, _| match table {
        Table::Stacks => to_stacks = true,
        Table::Threads => to_threads = true,
    });
    let mut stacks = Target::new(Tag::STACKS, stacks, to_stacks);
    let mut threads = Target::new(Tag::THREADS, threads, to_threads);
    if stacks.shift > 0 {
        profile.stacks.insert(0, Stack::default());
    }
    if threads.shift > 0 {
        profile.threads.insert(0, lost_thread());
    }
    references(profile, |table, reference| match table {
        Table::Stacks => stacks.lead(reference),
        Table::Threads => threads.lead(reference),
    });
    stacks.report(damage);
    threads.report(damage);
    stacks.dangling + threads.dangling
}

/// Corrects the parents of scopes: a parent that is not an earlier scope becomes 0, which means none. If rows are
/// missing, the numbers of the other scopes are wrong, so all scopes are removed.
pub(super) fn redirect_scopes(scopes: &mut Vec<Scope>, rows: u64, damage: &mut DamageList) {
    if (scopes.len() as u64) < rows {
        scopes.clear();
    }
    let mut dangling = 0;
    for (row, scope) in scopes.iter_mut().enumerate() {
        if scope.parent as usize > row {
            (scope.parent, dangling) = (0, dangling + 1);
        }
    }
    if dangling > 0 {
        damage.add(None, None, DamageKind::Dangling { entries: dangling, table: Tag::SCOPES.name() });
    }
}

/// Changes every text number in `frames` to the number of the same text in memory, then moves the frames into
/// `symbols`. Texts that are missing become empty.
pub(super) fn redirect_names(
    symbols: &mut Symbols,
    mut frames: Vec<(u64, Vec<SymbolFrame>)>,
    texts: &Spans,
    damage: &mut DamageList,
) {
    let mut texts = Target::new(Tag::SYMBOL_TEXTS, texts, !frames.is_empty());
    if texts.shift > 0 {
        symbols.strings.insert(0, String::new());
    }
    for frame in frames.iter_mut().flat_map(|(_, functions)| functions) {
        texts.lead(&mut frame.function);
        texts.lead(&mut frame.file);
    }
    texts.report(damage);
    symbols.frames = frames.into_iter().collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::LiveBlock;

    #[test]
    fn rows_behind_a_gap_are_found_where_they_are_kept() {
        let mut spans = Spans::default();
        for (in_file, rows, in_memory) in [(0, 10, 0), (10, 5, 10), (40, 2, 15)] {
            let span = spans.next(in_file, rows, in_memory).unwrap();
            spans.push(span);
        }
        assert_eq!((spans.spans.len(), spans.rows()), (2, 17));
        assert_eq!(
            [0, 14, 15, 39, 40, 41, 42].map(|row| spans.find(row)),
            [Some(0), Some(14), None, None, Some(15), Some(16), None]
        );
        assert!(spans.next(41, 1, 17).is_err(), "overlaps");
        assert!(spans.next(u64::MAX, 1, 17).is_err(), "overflows");
    }
    #[test]
    fn a_scope_inside_a_later_one_is_outermost_and_an_incomplete_table_is_left_out() {
        let scope = |parent| Scope { parent, ..Scope::default() };
        let mut damage = DamageList::default();
        let mut scopes = vec![scope(0), scope(1), scope(3), scope(u32::MAX)];
        redirect_scopes(&mut scopes, 4, &mut damage);
        assert_eq!(scopes.iter().map(|scope| scope.parent).collect::<Vec<_>>(), [0, 1, 0, 0]);
        redirect_scopes(&mut scopes, 5, &mut damage);
        assert_eq!(scopes, []);
    }

    #[test]
    fn a_reference_beyond_the_end_of_a_table_is_led_to_row_0() {
        let mut profile = crate::profile::Profile::default();
        profile.threads.clear();
        profile.stacks = vec![Stack::default()];
        let block = LiveBlock { thread: 3, stack: 77, ..LiveBlock::default() };
        profile.live.push(block);
        assert_eq!(redirect_dangling(&mut profile), 2);
        assert_eq!((profile.live[0].thread, profile.live[0].stack), (0, 0));
        assert_eq!((profile.threads.len(), profile.stacks.len()), (1, 1));
        let mut file = Vec::new();
        crate::dump::write_to(&mut file, &profile).unwrap();
        assert_eq!(crate::dump::read_bytes(&file).unwrap().damage, []);
    }
}
