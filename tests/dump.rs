//! Tests of dumps through the public interface: round trips, the golden file, every cut and many corruptions of it, and
//! the files that a writer may replace.

#[path = "dump/arbitrary.rs"]
mod arbitrary;
#[path = "dump/golden.rs"]
mod golden;
#[path = "dump/limits.rs"]
mod limits;

use std::fs;
use std::path::Path;
use std::process::Command;

use heapledger::dumps::{self, DamageKind, Occupant, ReadError, WriteError, WriteStep};
use heapledger::{Profile, profile};
use proptest::prelude::*;

fn bytes_of(profile: &Profile) -> Vec<u8> {
    let mut bytes = Vec::new();
    dumps::write_to(&mut bytes, profile).unwrap();
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_profile_comes_back_as_it_was(profile in arbitrary::profile()) {
        let dump = dumps::read_bytes(&bytes_of(&profile)).unwrap();
        prop_assert!(dump.is_whole(), "{:?}", dump.damage);
        let note = |law| format!("the profile breaks a law when written: {law}");
        let laws: Vec<_> = profile::check(&profile).iter().map(note).collect();
        prop_assert_eq!(&dump.notes, &laws);
        prop_assert_eq!(dump.broken_laws.len(), laws.len());
        prop_assert_eq!(dump.profile, profile);
    }

    #[test]
    fn any_bytes_behind_the_magic_are_a_dump_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut file = golden::FILE[..8].to_vec();
        file.extend_from_slice(&bytes);
        let _ = dumps::read_bytes(&file);
        let _ = dumps::read_bytes(&bytes);
    }
}

#[test]
fn tables_of_many_chunks_come_back_as_they_were() {
    let mut profile = golden::profile();
    let block = profile.live[0];
    profile.live = (0..100_000u64)
        .map(|n| profile::LiveBlock {
            address: n.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            size: n,
            born_ns: n * n,
            ..block
        })
        .collect();
    let event = profile.history[0];
    profile.history = (0..70_000u64)
        .map(|n| profile::Event { at_ns: n, kind: profile::EventKind::Free { address: n << 4 }, ..event })
        .collect();
    let row = profile.threads[1].clone();
    profile.threads = (0..10_000).map(|index| profile::ThreadRow { index, ..row.clone() }).collect();
    let mut bytes = Vec::new();
    let encoded = dumps::write_to(&mut bytes, &profile).unwrap();
    assert!(encoded.sections > 20, "{encoded:?}");
    let dump = dumps::read_from(bytes.as_slice()).unwrap();
    assert!(dump.is_whole() && dump.profile == profile, "{:?}", dump.damage);
}

#[test]
fn the_golden_file_of_version_1_reads_to_the_same_values_for_ever() {
    let dump = dumps::read_bytes(golden::FILE).unwrap();
    assert_eq!(dump.damage, []);
    assert_eq!((dump.version.major, dump.version.minor), (1, 0));
    assert_eq!(dump.profile, golden::profile());
    assert_eq!(dump.notes.len(), dump.broken_laws.len());
    assert!(dump.notes[0].contains("recorded = retained + evicted: 1015 is not 1014"), "{:?}", dump.notes);
}

#[test]
fn a_cut_at_any_length_gives_what_is_whole_and_says_so() {
    let whole = golden::profile();
    let (mut with_quality, mut equal) = (0, 0);
    for length in 0..golden::FILE.len() {
        let dump = match dumps::read_bytes(&golden::FILE[..length]) {
            Ok(dump) => dump,
            Err(ReadError::TooShort { bytes }) => {
                assert!(length < 16 && bytes == length as u64);
                continue;
            }
            Err(error) => panic!("cut to {length}: {error}"),
        };
        assert!(length >= 16);
        let unfinished = dump.damage.iter().any(|damage| damage.kind == DamageKind::Unfinished);
        assert!(unfinished, "cut to {length}: {:?}", dump.damage);
        with_quality += usize::from(dump.profile.quality == whole.quality);
        equal += usize::from(dump.profile == whole);
    }
    // Quality is lost only while its own section, the first, is cut; all is there once only notes and end are cut.
    assert!(golden::FILE.len() - with_quality < 300, "{with_quality} of {}", golden::FILE.len());
    assert!(equal > 50, "{equal}");
}

#[test]
fn anything_but_the_magic_at_the_start_is_no_dump() {
    for bytes in [&b"x"[..], b"\x7FELF and so on, a program", b"{\"json\": true}"] {
        let error = dumps::read_bytes(bytes).unwrap_err();
        assert!(matches!(error, ReadError::NotADump), "{error}");
    }
    assert!(matches!(dumps::read_bytes(b"").unwrap_err(), ReadError::TooShort { bytes: 0 }));
}

fn occupied(path: &Path) -> Occupant {
    match dumps::write(path, &golden::profile()).unwrap_err() {
        WriteError::Occupied { by, path: named } => {
            assert_eq!(named, path);
            by
        }
        other => panic!("{other}"),
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_dump_is_written_whole_and_replaces_an_older_dump() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.hl");
    for program in ["first", "second"] {
        let mut profile = golden::profile();
        profile.process.program = program.into();
        let written = dumps::write(&path, &profile).unwrap();
        assert_eq!((written.bytes, &written.path), (fs::metadata(&path).unwrap().len(), &path));
        assert_eq!(written.broken_laws, profile::check(&profile));
        assert_eq!(dumps::read(&path).unwrap().profile, profile);
    }
    assert_eq!(names(directory.path()), ["app.hl"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_file_that_is_not_a_dump_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    for content in [&b"my thesis"[..], b"", b"\x89HLD"] {
        let path = directory.path().join("thesis.txt");
        fs::write(&path, content).unwrap();
        assert_eq!(occupied(&path), Occupant::ForeignFile);
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    assert_eq!(names(directory.path()), ["thesis.txt"]);
}

#[test]
fn a_directory_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(occupied(directory.path()), Occupant::Directory);
    let error = dumps::write(Path::new("/"), &golden::profile()).unwrap_err();
    assert!(matches!(error, WriteError::NoFileName { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn a_link_is_left_alone_even_if_it_leads_to_a_dump_or_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let (dump, link) = (directory.path().join("app.hl"), directory.path().join("link.hl"));
    fs::write(&dump, golden::FILE).unwrap();
    std::os::unix::fs::symlink(&dump, &link).unwrap();
    assert_eq!(occupied(&link), Occupant::Symlink);
    assert_eq!(fs::read(&dump).unwrap(), golden::FILE);
    assert_eq!(dumps::read(&link).unwrap().profile, golden::profile(), "reading through a link is fine");
    fs::remove_file(&dump).unwrap();
    assert_eq!(occupied(&link), Occupant::Symlink);
    assert_eq!(names(directory.path()), ["link.hl"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_neither_written_nor_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe.hl");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(occupied(&pipe), Occupant::Special);
    assert!(matches!(dumps::read(&pipe).unwrap_err(), ReadError::NotAFile { .. }));
    assert_eq!(names(directory.path()), ["pipe.hl"]);
}

#[test]
fn a_path_that_cannot_be_created_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file.txt");
    fs::write(&file, b"mine").unwrap();
    for (path, expected) in [
        (file.join("x.hl"), WriteStep::Inspect),
        (directory.path().join("missing").join("x.hl"), WriteStep::Create),
    ] {
        let error = dumps::write(&path, &golden::profile()).unwrap_err();
        let sentence = error.to_string();
        assert!(
            sentence.contains(path.to_str().unwrap()) && sentence.contains("create the directory"),
            "{sentence}"
        );
        assert!(std::error::Error::source(&error).is_some());
        assert!(matches!(error, WriteError::Io { step, .. } if step == expected), "{error:?}");
    }
    assert_eq!(
        (names(directory.path()), fs::read(&file).unwrap()),
        (vec!["file.txt".to_owned()], b"mine".to_vec())
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported_as_such() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = dumps::write_to(full, &golden::profile()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

#[test]
fn reading_what_is_not_there_names_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.hl");
    let error = dumps::read(&path).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert!(matches!(dumps::read(directory.path()).unwrap_err(), ReadError::NotAFile { .. }));
}
