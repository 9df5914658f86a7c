//! Tests that read an exported file back. Their small reader computes the figures as the reader of heaptrack does.

use super::*;
use crate::analysis::sample;
use heapledger::profile::LossReason;

/// Figures that `heaptrack_print` would show.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    allocations: u64,
    temporary: u64,
    peak: u64,
    leaked: u64,
    texts: Vec<String>,
}

fn written(profile: &Profile) -> String {
    let mut out = Vec::new();
    write(profile, &Origin::new(vec!["cut\nshort".into()], Vec::new()), &mut out)
        .expect("a vector takes everything");
    String::from_utf8(out).expect("text")
}

fn read(text: &str) -> Found {
    let (mut found, mut sizes, mut last) = (Found::default(), Vec::new(), 0);
    let (mut addresses, mut traces) = (0, 0);
    for line in text.lines() {
        let rest = line.get(2..).unwrap_or_default();
        let numbers = || -> Vec<u64> {
            rest.split(' ').map(|word| u64::from_str_radix(word, 16).expect("a hexadecimal number")).collect()
        };
        match line.as_bytes().first() {
            Some(b'#' | b'v' | b'X' | b'c') => {}
            Some(b's') => found.texts.push(rest.to_owned()),
            Some(b'i') => {
                let numbers = numbers();
                assert!(numbers.len() % 3 == 2 && numbers[1] <= found.texts.len() as u64, "{line}");
                for function in numbers[2..].chunks(3) {
                    assert!(function[0].max(function[1]) <= found.texts.len() as u64, "{line}");
                }
                addresses += 1;
            }
            Some(b't') => {
                let numbers = numbers();
                assert!((1..=addresses).contains(&numbers[0]) && numbers[1] <= traces, "{line}");
                traces += 1;
            }
            Some(b'a') => {
                let numbers = numbers();
                assert!((1..=traces).contains(&numbers[1]), "{line}");
                sizes.push(numbers[0]);
            }
            Some(b'+') => {
                last = numbers()[0];
                found.allocations += 1;
                found.leaked += sizes[last as usize];
                found.peak = found.peak.max(found.leaked);
            }
            Some(b'-') => {
                let freed = numbers()[0];
                found.temporary += u64::from(freed == last);
                last = 0;
                found.leaked -= sizes[freed as usize];
            }
            _ => panic!("no such line: {line}"),
        }
    }
    found
}

#[test]
fn the_events_have_the_sums_of_the_profile() {
    let profile = sample::named();
    let found = read(&written(&profile));
    let temporary: u64 = profile.sites.iter().map(|site| site.temporary_blocks).sum();
    let totals = profile.totals;
    assert_eq!(
        (found.allocations, found.temporary, found.peak, found.leaked),
        (totals.total_blocks, temporary, totals.peak_bytes, totals.live_bytes)
    );
    for text in ["main", "Vec<T>::push", "src/parse.rs", "libx.so+0x123", "/lib/libx.so", NO_STACK] {
        assert!(found.texts.iter().any(|found| found == text), "{text}: {:?}", found.texts);
    }
}

#[test]
fn quality_and_what_is_made_up_stand_in_comments() {
    let text = written(&sample::with_loss(LossReason::RingFull, 3));
    for line in ["# lost_ring_full 3", "# damage \"cut\\nshort\"", "# made from sums by site"] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}\n{text}");
    }
}

#[test]
fn nothing_and_hostile_names_keep_the_lines_apart() {
    assert_eq!(read(&written(&sample::empty())), Found::default());
    let mut profile = sample::named();
    profile.symbols.strings[5] = "\n+ 1\r\u{0}".repeat(200_000);
    profile.process.command_line = vec!["x\n- 1".into()];
    profile.modules[1].path = "/lib/\n- 1\n/libx.so".into();
    assert_eq!(read(&written(&profile)).allocations, profile.totals.total_blocks);
}

#[test]
fn more_events_than_a_file_should_have_are_refused() {
    let mut profile = sample::named();
    profile.sites[1].total_blocks = u64::MAX;
    let error = write(&profile, &Origin::default(), &mut Vec::new()).expect_err("too many");
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("a line for each event"), "{error}");
}
