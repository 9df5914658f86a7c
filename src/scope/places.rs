//! The places in the program that allocated the blocks of a scope, for the message of an assertion.

use std::collections::BTreeMap;

use super::names::{Function, Names};
use super::usage::{SiteUsage, sites_of_cell};
use crate::profile::Module;
use crate::text::escape::escaped;
use crate::text::units::{bytes, count, counted};

/// Number of places that a message shows.
const SHOWN: usize = 5;
/// Maximum number of lines about places in a message.
#[cfg(test)]
pub(super) const LINES: usize = SHOWN + 4;
/// Maximum number of characters of a function's name in a message.
const NAME_CHARS: usize = 96;

/// A function that returns two figures of a site: a number of blocks or reallocs, and a number of bytes.
type CountAndBytes = fn(&SiteUsage) -> (u64, u64);

/// The figures by which places are ranked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranking {
    /// Heading of the column of counts.
    heading: &'static str,
    figures: CountAndBytes,
    is_by_bytes: bool,
}

impl Ranking {
    /// Returns the ranking in which the places that contribute most to a figure come first.
    pub(super) fn of_figure(name: &str) -> Ranking {
        let allocated = |site: &SiteUsage| (site.allocations, site.bytes);
        let retained = |site: &SiteUsage| (site.retained_blocks, site.retained_bytes);
        let (heading, figures, is_by_bytes): (_, CountAndBytes, _) = match name {
            "reallocations" => ("reallocs", |site| (site.reallocations, site.bytes), false),
            "retained" => ("retained", retained, false),
            "retained_bytes" => ("retained", retained, true),
            "bytes" | "peak" => ("blocks", |site| (site.allocations + site.reallocations, site.bytes), true),
            _ => ("blocks", allocated, false),
        };
        Ranking { heading, figures, is_by_bytes }
    }

    fn rank(self, (count, bytes): (u64, u64)) -> u64 {
        if self.is_by_bytes { bytes } else { count }
    }
}

/// Returns the lines of the message that list the places of a scope.
pub(super) fn of_scope(cell: u32, ranking: Ranking) -> Vec<String> {
    let (sites, modules) = sites_of_cell(cell);
    let mut names = Names::new(&modules);
    lines(&sites, &modules, ranking, |address| names.at(address))
}

/// Returns the lines of the message that list the places of `sites`. `functions` returns the functions at an address,
/// innermost first.
fn lines(
    sites: &[SiteUsage],
    modules: &[Module],
    ranking: Ranking,
    mut functions: impl FnMut(u64) -> Vec<Function>,
) -> Vec<String> {
    let sites: Vec<_> = sites.iter().filter(|site| ranking.rank((ranking.figures)(site)) > 0).collect();
    if sites.is_empty() {
        return Vec::new();
    }
    if sites.iter().all(|site| site.frames.is_empty()) {
        return vec![
            "where it came from is not known: no call stacks are taken (`HEAPLEDGER_STACKS`)".to_owned(),
        ];
    }
    let mut places: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for site in sites {
        let (count, bytes) = (ranking.figures)(site);
        let sums = places.entry(place(site, modules, &mut functions)).or_default();
        (sums.0, sums.1) = (sums.0 + count, sums.1 + bytes);
    }
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by_key(|(_, sums)| std::cmp::Reverse(ranking.rank(*sums)));
    let mut lines = vec![format!("{:>10}{:>12}   where it came from", ranking.heading, "bytes")];
    for (place, (blocks, of_bytes)) in places.iter().take(SHOWN) {
        lines.push(format!("{:>10}{:>12}   {place}", count(*blocks), bytes(*of_bytes)));
    }
    if let Some(rest) = places.get(SHOWN..).filter(|rest| !rest.is_empty()) {
        let sum = rest.iter().map(|(_, sums)| sums).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let others = counted(rest.len() as u64, "other place", "other places");
        lines.push(format!("{:>10}{:>12}   {others}", count(sum.0), bytes(sum.1)));
    }
    if !cfg!(feature = "names") {
        lines.push("functions and lines: switch on the feature `names` of heapledger".to_owned());
    }
    lines
}

/// Returns the text for the place of a site: the innermost function that belongs to the program, and the next function
/// of the program that called it.
fn place(site: &SiteUsage, modules: &[Module], functions: &mut impl FnMut(u64) -> Vec<Function>) -> String {
    let named = site.frames.iter().flat_map(|address| functions(*address)).collect::<Vec<_>>();
    let named = match named.iter().rposition(Function::is_of_the_allocator) {
        Some(entry) => &named[entry + 1..],
        None => &named[..],
    };
    let is_program = |function: &&Function| function.is_of_the_program();
    let own: Vec<_> = named.iter().filter(is_program).take(2).collect();
    let foreign = || named.iter().find(|function| !function.is_of_a_library()).or(named.first());
    match own[..] {
        [at, caller] => format!("{} <- {}", shown(at), shown(caller)),
        [at] => shown(at),
        _ => match (foreign(), site.frames.first()) {
            (Some(at), _) => shown(at),
            (None, Some(address)) => offset(*address, modules),
            (None, None) => "(no call stack)".to_owned(),
        },
    }
}

fn shown(function: &Function) -> String {
    let name = match function.name.char_indices().nth(NAME_CHARS) {
        Some((end, _)) => format!("{}..", &function.name[..end]),
        None => function.name.clone(),
    };
    let name = escaped(&name);
    if function.file.is_empty() {
        return name;
    }
    let folder = std::env::current_dir().unwrap_or_default();
    let path = std::path::Path::new(&function.file);
    let path = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
    format!("{name} ({}:{})", escaped(&path), function.line)
}

/// Returns the text for an address without a name: the name of its object file, and the address in that file.
fn offset(address: u64, modules: &[Module]) -> String {
    let module = modules.iter().find(|module| (module.start..module.end).contains(&address));
    match module {
        Some(module) => {
            let name = module.path.rsplit('/').next().unwrap_or_default();
            format!("{}+{:#x}", escaped(name), address - module.bias)
        }
        None => format!("{address:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions(address: u64) -> Vec<Function> {
        let function = |name: &str, file: &str, line| Function { name: name.into(), file: file.into(), line };
        match address {
            1 => vec![
                function("alloc::raw_vec::grow", "/rustc/1/library/alloc/src/raw_vec.rs", 9),
                function("parse::words", "src/parse.rs", 31),
            ],
            2 => vec![function("parse::document", "src/parse.rs", 12)],
            3 => vec![function("serde::visit", "/home/.cargo/registry/src/index/serde-1/src/de.rs", 5)],
            address if address >= 10 => vec![function(&format!("parse::item_{address}"), "src/items.rs", 1)],
            _ => Vec::new(),
        }
    }

    fn site(frames: &[u64], allocations: u64, bytes: u64) -> SiteUsage {
        SiteUsage { frames: frames.to_vec(), allocations, bytes, ..SiteUsage::default() }
    }

    fn said(sites: &[SiteUsage], figure: &str) -> Vec<String> {
        let mut lines = lines(sites, &[], Ranking::of_figure(figure), functions);
        lines.retain(|line| !line.contains("feature `names`"));
        lines
    }

    #[test]
    fn places_are_functions_of_the_program_with_their_callers() {
        let sites = [site(&[1, 2], 5, 100), site(&[3], 1, 4_000), site(&[1, 2, 77], 3, 28), site(&[4], 1, 1)];
        assert_eq!(
            said(&sites, "allocations"),
            [
                "    blocks       bytes   where it came from",
                "         8       128 B   parse::words (src/parse.rs:31) <- parse::document (src/parse.rs:12)",
                "         1         1 B   0x4",
                "         1     3.9 KiB   serde::visit (/home/.cargo/registry/src/index/serde-1/src/de.rs:5)",
            ]
        );
        assert!(said(&sites, "bytes")[1].ends_with("de.rs:5)"), "by bytes");
        assert_eq!(said(&sites, "retained"), [""; 0]);
    }

    #[test]
    fn five_places_are_shown_and_the_rest_is_one_line() {
        let sites: Vec<_> = (10..20).map(|n| site(&[n], n, 1)).collect();
        let said = said(&sites, "allocations");
        assert_eq!(said.len(), 7);
        assert_eq!(said[1], "        19         1 B   parse::item_19 (src/items.rs:1)");
        assert_eq!(said[6], "        60         5 B   5 other places");
    }

    #[test]
    fn without_call_stacks_the_message_says_so() {
        assert!(said(&[site(&[], 5, 100)], "allocations")[0].contains("no call stacks are taken"));
    }
}
