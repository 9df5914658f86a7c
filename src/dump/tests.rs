//! Tests that need private items of the module: faults in single sections, and files that the writer never makes.

use std::io;

use super::codec::{put_record, put_u32, put_u64, put_varint};
use super::format::{
    FILE_HEADER_BYTES, SECTION_HEADER_BYTES, SECTION_PLAIN_BYTES_MAX, Tag, plain_budget_bytes,
};
use super::section::{Found, SectionWriter, Sections, unpack};
use super::*;
use crate::profile::{Change, LiveBlock, Profile, Site, Stack, SymbolFrame, ThreadRow};

fn bytes_of(profile: &Profile) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_to(&mut bytes, profile).unwrap();
    bytes
}

/// Returns the tag, start and end of each section.
fn places(bytes: &[u8]) -> Vec<(Tag, usize, usize)> {
    let place = |found| match found {
        Found::Section { offset, header, stored } => {
            let start = offset as usize;
            (header.tag, start, start + SECTION_HEADER_BYTES + stored.len())
        }
        Found::Damage(damage) => panic!("{damage}"),
    };
    Sections::new(bytes).map(place).collect()
}

/// Returns a profile with every section and with several chunks of each large table.
fn profile() -> Profile {
    let mut profile = Profile::default();
    profile.threads = vec![ThreadRow { index: 0, name: "main".into(), threads: 1, ..Default::default() }];
    profile.stacks = (0..60_000u64)
        .map(|n| Stack {
            frames: (0..n % 5).map(|frame| (n * 977) ^ (frame << 33)).collect(),
            truncated: n % 7 == 0,
        })
        .collect();
    profile.sites = vec![Site { stack: 59_999, total_blocks: 1, ..Default::default() }];
    profile.live =
        (0..3u32).map(|n| LiveBlock { stack: n * 20_000, size: 1, ..Default::default() }).collect();
    profile.timeline.intervals = vec![Default::default(); 3];
    profile.changes = vec![Change { at_ns: 1, what: "mode: a -> b".into() }];
    profile
}

#[test]
fn one_bad_byte_costs_its_section_and_is_listed() {
    let whole = profile();
    let bytes = bytes_of(&whole);
    let sections = places(&bytes);
    assert!(sections.iter().filter(|(tag, ..)| *tag == Tag::STACKS).count() > 2);
    for (tag, start, end) in sections {
        for at in [start, start + 5, start + SECTION_HEADER_BYTES - 1, start + SECTION_HEADER_BYTES, end - 1]
        {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            let dump = read_bytes(&bad).unwrap();
            let place = |damage: &Damage| damage.offset == Some(start as u64);
            assert!(dump.damage.iter().any(place), "{tag:?} at {at}: {:?}", dump.damage);
            let intact = [
                (Tag::QUALITY, dump.profile.quality == whole.quality),
                (Tag::CHANGES, dump.profile.changes == whole.changes),
                (Tag::THREADS, dump.profile.threads == whole.threads),
                (Tag::TIMELINE, dump.profile.timeline.intervals == whole.timeline.intervals),
            ];
            assert!(intact.iter().all(|(table, same)| *same || *table == tag), "{tag:?} at {at}: {intact:?}");
        }
    }
}

#[test]
fn the_writer_still_writes_what_the_golden_file_holds() {
    let golden = include_bytes!("../../tests/data/dump-v1.hl");
    let again = bytes_of(&read_bytes(golden).unwrap().profile);
    let plain = |bytes: &[u8]| -> Vec<(Tag, Vec<u8>)> {
        let plain_of = |found| match found {
            Found::Section { header, stored, .. } => {
                (header.tag, unpack(&header, stored, &mut Vec::new()).unwrap().to_vec())
            }
            Found::Damage(damage) => panic!("{damage}"),
        };
        Sections::new(bytes).map(plain_of).filter(|(tag, _)| *tag != Tag::END).collect()
    };
    // Compares the plain bytes, and not the end section, because another version of LZ4 may compress to another length.
    assert_eq!(plain(&again), plain(golden));
}

#[test]
fn references_across_a_lost_chunk_lead_to_the_same_stack_or_to_none() {
    let whole = profile();
    let bytes = bytes_of(&whole);
    let chunks: Vec<_> = places(&bytes).into_iter().filter(|(tag, ..)| *tag == Tag::STACKS).collect();
    for (number, (_, start, end)) in chunks.iter().enumerate() {
        let without = [&bytes[..*start], &bytes[*end..]].concat();
        let dump = read_bytes(&without).unwrap();
        let read = &dump.profile;
        let kinds: Vec<_> = dump.damage.iter().map(|damage| &damage.kind).collect();
        assert!(matches!(kinds[0], DamageKind::SectionsMissing { sections: 1 }), "{kinds:?}");
        assert!(
            kinds.iter().any(|kind| matches!(kind, DamageKind::RowsMissing { of: 60_000, .. })),
            "{kinds:?}"
        );
        let placeholder = kinds.iter().any(|kind| matches!(kind, DamageKind::PlaceholderRow));
        assert_eq!(placeholder, number == 0, "{kinds:?}");
        for (block, original) in read.live.iter().zip(&whole.live) {
            let stack = &read.stacks[block.stack as usize];
            assert!(block.stack == 0 || *stack == whole.stacks[original.stack as usize]);
        }
        let lost = read.live.iter().zip(&whole.live).filter(|(now, then)| now.stack == 0 && then.stack != 0);
        let lost = lost.count() + usize::from(read.sites[0].stack == 0);
        let dangling = kinds.iter().find_map(|kind| match kind {
            DamageKind::Dangling { entries, table: "stacks" } => Some(*entries as usize),
            _ => None,
        });
        assert_eq!(dangling.unwrap_or(0), lost, "{kinds:?}");
    }
}

#[test]
fn threads_that_are_all_lost_leave_a_row_to_refer_to() {
    let bytes = bytes_of(&profile());
    let (_, start, end) = places(&bytes).into_iter().find(|(tag, ..)| *tag == Tag::THREADS).unwrap();
    let dump = read_bytes(&[&bytes[..start], &bytes[end..]].concat()).unwrap();
    assert_eq!((dump.profile.threads.len(), dump.profile.threads[0].name.as_str()), (1, "(row lost)"));
}

/// Returns a file with one section, made by hand.
fn file_with(tag: Tag, plain: &[u8]) -> Vec<u8> {
    let mut writer = Vec::new();
    SectionWriter::start(&mut writer).unwrap().put(tag, plain).unwrap();
    writer
}

fn why(bytes: &[u8]) -> String {
    let dump = read_bytes(bytes).unwrap();
    dump.damage.first().map(ToString::to_string).unwrap_or_default()
}

fn chunk(first_row: u64, rows: u32, columns: &[&[u8]]) -> Vec<u8> {
    let mut plain = Vec::new();
    put_u64(&mut plain, first_row);
    put_u32(&mut plain, rows);
    put_u32(&mut plain, columns.len() as u32);
    columns.iter().for_each(|column| put_u32(&mut plain, column.len() as u32));
    columns.iter().for_each(|column| plain.extend_from_slice(column));
    plain
}

#[test]
fn content_that_does_not_add_up_is_refused_though_its_checksums_fit() {
    let mut huge = Vec::new();
    put_varint(&mut huge, u64::MAX);
    let interval: &[u8] = &[1];
    for (tag, plain, expected) in [
        (Tag::TIMELINE, chunk(0, u32::MAX, &[interval; 6]), "number of rows is out of range"),
        (Tag::TIMELINE, chunk(u64::MAX, 1, &[interval; 6]), "number of its first row is out of range"),
        (Tag::TIMELINE, chunk(0, 1, &[interval; 5]), "number of columns is out of range"),
        (Tag::TIMELINE, chunk(0, 1, &[[1, 2].as_slice(); 6]), "1 bytes are left over"),
        (Tag::TIMELINE, chunk(0, 1, &[[0x80].as_slice(); 6]), "its bytes end too early"),
        (Tag::STACKS, chunk(0, 1, &[&huge, &[0], &[0]]), "number of frames is out of range"),
        (Tag::STACKS, chunk(0, 1, &[&[1], &[2], &[0]]), "truncation mark is out of range"),
        (
            Tag::HISTORY,
            chunk(0, 1, &[&[99], &[0], &[0], &[0], &[0], &[], &[]]),
            "kind of event is out of range",
        ),
        (Tag::LIVE, chunk(0, 1, &[&[0], &[0], &[0], &huge, &[0], &[0], &[0]]), "its stack is out of range"),
        (Tag::THREADS, chunk(0, 1, &[&huge]), "a record in it cannot be read"),
        (Tag::QUALITY, vec![7], "a record in it cannot be read"),
        (Tag::TOTALS, vec![0; 15], "1 bytes are left over"),
        (Tag::END, vec![9, 9], "number of sections is out of range"),
    ] {
        let sentence = why(&file_with(tag, &plain));
        assert!(sentence.contains(expected) && sentence.contains(tag.name()), "{tag:?}: {sentence}");
    }
    let sound = read_bytes(&file_with(Tag::TIMELINE, &chunk(0, 1, &[interval; 6]))).unwrap();
    assert_eq!(sound.profile.timeline.intervals.len(), 1);
}

#[test]
fn a_chunk_with_a_fault_in_its_last_row_is_left_out_whole() {
    let (good, bad): (&[u8], &[u8]) = (&[1, 1], &[1, 0x80]);
    let dump =
        read_bytes(&file_with(Tag::TIMELINE, &chunk(0, 2, &[good, good, good, good, good, bad]))).unwrap();
    assert_eq!(dump.profile.timeline.intervals, []);
    assert!(matches!(dump.damage[0].kind, DamageKind::Malformed { .. }), "{:?}", dump.damage);
}

#[test]
fn columns_and_sections_of_a_newer_minor_version_are_skipped() {
    let mut bytes = Vec::new();
    let mut writer = SectionWriter::start(&mut bytes).unwrap();
    writer.put(Tag(*b"NEWS"), b"not known yet").unwrap();
    writer.put(Tag::TIMELINE, &chunk(0, 1, &[&[1], &[1], &[1], &[1], &[1], &[1], b"more"])).unwrap();
    let dump = read_bytes(&bytes).unwrap();
    assert_eq!(dump.profile.timeline.intervals[0].lost, 1);
    assert!(dump.notes[0].contains("NEWS"), "{:?}", dump.notes);
    assert!(
        dump.damage.iter().all(|damage| matches!(damage.kind, DamageKind::Missing | DamageKind::Unfinished))
    );
}

#[test]
fn a_text_that_is_not_utf8_is_replaced_and_listed() {
    let mut record = Vec::new();
    put_record(&mut record, &(5u64, "xyz")).unwrap();
    *record.last_mut().unwrap() = 0xFF;
    let dump = read_bytes(&file_with(Tag::CHANGES, &chunk(0, 1, &[&record]))).unwrap();
    assert_eq!(dump.profile.changes, [Change { at_ns: 5, what: "xy\u{FFFD}".into() }]);
    assert_eq!(dump.damage[0].kind, DamageKind::Texts { texts: 1 });
}

#[test]
fn a_newer_major_version_is_refused_by_name() {
    let mut bytes = bytes_of(&Profile::default());
    bytes[8] = 2;
    let crc32 = crc32fast::hash(&bytes[..12]).to_le_bytes();
    bytes[12..FILE_HEADER_BYTES].copy_from_slice(&crc32);
    let error = read_bytes(&bytes).unwrap_err();
    assert!(matches!(error, ReadError::Version { found: Version { major: 2, minor: 2 }, .. }), "{error}");
    assert!(
        error.to_string().contains("version 2.2") && error.to_string().contains("version 1.2"),
        "{error}"
    );
    bytes[12] ^= 1;
    let dump = read_bytes(&bytes).unwrap();
    assert_eq!(dump.damage[0].kind, DamageKind::FileHeader);
}

#[test]
fn what_exceeds_a_limit_is_cut_and_noted() {
    let mut profile = Profile::default();
    profile.process.command_line = vec!["argument".into(); 100_000];
    profile.process.program = "p".repeat(1 << 20);
    profile.stacks = vec![Stack { frames: vec![u64::MAX / 3; 100_000], truncated: false }; 2];
    profile.sites = vec![Site::default()];
    profile.sites[0].sizes.counts = vec![1; 100];
    profile.modules = vec![Default::default(); 2];
    profile.modules.iter_mut().for_each(|module| module.path = "m".repeat(1 << 20));
    let dump = read_bytes(&bytes_of(&profile)).unwrap();
    assert!(dump.is_whole(), "{:?}", dump.damage);
    assert_eq!(dump.profile.process.program.len(), 64 << 10);
    assert_eq!((dump.profile.stacks[1].frames.len(), dump.profile.stacks[1].truncated), (65_536, true));
    assert_eq!((dump.profile.sites[0].sizes.counts.len(), dump.profile.sites[0].sizes.total()), (64, 100));
    let notes = dump.notes.join("; ");
    for expected in ["3 texts", "arguments", "2 stacks", "1 histograms", "breaks a law when written"] {
        assert!(notes.contains(expected), "{notes}");
    }
}

#[test]
fn a_file_that_unpacks_to_more_than_its_length_allows_is_not_read_to_the_end() {
    let (mut bytes, plain) = (Vec::new(), vec![0; SECTION_PLAIN_BYTES_MAX]);
    let mut writer = SectionWriter::start(&mut bytes).unwrap();
    for _ in 0..40 {
        writer.put(Tag::NOTES, &plain).unwrap();
    }
    assert!(40 << 20 <= plain_budget_bytes(bytes.len() as u64), "the writer keeps to the budget");
    assert!(bytes.len() < 2 << 20, "and packs as long as it allows");

    // Makes a file beyond the budget: compresses each section in a separate file, and joins the sections.
    let packed = file_with(Tag::NOTES, &plain);
    let mut bomb = packed[..FILE_HEADER_BYTES].to_vec();
    for sequence in 0..40u32 {
        let at = bomb.len();
        bomb.extend_from_slice(&packed[FILE_HEADER_BYTES..]);
        bomb[at + 8..at + 12].copy_from_slice(&sequence.to_le_bytes());
        let crc32 = crc32fast::hash(&bomb[at..at + 28]).to_le_bytes();
        bomb[at + 28..at + 32].copy_from_slice(&crc32);
    }
    let dump = read_bytes(&bomb).unwrap();
    let over = |damage: &&Damage| damage.to_string().contains("more than a file of its length may");
    assert!(dump.damage.iter().filter(over).count() > 5, "{:?}", dump.damage);
}

/// Overwrites the lengths in the section header at `at`, and corrects the checksum of the header.
fn forge_lengths(bytes: &mut [u8], at: usize, stored_bytes: usize, plain_bytes: usize) {
    bytes[at + 16..at + 20].copy_from_slice(&(stored_bytes as u32).to_le_bytes());
    bytes[at + 20..at + 24].copy_from_slice(&(plain_bytes as u32).to_le_bytes());
    let crc32 = crc32fast::hash(&bytes[at..at + 28]).to_le_bytes();
    bytes[at + 28..at + 32].copy_from_slice(&crc32);
}

#[test]
fn lengths_that_no_writer_gives_are_not_believed() {
    let first = FILE_HEADER_BYTES;
    let packed = file_with(Tag::NOTES, &chunk(0, 0, &[&[0; 9000]]));
    let stored = packed.len() - first - SECTION_HEADER_BYTES;
    for (stored, plain) in
        [(stored, SECTION_PLAIN_BYTES_MAX + 1), (stored, stored * 255 + 1), (stored, stored - 1)]
    {
        let mut bytes = packed.clone();
        forge_lengths(&mut bytes, first, stored, plain);
        let dump = read_bytes(&bytes).unwrap();
        assert!(matches!(dump.damage[0].kind, DamageKind::Unreadable { .. }), "{plain}: {:?}", dump.damage);
    }
    let mut long = packed[..first + SECTION_HEADER_BYTES].to_vec();
    long.resize(long.len() + SECTION_PLAIN_BYTES_MAX + 1, 0);
    let crc32 = crc32fast::hash(&long[first + SECTION_HEADER_BYTES..]).to_le_bytes();
    long[first + 24..first + 28].copy_from_slice(&crc32);
    forge_lengths(&mut long, first, SECTION_PLAIN_BYTES_MAX + 1, SECTION_PLAIN_BYTES_MAX + 1);
    let dump = read_bytes(&long).unwrap();
    assert!(matches!(dump.damage[0].kind, DamageKind::Unreadable { .. }), "{:?}", dump.damage);
}

#[test]
fn a_section_that_comes_twice_is_taken_once() {
    let bytes = bytes_of(&profile());
    for (tag, start, end) in places(&bytes) {
        let twice = [&bytes[..end], &bytes[start..]].concat();
        let dump = read_bytes(&twice).unwrap();
        assert_eq!(dump.profile, profile());
        let damage =
            Damage { section: Some(tag.name()), offset: Some(end as u64), kind: DamageKind::Repeated };
        assert_eq!(dump.damage, [damage]);
    }
}

#[test]
fn sections_that_overlap_cost_bounded_work() {
    // Headers that each claim the rest of the file as their payload, with a wrong checksum.
    let packed = file_with(Tag::NOTES, &[1; 32]);
    let header = &packed[FILE_HEADER_BYTES..FILE_HEADER_BYTES + SECTION_HEADER_BYTES];
    let mut hostile = packed[..FILE_HEADER_BYTES].to_vec();
    let mut claims = header.to_vec();
    claims[12..16].fill(0);
    for field in [16, 20] {
        claims[field..field + 4].copy_from_slice(&(1u32 << 20).to_le_bytes());
    }
    let crc32 = crc32fast::hash(&claims[..28]).to_le_bytes();
    claims[28..].copy_from_slice(&crc32);
    for _ in 0..(4 << 20) / SECTION_HEADER_BYTES {
        hostile.extend_from_slice(&claims);
    }
    let dump = read_bytes(&hostile).unwrap();
    assert!(dump.damage.iter().any(|damage| damage.kind == DamageKind::GaveUp), "{:?}", dump.damage.last());
}

#[test]
fn damage_beyond_the_list_is_counted() {
    let mut bytes = bytes_of(&Profile::default());
    for _ in 0..5000 {
        bytes.extend_from_slice(&file_with(Tag::QUALITY, b"")[FILE_HEADER_BYTES..]);
    }
    let dump = read_bytes(&bytes).unwrap();
    assert_eq!(dump.damage.len(), 1001);
    assert_eq!(dump.damage[1000].kind, DamageKind::Unlisted { damages: 4000 });
}

/// A writer that fails after `writes_left` writes, with the error for a full disk.
struct FullDisk {
    writes_left: usize,
}

impl io::Write for FullDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes_left = self.writes_left.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writes_left.checked_sub(1).map(|_| ()).ok_or(io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn a_failure_at_any_write_is_the_error_that_comes_back() {
    let profile = profile();
    let mut failures = 0;
    while let Err(error) = write_to(FullDisk { writes_left: failures }, &profile) {
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        failures += 1;
    }
    let sections = places(&bytes_of(&profile)).len();
    assert_eq!(failures, 1 + 2 * sections + 1, "file header, header and payload of each section, flush");
}

#[test]
fn an_error_of_a_full_disk_names_the_path_and_what_to_do() {
    let source = io::Error::from(io::ErrorKind::StorageFull);
    let error = WriteError::Io { path: "/data/app.hl".into(), step: WriteStep::Write, source };
    let sentence = error.to_string();
    assert!(sentence.contains("/data/app.hl") && sentence.contains("free some space"), "{sentence}");
    assert!(std::error::Error::source(&error).is_some());
}

/// Returns a profile with symbols: several chunks of texts and of functions. Function *n* is called `f<n>`.
fn bundled(names: u32) -> Profile {
    let mut profile = Profile::default();
    profile.symbols.strings = (0..names)
        .map(|n| if n == 0 { String::new() } else { format!("f{n} {}", "x".repeat(n as usize % 90)) })
        .collect();
    let frame = |function, inlined| SymbolFrame { function, file: names - function, line: function, inlined };
    let functions = |n: u32| (u64::from(n) << 20, vec![frame(n, true), frame(names - n, false)]);
    profile.symbols.frames = (1..names).map(functions).collect();
    profile.symbols.notes = vec!["app has no debug information".into()];
    profile
}

/// Checks that every name in `read` is the written name or empty. Returns the number of addresses with functions.
fn check_names(read: &Profile, written: &Profile) -> usize {
    let (read, written) = (&read.symbols, &written.symbols);
    for (address, functions) in &read.frames {
        for (now, then) in functions.iter().zip(written.at(*address)) {
            for (now, then) in [(now.function, then.function), (now.file, then.file)] {
                let now = read.text(now);
                assert!(now.is_empty() || now == written.text(then), "{now} for {}", written.text(then));
            }
        }
    }
    read.frames.len()
}

#[test]
fn a_lost_chunk_of_names_never_gives_a_function_the_name_of_another() {
    let whole = bundled(12_000);
    let bytes = bytes_of(&whole);
    assert_eq!(read_bytes(&bytes).unwrap().profile, whole);
    let chunks: Vec<_> = places(&bytes)
        .into_iter()
        .filter(|(tag, ..)| [Tag::SYMBOL_TEXTS, Tag::SYMBOL_FRAMES].contains(tag))
        .collect();
    assert!(chunks.len() > 3, "{chunks:?}");
    for (tag, start, end) in chunks {
        let dump = read_bytes(&[&bytes[..start], &bytes[end..]].concat()).unwrap();
        assert!(dump.damage.len() > 1, "{:?}", dump.damage);
        let there = check_names(&dump.profile, &whole);
        assert_eq!(there == whole.symbols.frames.len(), tag == Tag::SYMBOL_TEXTS);
    }
}

#[test]
fn a_bundle_that_is_cut_or_corrupt_anywhere_gives_right_names_or_none() {
    let whole = bundled(40);
    let bytes = bytes_of(&whole);
    for at in FILE_HEADER_BYTES..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        for bytes in [&bytes[..at], &bad] {
            let dump = read_bytes(bytes).unwrap();
            assert!(!dump.is_whole(), "at {at}");
            check_names(&dump.profile, &whole);
        }
    }
}

#[test]
fn numbers_of_names_that_lead_nowhere_become_none_and_are_listed() {
    let mut hostile = bundled(3);
    let frame = SymbolFrame { function: u32::MAX, file: 4, line: u32::MAX, inlined: true };
    hostile.symbols.frames.insert(u64::MAX, vec![frame; 300]);
    let dump = read_bytes(&bytes_of(&hostile)).unwrap();
    let dangling = DamageKind::Dangling { entries: 512, table: "names" };
    assert!(dump.damage.iter().any(|damage| damage.kind == dangling), "{:?}", dump.damage);
    assert!(dump.notes.iter().any(|note| note.contains("inlined")), "{:?}", dump.notes);
    let read = dump.profile.symbols.at(u64::MAX);
    assert_eq!((read.len(), read[0].function, read[0].file), (256, 0, 0));
}

#[test]
fn notes_of_an_earlier_file_are_kept_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.hl");
    let notes = ["3 texts were cut".to_owned()];
    for _ in 0..2 {
        write_with_notes(&path, &bundled(3), &notes).unwrap();
        assert_eq!(read(&path).unwrap().notes, notes);
    }
}
