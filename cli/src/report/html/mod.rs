//! Report as a page for a browser, in one file that needs no network.
//!
//! ```text
//!  profile ─► analysis ─► document (findings as plain structs) ─► JSON ┐
//!  page/*.css, page/*.js, vendor/ ─────────────── joined as they are ──┴─► one HTML file
//! ```
//!
//! `document` has the data of the page: the findings of `analysis` with their certainty, as sentences where the text
//! report has sentences. `tree` packs the call stacks. The scripts display the data. They compute only values that
//! depend on the user's input: sums over a selected period, the flame graph of a metric, the order of a table.
//!
//! **No name can become markup.** The page stores the JSON in a `<script type="application/json">`. Every `<`, `>` and
//! `&` of a text is written as an escape such as `\u003c`, so no text can end the script element. The scripts insert
//! texts into the page only through `textContent`. A content security policy allows the scripts and styles of the page
//! by their hashes. The policy forbids everything else, including requests.
//!
//! **Libraries.** uPlot draws the timeline (`vendor/`, MIT). Scripts of this package draw the flame graph on a canvas,
//! because the maintained library, d3-flame-graph 5.0, is too slow and has no keyboard control. It creates a DOM
//! element for every rectangle (118,000 for 1,000 stacks of 40 frames, 2.2 s) and walks the whole tree on each zoom
//! (1.0 s for 10,000 stacks); 100,000 stacks took more than three minutes. On each change, the canvas version searches
//! from the top of the tree for rectangles at least half a pixel wide, and draws only those. This takes 160 ms for
//! 100,000 stacks of 40 frames, a page of 25 MB that is shown after 2 s (measured by `tests/html/shown.rs`).
//!
//! The scripts share one JavaScript scope. Each file defines one object, and the page joins the files in the order of
//! `SCRIPTS`.

mod document;
mod key_figures;
mod selection;
mod tree;

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::detail::Detail;
use crate::analysis::Origin;
use heapledger::profile::Profile;

/// Styles of the page, in the order in which the page joins them.
const STYLES: [&str; 3] =
    [include_str!("vendor/uPlot-1.6.32.min.css"), heapledger::text::STYLES[0], heapledger::text::STYLES[1]];

/// Scripts of the page, in the order in which the page joins them. Each script may use the scripts before it.
const SCRIPTS: [&str; 13] = [
    include_str!("vendor/uPlot-1.6.32.iife.min.js"),
    include_str!("page/units.js"),
    include_str!("page/elements.js"),
    include_str!("page/calls.js"),
    include_str!("page/selection.js"),
    include_str!("page/timeline.js"),
    include_str!("page/flame.js"),
    include_str!("page/flame_view.js"),
    include_str!("page/table.js"),
    include_str!("page/source.js"),
    include_str!("page/functions.js"),
    include_str!("page/sections.js"),
    include_str!("page/main.js"),
];

/// Body of the page, without data.
const BODY: &str = include_str!("page/body.html");

/// Writes the page of `profile`. `origin` describes the file of the profile; pass `&Origin::default()` for a running
/// process.
///
/// # Errors
///
/// Returns an error if `out` does.
pub fn write_page(profile: &Profile, origin: &Origin, out: &mut impl Write) -> io::Result<()> {
    write_page_with(profile, origin, &Detail::default(), out)
}

/// Writes the page as [`write_page`] does, with the filters of stacks and the suppressions of `detail`. Ignores the
/// ranking and the number of places in `detail`, because the user of the page selects these.
///
/// # Errors
///
/// Returns an error if `out` does.
pub fn write_page_with(
    profile: &Profile,
    origin: &Origin,
    detail: &Detail<'_>,
    out: &mut impl Write,
) -> io::Result<()> {
    let style = STYLES.join("\n");
    let script = format!("(() => {{\n\"use strict\";\n{}\n}})();", SCRIPTS.join("\n"));
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'",
        source_hash(&script),
        source_hash(&style)
    );
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"generator\" content=\"heapledger {version}\">\n\
         <title>heapledger report</title>\n<style>{style}</style>\n</head>\n<body>\n{BODY}\
         <script type=\"application/json\" id=\"document\">",
        version = env!("CARGO_PKG_VERSION"),
    )?;
    serde_json::to_writer(InScript { out: &mut *out }, &document::document(profile, origin, detail))?;
    write!(out, "</script>\n<script>{script}</script>\n</body>\n</html>\n")
}

/// Returns the hash of a script or style, as the content security policy states it.
fn source_hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

/// Writer that makes JSON safe inside a script element: it escapes `<`, `>` and `&`, which occur only within JSON
/// strings.
struct InScript<W> {
    out: W,
}

impl<W: Write> Write for InScript<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'<' | b'>' | b'&')) {
            self.out.write_all(&rest[..at])?;
            write!(self.out, "\\u{:04x}", rest[at])?;
            rest = &rest[at + 1..];
        }
        self.out.write_all(rest)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
