//! The page, read by an HTML parser: its elements, their references, and its policy.

use std::cell::{Cell, RefCell};

use html5ever::tokenizer::states::{RawKind, State};
use html5ever::tokenizer::{
    BufferQueue, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use serde_json::Value;

use super::{page, synthetic};
use heapledger::Profile;
use heapledger::profile::{Change, Module, Stack};

/// Hostile names.
const HOSTILE: [&str; 7] = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]><img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>",
    "' onmouseover='alert(1)",
    "{{constructor.constructor('alert(1)')()}}",
    "\u{202e}\u{0}\u{1b}[31m\r\n</style><base href=//x>",
];

#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
}

impl Element {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The elements opened so far, and whether the last one is closed.
#[derive(Default)]
struct Elements(RefCell<Vec<Element>>, Cell<bool>);

impl TokenSink for Elements {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut elements = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => {
                let pair = |one: &html5ever::Attribute| (one.name.local.to_string(), one.value.to_string());
                let attributes = tag.attrs.iter().map(pair).collect();
                self.1.set(false);
                elements.push(Element { name: tag.name.to_string(), attributes, text: String::new() });
                return match &*tag.name {
                    "script" => TokenSinkResult::RawData(RawKind::ScriptData),
                    "style" => TokenSinkResult::RawData(RawKind::Rawtext),
                    "title" => TokenSinkResult::RawData(RawKind::Rcdata),
                    _ => TokenSinkResult::Continue,
                };
            }
            Token::TagToken(_) => self.1.set(true),
            Token::CharacterTokens(text) if !self.1.get() => {
                if let Some(last) = elements.last_mut() {
                    last.text.push_str(&text);
                }
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

fn elements(text: &str) -> Vec<Element> {
    let options = TokenizerOpts { initial_state: Some(State::Data), ..TokenizerOpts::default() };
    let tokenizer = Tokenizer::new(Elements::default(), options);
    let input = BufferQueue::default();
    input.push_back(html5ever::tendril::StrTendril::from(text));
    while !input.is_empty() {
        let _ = tokenizer.feed(&input);
    }
    tokenizer.end();
    tokenizer.sink.0.take()
}

fn names(elements: &[Element]) -> Vec<&str> {
    elements.iter().map(|element| element.name.as_str()).collect()
}

fn document(elements: &[Element]) -> Value {
    let data =
        elements.iter().find(|element| element.attribute("id") == Some("document")).expect("the document");
    serde_json::from_str(&data.text).expect("JSON")
}

/// Returns the profile of a server in which everything has the name `name`.
pub fn hostile(name: &str) -> Profile {
    let mut profile = synthetic::server(20, 9);
    profile.process.program = name.into();
    profile.process.command_line = vec![name.into()];
    profile.process.platform = name.into();
    profile.process.heapledger_version = name.into();
    profile.process.reason = name.into();
    profile.quality.recommendation = name.into();
    profile.clock.source = name.into();
    profile.stack_figures.walker = name.into();
    profile.symbols.strings.iter_mut().skip(1).for_each(|text| *text = format!("{name}{text}"));
    profile.symbols.notes.push(name.into());
    profile.threads.iter_mut().for_each(|thread| thread.name = name.into());
    profile.changes.push(Change { at_ns: 1, what: name.into() });
    profile.modules.push(Module { path: name.into(), start: 1, end: 99, ..Module::default() });
    profile.stacks.push(Stack { frames: vec![7], truncated: true });
    profile.sites[0].stack = profile.stacks.len() as u32 - 1;
    profile
}

#[test]
fn hostile_names_add_no_element_and_no_attribute() {
    let fine = elements(&page(&synthetic::server(20, 9)));
    for name in HOSTILE {
        let found = elements(&page(&hostile(name)));
        assert_eq!(names(&found), names(&fine), "{name}");
        for (found, fine) in found.iter().zip(&fine) {
            assert_eq!(found.attributes, fine.attributes, "{name}");
        }
        let program = document(&found)["program"].clone();
        assert!(
            program.as_str().is_some_and(|shown| shown.contains("alert")
                || name.contains("<!--")
                || name.contains("base"))
        );
    }
}

#[test]
fn the_parser_would_see_markup_that_got_through() {
    let fine = page(&synthetic::empty());
    let broken = fine.replacen("\"program\":\"", "\"program\":\"</script><img src=x>", 1);
    assert!(names(&elements(&broken)).contains(&"img"));
    assert!(!names(&elements(&fine)).contains(&"img"));
}

#[test]
fn nothing_refers_to_the_outside() {
    for profile in [synthetic::empty(), synthetic::server(20, 9)] {
        let found = elements(&page(&profile));
        assert!(found.len() > 20, "the page was parsed");
        for element in &found {
            assert!(
                !["link", "img", "iframe", "base", "object", "embed", "form"]
                    .contains(&element.name.as_str())
            );
            for (key, value) in &element.attributes {
                assert!(!key.starts_with("on") && key != "style", "{element:?}");
                let is_outward = ["src", "href", "action", "srcset", "data"].contains(&key.as_str());
                assert!(!is_outward || value.starts_with('#'), "{key}={value}");
            }
            if element.name == "style" {
                assert!(!element.text.contains("url(") && !element.text.contains("@import"));
            }
        }
    }
}

#[test]
fn the_policy_allows_this_script_and_style_and_nothing_else() {
    use base64::Engine;
    use sha2::Digest;
    let found = elements(&page(&synthetic::empty()));
    let policy = found
        .iter()
        .find(|element| element.attribute("http-equiv") == Some("Content-Security-Policy"))
        .and_then(|element| element.attribute("content"))
        .expect("a policy");
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    let hash = |text: &str| {
        let digest = sha2::Sha256::digest(text.as_bytes());
        format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(digest))
    };
    let is_script = |one: &&Element| one.name == "script" && one.attribute("type").is_none();
    let script = found.iter().find(is_script).expect("a script");
    let style = found.iter().find(|element| element.name == "style").expect("a style");
    assert!(policy.contains(&format!("script-src {};", hash(&script.text))), "{policy}");
    assert!(policy.contains(&format!("style-src {};", hash(&style.text))), "{policy}");
}

#[test]
fn no_figure_of_the_document_is_missing() {
    fn walk(value: &Value, path: &str, nulls: &mut Vec<String>) {
        match value {
            Value::Null => nulls.push(path.to_owned()),
            Value::Array(items) => items.iter().for_each(|item| walk(item, path, nulls)),
            Value::Object(fields) => {
                fields.iter().for_each(|(key, item)| walk(item, &format!("{path}.{key}"), nulls));
            }
            Value::String(text) => {
                assert!(!text.contains("NaN") && !text.contains("inf "), "{path}: {text}");
            }
            _ => {}
        }
    }
    let mut absurd = synthetic::server(20, 9);
    absurd.quality.current_completeness = f64::NAN;
    absurd.quality.target_completeness = f64::INFINITY;
    absurd.quality.windowed_completeness = Some(f64::NEG_INFINITY);
    absurd.sites[0].total_bytes = u64::MAX;
    absurd.sites[1].total_bytes = u64::MAX;
    absurd.timeline.interval_ns = u64::MAX;
    absurd.sites[2].stack = u32::MAX;
    let mut sampled = synthetic::sampled(synthetic::server(20, 9));
    sampled.estimates.as_mut().unwrap().live_bytes.standard_error = f64::NAN;
    for profile in [synthetic::empty(), synthetic::server(20, 9), absurd, sampled] {
        let mut nulls = Vec::new();
        walk(&document(&elements(&page(&profile))), "", &mut nulls);
        nulls.retain(|path| path != ".calls" && path != ".sites.oldest_ns");
        assert!(nulls.is_empty(), "{nulls:?}");
    }
}
