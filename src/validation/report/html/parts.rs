//! Pieces of markup.

use std::fmt::Write;

use super::super::super::machine::MachineInfo;
use super::super::super::scalability::ScalabilityReport;
use super::super::table::{HEADINGS, row};
use crate::text::escape::escaped;

/// `text` as text of the page, whatever is in it.
pub(super) fn escape(text: &str) -> String {
    let text = escaped(text);
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
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

/// How a banner looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Note,
    Bad,
}

impl Tone {
    pub const fn class(self) -> &'static str {
        match self {
            Tone::Good => "tone-good",
            Tone::Note => "tone-note",
            Tone::Bad => "tone-bad",
        }
    }
}

pub(super) trait Markup {
    /// A section with a heading. `inside` is markup.
    fn section(&mut self, id: &str, heading: &str, inside: &str);
}

impl Markup for String {
    fn section(&mut self, id: &str, heading: &str, inside: &str) {
        let _ = writeln!(
            self,
            "<section id=\"{id}\" aria-labelledby=\"{id}-h\">\n<h2 id=\"{id}-h\">{}</h2>\n{inside}\n</section>",
            escape(heading)
        );
    }
}

/// A list of texts; nothing when there are none.
pub(super) fn list(texts: &[String]) -> String {
    if texts.is_empty() {
        return String::new();
    }
    let items: String = texts.iter().map(|t| format!("<li>{}</li>", escape(t))).collect();
    format!("<ul class=\"warnings\">{items}</ul>")
}

/// A table whose first column names the row.
pub(super) fn table(headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = String::from("<div class=\"wide\"><table class=\"plain v-table\"><thead><tr>");
    for heading in headings {
        let _ = write!(text, "<th scope=\"col\">{}</th>", escape(heading));
    }
    text.push_str("</tr></thead>\n<tbody>");
    for cells in rows {
        text.push_str("<tr>");
        for (i, cell) in cells.iter().enumerate() {
            let _ = match i {
                0 => write!(text, "<th scope=\"row\">{}</th>", escape(cell)),
                _ => write!(text, "<td>{}</td>", escape(cell)),
            };
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody></table></div>");
    text
}

/// The levels, as the text report has them.
pub(super) fn level_table(s: &ScalabilityReport) -> String {
    let headings = HEADINGS.map(|h| if h == "+-" { "±" } else { h });
    table(&headings, s.levels.iter().map(row))
}

/// One figure with its name and what it is.
pub(super) fn tile(name: &str, value: &str, detail: &str) -> String {
    format!(
        "<div class=\"tile\"><dt>{}</dt><dd class=\"value\">{}</dd><dd class=\"detail\">{}</dd></div>",
        escape(name),
        escape(value),
        escape(detail)
    )
}

/// Text with columns, as it is.
pub(super) fn lines(text: &str) -> String {
    let safe: Vec<String> = text.lines().map(escape).collect();
    format!("<pre class=\"v-lines\">{}</pre>", safe.join("\n"))
}

/// The machine in one line.
pub(super) fn machine(m: &MachineInfo) -> String {
    let cpu = m.cpu.as_deref().unwrap_or("unknown processor");
    let build = if m.optimised { "optimised build" } else { "build that is not optimised" };
    let load = m.load_average.map_or_else(String::new, |l| format!(", load average {l}"));
    let few = if m.cores <= 2 {
        "; two cores show correctness at any level, and little about scaling beyond two"
    } else {
        ""
    };
    format!("machine: {} cores, {cpu}, {}, {build}{load}{few}", m.cores, m.system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let hostile = "</style><script>alert('1')</script>\"&\u{202e}\u{1b}";
        for markup in [
            list(&[hostile.to_owned()]),
            table(&[hostile], std::iter::once(vec![hostile.to_owned()])),
            tile(hostile, hostile, hostile),
            lines(hostile),
        ] {
            assert!(!markup.contains("<script") && !markup.contains("</style"), "{markup}");
            assert!(!markup.contains('\u{202e}') && !markup.contains('\u{1b}'));
        }
        assert_eq!(escape("<a b='c'>&\""), "&lt;a b=&#39;c&#39;&gt;&amp;&quot;");
    }
}
