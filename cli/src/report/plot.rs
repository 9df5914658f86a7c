//! Bar charts made of characters.
//!
//! Heights are scaled to the largest value and rounded up, so that every value above zero is visible. In Unicode, a
//! character shows one of eight heights. In ASCII, a character shows one of two: full (`#`) or partly filled (`.`).

const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Returns vertical bars as `height` lines, from top to bottom.
///
/// ```
/// use heapledger_cli::report::plot::bars;
/// assert_eq!(bars(&[1, 4, 2], 2, false), [" # ", ".##"]);
/// ```
pub fn bars(values: &[u64], height: usize, unicode: bool) -> Vec<String> {
    let largest = values.iter().copied().max().unwrap_or(0);
    let steps = if unicode { 8 } else { 2 };
    let heights: Vec<u64> =
        values.iter().map(|value| scaled(*value, largest, steps * height as u64)).collect();
    let row = |row: usize| {
        let below = steps * (height - 1 - row) as u64;
        heights.iter().map(|filled| cell(filled.saturating_sub(below).min(steps), unicode)).collect()
    };
    (0..height).map(row).collect()
}

/// Returns a horizontal bar for `value`. The bar for `largest` has `width` characters.
pub fn bar(value: u64, largest: u64, width: usize, unicode: bool) -> String {
    let filled = scaled(value, largest, width as u64) as usize;
    if unicode { "█".repeat(filled) } else { "#".repeat(filled) }
}

/// Returns `value / largest * steps`, rounded up.
fn scaled(value: u64, largest: u64, steps: u64) -> u64 {
    let product = u128::from(value.min(largest)) * u128::from(steps);
    if largest == 0 { 0 } else { product.div_ceil(u128::from(largest)) as u64 }
}

fn cell(filled: u64, unicode: bool) -> char {
    match (unicode, filled) {
        (true, eighths) => EIGHTHS[eighths as usize],
        (false, 0) => ' ',
        (false, 1) => '.',
        (false, _) => '#',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_scaled_to_the_largest_value() {
        assert_eq!(bars(&[0, 1, 4, 8], 1, true), [" ▁▄█"]);
        assert_eq!(bars(&[8, 4, 2], 2, true), ["█  ", "██▄"]);
    }

    #[test]
    fn something_never_looks_like_nothing() {
        assert_eq!(bars(&[1, u64::MAX], 2, false), [" #", ".#"]);
        assert_eq!(bar(1, u64::MAX, 10, false), "#");
    }

    #[test]
    fn nothing_is_drawn_for_nothing() {
        assert_eq!(bars(&[0, 0], 1, true), ["  "]);
        assert_eq!((bars(&[], 2, true).concat(), bar(0, 0, 5, true)), (String::new(), String::new()));
    }
}
