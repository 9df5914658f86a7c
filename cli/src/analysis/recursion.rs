//! Removal of repetitions from a stack: of a sequence of frames that repeats without a gap, one copy stays.
//!
//! A recursive program has stacks of some hundred frames, most of which repeat. A user of such a stack needs to know
//! that the functions call one another, and not how often.

/// Maximum length of a repeated sequence, in frames. Longer sequences are not recognized as repetitions.
pub const PERIOD_FRAMES_MAX: usize = 24;

/// Returns `frames` without repetitions: of a sequence of up to [`PERIOD_FRAMES_MAX`] frames that repeats without a
/// gap, only the first copy stays. `same` decides whether two frames are equal.
pub fn without_repetition<T: Copy>(frames: impl Iterator<Item = T>, same: impl Fn(T, T) -> bool) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for frame in frames {
        kept.push(frame);
        let repeats = |period: &usize| {
            let (before, last) = kept[kept.len() - 2 * period..].split_at(*period);
            before.iter().zip(last).rev().all(|(a, b)| same(*a, *b))
        };
        let longest = PERIOD_FRAMES_MAX.min(kept.len() / 2);
        if let Some(period) = (1..=longest).find(repeats) {
            kept.truncate(kept.len() - period);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        let letters: Vec<char> = text.chars().collect();
        without_repetition(letters.iter().copied(), |a, b| a == b).into_iter().collect()
    }

    #[test]
    fn what_is_repeated_at_once_is_kept_once() {
        for (stack, expected) in [
            ("", ""),
            ("abc", "abc"),
            ("maaaab", "mab"),
            ("mabababc", "mabc"),
            ("mabcabcabd", "mabcabd"),
            ("aabbaabb", "ab"),
            ("abca", "abca"),
        ] {
            assert_eq!(folded(stack), expected);
        }
        let long: String = ('a'..='y').chain('a'..='y').collect();
        assert_eq!(folded(&long), long, "a sequence of {} frames is too long", long.len() / 2);
    }
}
