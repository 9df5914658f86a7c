//! One piece of work for a comparison of tools. Each tool measures the work as a test with a heap budget does.

use std::collections::BTreeMap;

/// The figures that a tool gives for the work; `None` for figures that the tool does not give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Number of blocks allocated, in which each successful realloc counts as one more.
    pub blocks: Option<u64>,
    /// Bytes allocated, in which a realloc counts with its whole new size.
    pub bytes: Option<u64>,
    /// Maximum of the live bytes.
    pub peak_bytes: Option<u64>,
    /// Blocks and bytes that are live at the end.
    pub retained: Option<(u64, u64)>,
}

/// Counts the words of a text, and keeps the counts.
pub fn work() -> BTreeMap<String, Vec<u32>> {
    let mut places: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for line in 0..200u32 {
        let text = format!("line {line} of the text has the word {} and the word {}", line % 7, line % 31);
        for word in text.split(' ') {
            places.entry(word.to_owned()).or_default().push(line);
        }
    }
    let json = serde_json::to_string(&places).expect("it is plain data");
    let parsed: BTreeMap<String, Vec<u32>> = serde_json::from_str(&json).expect("it was just written");
    assert_eq!(parsed, places);
    places
}

impl Figures {
    /// Prints the figures, for [`Figures::parse`].
    pub fn print(&self) {
        let shown = |figure: Option<u64>| figure.map_or("-".to_owned(), |figure| figure.to_string());
        let (blocks, bytes) = self.retained.unzip();
        println!(
            "{} {} {} {} {}",
            shown(self.blocks),
            shown(self.bytes),
            shown(self.peak_bytes),
            shown(blocks),
            shown(bytes)
        );
    }

    /// Returns the figures of a line that [`Figures::print`] wrote.
    pub fn parse(line: &str) -> Option<Figures> {
        let figures: Vec<Option<u64>> = line.split_whitespace().map(|word| word.parse().ok()).collect();
        let [blocks, bytes, peak_bytes, retained_blocks, retained_bytes] = figures[..] else { return None };
        Some(Figures { blocks, bytes, peak_bytes, retained: retained_blocks.zip(retained_bytes) })
    }

    /// Returns the names of the figures that are known on both sides and differ.
    pub fn differences(&self, other: &Figures) -> Vec<&'static str> {
        let differs = |one: Option<u64>, two: Option<u64>| one.zip(two).is_some_and(|(one, two)| one != two);
        let blocks = |figures: &Figures| figures.retained.map(|(blocks, _)| blocks);
        let bytes = |figures: &Figures| figures.retained.map(|(_, bytes)| bytes);
        let all = [
            ("blocks", differs(self.blocks, other.blocks)),
            ("bytes", differs(self.bytes, other.bytes)),
            ("peak", differs(self.peak_bytes, other.peak_bytes)),
            ("retained blocks", differs(blocks(self), blocks(other))),
            ("retained bytes", differs(bytes(self), bytes(other))),
        ];
        all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}
