//! The messages of `profile.proto` that heapledger writes. In the fields, a *text* is an index into
//! [`Message::string_table`].

/// Name of the mapping of locations that lie in no loaded object.
pub const NO_OBJECT: &str = "[heapledger]";
/// Name of the function in place of an unknown stack.
pub const NO_STACK: &str = "(no stack)";

/// Converts a figure to a value of a sample. Figures above the maximum are clamped to the maximum.
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A profile: samples, each with a list of values, and the tables that the samples refer to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Types of the values of each sample.
    pub sample_type: Vec<ValueType>,
    /// The samples, one for each stack.
    pub sample: Vec<Sample>,
    /// The loaded objects, the program first.
    pub mapping: Vec<Mapping>,
    /// The locations in the stacks of the samples.
    pub location: Vec<Location>,
    /// The functions at the locations.
    pub function: Vec<Function>,
    /// The texts. The first text is empty.
    pub string_table: Vec<String>,
    /// Start of the recording, in nanoseconds since 1970 UTC.
    pub time_nanos: i64,
    /// Length of the recording, in nanoseconds.
    pub duration_nanos: i64,
    /// Kind and unit of `period`.
    pub period_type: ValueType,
    /// Distance between two samples: 1, because every event counts.
    pub period: i64,
    /// Comments, as texts.
    pub comment: Vec<i64>,
    /// Type of the values that readers show first, as a text.
    pub default_sample_type: i64,
}

/// Kind and unit of a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ValueType {
    /// Kind of the value, such as `alloc_space`, as a text.
    pub kind: i64,
    /// Unit of the value, such as `bytes`, as a text.
    pub unit: i64,
}

/// A sample: a stack, innermost location first, and one value for each type of value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// Ids of the locations.
    pub location_id: Vec<u64>,
    /// Values, in the order of [`Message::sample_type`].
    pub value: Vec<i64>,
    /// Labels, such as the scope of the sample.
    pub label: Vec<Label>,
}

/// A label of a sample: a key and a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Label {
    /// Key of the label, as a text.
    pub key: i64,
    /// Value of the label, as a text.
    pub str: i64,
}

/// A loaded object and the addresses at which it is mapped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Id of the mapping, from 1.
    pub id: u64,
    /// Lowest address of the object.
    pub memory_start: u64,
    /// End of the object's addresses (exclusive).
    pub memory_limit: u64,
    /// Offset in the file of the byte at the lowest address.
    pub file_offset: u64,
    /// Path of the object, as a text.
    pub filename: i64,
    /// Build id of the object in hexadecimal, as a text.
    pub build_id: i64,
    /// Whether all locations of the mapping have functions. If so, readers look up no names.
    pub has_functions: bool,
    /// Whether all functions have files.
    pub has_filenames: bool,
    /// Whether all lines are known.
    pub has_line_numbers: bool,
    /// Whether inlined functions are listed.
    pub has_inline_frames: bool,
}

/// An address in the code, with the functions at this address, innermost first. There are several functions if calls
/// were inlined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Location {
    /// Id of the location, from 1.
    pub id: u64,
    /// Id of the mapping.
    pub mapping_id: u64,
    /// Address of the call.
    pub address: u64,
    /// Functions at the address, each with its line.
    pub line: Vec<Line>,
}

/// A function at a location, with the line in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Line {
    /// Id of the function.
    pub function_id: u64,
    /// Line, from 1; 0 if it is not known.
    pub line: i64,
}

/// A function, with its name and file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Function {
    /// Id of the function, from 1.
    pub id: u64,
    /// Name of the function, as a text.
    pub name: i64,
    /// Name of the function as in the object file, as a text. 0 if `name` is already demangled.
    pub system_name: i64,
    /// Source file of the function, as a text.
    pub filename: i64,
}
