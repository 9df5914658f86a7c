//! The report as a page for a browser: one file, opened from disk, that asks the network for nothing.
//!
//! ```text
//!  profile ─► analysis ─► document (findings as plain structs) ─► JSON ┐
//!  page/*.css, page/*.js, vendor/ ─────────────── joined as they are ──┴─► one HTML file
//! ```
//!
//! `document` says what the page knows: the findings of `analysis`, with their certainty, already in words where the
//! text report has words for them. `tree` packs the call stacks. The scripts show that, and compute only what depends
//! on what the reader does: sums over a selected span, the flame graph of a metric, the order of a table.
//!
//! **No name can become markup.** The JSON lies in a `<script type="application/json">`, with every `<`, `>` and `&` of a
//! text written as `\u003c` and so on, so that no text can end the element; the scripts put texts into the page through
//! `textContent` only. A content security policy allows the page's own script and style by their hashes and nothing
//! else, no request of any kind among it.
//!
//! **Libraries.** The plots of the timeline are uPlot's (`vendor/`, MIT). The flame graph is our own, on a canvas:
//! d3-flame-graph 5.0, the kept library for it, makes an element of the page for every rectangle (118,000 for
//! 1,000 stacks of 40 frames, 2.2 s) and goes through the whole tree on each zoom (1.0 s for 10,000 stacks); for
//! 100,000 stacks it did not come to an end within three minutes. It also takes no keys. What is drawn here is only
//! what is at least half a pixel wide, found from the top of the tree on each change: for 100,000 stacks of 40 frames, a
//! page of 25 MB that is shown after 2 s, some 160 ms (`tests/html/shown.rs` has the measurement).
//!
//! The scripts share one scope: each file defines one object, and they are joined in the order of `SCRIPTS`.

mod document;
mod key_figures;
mod tree;

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::detail::Detail;
use crate::analysis::Origin;
use heapledger::profile::Profile;

/// The styles, in the order in which they are joined.
const STYLES: [&str; 3] =
    [include_str!("vendor/uPlot-1.6.32.min.css"), heapledger::text::STYLES[0], heapledger::text::STYLES[1]];

/// The scripts, in the order in which they are joined. Each may use those before it.
const SCRIPTS: [&str; 10] = [
    include_str!("vendor/uPlot-1.6.32.iife.min.js"),
    include_str!("page/units.js"),
    include_str!("page/elements.js"),
    include_str!("page/calls.js"),
    include_str!("page/timeline.js"),
    include_str!("page/flame.js"),
    include_str!("page/flame_view.js"),
    include_str!("page/table.js"),
    include_str!("page/sections.js"),
    include_str!("page/main.js"),
];

/// The skeleton of the page.
const BODY: &str = include_str!("page/body.html");

/// Writes the page of `profile`, given what is known of its file; for a live process, `&Origin::default()`.
///
/// # Errors
///
/// Those of `out`.
pub fn write_page(profile: &Profile, origin: &Origin, out: &mut impl Write) -> io::Result<()> {
    write_page_with(profile, origin, &Detail::default(), out)
}

/// As [`write_page`], with which call stacks are looked at, and what is left out of the live blocks. How stacks are ranked
/// and how many are listed is up to whoever looks at the page.
///
/// # Errors
///
/// Those of `out`.
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

/// A script or style as the content security policy names it.
fn source_hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

/// Writes JSON so that it can stand inside a script element: the characters that markup is made of occur in its texts
/// only, where they can be escaped.
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
