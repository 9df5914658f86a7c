//! Source lines that a page shows: the lines of the program where the places with the largest figures are.

use std::collections::{BTreeMap, BTreeSet};

use super::code_owner::CodeOwner;
use super::paths::place_in;
use super::{SiteBook, SiteOrder};

/// Returns the line numbers of the `limit` largest places by each figure, grouped by source file. Leaves out functions
/// outside the program's code, and functions without a file.
pub fn source_lines(book: &SiteBook, limit: usize) -> BTreeMap<&str, BTreeSet<u32>> {
    let mut files: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for row in SiteOrder::ALL.into_iter().flat_map(|order| book.ranking(order, limit).rows) {
        let line = &book.lines[row];
        let at = place_in(&line.path, &book.functions);
        let function = line.path.get(at).and_then(|step| book.functions.get(step.function as usize));
        let number = line.lines.get(at).copied().unwrap_or(0);
        if let Some(function) = function
            && function.owner == CodeOwner::Program
            && !function.file.is_empty()
            && number > 0
        {
            files.entry(&function.file).or_default().insert(number);
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::super::paths::{View, named};
    use super::super::site_book;
    use super::*;
    use heapledger::profile::Site;

    #[test]
    fn only_lines_of_the_programs_own_places_are_listed() {
        let profile = {
            let mut profile = named(&[
                &[
                    ("alloc::vec::Vec<T>::push", "/rustc/1/library/alloc/src/vec/mod.rs", 3),
                    ("demo::add", "a.rs", 7),
                ],
                &[("serde::go", "/c/registry/src/i/serde-1/src/de.rs", 4)],
                &[("demo::get", "a.rs", 2)],
            ]);
            let site = |stack| Site { stack, total_bytes: u64::from(stack), ..Site::default() };
            profile.sites = (1..4).map(site).collect();
            profile
        };
        let book = site_book(&profile, &View::default());
        let read = |limit| {
            source_lines(&book, limit)
                .into_iter()
                .map(|(file, lines)| (file, lines.len()))
                .collect::<Vec<_>>()
        };
        assert_eq!((read(9), read(1)), (vec![("a.rs", 2)], vec![("a.rs", 1)]));
    }
}
