//! Output of a report: headings, facts, notes and tables, at a given width and in given colours.

use std::io::{self, Write};

use super::table::Table;

/// Layout of a report, which the caller derives from the terminal.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Width of a line in characters, raised to [`Layout::NARROWEST_COLUMNS`] if smaller. The report cuts long names
    /// and wraps long facts to this width; it never breaks a single word.
    pub width: usize,
    /// Whether drawings use block characters; if not, the report adds only ASCII characters to the names that it
    /// shows.
    pub unicode: bool,
    /// Maximum number of rows in the tables of threads, sites and live sizes; a last row sums the others.
    pub rows: usize,
    /// Colours of the report.
    pub styles: Styles,
}

impl Layout {
    /// Minimum width of a line, in characters.
    pub const NARROWEST_COLUMNS: usize = 40;

    /// Returns the width, raised to the minimum if smaller.
    pub(super) fn columns(&self) -> usize {
        self.width.max(Self::NARROWEST_COLUMNS)
    }
}

impl Default for Layout {
    fn default() -> Self {
        Layout { width: 100, unicode: true, rows: 12, styles: Styles::none() }
    }
}

/// Escape sequences before and after coloured text.
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
    /// Returns styles without colours: the report contains no escape sequences.
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

/// Tone of a text, which selects its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Bad,
    Faint,
}

/// Width of the name of a fact, including its indent, in characters.
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

    /// Writes a name and its value; further lines of the value are aligned below the first.
    pub(super) fn fact(&mut self, name: &str, value: &str) -> io::Result<()> {
        self.toned(name, value, Tone::Plain)
    }

    pub(super) fn toned(&mut self, name: &str, value: &str, tone: Tone) -> io::Result<()> {
        let room = self.layout.columns() - NAME_COLUMNS;
        for (index, piece) in wrapped(value, room).into_iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            // Two spaces separate a longer name from its value; this value is not aligned.
            let indented = format!("  {name}  ");
            let piece = self.painted(&piece, tone);
            self.line(&format!("{indented:<NAME_COLUMNS$}{piece}"))?;
        }
        Ok(())
    }

    /// Writes a sentence, wrapped to the page and indented.
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

/// Breaks `text` at spaces into lines of up to `width` characters. A word longer than `width` fills a line alone.
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
