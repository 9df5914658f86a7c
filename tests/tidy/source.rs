//! Source text for the rules, with comments, strings and test modules blanked out, so that every character keeps its
//! place.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

use super::paths::{Path as CodePath, paths};

/// Roots of the libraries that have layers.
const CRATES: [&str; 2] = ["src/", "cli/src/"];

/// One Rust file.
#[derive(Debug)]
pub struct Source {
    /// Path relative to the package, with `/` on every platform.
    pub path: String,
    /// Text of the file.
    pub text: String,
    /// Text without comments and without the contents of strings.
    pub all_code: String,
    /// `all_code` without the items that only tests compile.
    pub code: String,
    /// Paths in `code`.
    pub paths: Vec<CodePath>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        let all_code = without_prose(tokens.clone(), text);
        let code = without_tests(&all_code);
        let paths = paths(tokens, &code, &module(path));
        Source { path: path.to_owned(), text: text.to_owned(), all_code, code, paths }
    }

    /// Returns the line that holds a byte, counted from 1.
    pub fn line_of(&self, byte: usize) -> usize {
        self.text[..byte].matches('\n').count() + 1
    }

    /// Returns the folder below `src`, or the name of a file in `src` itself.
    pub fn layer(&self) -> Option<&str> {
        let (_, below) = in_crate(&self.path)?;
        Some(below.split('/').next()?.trim_end_matches(".rs"))
    }

    /// Returns the layer with its crate, or the program, that the file is part of.
    pub fn room(&self) -> Option<&str> {
        let (root, below) = in_crate(&self.path)?;
        let depth = if below.starts_with("bin/") { 2 } else { 1 };
        let length: usize = below.split('/').take(depth).map(|name| name.len() + 1).sum();
        Some(self.path[..root.len() + length - 1].trim_end_matches(".rs"))
    }

    /// Returns the module of the file, from the root of its crate.
    pub fn module(&self) -> Vec<String> {
        module(&self.path)
    }

    /// Blanks out the code, for a file that only tests compile.
    fn clear(&mut self) {
        self.code.clear();
        self.paths.clear();
    }
}

/// Returns the root of the file's library, and the path below it.
fn in_crate(path: &str) -> Option<(&str, &str)> {
    CRATES.iter().find_map(|root| Some((*root, path.strip_prefix(root)?)))
}

fn module(path: &str) -> Vec<String> {
    let below = in_crate(path).map_or(path, |(_, below)| below).trim_end_matches(".rs");
    // A program in `bin` is a crate.
    let skipped = if below.starts_with("bin/") { 2 } else { 0 };
    let names = below.split('/').skip(skipped).filter(|name| !matches!(*name, "mod" | "lib" | "main"));
    names.map(str::to_owned).collect()
}

/// Returns every file below `folder` of the package with this ending.
pub fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Returns a path relative to the package, with `/` as the separator.
pub fn relative(path: &Path) -> String {
    let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path);
    path.to_string_lossy().replace('\\', "/").trim_start_matches('/').to_owned()
}

/// Returns all Rust files below these folders. A file that only tests compile has no code.
pub fn sources(folders: &[&str]) -> Vec<Source> {
    let paths = folders.iter().flat_map(|folder| files(folder, ".rs"));
    let read =
        |path: PathBuf| Source::new(&relative(&path), &fs::read_to_string(&path).expect("a text file"));
    let mut sources: Vec<Source> = paths.map(read).collect();
    let for_tests: Vec<String> = sources.iter().flat_map(test_files).collect();
    for source in &mut sources {
        let below = |file: &String| source.path.starts_with(&format!("{}/", file.trim_end_matches(".rs")));
        if for_tests.iter().any(|file| *file == source.path || below(file)) {
            source.clear();
        }
    }
    sources
}

/// Returns the files that a `#[cfg(test)] mod name;` in `source` includes.
fn test_files(source: &Source) -> Vec<String> {
    let folder = match source.path.rsplit_once('/') {
        Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_owned(),
        _ => source.path.trim_end_matches(".rs").to_owned(),
    };
    let code = &source.all_code;
    let gated = test_items(code).into_iter().filter_map(|(start, end)| {
        let at = start + words(&code[start..end], "mod").next()?;
        code[..end].ends_with(';').then(|| identifier(code, at + 3).0)
    });
    gated.map(|name| format!("{folder}/{name}.rs")).collect()
}

/// Blanks out comments and the contents of strings and characters.
fn without_prose(tokens: TokenStream, text: &str) -> String {
    let mut page: Vec<u8> = text.bytes().map(|byte| if byte == b'\n' { b'\n' } else { b' ' }).collect();
    copy(tokens, text, &mut page);
    String::from_utf8(page).expect("whole tokens were copied")
}

/// Copies tokens to their places in the text. A literal other than a number is not copied, and neither is a doc
/// comment, each of whose tokens spans the whole comment.
fn copy(tokens: TokenStream, text: &str, page: &mut [u8]) {
    for token in tokens {
        let spans = match &token {
            TokenTree::Group(group) => vec![group.span_open(), group.span_close()],
            other => vec![other.span()],
        };
        for range in spans.into_iter().map(|span| span.byte_range()) {
            let is_comment = text[range.clone()].starts_with("//") || text[range.clone()].starts_with("/*");
            let is_number = text.as_bytes()[range.start].is_ascii_digit();
            if !is_comment && (is_number || !matches!(token, TokenTree::Literal(_))) {
                page[range.clone()].copy_from_slice(&text.as_bytes()[range]);
            }
        }
        if let TokenTree::Group(group) = token {
            copy(group.stream(), text, page);
        }
    }
}

/// Blanks out the items that only tests compile.
fn without_tests(code: &str) -> String {
    let mut kept = code.as_bytes().to_vec();
    for (start, end) in test_items(code) {
        for byte in &mut kept[start..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    String::from_utf8(kept).expect("whole characters were blanked")
}

/// Returns the span of every item behind `#[cfg(… test …)]`, from its attribute to its end.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut items = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(") {
        let start = from + found;
        let attribute_end = start + code[start..].find(")]").map_or(code.len() - start, |length| length + 2);
        let attribute = &code[start..attribute_end];
        from = attribute_end;
        if words(attribute, "test").next().is_none() || attribute.contains("not(test") {
            continue;
        }
        let stop = code[attribute_end..].find(['{', ';']).map_or(code.len(), |length| attribute_end + length);
        let end = if code[stop..].starts_with('{') { block_end(code, stop) } else { stop + 1 };
        from = end.min(code.len());
        items.push((start, from));
    }
    items
}

/// Returns the places of a word that is not part of a longer word.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let end = at + word.len();
        let bytes = code.as_bytes();
        let starts = *at == 0 || !is_word(bytes[at - 1]) || !is_word(bytes[*at]);
        let ends = end == bytes.len() || !is_word(bytes[end]) || !is_word(bytes[end - 1]);
        starts && ends
    })
}

/// Returns the next identifier and the place of its end.
pub fn identifier(code: &str, at: usize) -> (String, usize) {
    let start = skip_space(code, at);
    let length = code[start..].bytes().take_while(|byte| is_word(*byte)).count();
    (code[start..start + length].to_owned(), start + length)
}

pub fn skip_space(code: &str, at: usize) -> usize {
    at + code[at..].bytes().take_while(u8::is_ascii_whitespace).count()
}

/// Returns the place after the brace that closes the block opened at `open`.
pub fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[test]
fn comments_and_strings_are_blanked_in_place() {
    let text = concat!(
        "let a = \"Vec // \\\" Box\"; // Vec\n",
        "/* Vec /* Box */ String */ let b = r#\"Vec \" Box\"#;\n",
        "let c: &'static str = 'x'; let d = ('\\'', 'ä', b'\"', c\"Vec\");\n",
    );
    let code = Source::new("src/room/mod.rs", text).all_code;
    assert_eq!(code.len(), text.len());
    assert_eq!(code.lines().count(), text.lines().count());
    for word in ["Vec", "Box", "String"] {
        assert!(!code.contains(word), "{code}");
    }
    assert!(
        code.contains("let b =") && code.contains("&'static str") && code.contains("let d = ("),
        "{code}"
    );
}

#[test]
fn code_for_tests_is_blanked() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { let x = { 1 }; }\n}\nfn c() {}\n\
                #[cfg(all(test, loom))]\nmod loom_tests;\n#[cfg(not(test))]\nfn d() {}\n";
    let source = Source::new("src/room/mod.rs", text);
    assert!(!source.code.contains("fn b") && !source.code.contains("loom_tests"), "{}", source.code);
    assert!(source.code.contains("fn a") && source.code.contains("fn c") && source.code.contains("fn d"));
    assert_eq!(test_files(&source), ["src/room/loom_tests.rs"]);
    assert_eq!(source.line_of(text.find("fn c").expect("there")), 6);
}

#[test]
fn modules_are_named_from_the_root() {
    let module = |path: &str| Source::new(path, "").module().join("::");
    assert_eq!(module("src/room/file.rs"), "room::file");
    assert_eq!(module("src/room/mod.rs"), "room");
    assert_eq!(module("cli/src/room/file.rs"), "room::file");
    assert_eq!(module("src/bin/heapledger/file.rs"), "file");
    assert_eq!(module("src/lib.rs"), "");
}
