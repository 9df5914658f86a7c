//! Layout of a report, derived from flags and the terminal.

use std::env;
use std::io::IsTerminal;

use anstream::ColorChoice;
use anstream::stream::RawStream;
use heapledger_cli::report::{Layout, Styles};
use terminal_size::{Width, terminal_size};

use crate::args::{Color, PageArgs};

/// Width of a line, in characters, if the output is no terminal.
const DEFAULT_COLUMNS: usize = 100;
/// Maximum width of a line, in characters; longer lines are hard to read.
const WIDEST_COLUMNS: usize = 160;

/// Returns the layout for a report that is written to `stream`.
pub fn layout(args: &PageArgs, stream: &(impl RawStream + IsTerminal)) -> Layout {
    let colours = match args.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => anstream::AutoStream::choice(stream) != ColorChoice::Never,
    };
    Layout {
        width: args.width.unwrap_or_else(|| width(stream)),
        unicode: !args.ascii && is_unicode_locale(),
        rows: args.rows,
        styles: if colours { Styles::colour() } else { Styles::none() },
    }
}

fn width(stream: &impl IsTerminal) -> usize {
    match terminal_size() {
        Some((Width(columns), _)) if stream.is_terminal() => usize::from(columns).min(WIDEST_COLUMNS),
        _ => DEFAULT_COLUMNS,
    }
}

/// Whether the terminal shows UTF-8: always on Windows; on other systems, if the locale says so.
fn is_unicode_locale() -> bool {
    let names = ["LC_ALL", "LC_CTYPE", "LANG"];
    let locale = names.into_iter().filter_map(|name| env::var(name).ok()).find(|value| !value.is_empty());
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    cfg!(windows) || locale.contains("utf-8") || locale.contains("utf8")
}
