//! Tables of aligned columns.
//!
//! Every column is as wide as its widest cell. At most one column may shrink. If the table is wider than the page, the
//! cells of that column are cut and end in `..`. Widths are in characters.

use std::io::{self, Write};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    /// Alignment at the left, for names and words.
    Left,
    /// Alignment at the right, for numbers.
    Right,
}

/// Table: a line of titles, and rows of cells.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
    shrinking: Option<usize>,
}

/// Number of spaces before each row.
const INDENT: usize = 2;
/// Number of spaces between two columns.
const GAP: usize = 2;
/// Minimum width of the column that may shrink, in characters.
const NARROWEST: usize = 8;

impl Table {
    /// Returns a table without rows. `titles` has the titles of the columns, separated by `|`. A title that starts with
    /// `<` aligns its column left, for names. Other columns are aligned right, for numbers. If all titles are empty,
    /// the table has no line of titles.
    ///
    /// ```
    /// let mut table = heapledger_cli::report::table::Table::new("<thread|bytes");
    /// table.row(["main".into(), "1,000".into()]);
    /// let mut out = Vec::new();
    /// table.write(&mut out, 80)?;
    /// assert_eq!(out, b"  thread  bytes\n  main    1,000\n");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new(titles: &'static str) -> Self {
        let column = |title: &'static str| match title.strip_prefix('<') {
            Some(title) => (title, Align::Left),
            None => (title, Align::Right),
        };
        Table { columns: titles.split('|').map(column).collect(), rows: Vec::new(), shrinking: None }
    }

    /// Allows `write` to cut the cells of `column` if the page is too narrow.
    pub fn shrinking(mut self, column: usize) -> Self {
        self.shrinking = Some(column);
        self
    }

    /// Adds a row. Missing cells are empty, and surplus cells are dropped.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
    }

    /// Writes the table for a page of `width` characters.
    ///
    /// # Errors
    ///
    /// Returns an error if `out` does.
    pub fn write(&self, out: &mut dyn Write, width: usize) -> io::Result<()> {
        let widths = self.widths(width);
        let titles: Vec<String> = self.columns.iter().map(|(title, _)| (*title).to_string()).collect();
        if titles.iter().any(|title| !title.is_empty()) {
            self.line(out, &titles, &widths)?;
        }
        self.rows.iter().try_for_each(|row| self.line(out, row, &widths))
    }

    fn widths(&self, page: usize) -> Vec<usize> {
        let title_widths = self.columns.iter().map(|(title, _)| title.chars().count());
        let mut widths: Vec<usize> = title_widths.collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let used = INDENT + widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        if let Some(width) = self.shrinking.and_then(|column| widths.get_mut(column)) {
            let kept = width.saturating_sub(used.saturating_sub(page));
            *width = kept.max(NARROWEST.min(*width));
        }
        widths
    }

    fn line(&self, out: &mut dyn Write, cells: &[String], widths: &[usize]) -> io::Result<()> {
        let mut line = " ".repeat(INDENT);
        for (index, ((cell, width), (_, align))) in cells.iter().zip(widths).zip(&self.columns).enumerate() {
            if index > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            let cell = cut(cell, *width);
            match align {
                Align::Left => line.push_str(&format!("{cell:<width$}")),
                Align::Right => line.push_str(&format!("{cell:>width$}")),
            }
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// Returns the text, cut to `width` characters. The last two characters of a cut text are `..`.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_string();
    }
    let mut kept: String = text.chars().take(width.saturating_sub(2)).collect();
    kept.push_str(&".."[..width.min(2)]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(table: &Table, width: usize) -> String {
        let mut out = Vec::new();
        table.write(&mut out, width).expect("a vector takes everything");
        String::from_utf8(out).expect("text")
    }

    fn sample() -> Table {
        let mut table = Table::new("<thread|bytes").shrinking(0);
        table.row(["a rather long name".into(), "1".into()]);
        table.row(["b".into(), "1,000".into()]);
        table
    }

    #[test]
    fn names_stand_left_and_numbers_right() {
        let expected =
            "  thread              bytes\n  a rather long name      1\n  b                   1,000\n";
        assert_eq!(written(&sample(), 80), expected);
    }

    #[test]
    fn only_the_shrinking_column_is_cut_and_never_below_its_floor() {
        let narrow = written(&sample(), 20);
        assert!(narrow.contains("  a rather ..      1\n"), "{narrow}");
        assert!(narrow.lines().all(|line| line.chars().count() <= 20));
        assert!(written(&sample(), 0).contains("a rath.."));
    }

    #[test]
    fn missing_cells_are_empty() {
        let mut table = Table::new("<|");
        table.row(["alone".into()]);
        assert_eq!(written(&table, 80), "  alone\n");
    }

    #[test]
    fn cutting_counts_characters_not_bytes() {
        assert_eq!(["äöüäöü", "abc"].map(|text| cut(text, 4)), ["äö..", "abc"]);
        assert_eq!((cut("abc", 1).as_str(), cut("abc", 0).as_str()), (".", ""));
    }
}
