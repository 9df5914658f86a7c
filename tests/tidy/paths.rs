//! Paths in code, of a `use` or an expression, in the form in which they read from the root of the crate.

use std::iter::Peekable;

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree, token_stream::IntoIter};

/// A path of two names or more.
#[derive(Debug)]
pub struct Path {
    /// Byte at which the first name begins.
    pub at: usize,
    /// Names from the root of the crate.
    pub names: Vec<String>,
    /// Whether the path begins with a name in scope. `names` is then right only if that name is a module below this
    /// one.
    pub is_relative: bool,
    /// Whether the path is a `pub use`, which re-exports a name.
    pub is_reexport: bool,
}

type Tokens = Peekable<IntoIter>;

/// Returns every path of a file. `code` is its text with blanks in place of comments and strings; `module` is the
/// file's module.
pub fn paths(tokens: TokenStream, code: &str, module: &[String]) -> Vec<Path> {
    let mut found = Vec::new();
    walk(tokens, code, module, &mut found);
    found
}

fn walk(tokens: TokenStream, code: &str, module: &[String], found: &mut Vec<Path>) {
    let mut tokens = tokens.into_iter().peekable();
    // Whether the last token was `pub`, and whether a `pub … use` has begun.
    let (mut is_public, mut is_reexport) = (false, false);
    while let Some(token) = tokens.next() {
        match token {
            // A restriction of visibility, such as `pub(in super::super)`, is no use of its path.
            TokenTree::Group(group) if is_public && group.delimiter() == Delimiter::Parenthesis => {}
            TokenTree::Group(group) => walk(group.stream(), code, module, found),
            TokenTree::Ident(word) if word == "pub" => is_public = true,
            TokenTree::Ident(word) if word == "use" => is_reexport = is_public,
            TokenTree::Ident(name) if name == "mod" => {
                let Some(TokenTree::Ident(name)) = tokens.next() else { continue };
                if let Some(TokenTree::Group(body)) = tokens.peek() {
                    walk(body.stream(), code, &[module, &[name.to_string()]].concat(), found);
                    tokens.next();
                }
            }
            TokenTree::Ident(name) => {
                let at = name.span().byte_range().start;
                let is_code = code.as_bytes()[at] != b' ';
                for path in tree(&name, &mut tokens).into_iter().filter(|path| is_code && path.len() > 1) {
                    let (names, is_relative) = from_root(path, module);
                    found.push(Path { at, names, is_relative, is_reexport });
                }
                (is_public, is_reexport) = (false, false);
            }
            _ => {}
        }
    }
}

/// Returns the paths of a use tree, or the single path, that begins with `first`.
fn tree(first: &Ident, tokens: &mut Tokens) -> Vec<Vec<String>> {
    let mut path = vec![first.to_string()];
    while is_punct(tokens, ':') {
        // Two colons continue a path; a single colon precedes a type.
        tokens.next();
        if !is_punct(tokens, ':') {
            break;
        }
        tokens.next();
        match tokens.peek() {
            Some(TokenTree::Ident(name)) => path.push(name.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let branches = branches(group.stream()).into_iter();
                tokens.next();
                return branches.map(|branch| [&path[..], &branch].concat()).collect();
            }
            Some(TokenTree::Punct(star)) if star.as_char() == '*' => path.push("*".to_owned()),
            _ => break,
        }
        tokens.next();
    }
    vec![path]
}

/// Returns the paths between the braces of a use tree.
fn branches(tokens: TokenStream) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(name) if name == "as" => drop(tokens.next()),
            TokenTree::Ident(name) => found.extend(tree(&name, &mut tokens)),
            TokenTree::Punct(star) if star.as_char() == '*' => found.push(vec!["*".to_owned()]),
            _ => {}
        }
    }
    found
}

fn is_punct(tokens: &mut Tokens, wanted: char) -> bool {
    matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// Returns a path from the root of the crate, and whether it began with a name in scope.
fn from_root(path: Vec<String>, module: &[String]) -> (Vec<String>, bool) {
    let is_relative = !matches!(path[0].as_str(), "crate" | "self" | "super");
    let mut names = module.to_vec();
    for name in path {
        match name.as_str() {
            "crate" => names.clear(),
            "self" => {}
            "super" => drop(names.pop()),
            _ => names.push(name),
        }
    }
    (names, is_relative)
}

#[test]
fn paths_read_from_the_root_however_they_are_written() {
    let read = |text: &str| {
        let source = super::source::Source::new("src/room/file.rs", text);
        source.paths.iter().map(|path| path.names.join("::")).collect::<Vec<_>>()
    };
    for (text, expected) in [
        ("use crate::sys::latch;", &["sys::latch"][..]),
        (
            "use crate::{sys::{self, latch as l, pages::*}, ring};",
            &["sys", "sys::latch", "sys::pages::*", "ring"],
        ),
        ("use super::{other::Item, *};", &["room::other::Item", "room::*"]),
        ("fn a() { super::super::ring::push() }", &["ring::push"]),
        ("mod inner { use super::super::other::Item; }", &["room::other::Item"]),
        ("fn a() { assert!(crate::ring::is_full()) }", &["ring::is_full"]),
        (
            "fn a(b: Vec<crate::ring::Lane>) { child::run::<crate::ring::Lane>() }",
            &["ring::Lane", "room::file::child::run", "ring::Lane"],
        ),
        (
            "#[cfg(test)]\nmod tests { use crate::ring; }\n// crate::ring\n/// crate::ring\nconst A: u8 = 0;",
            &[],
        ),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}
