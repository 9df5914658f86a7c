//! String table of the symbols: each text is stored once and has a number.

use std::collections::HashMap;

use super::image::Function;
use heapledger::profile::{SymbolFrame, Symbols};

/// String table under construction.
#[derive(Debug, Default)]
pub(super) struct Strings {
    numbers: HashMap<String, u32>,
    pub(super) all: Vec<String>,
}

impl Strings {
    /// Takes the texts out of `symbols` and continues their table. Number 0 is the empty text.
    pub(super) fn of(symbols: &mut Symbols) -> Self {
        let mut strings = Strings::default();
        if symbols.strings.first().is_none_or(|first| first.is_empty()) {
            let known = std::mem::take(&mut symbols.strings);
            strings.numbers = known.iter().zip(0..).map(|(text, number)| (text.clone(), number)).collect();
            strings.all = known;
        } else {
            // A table whose first text is not empty is invalid, so all symbols are dropped.
            *symbols = Symbols::default();
        }
        strings.number(String::new());
        strings
    }

    fn number(&mut self, text: String) -> u32 {
        if let Some(number) = self.numbers.get(&text) {
            return *number;
        }
        // If all numbers are used up, a new text is replaced by the empty text.
        let Ok(number) = u32::try_from(self.all.len()) else { return 0 };
        self.all.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    /// Converts functions, innermost first, to frames of a profile. Adds their texts to the table.
    pub(super) fn frames(&mut self, functions: Vec<Function>) -> Vec<SymbolFrame> {
        let outermost = functions.len().saturating_sub(1);
        let frame = |(at, Function { name, file, line }): (usize, Function)| SymbolFrame {
            function: self.number(name),
            file: self.number(file),
            line,
            inlined: at < outermost,
        };
        functions.into_iter().enumerate().map(frame).collect()
    }
}
