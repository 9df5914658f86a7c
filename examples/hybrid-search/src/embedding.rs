//! WordLlama's static embeddings: a table of 32,000 tokens by 256 dimensions, and the tokens of a text.
//!
//! The vector of a text is the mean of its tokens' vectors, scaled to unit length. The tokens are those of Llama 2:
//! words with a prefix mark, split into letters, which a ranked list of merges joins again. A letter that is no token
//! is replaced by its bytes. No model runs.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

const TABLE: &str = "l2_supercat_256.safetensors";
const TOKENS: &str = "l2_supercat_tokenizer_config.json";
const DIMENSIONS: usize = 256;
/// Prefix of each word.
const MARK: char = '\u{2581}';

/// The table of vectors, and the maps from a text to rows of the table.
pub struct Embeddings {
    rows: Vec<f32>,
    tokens: HashMap<String, u32>,
    /// Rank of the merge of each pair of tokens.
    merges: HashMap<(String, String), u32>,
}

impl Embeddings {
    /// Reads the two files of `folder`.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let named = |name: &'static str| move |e: std::io::Error| format!("{name}: {e}");
        let table = std::fs::read(folder.join(TABLE)).map_err(named(TABLE))?;
        let tokens = std::fs::read(folder.join(TOKENS)).map_err(named(TOKENS))?;
        let rows = table_of(&table).ok_or_else(|| format!("{TABLE} is no table of halves"))?;
        let value: Value = serde_json::from_slice(&tokens).map_err(|e| format!("{TOKENS}: {e}"))?;
        let (tokens, merges) = tokens_of(&value["model"]).ok_or_else(|| format!("{TOKENS} has no merges"))?;
        Ok(Self { rows, tokens, merges })
    }

    /// Returns the unit vector of `text`, or a zero vector if `text` has no tokens.
    pub fn embed(&self, text: &str) -> Vec<f32> {
        let mut sum = vec![0.0f32; DIMENSIONS];
        for token in self.tokens(text) {
            let begin = token as usize * DIMENSIONS;
            let row = self.rows.get(begin..begin + DIMENSIONS).unwrap_or(&[]);
            sum.iter_mut().zip(row).for_each(|(s, x)| *s += x);
        }
        let length = sum.iter().map(|s| s * s).sum::<f32>().sqrt();
        if length > 0.0 {
            sum.iter_mut().for_each(|s| *s /= length);
        }
        sum
    }

    /// Returns the numbers of the tokens of `text`.
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        text.split(' ').filter(|word| !word.is_empty()).flat_map(|word| self.tokens_of_word(word)).collect()
    }

    fn tokens_of_word(&self, word: &str) -> Vec<u32> {
        let mut parts: Vec<String> = std::iter::once(MARK).chain(word.chars()).map(String::from).collect();
        loop {
            let pairs = parts.windows(2).enumerate();
            let ranked = pairs.filter_map(|(i, pair)| {
                Some((self.merges.get(&(pair[0].clone(), pair[1].clone())).copied()?, i))
            });
            // If several pairs have the same rank, the first pair is merged.
            let Some((_, i)) = ranked.min() else { break };
            let second = parts.remove(i + 1);
            parts[i].push_str(&second);
        }
        parts.iter().flat_map(|part| self.numbers(part)).collect()
    }

    fn numbers(&self, part: &str) -> Vec<u32> {
        match self.tokens.get(part) {
            Some(number) => vec![*number],
            None => part.bytes().filter_map(|b| self.tokens.get(&format!("<0x{b:02X}>")).copied()).collect(),
        }
    }
}

/// Returns the numbers in a file of one table: length of the header, header, then half-precision numbers.
fn table_of(file: &[u8]) -> Option<Vec<f32>> {
    let (length, rest) = file.split_first_chunk::<8>()?;
    let (heading, data) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let heading: Value = serde_json::from_slice(heading).ok()?;
    let table = &heading["embedding.weight"];
    let fits = table["dtype"] == "F16" && table["shape"][1] == DIMENSIONS;
    fits.then(|| data.chunks_exact(2).map(|half| widened(u16::from_le_bytes([half[0], half[1]]))).collect())
}

/// Converts a number of half precision to single precision.
fn widened(half: u16) -> f32 {
    let sign = if half >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(half >> 10 & 0x1f), f32::from(half & 0x3ff));
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

type Tokens = (HashMap<String, u32>, HashMap<(String, String), u32>);

fn tokens_of(model: &Value) -> Option<Tokens> {
    let tokens = model["vocab"].as_object()?.iter();
    let tokens = tokens.map(|(text, number)| Some((text.clone(), number.as_u64()? as u32)));
    let merges = model["merges"].as_array()?.iter().zip(0..).map(|(merge, rank)| {
        let (a, b) = merge.as_str()?.split_once(' ')?;
        Some(((a.to_owned(), b.to_owned()), rank))
    });
    Some((tokens.collect::<Option<_>>()?, merges.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_widened() {
        for (half, expected) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(widened(half), expected, "{half:#06x}");
        }
        assert!(widened(0x7c01).is_nan());
    }

    /// The expected numbers are those of the `tokenizers` library for the same file.
    #[test]
    fn tokens_are_those_of_the_library() {
        let Some(folder) = crate::corpus_folder() else {
            eprintln!("SKIPPED: no corpus here; run fetch-corpus.sh");
            return;
        };
        let embeddings = match Embeddings::read(&folder) {
            Ok(embeddings) => embeddings,
            Err(why) => return eprintln!("SKIPPED: {why}"),
        };
        for (text, expected) in KNOWN {
            assert_eq!(embeddings.tokens(text), *expected, "{text}");
        }
        let near = |a: &str, b: &str| -> f32 {
            embeddings.embed(a).iter().zip(embeddings.embed(b)).map(|(x, y)| x * y).sum()
        };
        assert!((near("a dog", "a dog") - 1.0).abs() < 1e-5);
        assert!(near("the dog barked", "a hound howled") > near("the dog barked", "interest rates"));
    }

    const KNOWN: &[(&str, &[u32])] = &[
        ("the dog barked all night", &[278, 11203, 289, 935, 287, 599, 4646]),
        ("Internationalization, naïve café", &[4623, 2133, 29892, 1055, 30085, 345, 274, 28059]),
        ("a member of the genus Canis", &[263, 4509, 310, 278, 16106, 1815, 275]),
        ("𝄞 music 東京 x", &[29871, 243, 160, 135, 161, 4696, 29871, 30591, 30675, 921]),
        (
            "unbelievable thermodynamics; re-entry (1969)",
            &[
                443, 6596, 10384, 519, 14563, 397, 2926, 1199, 29936, 337, 29899, 8269, 313, 29896, 29929,
                29953, 29929, 29897,
            ],
        ),
    ];
}
