//! The string table of a message.

use std::collections::HashMap;

use super::message::ValueType;

/// A string table under construction, which gives each text a number. Number 0 is the empty text.
#[derive(Debug, Clone)]
pub struct Texts {
    numbers: HashMap<String, i64>,
    texts: Vec<String>,
}

impl Texts {
    /// Returns a table that holds only the empty text.
    #[allow(clippy::new_without_default, reason = "a table is never empty")]
    pub fn new() -> Texts {
        let mut texts = Texts { numbers: HashMap::new(), texts: Vec::new() };
        texts.number("");
        texts
    }

    /// Returns the number of a text. Adds the text if it is new.
    pub fn number(&mut self, text: &str) -> i64 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as i64;
        self.numbers.insert(text.to_owned(), number);
        self.texts.push(text.to_owned());
        number
    }

    /// Returns a type of values with this kind and unit.
    pub fn value_type(&mut self, kind: &str, unit: &str) -> ValueType {
        ValueType { kind: self.number(kind), unit: self.number(unit) }
    }

    /// Returns the texts in the order of their numbers.
    pub fn into_table(self) -> Vec<String> {
        self.texts
    }
}
