//! One table, written as aligned text, as CSV, or as HTML.

use crate::text::escape::escaped;

/// A column: its heading, and the function that gives the cell of a row. A cell is `None` if its figure is undefined.
pub(super) type Column<T> = (&'static str, fn(&T) -> Option<String>);

/// A table, whose cells may be undefined.
pub(super) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<Option<String>>>,
}

impl Table {
    pub fn new<'a, T: 'a>(columns: &[Column<T>], rows: impl IntoIterator<Item = &'a T>) -> Self {
        let row = |item: &T| columns.iter().map(|(_, cell)| cell(item)).collect();
        Self {
            headings: columns.iter().map(|(heading, _)| *heading).collect(),
            rows: rows.into_iter().map(row).collect(),
        }
    }

    /// Returns all rows, the headings first, with the text `undefined` for undefined cells.
    fn cells<'a>(&'a self, undefined: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
        let row = move |row: &'a Vec<Option<String>>| -> Vec<&'a str> {
            row.iter().map(|cell| cell.as_deref().unwrap_or(undefined)).collect()
        };
        std::iter::once(self.headings.clone()).chain(self.rows.iter().map(row))
    }

    /// Returns the table as lines, with each column as wide as its widest cell.
    pub fn text(&self) -> String {
        let rows: Vec<Vec<&str>> = self.cells("-").collect();
        let width = |i: usize| rows.iter().map(|row| row[i].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let line = |row: &Vec<&str>| {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, w)| format!("{cell:>w$}")).collect();
            cells.join("  ").trim_end().to_owned() + "\n"
        };
        rows.iter().map(line).collect()
    }

    /// Returns the table as comma-separated values. No cell may contain a comma.
    pub fn csv(&self) -> String {
        self.cells("").map(|row| row.join(",") + "\n").collect()
    }

    /// Returns the table as HTML; the first column holds the row headings.
    pub fn html(&self) -> String {
        let headings = self.headings.iter().map(|h| format!("<th scope=\"col\">{}</th>", escape(h)));
        let cell = |(i, cell): (usize, &&str)| match i {
            0 => format!("<th scope=\"row\">{}</th>", escape(cell)),
            _ => format!("<td>{}</td>", escape(cell)),
        };
        let row =
            |row: Vec<&str>| format!("<tr>{}</tr>\n", row.iter().enumerate().map(cell).collect::<String>());
        format!(
            "<div class=\"wide\"><table class=\"plain v-table\"><thead><tr>{}</tr></thead>\n<tbody>{}</tbody></table></div>",
            headings.collect::<String>(),
            self.cells("-").skip(1).map(row).collect::<String>()
        )
    }
}

/// Escapes any text for HTML.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in escaped(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

pub(super) fn fixed(value: Option<f64>, digits: usize) -> Option<String> {
    value.map(|v| format!("{v:.digits$}"))
}

/// Returns a share as percent, rounded down: 99.9995 % must not read as 100 %.
pub(super) fn percent(share: Option<f64>) -> Option<String> {
    share.map(|v| format!("{:.3}", (v * 1e5).floor() / 1e3))
}

/// Returns a share as percent with its sign.
pub(super) fn signed(share: f64) -> String {
    format!("{:+.1}", 100.0 * share)
}

pub(super) fn range((low, high): (f64, f64), show: impl Fn(f64) -> String) -> String {
    format!("{} to {}", show(low), show(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let hostile = "</style><script>alert('1')</script>\"&\u{202e}\u{1b}".to_owned();
        let columns: [Column<String>; 2] = [("a", |s| Some(s.clone())), ("b", |s| Some(s.clone()))];
        let markup = Table::new(&columns, [&hostile]).html();
        assert!(!markup.contains("<script") && !markup.contains("</style"), "{markup}");
        assert!(!markup.contains('\u{202e}') && !markup.contains('\u{1b}'));
        assert_eq!(escape("<a b='c'>&\""), "&lt;a b=&#39;c&#39;&gt;&amp;&quot;");
    }

    #[test]
    fn an_undefined_cell_is_a_dash_in_text_and_empty_in_csv() {
        let columns: [Column<Option<f64>>; 2] = [("x", |v| fixed(*v, 1)), ("wide", |_| Some("y".to_owned()))];
        let table = Table::new(&columns, [&Some(10.0), &None]);
        assert_eq!(table.text(), "   x  wide\n10.0     y\n   -     y\n");
        assert_eq!(table.csv(), "x,wide\n10.0,y\n,y\n");
    }
}
