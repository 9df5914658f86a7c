//! Reading of the source lines that a page shows.
//!
//! A hostile dump can name any file, and users pass pages on to others. So a file is read only if it is a regular file
//! and its name ends like that of a source file. A page gets only the lines around the largest places. A place is the
//! line of the program that a report names for a site.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use heapledger::Profile;
use heapledger_cli::analysis::paths::{GroupBy, View};
use heapledger_cli::analysis::{site_book, source_lines};
use heapledger_cli::report::SourceExtract;

/// Number of the largest places by each figure whose lines are read.
const PLACES: usize = 60;
/// Number of lines that are shown before and after the line of a place.
const AROUND: u32 = 4;
/// Maximum number of characters of a line that are shown.
const LINE_CHARACTERS: usize = 200;
/// Maximum size of a source file that is read, in bytes.
const FILE_BYTES: u64 = 4 << 20;
/// File name extensions of source files.
const ENDS: [&str; 9] = ["rs", "c", "h", "cc", "cpp", "cxx", "hh", "hpp", "lalrpop"];

/// Reads the lines around the largest places in the program's code. Files that do not exist are left out.
pub fn read(profile: &Profile, view: &View<'_>) -> Vec<SourceExtract> {
    let book = site_book(profile, &View { group: GroupBy::Line, ..view.clone() });
    let started = UNIX_EPOCH + Duration::from_nanos(profile.process.started_unix_ns);
    let mut extracts = Vec::new();
    for (file, lines) in source_lines(&book, PLACES) {
        let path = Path::new(file);
        let is_source = path.extension().is_some_and(|end| ENDS.iter().any(|known| end == *known));
        let Ok(metadata) = path.metadata() else { continue };
        if !is_source || !metadata.is_file() || metadata.len() > FILE_BYTES {
            continue;
        }
        let is_newer = metadata.modified().is_ok_and(|modified| modified > started);
        let mut wanted: Vec<(u32, u32)> = Vec::new();
        for line in lines {
            let (first, last) = (line.saturating_sub(AROUND).max(1), line.saturating_add(AROUND));
            match wanted.last_mut() {
                Some((_, end)) if *end + 1 >= first => *end = last,
                _ => wanted.push((first, last)),
            }
        }
        extracts.extend(parts(path, &wanted).into_iter().map(|(first_line, lines)| SourceExtract {
            file: file.to_owned(),
            first_line,
            lines,
            is_newer,
        }));
    }
    extracts
}

/// Reads the lines of a file in each of the ranges `wanted`. A range is its first and its last line.
fn parts(path: &Path, wanted: &[(u32, u32)]) -> Vec<(u32, Vec<String>)> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let mut parts: Vec<(u32, Vec<String>)> = wanted.iter().map(|(first, _)| (*first, Vec::new())).collect();
    let mut at = 0;
    for (number, line) in (1u32..).zip(BufReader::new(file).split(b'\n')) {
        let Ok(line) = line else { break };
        while wanted.get(at).is_some_and(|(_, last)| number > *last) {
            at += 1;
        }
        let Some((first, _)) = wanted.get(at) else { break };
        if number >= *first {
            let text = String::from_utf8_lossy(&line).trim_end().replace('\t', "    ");
            parts[at].1.push(text.chars().take(LINE_CHARACTERS).collect());
        }
    }
    parts.retain(|(_, lines)| !lines.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    #[test]
    fn ranges_of_lines_are_cut_out_of_a_file() {
        let path = std::env::temp_dir().join(format!("heapledger-source-{}.rs", std::process::id()));
        std::fs::write(&path, "a\n\tb\nc\nd\ne").unwrap();
        let read = super::parts(&path, &[(2, 3), (5, 9), (20, 21)]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read, [(2, vec!["    b".to_owned(), "c".to_owned()]), (5, vec!["e".to_owned()])]);
        assert_eq!(super::parts(&path, &[(1, 1)]), []);
    }
}
