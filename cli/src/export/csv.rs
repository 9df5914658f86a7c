//! Sites as comma-separated values, for spreadsheets and data frames.
//!
//! ```text
//! # heapledger sites, format 1
//! # completeness_ppm 1000000
//! # attempted 14
//! ...
//! stack,total_blocks,total_bytes,...,frames
//! 1,4,400,...,0x1000;0x2000
//! ```
//!
//! Comment lines start with `# ` and hold a name and a value; most readers can skip lines that start with `#`. The
//! file has one comment line for each damaged part. The name of a column includes its unit.
//!
//! Frames are return addresses, innermost first, separated by semicolons. The last column has the functions in the
//! same order, without those of the recorder. A semicolon in a name becomes a colon, and a cell with a comma or a
//! quotation mark is quoted. Text in comments is written as a quoted Rust string, so that no name can end its line.

use std::io::{self, Write};

use super::quality;
use crate::analysis::{Frame, Origin, StackReader};
use heapledger::profile::{Profile, Site};
use heapledger::text::escape::escaped;

/// Version of this format. A new meaning or the removal of a column raises the version; a new last column does not.
const FORMAT_VERSION: u32 = 1;

type SiteFigure = fn(&Site) -> u64;

/// Columns between the stack and its frames.
const COLUMNS: [(&str, SiteFigure); 19] = [
    ("total_blocks", |site| site.total_blocks),
    ("total_bytes", |site| site.total_bytes),
    ("freed_blocks", |site| site.freed_blocks),
    ("freed_bytes", |site| site.freed_bytes),
    ("live_blocks", Site::live_blocks),
    ("live_bytes", Site::live_bytes),
    ("own_peak_bytes", |site| site.own_peak_bytes),
    ("at_peak_blocks", |site| site.at_peak_blocks),
    ("at_peak_bytes", |site| site.at_peak_bytes),
    ("temporary_blocks", |site| site.temporary_blocks),
    ("temporary_bytes", |site| site.temporary_bytes),
    ("cross_thread_frees", |site| site.cross_thread_frees),
    ("reallocs", |site| site.reallocs.count),
    ("reallocs_moved", |site| site.reallocs.moved),
    ("realloc_copied_bytes", |site| site.reallocs.copied_bytes),
    ("realloc_chains", |site| site.reallocs.chains),
    ("realloc_chain_links", |site| site.reallocs.chain_links),
    ("longest_realloc_chain", |site| site.reallocs.longest_chain),
    ("median_size_at_most_bytes", |site| site.sizes.quantile_upper(0.5).unwrap_or(0)),
];

pub(super) fn write(profile: &Profile, origin: &Origin, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "# heapledger sites, format {FORMAT_VERSION}")?;
    quality::lines(profile, origin).iter().try_for_each(|line| writeln!(out, "# {line}"))?;
    let reader = StackReader::new(profile);
    write!(out, "stack")?;
    COLUMNS.iter().try_for_each(|(name, _)| write!(out, ",{name}"))?;
    writeln!(out, ",frames_truncated,frames,functions")?;
    for site in &profile.sites {
        write!(out, "{}", site.stack)?;
        COLUMNS.iter().try_for_each(|(_, figure)| write!(out, ",{}", figure(site)))?;
        let stack = profile.stacks.get(site.stack as usize);
        write!(out, ",{},", stack.is_some_and(|stack| stack.truncated))?;
        for (index, frame) in stack.iter().flat_map(|stack| &stack.frames).enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            write!(out, "{separator}{frame:#x}")?;
        }
        writeln!(out, ",{}", functions(&reader.frames(site.stack)))?;
    }
    Ok(())
}

/// Returns the functions of a stack as one cell, innermost first.
fn functions(frames: &[Frame<'_>]) -> String {
    let names: Vec<String> =
        frames.iter().map(|frame| escaped(&frame.display_name()).replace(';', ":")).collect();
    let cell = names.join(";");
    if cell.contains([',', '"']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::sample;
    use heapledger::profile::LossReason;

    fn csv(profile: &Profile, origin: &Origin) -> String {
        let mut out = Vec::new();
        write(profile, origin, &mut out).expect("a vector takes everything");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn every_line_has_as_many_cells_as_there_are_columns() {
        let text = csv(&sample::complete(), &Origin::default());
        let rows: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(rows.len(), 3, "a line of names and two sites");
        assert!(rows.iter().all(|row| row.split(',').count() == COLUMNS.len() + 4), "{text}");
        assert_eq!(
            rows[2],
            "1,4,400,4,400,0,0,200,2,200,4,400,0,0,0,0,0,0,0,127,false,0x1000;0x2000,0xfff;0x1fff"
        );
    }

    #[test]
    fn functions_are_one_cell_whatever_they_are_called() {
        let mut profile = sample::named();
        profile.symbols.strings[5] = "a<\"b\", [u8; 4]>\n".into();
        let text = csv(&profile, &Origin::default());
        assert!(
            text.contains("false,0x8124;0x1100,\"libx.so+0x123;a<\"\"b\"\", [u8: 4]>\\u{a}\"\n"),
            "{text}"
        );
        assert!(text.contains("0x1001;0x1010;0x1100,\"Vec<T>::push;parse;"));
    }

    #[test]
    fn quality_is_in_the_comments_and_loss_is_never_rounded_away() {
        for reason in LossReason::ALL {
            let mut profile = sample::with_loss(reason, 1);
            profile.quality.recorded = u64::MAX;
            let text = csv(&profile, &Origin::new(vec!["cut\nshort".into()], vec!["n".into()]));
            assert!(text.contains("# completeness_ppm 999999\n"));
            assert!(text.contains(&format!("# lost_{} 1\n", reason.name())));
            assert!(text.contains("# damaged_parts 1\n# damage \"cut\\nshort\"\n# note \"n\"\n"));
        }
    }

    #[test]
    fn names_cannot_end_their_line() {
        let mut profile = sample::empty();
        profile.process.program = "a\n1,2,3".into();
        assert!(csv(&profile, &Origin::default()).contains("# program \"a\\n1,2,3\"\n"));
    }
}
