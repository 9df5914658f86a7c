//! Simplification of function names: generic arguments, library functions, names in collapsed stacks.
//!
//! A user of a report looks for lines of the program, and rarely needs the internals of `Vec::push` or its type
//! arguments. By default a report shows generic arguments as `<..>`. Of several nested calls of library functions, it
//! shows only the function that the program called.

use super::Frame;
use heapledger::text::escape::escaped;

/// Returns `name` with generic arguments replaced by `<..>`. The brackets of a qualified path stay, as in `<a::Vec<..>
/// as Clone>::clone`.
///
/// ```
/// use heapledger_cli::analysis::name_simplify::without_generics;
/// assert_eq!(without_generics("<alloc::vec::Vec<u8>>::push"), "<alloc::vec::Vec<..>>::push");
/// assert_eq!(without_generics("demo::keep::<alloc::string::String>"), "demo::keep::<..>");
/// ```
pub fn without_generics(name: &str) -> String {
    // A C++ operator can have angle brackets in its name, so such names are not changed.
    if !name.contains('<') || name.contains("operator") {
        return name.to_owned();
    }
    let mut folded = String::with_capacity(name.len());
    let (mut before, mut depth) = (' ', 0usize);
    for sign in name.chars() {
        // The `>` of `->` is no closing bracket.
        let closes = sign == '>' && before != '-';
        match sign {
            '<' if depth > 0 => depth += 1,
            '<' if before.is_alphanumeric() || matches!(before, '_' | ':' | '}') => {
                depth = 1;
                folded.push_str("<..>");
            }
            _ if depth > 0 && closes => depth -= 1,
            _ if depth > 0 => {}
            _ => folded.push(sign),
        }
        before = sign;
    }
    // If a bracket is not closed, the name stays unchanged.
    if depth > 0 { name.to_owned() } else { folded }
}

/// Names of the functions through which the system starts a program or a thread.
const STARTERS: [&str; 7] = [
    "_start",
    "__libc_start_main",
    "__libc_start_main_impl",
    "__libc_start_call_main",
    "start_thread",
    "clone3",
    "__clone3",
];

/// Whether a function belongs to the standard library of Rust (`std`, `core`, `alloc` and their dependencies) or to the
/// code that starts programs and threads. The path of the source file decides; if the file is unknown, the name
/// decides.
pub fn is_library(frame: &Frame<'_>) -> bool {
    let is_of_rust = ["/rustc/", "/rust/deps/"].iter().any(|place| frame.file.starts_with(place))
        || frame.file.contains("/rustlib/src/rust/library/");
    // A `main` without a source file is the one that the compiler generates. A `main` in C has a source file.
    let is_made = frame.function == "main" && frame.file.is_empty();
    if is_of_rust || is_made || STARTERS.contains(&frame.function) {
        return true;
    }
    let name = frame.function.trim_start_matches(['<', '&', '*', '(', '[', ' ']);
    let name = ["mut ", "const ", "dyn "].iter().fold(name, |name, word| name.trim_start_matches(word));
    let roots = ["std::", "core::", "alloc::", "__rust"];
    frame.file.is_empty() && roots.iter().any(|root| name.starts_with(root))
}

/// Returns `name` as a frame of a collapsed stack. In that format, `;` separates frames, and the number after the last
/// space is the figure. So control characters are escaped, `;` becomes `:`, and a space before a number at the end
/// becomes `_`.
pub(crate) fn in_collapsed_stack(name: &str) -> String {
    let name = escaped(name.trim()).replace(';', ":");
    match name.rsplit_once(' ') {
        Some((before, last)) if last.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
            format!("{before}_{last}")
        }
        _ if name.is_empty() => "(unnamed)".into(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_folded_and_qualified_names_stay() {
        let known = [
            ("alloc::vec::Vec<T,A>::push", "alloc::vec::Vec<..>::push"),
            ("<a::B<u8> as core::clone::Clone>::clone", "<a::B<..> as core::clone::Clone>::clone"),
            ("a::b::<fn(u8) -> u8, [u8; 3]>::{closure#0}", "a::b::<..>::{closure#0}"),
            ("<fn() -> i32 as F<()>>::call", "<fn() -> i32 as F<..>>::call"),
            ("a::{closure#0}<T>", "a::{closure#0}<..>"),
            ("plain", "plain"),
            ("std::operator<< <char>", "std::operator<< <char>"),
            ("broken<<<", "broken<<<"),
            ("a>b", "a>b"),
        ];
        for (name, folded) in known {
            assert_eq!(without_generics(name), folded);
        }
    }

    #[test]
    fn the_library_is_told_by_its_file_and_else_by_its_name() {
        let is = |function, file| {
            is_library(&Frame { address: 0, function, file, line: 0, inlined: false, module: None })
        };
        for (function, file) in [
            ("grow_one<u8>", "/rustc/1234/library/alloc/src/raw_vec/mod.rs"),
            ("insert", "/rust/deps/hashbrown-0.15.2/src/map.rs"),
            ("push", "/home/me/.rustup/toolchains/x/lib/rustlib/src/rust/library/alloc/src/vec/mod.rs"),
            ("<alloc::vec::Vec<demo::A>>::push", ""),
            ("<&mut dyn core::fmt::Write as core::fmt::Write>::write_str", ""),
            ("_start", ""),
            ("__rust_begin_short_backtrace<fn(), ()>", ""),
        ] {
            assert!(is(function, file), "{function} {file}");
        }
        for (function, file) in [
            ("demo::main", "src/main.rs"),
            ("<demo::A as core::clone::Clone>::clone", ""),
            ("stdx::go", ""),
            ("core::fake", "src/core.rs"),
            ("insert", "src/library/insert.rs"),
            ("", ""),
        ] {
            assert!(!is(function, file), "{function} {file}");
        }
    }

    #[test]
    fn a_name_in_a_collapsed_stack_is_neither_a_figure_nor_two_frames() {
        for (name, expected) in [
            ("[u8; 4]", "[u8: 4]"),
            ("closure 12", "closure_12"),
            ("closure 1 2.5", "closure 1_2.5"),
            (" \n ", "(unnamed)"),
            ("a\nb", "a\\u{a}b"),
        ] {
            assert_eq!(in_collapsed_stack(name), expected);
        }
    }
}
