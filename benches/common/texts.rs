//! Work of typical programs, on documents and strings.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;

use super::figures::Random;

const NAMES: [&str; 8] = [
    "address",
    "block",
    "completeness",
    "dump",
    "event",
    "fold",
    "generation",
    "a rather longer name of a field",
];

/// Returns a JSON document of `records` records: objects with strings, numbers and nested lists.
pub fn json_document(records: usize) -> String {
    let mut random = Random(Random::SEED);
    let mut text = String::from("[");
    for record in 0..records {
        let comma = if record > 0 { "," } else { "" };
        let name = NAMES[random.below(8) as usize];
        write!(
            text,
            r#"{comma}{{"id":{record},"name":"{name} {}","weight":{}.5,"#,
            random.below(1000),
            random.below(10_000)
        )
        .expect("a string takes all");
        let tags: Vec<String> =
            (0..1 + random.below(5)).map(|_| format!(r#""{}""#, NAMES[random.below(8) as usize])).collect();
        let points: Vec<String> = (0..random.below(8)).map(|_| random.below(1 << 20).to_string()).collect();
        write!(
            text,
            r#""tags":[{}],"where":{{"points":[{}],"open":true}}}}"#,
            tags.join(","),
            points.join(",")
        )
        .expect("a string takes all");
    }
    text.push(']');
    text
}

/// Parses the document and prints it again. Returns the length of the output, so that the compiler removes no work.
#[inline(never)]
pub fn parse_and_print(document: &str) -> usize {
    let value: serde_json::Value = serde_json::from_str(document).expect("the document is sound");
    let print = serde_json::to_string(&value).expect("a value can be printed");
    black_box(&print).len()
}

/// Builds lines word by word, counts words in a map, and joins the results.
#[inline(never)]
pub fn build_strings(lines: usize) -> usize {
    let mut random = Random(Random::SEED);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut page = String::new();
    for line in 0..lines {
        let mut built = format!("{line:05}");
        for _ in 0..6 {
            built.push(' ');
            built.push_str(NAMES[random.below(8) as usize]);
        }
        for word in built.split(' ') {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
        page.push_str(&built.to_uppercase().replace("BLOCK", "block"));
        page.push('\n');
    }
    let words: Vec<String> = counts.into_iter().map(|(word, count)| format!("{word}={count}")).collect();
    page.len() + words.join(";").len()
}
