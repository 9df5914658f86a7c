//! Output of a text report: headings, facts, notes and tables, in a given width and given colours.

use std::io::{self, Write};

use super::table::Table;

/// Layout of a report. The caller chooses it to suit the terminal.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Width of a line, in characters; at least [`Layout::NARROWEST_COLUMNS`] is used. Long names are cut to this
    /// width, and long facts are wrapped. A single long word is never broken.
    pub width: usize,
    /// Whether bar charts use Unicode block characters. If not, all characters of the report except names are ASCII.
    pub unicode: bool,
    /// Maximum number of rows in the tables of threads, sites and sizes of live blocks. One more row sums the rest.
    pub rows: usize,
    /// Colours of the report.
    pub styles: Styles,
}

impl Layout {
    /// Minimum width of a line, in characters.
    pub const NARROWEST_COLUMNS: usize = 40;

    /// Returns the width of a line in characters, at least the minimum.
    pub(super) fn columns(&self) -> usize {
        self.width.max(Self::NARROWEST_COLUMNS)
    }
}

impl Default for Layout {
    fn default() -> Self {
        Layout { width: 100, unicode: true, rows: 12, styles: Styles::none() }
    }
}

/// Escape sequences before and after a coloured text.
#[derive(Debug, Clone, Default)]
pub(super) struct Paint {
    start: String,
    end: String,
}

/// Colours of a report.
#[derive(Debug, Clone, Default)]
pub struct Styles {
    pub(super) heading: Paint,
    pub(super) good: Paint,
    pub(super) bad: Paint,
    pub(super) faint: Paint,
}

impl Styles {
    /// Returns styles without colours, for a report without escape sequences.
    pub fn none() -> Self {
        Styles::default()
    }

    /// Returns the styles that the `heapledger` command uses for coloured output.
    pub fn colour() -> Self {
        use anstyle::{AnsiColor, Style};
        const HEADING: Style = Style::new().bold();
        const GOOD: Style = AnsiColor::Green.on_default();
        const BAD: Style = AnsiColor::Red.on_default().bold();
        const FAINT: Style = Style::new().dimmed();
        let paint =
            |style: Style| Paint { start: style.render().to_string(), end: style.render_reset().to_string() };
        Styles { heading: paint(HEADING), good: paint(GOOD), bad: paint(BAD), faint: paint(FAINT) }
    }
}

/// Tone of a text, which chooses its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Bad,
    Faint,
}

/// Width of the name in front of a fact, in characters, including its indentation.
const NAME_COLUMNS: usize = 20;

pub(super) struct TextPage<'a> {
    out: &'a mut dyn Write,
    pub(super) layout: &'a Layout,
}

impl<'a> TextPage<'a> {
    pub(super) fn new(out: &'a mut dyn Write, layout: &'a Layout) -> Self {
        TextPage { out, layout }
    }

    fn painted(&self, text: &str, tone: Tone) -> String {
        let styles = &self.layout.styles;
        let paint = match tone {
            Tone::Plain => return text.to_string(),
            Tone::Good => &styles.good,
            Tone::Bad => &styles.bad,
            Tone::Faint => &styles.faint,
        };
        format!("{}{text}{}", paint.start, paint.end)
    }

    /// Writes a line without wrapping.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", text.trim_end())
    }

    /// Writes a line without wrapping, in the colour of `tone`.
    pub(super) fn toned_line(&mut self, text: &str, tone: Tone) -> io::Result<()> {
        let text = self.painted(text.trim_end(), tone);
        self.line(&text)
    }

    pub(super) fn heading(&mut self, text: &str) -> io::Result<()> {
        let paint = &self.layout.styles.heading;
        writeln!(self.out, "\n{}{text}{}", paint.start, paint.end)
    }

    /// Writes a name and its value. The value is wrapped, and its further lines are aligned with the first.
    pub(super) fn fact(&mut self, name: &str, value: &str) -> io::Result<()> {
        self.toned(name, value, Tone::Plain)
    }

    pub(super) fn toned(&mut self, name: &str, value: &str, tone: Tone) -> io::Result<()> {
        let room = self.layout.columns() - NAME_COLUMNS;
        for (index, piece) in wrapped(value, room).into_iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            // If the name is longer than its column, two spaces follow it, and the value is not aligned.
            let indented = format!("  {name}  ");
            let piece = self.painted(&piece, tone);
            self.line(&format!("{indented:<NAME_COLUMNS$}{piece}"))?;
        }
        Ok(())
    }

    /// Writes a sentence, indented and wrapped.
    pub(super) fn note(&mut self, text: &str, indent: usize, tone: Tone) -> io::Result<()> {
        for piece in wrapped(text, self.layout.columns() - indent) {
            let piece = self.painted(&piece, tone);
            self.line(&format!("{:indent$}{piece}", ""))?;
        }
        Ok(())
    }

    pub(super) fn table(&mut self, table: &Table) -> io::Result<()> {
        table.write(self.out, self.layout.columns())
    }
}

/// Breaks `text` at spaces into lines of up to `width` characters. A word longer than `width` has a line for itself.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let last = lines.last_mut().expect("there is always a line");
        let used = last.chars().count();
        if used == 0 {
            last.push_str(word);
        } else if used + 1 + word.chars().count() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_string());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_spaces_and_words_stay_whole() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable it is", 4), ["unbreakable", "it", "is"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn values_wrap_under_themselves() {
        let layout = Layout { width: 40, ..Layout::default() };
        let mut out = Vec::new();
        TextPage::new(&mut out, &layout).fact("name", "a value that needs two lines").expect("a vector");
        let expected = "  name              a value that needs\n                    two lines\n";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}
