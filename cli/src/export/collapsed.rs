//! Collapsed stacks, which flame graph programs read.
//!
//! ```text
//! main;parse;Vec<T>::push 1000
//! ```
//!
//! Each line is a path of names, outermost first, with the sum of one figure. Paths whose sum is zero are left out.
//! Sites without a stack have the path `(no stack)`. Lines are sorted by the names of their frames, because other
//! programs expect lines with the same outer frames together. Of a sequence of names that repeats without a gap, as in
//! a recursion, only one copy is written, unless the options keep all frames.
//!
//! The format has no comments: other programs reject a line that is not a stack, or read it as a stack. So this is the
//! only format without the quality of the data, which the caller must print separately
//! ([`Format::carries_quality`](super::Format::carries_quality)).
//!
//! Names that other programs would misread are changed; see [`in_collapsed_stack`].

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::names::NO_STACK;
use super::options::ExportOptions;
use crate::analysis::name_simplify::in_collapsed_stack;
use crate::analysis::{Groups, SiteOrder, group_by, without_repetition};
use heapledger::profile::Profile;

pub(super) fn write(
    profile: &Profile,
    metric: SiteOrder,
    options: &ExportOptions,
    out: &mut impl Write,
) -> io::Result<()> {
    // Different functions can have the same name in collapsed stacks. The name is the key, so these functions are one
    // frame.
    let Groups { keys, groups } = group_by(profile, |frame| in_collapsed_stack(&frame.display_name()));
    let (names, ranks) = ranked(keys);
    let mut sums: BTreeMap<Vec<u32>, u64> = BTreeMap::new();
    for group in &groups {
        let figure = group.sum(profile, |site| metric.value(site));
        if figure > 0 {
            let path = group.frames.iter().rev().map(|key| ranks[*key as usize]);
            let path = match options.unfolded {
                true => path.collect(),
                false => without_repetition(path, |a, b| a == b),
            };
            let sum = sums.entry(path).or_default();
            *sum = sum.saturating_add(figure);
        }
    }
    let no_stack = sums.remove(&Vec::new());
    no_stack.map_or(Ok(()), |figure| writeln!(out, "{NO_STACK} {figure}"))?;
    let others = options.top.map_or(0, |top| remove_others(&mut sums, top));
    if others > 0 {
        writeln!(out, "{OTHER_STACKS} {others}")?;
    }
    let mut line = String::new();
    for (path, figure) in &sums {
        line.clear();
        for rank in path {
            line.push_str(&names[*rank as usize]);
            line.push(';');
        }
        line.pop();
        writeln!(out, "{line} {figure}")?;
    }
    Ok(())
}

/// Name of the line that sums the stacks beyond `top`.
const OTHER_STACKS: &str = "(other stacks)";

/// Keeps the `top` paths with the largest figures. Returns the sum of the figures of the removed paths.
fn remove_others(sums: &mut BTreeMap<Vec<u32>, u64>, top: usize) -> u64 {
    let mut order: Vec<(u64, Vec<u32>)> = sums.iter().map(|(path, figure)| (*figure, path.clone())).collect();
    order.sort_by_key(|(figure, _)| std::cmp::Reverse(*figure));
    let others = order.split_off(top.min(order.len()));
    others.iter().fold(0, |sum, (_, path)| sum.saturating_add(sums.remove(path).unwrap_or(0)))
}

/// Returns the names in sorted order, and the rank of each key in that order. Paths are compared by ranks, which is
/// faster than by names.
fn ranked(keys: Vec<String>) -> (Vec<String>, Vec<u32>) {
    let mut order: Vec<u32> = (0..keys.len() as u32).collect();
    order.sort_by(|a, b| keys[*a as usize].cmp(&keys[*b as usize]));
    let mut ranks = vec![0; keys.len()];
    order.iter().zip(0..).for_each(|(key, rank)| ranks[*key as usize] = rank);
    let mut names = keys;
    names.sort();
    (names, ranks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::sample;

    pub(super) fn collapsed(profile: &Profile, metric: SiteOrder) -> String {
        let mut out = Vec::new();
        write(profile, metric, &ExportOptions::default(), &mut out).expect("a vector takes everything");
        String::from_utf8(out).expect("text")
    }

    fn sum(text: &str) -> u64 {
        text.lines()
            .map(|line| line.rsplit_once(' ').expect("a figure").1.parse::<u64>().expect("a number"))
            .sum()
    }

    #[test]
    fn paths_are_outermost_first_and_the_figures_of_each_file_add_up() {
        let profile = sample::named();
        let options = ExportOptions { unfolded: true, ..ExportOptions::default() };
        let mut whole = Vec::new();
        write(&profile, SiteOrder::Total, &options, &mut whole).expect("a vector takes everything");
        assert_eq!(
            String::from_utf8(whole).expect("text"),
            "(no stack) 20\n0xefff 64\nmain;libx.so+0x123 10001\nmain;parse;Vec<T>::push 1300\n\
             main;parse;Vec<T>::push;parse;Vec<T>::push 77\n"
        );
        let folded = collapsed(&profile, SiteOrder::Total);
        assert!(folded.ends_with("main;parse;Vec<T>::push 1377\n"), "{folded}");
        for (metric, total) in [
            (SiteOrder::Total, profile.totals.total_bytes),
            (SiteOrder::Count, profile.totals.total_blocks),
            (SiteOrder::Live, profile.totals.live_bytes),
            (SiteOrder::Peak, profile.totals.peak_bytes),
            (SiteOrder::Temporaries, 5),
        ] {
            assert_eq!(sum(&collapsed(&profile, metric)), total, "{metric:?}");
        }
    }

    #[test]
    fn the_largest_stacks_are_written_and_the_rest_is_one_line() {
        let profile = sample::named();
        let options = ExportOptions { top: Some(1), ..ExportOptions::default() };
        let mut out = Vec::new();
        write(&profile, SiteOrder::Total, &options, &mut out).expect("a vector takes everything");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "(no stack) 20\n(other stacks) 1441\nmain;libx.so+0x123 10001\n");
        assert_eq!(sum(&text), profile.totals.total_bytes);
    }

    #[test]
    fn nothing_gives_an_empty_file() {
        assert_eq!(collapsed(&sample::empty(), SiteOrder::Live), "");
        assert_eq!(collapsed(&sample::complete(), SiteOrder::Live), "(no stack) 2200\n");
    }

    #[test]
    fn names_cannot_be_taken_for_figures_or_for_two_frames() {
        let mut profile = sample::named();
        profile.symbols.strings[5] = "x 99".into();
        let text = collapsed(&profile, SiteOrder::Total);
        assert!(text.contains("x_99;libx.so+0x123 10001\n"), "{text}");
        assert_eq!(sum(&text), profile.totals.total_bytes);
    }

    /// Checks the lines with another program: the flame graph that inferno draws from them counts every byte.
    #[test]
    fn inferno_reads_every_line() {
        let mut profile = sample::named();
        profile.symbols.strings[3] = "a;\u{1b}<&\"' 7".into();
        let text = collapsed(&profile, SiteOrder::Total);
        let mut options = inferno::flamegraph::Options::default();
        options.count_name = "bytes".into();
        let mut drawn = Vec::new();
        inferno::flamegraph::from_lines(&mut options, text.lines(), &mut drawn).expect("readable");
        let drawn = String::from_utf8(drawn).expect("text");
        assert!(drawn.contains("<title>all (11,462 bytes, 100%)</title>"), "{drawn}");
        assert!(drawn.contains("<title>main (11,378 bytes, 99.27%)</title>"), "{drawn}");
    }
}
