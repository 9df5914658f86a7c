//! Display of a place in the program: the first function outside the standard library, the library functions that it
//! calls, and its callers.

use std::io;

use super::super::escape::escaped;
use super::super::table::{Table, cut};
use super::super::text_page::{TextPage, Tone};
use super::super::units::count;
use crate::analysis::paths::{Function, PathStep};

/// Maximum number of callers that are shown; one line counts the others.
const CALLERS: usize = 5;
/// Number of spaces before a place.
const INDENT: usize = 7;
/// Maximum number of components shown of a file path, including the file name.
const FOLDERS: usize = 3;

/// Returns a function with its file and line; cuts the function name if the text exceeds `width` characters.
pub(super) fn place(function: Option<&Function>, line: u32, width: usize) -> String {
    let Some(function) = function else { return "(no stack)".into() };
    let file = file_and_line(&function.file, line);
    let name = escaped(&function.name);
    if file.is_empty() {
        return cut(&name, width);
    }
    let room = width.saturating_sub(file.chars().count() + 3);
    format!("{} ({file})", cut(&name, room.max(16)))
}

/// Returns the last components of a file path, and the line.
fn file_and_line(file: &str, line: u32) -> String {
    if file.is_empty() {
        return String::new();
    }
    let parts: Vec<&str> = file.split(['/', '\\']).filter(|part| !part.is_empty()).collect();
    let short = escaped(&parts[parts.len().saturating_sub(FOLDERS)..].join("/"));
    if line > 0 { format!("{short}:{line}") } else { short }
}

/// Call path for display.
pub(super) struct ShownPath<'a> {
    pub(super) functions: &'a [Function],
    pub(super) path: &'a [PathStep],
    pub(super) lines: &'a [u32],
}

impl ShownPath<'_> {
    /// Returns the index in the path of the first function outside the standard library, or 0 if the path has none.
    fn first_own(&self) -> usize {
        let is_own = |step: &PathStep| self.function(*step).is_some_and(|function| !function.is_library);
        self.path.iter().position(is_own).unwrap_or(0)
    }

    fn function(&self, step: PathStep) -> Option<&Function> {
        self.functions.get(step.function as usize)
    }

    /// Returns the function at `index` of the path as text.
    fn at(&self, index: usize, width: usize) -> String {
        let function = self.path.get(index).and_then(|step| self.function(*step));
        place(function, self.lines.get(index).copied().unwrap_or(0), width)
    }

    /// Returns the first function outside the standard library, as text.
    pub(super) fn first_own_function(&self, width: usize) -> String {
        self.at(self.first_own(), width)
    }

    /// Writes the indented lines of the place.
    pub(super) fn write(&self, page: &mut TextPage<'_>) -> io::Result<()> {
        let room = page.layout.columns() - INDENT;
        let own = self.first_own();
        page.line(&format!("{:INDENT$}{}", "", self.at(own, room)))?;
        let inner = (0..own).map(|index| ("through", index));
        let outer = (own + 1..self.path.len()).take(CALLERS).map(|index| ("from", index));
        for (word, index) in inner.chain(outer) {
            let text = format!("{:INDENT$}  {word:<7} {}", "", self.at(index, room.saturating_sub(10)));
            page.toned_line(&text, Tone::Faint)?;
        }
        let more = self.path.len().saturating_sub(own + 1 + CALLERS);
        if more > 0 {
            let text = format!("{:INDENT$}  and {} more above", "", count(more as u64));
            page.toned_line(&text, Tone::Faint)?;
        }
        Ok(())
    }
}

/// Writes a table, and below each row the place of the same index in `places`.
pub(super) fn table_of_places(
    page: &mut TextPage<'_>,
    table: &Table,
    places: &[ShownPath<'_>],
) -> io::Result<()> {
    let mut text = Vec::new();
    table.write(&mut text, page.layout.columns())?;
    let text = String::from_utf8_lossy(&text);
    let mut rows = text.lines();
    rows.next().map_or(Ok(()), |titles| page.line(titles))?;
    let mut places = places.iter();
    for row in rows {
        page.line(row)?;
        places.next().map_or(Ok(()), |place| place.write(page))?;
    }
    Ok(())
}
