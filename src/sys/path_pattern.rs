//! Placeholders in the paths of dumps, traces and black boxes.
//!
//! | placeholder | replaced by |
//! | --- | --- |
//! | `%e` | name of the program ([`with_program_name`]) |
//! | `%p` | process id |
//! | `%t` | seconds since 1970 UTC |
//! | `%%` | a percent sign |
//!
//! A percent sign before any other character stays. The expansion allocates nothing, so it may run inside the
//! allocator.

use super::platform;
use super::program_name::with_program_name;

/// Number of decimal digits of the largest `u64`.
const DIGITS: usize = 20;

/// Expands `pattern` and passes the result piece by piece to `push`. Returns `None` as soon as `push` returns `None`.
pub(crate) fn expand(pattern: &[u8], mut push: impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
    for_each_part(pattern, |part| match part {
        Part::Text(text) => push(text),
        Part::Program => with_program_name(|name| push(if name.is_empty() { b"unknown" } else { name })),
        Part::ProcessId => push_number(u64::from(platform::process_id()), &mut push),
        Part::Seconds => push_number(platform::unix_time_ns() / 1_000_000_000, &mut push),
    })
}

/// Returns whether `pattern` contains `%p`, so that each process has a separate path.
pub(crate) fn has_process_id(pattern: &[u8]) -> bool {
    let search = for_each_part(pattern, |part| if part == Part::ProcessId { None } else { Some(()) });
    search.is_none()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a [u8]),
    Program,
    ProcessId,
    Seconds,
}

fn for_each_part<'a>(pattern: &'a [u8], mut each: impl FnMut(Part<'a>) -> Option<()>) -> Option<()> {
    let mut rest = pattern;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let (text, from) = rest.split_at(at);
        each(Part::Text(text))?;
        let (part, length) = match from.get(1) {
            Some(b'e') => (Part::Program, 2),
            Some(b'p') => (Part::ProcessId, 2),
            Some(b't') => (Part::Seconds, 2),
            Some(b'%') => (Part::Text(b"%"), 2),
            _ => (Part::Text(b"%"), 1),
        };
        each(part)?;
        rest = from.get(length..).unwrap_or(&[]);
    }
    each(Part::Text(rest))
}

fn push_number(number: u64, push: &mut impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
    let mut digits = [b'0'; DIGITS];
    let (mut rest, mut first) = (number, DIGITS - 1);
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            first = at;
            break;
        }
    }
    push(digits.get(first..)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(pattern: &[u8]) -> String {
        let mut path = Vec::new();
        let push = |bytes: &[u8]| {
            path.extend_from_slice(bytes);
            Some(())
        };
        expand(pattern, push).unwrap();
        String::from_utf8(path).unwrap()
    }

    #[test]
    fn placeholders_are_replaced_and_other_percent_signs_kept() {
        let id = std::process::id();
        assert_eq!(expanded(b"/tmp/%p-%p.hl"), format!("/tmp/{id}-{id}.hl"));
        assert_eq!(expanded(b"a%%b%x%"), "a%b%x%");
        assert_eq!(expanded(b"100%%p"), "100%p");
        let seconds: u64 = expanded(b"%t").parse().unwrap();
        assert!(seconds.abs_diff(platform::unix_time_ns() / 1_000_000_000) < 60);
        let program = std::env::current_exe().unwrap();
        assert_eq!(expanded(b"%e"), program.file_name().unwrap().to_str().unwrap());
    }

    #[test]
    fn every_number_has_all_its_digits() {
        for number in [0, 7, 10, 4_096, u64::MAX] {
            let mut text = Vec::new();
            let mut push = |bytes: &[u8]| {
                text.extend_from_slice(bytes);
                Some(())
            };
            push_number(number, &mut push).unwrap();
            assert_eq!(text, number.to_string().as_bytes());
        }
    }

    #[test]
    fn a_refused_piece_ends_the_expansion() {
        let mut pieces = 0;
        let refuse = |_: &[u8]| {
            pieces += 1;
            None
        };
        assert_eq!(expand(b"a%pb%t", refuse), None);
        assert_eq!(pieces, 1);
    }

    #[test]
    fn only_an_unescaped_placeholder_names_the_process() {
        assert!(has_process_id(b"a.%p") && has_process_id(b"%%%p"));
        assert!(!has_process_id(b"a.%e") && !has_process_id(b"a%%p") && !has_process_id(b"p%"));
    }
}
