//! The messages of `profile.proto` that heapledger writes.

/// Name of the mapping of locations that lie in no loaded object.
pub const NO_OBJECT: &str = "[heapledger]";
/// Name of the function in place of an unknown stack.
pub const NO_STACK: &str = "(no stack)";

/// Returns a figure as a value of a sample; figures above the maximum are clamped.
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Profile: samples, each with a list of values, and the tables that samples refer to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Types of the values of each sample.
    pub sample_type: Vec<ValueType>,
    /// Samples.
    pub sample: Vec<Sample>,
    /// Loaded objects, the program first.
    pub mapping: Vec<Mapping>,
    /// Locations.
    pub location: Vec<Location>,
    /// Functions.
    pub function: Vec<Function>,
    /// Texts; the first is empty.
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
    /// Text: kind.
    pub kind: i64,
    /// Text: unit.
    pub unit: i64,
}

/// Sample: a stack, innermost location first, and a value for each type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// Ids of the locations.
    pub location_id: Vec<u64>,
    /// Values.
    pub value: Vec<i64>,
    /// Labels.
    pub label: Vec<Label>,
}

/// Label of a sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Label {
    /// Text: key.
    pub key: i64,
    /// Text: value.
    pub str: i64,
}

/// Loaded object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Id.
    pub id: u64,
    /// Lowest address.
    pub memory_start: u64,
    /// End (exclusive).
    pub memory_limit: u64,
    /// Offset in the file of the lowest address.
    pub file_offset: u64,
    /// Text: path.
    pub filename: i64,
    /// Text: build id in hexadecimal.
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

/// Address, and the functions at that address, innermost first: several if calls were inlined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Location {
    /// Id.
    pub id: u64,
    /// Id of the mapping.
    pub mapping_id: u64,
    /// Address of the call.
    pub address: u64,
    /// Functions.
    pub line: Vec<Line>,
}

/// Line of a function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Line {
    /// Id of the function.
    pub function_id: u64,
    /// Line, from 1; 0 if it is not known.
    pub line: i64,
}

/// Function, with its name and file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Function {
    /// Id.
    pub id: u64,
    /// Text: name.
    pub name: i64,
    /// Text: name as in the object file; 0 if `name` is already demangled.
    pub system_name: i64,
    /// Text: source file.
    pub filename: i64,
}
