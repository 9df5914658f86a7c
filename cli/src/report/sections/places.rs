//! Text of a call path: the function that a report names as its place (see [`place_in`]), the library functions that
//! this function calls, and its callers.

use std::io;

use super::super::escape::escaped;
use super::super::table::{Table, cut};
use super::super::text_page::{TextPage, Tone};
use super::super::units::count;
use crate::analysis::paths::{Function, GroupBy, PathStep, place_in};
use crate::analysis::{SiteBook, without_repetition};

/// Maximum number of shown callers. One more line counts the remaining callers.
const CALLERS: usize = 5;
/// Number of spaces before the text of a place.
pub(super) const INDENT: usize = 7;
/// Maximum number of components of a file path that are shown, including the file name.
const FOLDERS: usize = 3;

/// Returns a function with its file and line. Cuts the function name if the text exceeds `width` characters.
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

/// Returns the last [`FOLDERS`] components of a file path, with the line.
fn file_and_line(file: &str, line: u32) -> String {
    if file.is_empty() {
        return String::new();
    }
    let parts: Vec<&str> = file.split(['/', '\\']).filter(|part| !part.is_empty()).collect();
    let short = escaped(&parts[parts.len().saturating_sub(FOLDERS)..].join("/"));
    if line > 0 { format!("{short}:{line}") } else { short }
}

/// Returns the last two components of a function's name: `Vec::push` of `alloc::vec::Vec::push`.
fn last_names(name: &str) -> String {
    let mut starts = Vec::new();
    let (mut depth, bytes) = (0i32, name.as_bytes());
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'<' | b'(' | b'[' => depth += 1,
            b'>' | b')' | b']' => depth -= 1,
            b':' if depth == 0 && bytes.get(at + 1) == Some(&b':') => starts.push(at + 2),
            _ => {}
        }
    }
    let kept = starts.len().checked_sub(2).and_then(|from| name.get(starts[from]..));
    kept.unwrap_or(name).to_owned()
}

/// Call path to be shown.
pub(super) struct ShownPath<'a> {
    pub(super) functions: &'a [Function],
    pub(super) path: &'a [PathStep],
    pub(super) lines: &'a [u32],
    /// Name of the scope or thread, if the line sums a scope or a thread; else empty.
    pub(super) label: &'a str,
}

/// Returns the text that names a line of a book: the place of its path, or its scope or thread.
pub(in super::super) fn named(book: &SiteBook, line: usize, width: usize) -> String {
    let line = &book.lines[line];
    let label = &line.label;
    ShownPath { functions: &book.functions, path: &line.path, lines: &line.lines, label }
        .place(book.group, width)
}

impl ShownPath<'_> {
    /// Returns the index, in the path, of the function that names the place.
    fn first_own(&self) -> usize {
        place_in(self.path, self.functions)
    }

    fn function(&self, step: PathStep) -> Option<&Function> {
        self.functions.get(step.function as usize)
    }

    /// Returns the function at `index` of the path as text.
    fn at(&self, index: usize, width: usize) -> String {
        let function = self.path.get(index).and_then(|step| self.function(*step));
        place(function, self.lines.get(index).copied().unwrap_or(0), width)
    }

    /// Returns the text that names the place: the function with its line, only the function, or only the crate, as
    /// `group` says. For a scope or thread, its name.
    pub(super) fn place(&self, group: GroupBy, width: usize) -> String {
        let at = self.first_own();
        let function = self.path.get(at).and_then(|step| self.function(*step));
        match group {
            GroupBy::Stack | GroupBy::Line => self.at(at, width),
            GroupBy::Function => place(function, 0, width),
            GroupBy::Scope | GroupBy::Thread => cut(&escaped(self.label), width),
            GroupBy::Crate => {
                let name = function.map_or("", Function::crate_name);
                if name.is_empty() { "(no name)".into() } else { cut(&escaped(name), width) }
            }
        }
    }

    /// Writes the place on one line, and the functions that it called and its callers on a second line.
    pub(super) fn write_short(&self, page: &mut TextPage<'_>, group: GroupBy, stacks: u64) -> io::Result<()> {
        let room = page.layout.columns() - INDENT;
        page.line(&format!("{:INDENT$}{}", "", self.place(group, room)))?;
        if !group.is_place() {
            return Ok(());
        }
        let own = self.first_own();
        let name = |index: &usize| {
            let function = self.path.get(*index).and_then(|step| self.function(*step));
            function.map_or(String::new(), |function| last_names(&escaped(&function.name)))
        };
        let mut parts = Vec::new();
        if stacks > 1 {
            parts.push(format!("{} stacks, the largest", count(stacks)));
        }
        if own > 0 {
            parts.push(format!("through {}", name(&(own - 1))));
        }
        // Of a recursion, each function is written once.
        let callers: Vec<String> = (own + 1..self.path.len()).map(|index| name(&index)).collect();
        let mut callers = without_repetition(0..callers.len(), |a, b| callers[a] == callers[b])
            .into_iter()
            .map(|at| callers[at].as_str())
            .collect::<Vec<_>>();
        callers.truncate(CALLERS);
        if !callers.is_empty() {
            parts.push(format!("from {}", callers.join(" < ")));
        }
        if parts.is_empty() {
            return Ok(());
        }
        let text = cut(&parts.join(" "), room - 2);
        page.toned_line(&format!("{:INDENT$}  {text}", ""), Tone::Faint)
    }

    /// Writes the place. If the lines are grouped by place, also writes below it, indented: one line for each function
    /// that it called, one for each of its nearest callers (up to `CALLERS`), and the number of further callers.
    pub(super) fn write(&self, page: &mut TextPage<'_>, group: GroupBy) -> io::Result<()> {
        let room = page.layout.columns() - INDENT;
        let own = self.first_own();
        page.line(&format!("{:INDENT$}{}", "", self.place(group, room)))?;
        if !group.is_place() {
            return Ok(());
        }
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

/// Writes a table of places. After row number n, from 0, calls `write(n)` for the lines below the row.
pub(super) fn table_of_places(
    page: &mut TextPage<'_>,
    table: &Table,
    mut write: impl FnMut(&mut TextPage<'_>, usize) -> io::Result<()>,
) -> io::Result<()> {
    let mut text = Vec::new();
    table.write(&mut text, page.layout.columns())?;
    let text = String::from_utf8_lossy(&text);
    let mut rows = text.lines();
    rows.next().map_or(Ok(()), |titles| page.line(titles))?;
    for (at, row) in rows.enumerate() {
        page.line(row)?;
        write(page, at)?;
    }
    Ok(())
}
