//! Encodes the messages as protocol buffers, and bytes as gzip without compression.

use super::message::{Function, Label, Line, Location, Mapping, Message, Sample, ValueType};

/// Returns the message in the encoding of protocol buffers.
pub fn encode(message: &Message) -> Vec<u8> {
    let mut out = Out(Vec::new());
    out.each(1, &message.sample_type, value_type);
    out.each(2, &message.sample, sample);
    out.each(3, &message.mapping, mapping);
    out.each(4, &message.location, location);
    out.each(5, &message.function, function);
    message.string_table.iter().for_each(|text| out.bytes(6, text.as_bytes()));
    out.int(9, message.time_nanos as u64);
    out.int(10, message.duration_nanos as u64);
    out.each(11, &[message.period_type], value_type);
    out.int(12, message.period as u64);
    out.ints(13, message.comment.iter().map(|text| *text as u64));
    out.int(14, message.default_sample_type as u64);
    out.0
}

/// Returns `bytes` in the format of gzip, without compression. Readers of pprof expect gzip, but compression would take
/// processor time from the program.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    const BLOCK_BYTES: usize = u16::MAX as usize;
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 8_000 + 64);
    // The gzip header: deflate, no flags, no time, unknown system.
    out.extend_from_slice(&[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255]);
    let blocks = bytes.chunks(BLOCK_BYTES).count().max(1);
    for block in 0..blocks {
        let part = bytes.chunks(BLOCK_BYTES).nth(block).unwrap_or(&[]);
        let length = part.len() as u16;
        out.push(u8::from(block + 1 == blocks));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(part);
    }
    out.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out
}

fn value_type(out: &mut Out, value: &ValueType) {
    out.int(1, value.kind as u64);
    out.int(2, value.unit as u64);
}

fn sample(out: &mut Out, sample: &Sample) {
    out.ints(1, sample.location_id.iter().copied());
    out.ints(2, sample.value.iter().map(|value| *value as u64));
    out.each(3, &sample.label, label);
}

fn label(out: &mut Out, label: &Label) {
    out.int(1, label.key as u64);
    out.int(2, label.str as u64);
}

fn mapping(out: &mut Out, mapping: &Mapping) {
    let numbers = [
        mapping.id,
        mapping.memory_start,
        mapping.memory_limit,
        mapping.file_offset,
        mapping.filename as u64,
        mapping.build_id as u64,
        mapping.has_functions.into(),
        mapping.has_filenames.into(),
        mapping.has_line_numbers.into(),
        mapping.has_inline_frames.into(),
    ];
    (1..).zip(numbers).for_each(|(field, number)| out.int(field, number));
}

fn location(out: &mut Out, location: &Location) {
    out.int(1, location.id);
    out.int(2, location.mapping_id);
    out.int(3, location.address);
    out.each(4, &location.line, line);
}

fn line(out: &mut Out, line: &Line) {
    out.int(1, line.function_id);
    out.int(2, line.line as u64);
}

fn function(out: &mut Out, function: &Function) {
    let numbers = [function.id, function.name as u64, function.system_name as u64, function.filename as u64];
    (1..).zip(numbers).for_each(|(field, number)| out.int(field, number));
}

/// Wire types of protocol buffers.
const VARINT: u64 = 0;
const LENGTH: u64 = 2;

struct Out(Vec<u8>);

impl Out {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Writes a number. 0 is the default of every field, so it is omitted.
    fn int(&mut self, field: u64, number: u64) {
        if number != 0 {
            self.varint(field << 3 | VARINT);
            self.varint(number);
        }
    }

    /// Writes a list of numbers as a packed field.
    fn ints(&mut self, field: u64, numbers: impl Iterator<Item = u64>) {
        let mut packed = Out(Vec::new());
        numbers.for_each(|number| packed.varint(number));
        if !packed.0.is_empty() {
            self.bytes(field, &packed.0);
        }
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | LENGTH);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn each<T>(&mut self, field: u64, messages: &[T], write: fn(&mut Out, &T)) {
        for message in messages {
            let mut inner = Out(Vec::new());
            write(&mut inner, message);
            self.bytes(field, &inner.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_texts_and_lists_have_known_bytes() {
        let message = Message {
            sample: vec![Sample { location_id: vec![1, 300], value: vec![-1], label: Vec::new() }],
            string_table: vec![String::new(), "a".to_owned()],
            period: 1,
            ..Message::default()
        };
        let negative = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
        let mut expected = vec![0x12, 17, 0x0A, 3, 1, 0xAC, 2, 0x12, 10];
        expected.extend(negative);
        expected.extend([0x32, 0, 0x32, 1, b'a', 0x5A, 0, 0x60, 1]);
        assert_eq!(encode(&message), expected);
    }

    #[test]
    fn gzip_has_its_blocks_its_sum_and_its_length() {
        assert_eq!(gzip(b"")[10..], [1, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0]);
        let long = vec![7; 70_000];
        let zipped = gzip(&long);
        assert_eq!(zipped[10..15], [0, 0xFF, 0xFF, 0, 0]);
        assert_eq!(zipped.len(), 10 + 2 * 5 + 70_000 + 8);
        assert_eq!(zipped[zipped.len() - 4..], 70_000u32.to_le_bytes());
    }
}
