//! Layout of the JSON text: keys of the object and elements one level deeper have a line each. A deeper value, such as
//! a site, is on one line as a whole. So a file with many sites stays small, and can be searched by line.

use std::io::{self, Write};

use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

/// Depth down to which each key and each element has a separate line.
const DEPTH: usize = 2;

/// JSON formatter for this layout.
#[derive(Default)]
pub(super) struct Lines {
    pretty: PrettyFormatter<'static>,
    compact: CompactFormatter,
    depth: usize,
}

/// Calls a method of the pretty or the compact formatter, whichever the current depth requires.
macro_rules! at_depth {
    ($self:ident . $method:ident ( $($argument:expr),* )) => {
        if $self.depth > DEPTH { $self.compact.$method($($argument),*) } else { $self.pretty.$method($($argument),*) }
    };
}

impl Formatter for Lines {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        at_depth!(self.begin_array(out))
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        let ended = at_depth!(self.end_array(out));
        self.depth -= 1;
        ended
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        at_depth!(self.begin_array_value(out, first))
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        at_depth!(self.end_array_value(out))
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        at_depth!(self.begin_object(out))
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        let ended = at_depth!(self.end_object(out));
        self.depth -= 1;
        ended
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        at_depth!(self.begin_object_key(out, first))
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        at_depth!(self.begin_object_value(out))
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        at_depth!(self.end_object_value(out))
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    #[test]
    fn each_element_of_a_list_is_one_line() {
        let value = serde_json::json!({"a": [{"b": [1, 2]}, {"c": {}}], "d": {"e": [1]}, "f": []});
        let mut out = Vec::new();
        value
            .serialize(&mut serde_json::Serializer::with_formatter(&mut out, super::Lines::default()))
            .unwrap();
        let text = String::from_utf8(out).unwrap();
        let expected = "{\n  \"a\": [\n    {\"b\":[1,2]},\n    {\"c\":{}}\n  ],\n  \"d\": {\n    \"e\": [1]\n  },\n  \"f\": []\n}";
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
