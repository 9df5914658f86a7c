//! Source text for the rules: comments, strings and test modules blanked out, every character in its place.

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust file.
#[derive(Debug)]
pub struct Source {
    /// Relative to the package, with `/` on every platform.
    pub path: String,
    /// The text as it is.
    pub text: String,
    /// The text without comments, without what is in strings, and without what only tests compile.
    pub code: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned(), code: without_tests(&without_prose(text)) }
    }

    /// The line that a byte is on, counted from 1.
    pub fn line_of(&self, byte: usize) -> usize {
        self.text[..byte].matches('\n').count() + 1
    }

    /// The folder below `src`, or the name of a file that lies in `src` itself.
    pub fn layer(&self) -> Option<&str> {
        let below = self.path.strip_prefix("cli/").unwrap_or(&self.path).strip_prefix("src/")?;
        Some(below.split('/').next()?.trim_end_matches(".rs"))
    }

    /// The modules that a byte lies in, from the root of the crate.
    pub fn modules_at(&self, byte: usize) -> Vec<String> {
        let package = self.path.strip_prefix("cli/").unwrap_or(&self.path);
        let below = package.strip_prefix("src/").unwrap_or(package).trim_end_matches(".rs");
        let files = below.split('/').filter(|name| *name != "mod" && *name != "lib");
        let mut modules: Vec<String> = files.map(str::to_owned).collect();
        for at in words(&self.code, "mod").take_while(|at| *at < byte) {
            let (name, rest) = identifier(&self.code, at + 3);
            let open = skip_space(&self.code, rest);
            if self.code[open..].starts_with('{') && block_end(&self.code, open) > byte {
                modules.push(name);
            }
        }
        modules
    }
}

/// Every file below `folder` of the package with this ending.
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

/// A path as the rules name it.
pub fn relative(path: &Path) -> String {
    let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path);
    path.to_string_lossy().replace('\\', "/").trim_start_matches('/').to_owned()
}

/// All Rust files below these folders. Files that only tests compile have no code.
pub fn sources(folders: &[&str]) -> Vec<Source> {
    let paths = folders.iter().flat_map(|folder| files(folder, ".rs"));
    let read =
        |path: PathBuf| Source::new(&relative(&path), &fs::read_to_string(&path).expect("a text file"));
    let mut sources: Vec<Source> = paths.map(read).collect();
    let for_tests: Vec<String> = sources.iter().flat_map(test_files).collect();
    for source in &mut sources {
        let below = |file: &String| source.path.starts_with(&format!("{}/", file.trim_end_matches(".rs")));
        if for_tests.iter().any(|file| *file == source.path || below(file)) {
            source.code.clear();
        }
    }
    sources
}

/// Files that a `#[cfg(test)] mod name;` in this one brings in.
fn test_files(source: &Source) -> Vec<String> {
    let folder = match source.path.rsplit_once('/') {
        Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_owned(),
        _ => source.path.trim_end_matches(".rs").to_owned(),
    };
    let code = without_prose(&source.text);
    let gated = test_items(&code).into_iter().filter_map(|(start, end)| {
        let at = start + words(&code[start..end], "mod").next()?;
        code[..end].ends_with(';').then(|| identifier(&code, at + 3).0)
    });
    gated.map(|name| format!("{folder}/{name}.rs")).collect()
}

/// Blanks out comments and what is in strings and characters.
pub fn without_prose(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut kept = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = prose_end(bytes, at);
        let blank = end.max(at);
        for byte in &mut kept[at..blank] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = blank.max(at + 1);
    }
    String::from_utf8(kept).expect("whole characters were blanked")
}

/// Where the comment, string or character that begins here ends; `at` itself when none begins.
fn prose_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let before = if at == 0 { b' ' } else { bytes[at - 1] };
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return at + comment_length(rest);
    }
    if rest[0] == b'r' && (!is_word(before) || matches!(before, b'b' | b'c')) {
        let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
        if rest.get(1 + hashes) == Some(&b'"') {
            let close = [&b"\""[..], &b"#".repeat(hashes)].concat();
            let inside = &rest[2 + hashes..];
            let length = inside.windows(close.len()).position(|window| window == close);
            return at + 2 + hashes + length.unwrap_or(inside.len()) + close.len();
        }
    }
    match rest[0] {
        b'"' => at + quoted_length(rest, b'"'),
        b'\'' if rest.get(1) == Some(&b'\\') => at + quoted_length(rest, b'\''),
        // A character takes up to four bytes; without a closing mark it is a lifetime.
        b'\'' => (2..6)
            .find(|end| rest.get(*end) == Some(&b'\''))
            .filter(|end| is_char(&rest[1..*end]))
            .map_or(at, |end| at + end + 1),
        _ => at,
    }
}

fn is_char(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.chars().count() == 1)
}

fn comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn quoted_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
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

/// From its attribute to its end, every item behind `#[cfg(… test …)]`.
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

/// Where a word occurs, not as part of another.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let end = at + word.len();
        let bytes = code.as_bytes();
        let starts = *at == 0 || !is_word(bytes[at - 1]) || !is_word(bytes[*at]);
        let ends = end == bytes.len() || !is_word(bytes[end]) || !is_word(bytes[end - 1]);
        starts && ends
    })
}

/// The identifier that comes next, and where it ends.
pub fn identifier(code: &str, at: usize) -> (String, usize) {
    let start = skip_space(code, at);
    let length = code[start..].bytes().take_while(|byte| is_word(*byte)).count();
    (code[start..start + length].to_owned(), start + length)
}

pub fn skip_space(code: &str, at: usize) -> usize {
    at + code[at..].bytes().take_while(u8::is_ascii_whitespace).count()
}

/// Just behind the brace that closes the one at `open`.
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
fn prose_is_blanked_and_nothing_moves() {
    let text = concat!(
        "let a = \"Vec // \\\" Box\"; // Vec\n",
        "/* Vec /* Box */ String */ let b = r#\"Vec \" Box\"#;\n",
        "let c: &'static str = 'x'; let d = ('\\'', 'ä', b'\"', c\"Vec\");\n",
    );
    let code = without_prose(text);
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
fn what_only_tests_compile_is_blanked() {
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
    let text = "mod inner {\n    fn a() {}\n}\nfn b() {}\n";
    let source = Source::new("src/room/file.rs", text);
    assert_eq!(source.modules_at(text.find("fn a").expect("there")), ["room", "file", "inner"]);
    assert_eq!(source.modules_at(text.find("fn b").expect("there")), ["room", "file"]);
    assert_eq!(Source::new("src/room/mod.rs", "").modules_at(0), ["room"]);
    assert!(Source::new("src/lib.rs", "").modules_at(0).is_empty());
}
