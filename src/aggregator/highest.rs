//! The selection of the rows of a table that have the highest live bytes or the highest growth.

/// Time after which a new span of growth begins, in nanoseconds. Growth is measured over one to two spans.
pub(super) const SPAN_NS: u64 = 30_000_000_000;

/// The `N` rows with the highest keys.
pub(super) struct Highest<const N: usize> {
    rows: [(i64, u32); N],
    count: usize,
}

impl<const N: usize> Highest<N> {
    pub(super) fn new() -> Self {
        Highest { rows: [(0, 0); N], count: 0 }
    }

    /// Adds a row, unless `N` rows have keys that are as high or higher. Rows whose key is not positive are ignored.
    pub(super) fn offer(&mut self, key: i64, row: u32) {
        if key <= 0 || self.count == N && key <= self.rows[N - 1].0 {
            return;
        }
        let at = self.rows[..self.count].partition_point(|(other, _)| *other >= key);
        self.count = (self.count + 1).min(N);
        self.rows[at..self.count].rotate_right(1);
        self.rows[at] = (key, row);
    }

    /// Returns the numbers of the rows, highest key first.
    pub(super) fn rows(&self) -> impl Iterator<Item = u32> + '_ {
        self.rows[..self.count].iter().map(|(_, row)| *row)
    }
}

/// Live bytes of each row at the beginning of the current span and of the previous span.
pub(super) struct Growth {
    rows: Vec<Base>,
    rows_max: usize,
    /// Times at which the current span and the previous span began, in nanoseconds.
    began_ns: [u64; 2],
    span: u32,
}

#[derive(Clone, Copy, Default)]
struct Base {
    /// Live bytes when the row was first read in the previous span; `now` has the live bytes when it was first read in
    /// the current span.
    before: i64,
    now: i64,
    span: u32,
}

impl Growth {
    /// Measures the growth of the first `rows_max` rows.
    pub(super) fn new(rows_max: usize) -> Growth {
        Growth { rows: Vec::new(), rows_max, began_ns: [0; 2], span: 0 }
    }

    /// Begins the next span if the current span is over. Makes room for `rows` rows. Allocates.
    pub(super) fn begin(&mut self, now_ns: u64, rows: usize) {
        if now_ns.saturating_sub(self.began_ns[0]) >= SPAN_NS {
            self.began_ns = [now_ns, self.began_ns[0]];
            self.span += 1;
        }
        let rows = rows.min(self.rows_max);
        if self.rows.len() < rows {
            self.rows.resize(rows.next_power_of_two().min(self.rows_max), Base::default());
        }
    }

    /// Returns the time over which growth is measured, in nanoseconds.
    pub(super) fn over_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.began_ns[1])
    }

    /// Returns the growth of a row that has `live` bytes; `None` if there is no room for the row. Allocates nothing.
    pub(super) fn of(&mut self, row: u32, live: i64) -> Option<i64> {
        let base = self.rows.get_mut(row as usize)?;
        if base.span != self.span {
            *base = Base { before: base.now, now: live, span: self.span };
        }
        Some(live.wrapping_sub(base.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_rows_are_kept_in_order_and_the_others_dropped() {
        let mut highest = Highest::<3>::new();
        for (row, key) in [(1, 5), (2, 0), (3, -1), (4, 9), (5, 7), (6, 5), (7, 8)] {
            highest.offer(key, row);
        }
        assert_eq!(highest.rows().collect::<Vec<_>>(), [4, 7, 5]);
    }

    #[test]
    fn growth_is_measured_over_one_to_two_spans() {
        let mut growth = Growth::new(2);
        let mut look = |now_ns: u64, live: i64| {
            growth.begin(now_ns, 10);
            assert_eq!(growth.of(2, 1), None, "rows above the limit are not measured");
            (growth.of(1, live), growth.over_ns(now_ns))
        };
        assert_eq!(look(1, 100), (Some(100), 1));
        assert_eq!(look(SPAN_NS, 150), (Some(150), SPAN_NS));
        assert_eq!(look(SPAN_NS + 1, 120), (Some(120), SPAN_NS + 1));
        // The next span measures from the beginning of the first one.
        assert_eq!(look(2 * SPAN_NS, 170), (Some(20), SPAN_NS));
        assert_eq!(look(3 * SPAN_NS, 90), (Some(-80), SPAN_NS));
    }
}
