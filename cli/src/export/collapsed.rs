//! Collapsed stacks, the input of flame graph programs.
//!
//! ```text
//! main;parse;Vec<T>::push 1000
//! ```
//!
//! The file has one line for each path of names, outermost first. All lines show the same figure; paths whose figure
//! is zero are omitted. Sites without a stack have the path `(no stack)`. Lines are sorted, because readers expect
//! sorted lines.
//!
//! The format has no comments: readers reject a line that is not a stack, or treat such a line as a stack. So this is
//! the only format without the quality of the data; the caller has to print the quality separately
//! ([`Format::carries_quality`](super::Format::carries_quality)).
//!
//! Names that readers would misread are changed: see [`in_collapsed_stack`].

use std::io::{self, Write};

use super::names::NO_STACK;
use crate::analysis::name_simplify::in_collapsed_stack;
use crate::analysis::{Group, Groups, SiteOrder, group_by};
use heapledger::profile::Profile;

pub(super) fn write(profile: &Profile, metric: SiteOrder, out: &mut impl Write) -> io::Result<()> {
    // Different names can become equal in collapsed stacks; equal names are one key.
    let Groups { keys, mut groups } = group_by(profile, |frame| in_collapsed_stack(&frame.display_name()));
    groups.sort_by(|a, b| bytes(a, &keys).cmp(bytes(b, &keys)));
    for group in &groups {
        let figure = group.sum(profile, |site| metric.value(site));
        if figure == 0 {
            continue;
        }
        if group.frames.is_empty() {
            write!(out, "{NO_STACK}")?;
        }
        for (index, name) in outer_first(group, &keys).enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            write!(out, "{separator}{name}")?;
        }
        writeln!(out, " {figure}")?;
    }
    Ok(())
}

fn outer_first<'a>(group: &'a Group, names: &'a [String]) -> impl Iterator<Item = &'a str> {
    group.frames.iter().rev().filter_map(|frame| names.get(*frame as usize)).map(String::as_str)
}

/// Returns the bytes of a line before its figure.
fn bytes<'a>(group: &'a Group, names: &'a [String]) -> impl Iterator<Item = u8> {
    let none = group.frames.is_empty().then_some(NO_STACK);
    let parts = outer_first(group, names).chain(none).enumerate();
    parts.flat_map(|(index, name)| (index > 0).then_some(b';').into_iter().chain(name.bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::sample;

    pub(super) fn collapsed(profile: &Profile, metric: SiteOrder) -> String {
        let mut out = Vec::new();
        write(profile, metric, &mut out).expect("a vector takes everything");
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
        let text = collapsed(&profile, SiteOrder::Total);
        assert_eq!(
            text,
            "(no stack) 20\n0xefff 64\nmain;libx.so+0x123 10001\nmain;parse;Vec<T>::push 1300\n\
             main;parse;Vec<T>::push;parse;Vec<T>::push 77\n"
        );
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

    /// Checks the lines with another implementation: the flame graph that inferno draws counts every byte.
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
