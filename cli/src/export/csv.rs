//! Sites as comma-separated values, for spreadsheets and data frames.
//!
//! ```text
//! # heapledger sites, format 2
//! # completeness_ppm 1000000
//! # attempted 14
//! ...
//! stack,total_blocks,total_bytes,...,function,file,line,functions
//! 1,4,400,...,demo::parse,src/parse.rs,7,demo::parse;demo::main
//! ```
//!
//! Comment lines start with `# ` and have a name and a value; most programs can skip lines that start with `#`. The
//! file has one comment line for each damaged part. The name of a column includes its unit.
//!
//! `function`, `file` and `line` are the place that a report names: the innermost function of the program, else the
//! innermost function of a dependency, else the innermost function. `functions` has the functions that the place
//! called, the place, and its nearest callers, innermost first. They are simplified as in a report: a run of library
//! functions is one function, generic arguments are `<..>`, and of a repeated sequence only one copy is written. With
//! `ExportOptions::unfolded`, the column has all functions. `scope` has the names of the nested scopes, as in `server >
//! GET /search`.
//!
//! A semicolon in a name becomes a colon, and a cell with a comma or a quotation mark is quoted. Text in comments is
//! written as a quoted Rust string, so that no name can end its line.

use std::io::{self, Write};

use super::options::ExportOptions;
use super::quality;
use crate::analysis::diff::scope_path;
use crate::analysis::paths::{Function, Paths, View, place_in};
use crate::analysis::{Origin, SiteOrder, without_repetition};
use heapledger::profile::{Profile, Site};
use heapledger::text::escape::escaped;

/// Version of the format. A change of meaning or the removal of a column raises the version; a new last column does
/// not.
const FORMAT_VERSION: u32 = 2;

type SiteFigure = fn(&Site) -> u64;

/// Columns with figures, which come after the stack and before the place.
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

/// Maximum number of callers that are listed for a place, unless the options ask for all functions.
const CALLERS: usize = 8;

pub(super) fn write(
    profile: &Profile,
    origin: &Origin,
    options: &ExportOptions,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "# heapledger sites, format {FORMAT_VERSION}")?;
    quality::lines(profile, origin).iter().try_for_each(|line| writeln!(out, "# {line}"))?;
    let sites = chosen(profile, options);
    if sites.len() < profile.sites.len() {
        writeln!(out, "# sites_not_written {}", profile.sites.len() - sites.len())?;
    }
    write!(out, "stack")?;
    COLUMNS.iter().try_for_each(|(name, _)| write!(out, ",{name}"))?;
    writeln!(out, ",frames_truncated,function,file,line,functions,scope")?;
    let (with_generics, with_library) = (options.unfolded, options.unfolded);
    let view = View { with_generics, with_library, own: options.own.clone(), ..View::default() };
    let mut paths = Paths::new(profile, &view, &[]);
    for site in sites {
        write!(out, "{}", site.stack)?;
        COLUMNS.iter().try_for_each(|(_, figure)| write!(out, ",{}", figure(site)))?;
        let stack = profile.stacks.get(site.stack as usize);
        write!(out, ",{},", stack.is_some_and(|stack| stack.truncated))?;
        let reading = paths.read(site.stack);
        let frames: Vec<&Function> =
            reading.path.iter().filter_map(|step| paths.functions().get(step.function as usize)).collect();
        let place = place_in(&reading.path, paths.functions());
        match frames.get(place) {
            Some(function) => {
                let line = reading.lines.get(place).copied().unwrap_or(0);
                write!(out, "{},{},{line},", cell(&function.name), cell(&function.file))?;
            }
            None => write!(out, ",,0,")?,
        }
        let scope = scope_path(profile, profile.scope_of_stack(site.stack));
        writeln!(out, "{},{}", functions(&frames, place, options), cell(&scope))?;
    }
    Ok(())
}

/// Returns the sites to write, in the order of the options.
fn chosen<'a>(profile: &'a Profile, options: &ExportOptions) -> Vec<&'a Site> {
    let mut sites: Vec<&Site> = profile.sites.iter().collect();
    let order = options.by.or(options.top.map(|_| SiteOrder::Total));
    if let Some(order) = order {
        sites.sort_by_key(|site| std::cmp::Reverse(order.value(site)));
    }
    sites.truncate(options.top.unwrap_or(usize::MAX));
    sites
}

/// Returns the functions of a stack as one cell, innermost first. Of a repeated sequence, the innermost copy is
/// written.
fn functions(frames: &[&Function], place: usize, options: &ExportOptions) -> String {
    let names = |frames: &[&Function]| -> Vec<String> {
        frames.iter().map(|function| function.name.replace(';', ":")).collect()
    };
    if options.unfolded {
        return cell(&names(frames).join(";"));
    }
    let kept = without_repetition(frames.iter().copied(), |a, b| a.name == b.name);
    let (most, is_cut) = (place + 1 + CALLERS, kept.len() > place + 1 + CALLERS);
    let mut names = names(&kept[..most.min(kept.len())]);
    names.extend(is_cut.then(|| "...".to_owned()));
    cell(&names.join(";"))
}

/// Returns a text as a cell: escaped, and quoted if it contains a comma or a quotation mark.
fn cell(text: &str) -> String {
    let text = escaped(text);
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::sample;
    use heapledger::profile::LossReason;

    fn csv(profile: &Profile, origin: &Origin) -> String {
        let mut out = Vec::new();
        write(profile, origin, &ExportOptions::default(), &mut out).expect("a vector takes everything");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn every_line_has_as_many_cells_as_there_are_columns() {
        let text = csv(&sample::complete(), &Origin::default());
        let rows: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(rows.len(), 3, "a line of names and two sites");
        assert!(rows.iter().all(|row| row.split(',').count() == COLUMNS.len() + 7), "{text}");
        assert_eq!(
            rows[2],
            "1,4,400,4,400,0,0,200,2,200,4,400,0,0,0,0,0,0,0,127,false,0x1000,,0,0x1000;0x2000,"
        );
    }

    #[test]
    fn functions_are_one_cell_whatever_they_are_called() {
        let mut profile = sample::named();
        profile.symbols.strings[5] = "a<\"b\", [u8; 4]>\n".into();
        let options = ExportOptions { unfolded: true, ..ExportOptions::default() };
        let mut out = Vec::new();
        write(&profile, &Origin::default(), &options, &mut out).expect("a vector takes everything");
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains(",\"libx.so+0x123;a<\"\"b\"\", [u8: 4]>\\u{a}\",\n"), "{text}");
        assert!(text.contains(",\"Vec<T>::push;parse;Vec<T>::push;parse;a<"), "{text}");
        let folded = csv(&profile, &Origin::default());
        assert!(folded.contains(",Vec<..>::push;parse;a<..>\\u{a},\n"), "{folded}");
    }

    #[test]
    fn the_largest_sites_come_first_on_request() {
        let options = ExportOptions { by: Some(SiteOrder::Total), top: Some(2), ..ExportOptions::default() };
        let mut out = Vec::new();
        write(&sample::named(), &Origin::default(), &options, &mut out).expect("a vector takes everything");
        let text = String::from_utf8(out).expect("text");
        let figures: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(',').nth(2))
            .collect();
        assert_eq!(figures, ["total_bytes", "10001", "1000"]);
        assert!(text.contains("# sites_not_written 4\n"), "{text}");
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
