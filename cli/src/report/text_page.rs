//! The output of a report: headings, facts, notes and tables, at a given width and in given colours.

use std::io::{self, Write};

use super::table::Table;

/// The layout of a report, which the caller derives from the terminal.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Characters in a line, at least [`Layout::NARROWEST_COLUMNS`]. Long names and facts are cut or wrapped to it; a
    /// single word is never broken.
    pub width: usize,
    /// Whether drawings use block characters; otherwise the report itself is plain ASCII.
    pub unicode: bool,
    /// Rows in tables of threads, sites and live sizes, at most; the others are summed in a last row.
    pub rows: usize,
    /// Colours.
    pub styles: Styles,
}

impl Layout {
    /// The minimum width.
    pub const NARROWEST_COLUMNS: usize = 40;

    /// The width, at least the minimum.
    pub(super) fn columns(&self) -> usize {
        self.width.max(Self::NARROWEST_COLUMNS)
    }
}

impl Default for Layout {
    fn default() -> Self {
        Layout { width: 100, unicode: true, rows: 12, styles: Styles::none() }
    }
}

/// The escape sequences before and after coloured text.
#[derive(Debug, Clone, Default)]
pub(super) struct Paint {
    start: String,
    end: String,
}

/// The colours of a report.
#[derive(Debug, Clone, Default)]
pub struct Styles {
    pub(super) heading: Paint,
    pub(super) good: Paint,
    pub(super) bad: Paint,
    pub(super) faint: Paint,
}

impl Styles {
    /// No colours: the text holds no escape sequence.
    pub fn none() -> Self {
        Styles::default()
    }

    /// The colours of the `heapledger` command.
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

/// The tone of a text, which selects its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Bad,
    Faint,
}

/// Width of the name of a fact, its indent included.
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

    /// As [`TextPage::line`], in the colour of a tone.
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
            // A longer name keeps two spaces to the value, which is then not aligned.
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

/// `text` in lines of at most `width` characters, broken at spaces. A longer word gets its own line.
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
