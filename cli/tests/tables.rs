//! Profiles as tables: every figure of a profile is in the tables, and query engines agree on what they say.

#![cfg(feature = "parquet")]

#[path = "tables/fleet.rs"]
mod fleet;
#[path = "tables/read_back.rs"]
mod read_back;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use heapledger::profile::{Histogram, Interval, Profile, Scope, Site, Stack, ThreadRow};
use heapledger_cli::analysis::Origin;
use heapledger_cli::export::tables::{Added, Labels, Source, TABLES, TableWriter};
use read_back::{Row, Tables, files, int, sum, tables, text};

/// Adds profiles to tables, and completes them.
fn write(root: &Path, profiles: &[Profile]) -> Vec<Added> {
    let mut writer = TableWriter::new(root, Labels::default());
    let added = profiles.iter().map(|profile| add(&mut writer, profile)).collect();
    writer.finish().expect("written");
    added
}

fn add(writer: &mut TableWriter, profile: &Profile) -> Added {
    let (mut profile, origin) = (profile.clone(), Origin::default());
    let source = Source { profile: &mut profile, origin: &origin, file: "demo.hl" };
    writer.add(source, None, &mut heapledger_cli::symbols::name_scopes).expect("added")
}

type Figures<T> = &'static [(&'static str, fn(&T) -> u64)];

const OF_RUN: Figures<Profile> = &[
    ("pid", |p| u64::from(p.process.pid)),
    ("started_unix_ns", |p| p.process.started_unix_ns),
    ("duration_ns", |p| p.process.duration_ns),
    ("attempted", |p| p.quality.attempted),
    ("recorded", |p| p.quality.recorded),
    ("lost", |p| p.quality.lost.total()),
    ("in_flight", |p| p.quality.in_flight),
    ("sampled_out", |p| p.quality.sampled_out),
    ("anomalies", |p| p.quality.anomalies.total()),
    ("total_blocks", |p| p.totals.total_blocks),
    ("total_bytes", |p| p.totals.total_bytes),
    ("freed_blocks", |p| p.totals.freed_blocks),
    ("freed_bytes", |p| p.totals.freed_bytes),
    ("live_blocks", |p| p.totals.live_blocks),
    ("live_bytes", |p| p.totals.live_bytes),
    ("peak_blocks", |p| p.totals.peak_blocks),
    ("peak_bytes", |p| p.totals.peak_bytes),
    ("peak_at_ns", |p| p.peak.at_ns),
    ("peak_uncertainty_bytes", |p| p.peak.uncertainty_bytes),
    ("reallocs", |p| p.totals.reallocs),
    ("failed", |p| p.totals.failed),
    ("own_bytes", |p| p.quality.own_bytes),
    ("own_cpu_ns", |p| p.quality.own_cpu_ns),
];

const OF_SITE: Figures<Site> = &[
    ("stack", |site| u64::from(site.stack)),
    ("total_blocks", |site| site.total_blocks),
    ("total_bytes", |site| site.total_bytes),
    ("freed_blocks", |site| site.freed_blocks),
    ("freed_bytes", |site| site.freed_bytes),
    ("live_blocks", Site::live_blocks),
    ("live_bytes", Site::live_bytes),
    ("own_peak_bytes", |site| site.own_peak_bytes),
    ("at_peak_blocks", |site| site.at_peak_blocks),
    ("at_peak_bytes", |site| site.at_peak_bytes),
    ("temporary_blocks", |site| site.temporary_blocks),
    ("temporary_bytes", |site| site.temporary_bytes),
    ("cross_thread_frees", |site| site.cross_thread_frees),
    ("reallocs", |site| site.reallocs.count),
    ("reallocs_moved", |site| site.reallocs.moved),
    ("realloc_copied_bytes", |site| site.reallocs.copied_bytes),
    ("realloc_chains", |site| site.reallocs.chains),
    ("realloc_chain_links", |site| site.reallocs.chain_links),
    ("longest_realloc_chain", |site| site.reallocs.longest_chain),
];

const OF_INTERVAL: Figures<Interval> = &[
    ("allocated_blocks", |interval| interval.allocated_blocks),
    ("allocated_bytes", |interval| interval.allocated_bytes),
    ("freed_blocks", |interval| interval.freed_blocks),
    ("freed_bytes", |interval| interval.freed_bytes),
    ("peak_bytes", |interval| interval.peak_bytes),
    ("lost", |interval| interval.lost),
];

const OF_THREAD: Figures<ThreadRow> = &[
    ("thread", |row| u64::from(row.index)),
    ("os_id", |row| row.os_id),
    ("threads", |row| row.threads),
    ("started_ns", |row| row.started_ns),
    ("attempted", |row| row.attempted),
    ("recorded", |row| row.recorded),
    ("lost", |row| row.lost.total()),
    ("total_blocks", |row| row.total_blocks),
    ("total_bytes", |row| row.total_bytes),
    ("freed_blocks", |row| row.freed_blocks),
    ("freed_bytes", |row| row.freed_bytes),
    ("cross_thread_frees", |row| row.cross_thread_frees),
];

const OF_SCOPE: Figures<Scope> = &[
    ("parent", |scope| u64::from(scope.parent)),
    ("total_blocks", |scope| scope.total_blocks),
    ("total_bytes", |scope| scope.total_bytes),
    ("freed_blocks", |scope| scope.freed_blocks),
    ("freed_bytes", |scope| scope.freed_bytes),
    ("live_blocks", Scope::live_blocks),
    ("live_bytes", Scope::live_bytes),
    ("reallocs", |scope| scope.reallocs),
    ("peak_bytes", |scope| scope.peak_bytes),
    ("peak_uncertainty_bytes", |scope| scope.peak_uncertainty_bytes),
    ("threads", |scope| u64::from(scope.threads)),
];

/// Returns every sum over the rows of a run that differs from that of the profile, as `table.column`.
fn differences(tables: &Tables, run: &str, profile: &Profile) -> BTreeSet<String> {
    let mut wrong = BTreeSet::new();
    let mut compare = |table: &str, column: &str, expected: u64, passes: &dyn Fn(&Row) -> bool| {
        if sum(&tables[table], run, column, passes) != expected {
            wrong.insert(format!("{table}.{column}"));
        }
    };
    let all = &|_: &Row| true;
    fn over<T>(items: &[T], figure: fn(&T) -> u64) -> u64 {
        items.iter().map(figure).sum()
    }
    OF_RUN.iter().for_each(|(column, figure)| compare("run", column, figure(profile), all));
    OF_SITE.iter().for_each(|(column, figure)| compare("site", column, over(&profile.sites, *figure), all));
    let intervals = &profile.timeline.intervals;
    OF_INTERVAL
        .iter()
        .for_each(|(column, figure)| compare("timeline", column, over(intervals, *figure), all));
    OF_THREAD
        .iter()
        .for_each(|(column, figure)| compare("thread", column, over(&profile.threads, *figure), all));
    OF_SCOPE
        .iter()
        .for_each(|(column, figure)| compare("scope", column, over(&profile.scopes, *figure), all));
    let resident = profile.memory.resident_by_interval.iter().sum();
    compare("timeline", "resident_bytes", resident, all);
    compare("timeline", "live_bytes_at_end", profile.timeline.live_bytes().iter().sum(), all);
    compare("block", "size_bytes", over(&profile.live, |block| block.size), all);
    compare("block", "address", over(&profile.live, |block| block.address), all);
    compare("block", "born_ns", over(&profile.live, |block| block.born_ns), all);
    compare("block", "alignment_bytes", over(&profile.live, |block| 1 << block.align_log2), all);
    compare("remote_free", "blocks", over(&profile.crossings, |pair| pair.blocks), all);
    compare("remote_free", "bytes", over(&profile.crossings, |pair| pair.bytes), all);
    let histogram = |figure: fn(&Site) -> &Histogram| {
        let rows = profile.sites.iter().flat_map(move |site| figure(site).rows());
        rows.fold((0, 0), |(blocks, bounds), (low, _, count)| (blocks + count, bounds + low * count))
    };
    for (name, (blocks, _)) in
        [("size_bytes", histogram(|site| &site.sizes)), ("lifetime_ns", histogram(|site| &site.lifetimes))]
    {
        compare("histogram", "blocks", blocks, &|row| text(row, "figure") == name);
    }
    for (reason, events) in profile.quality.lost.iter() {
        let figure = format!("lost_{}", reason.name());
        compare("quality", "value", events, &|row| text(row, "figure") == figure);
    }
    wrong
}

fn run_ids(tables: &Tables) -> BTreeMap<(i64, i64), String> {
    let id = |row: &Row| ((int(row, "pid"), int(row, "duration_ns")), text(row, "run_id").to_owned());
    tables["run"].iter().map(id).collect()
}

fn fleet() -> Vec<Profile> {
    fleet::runs().into_iter().map(fleet::profile).collect()
}

#[test]
fn every_sum_is_that_of_its_profile() {
    let directory = tempfile::tempdir().expect("a directory");
    let profiles = fleet();
    write(directory.path(), &profiles);
    let tables = tables(directory.path());
    let ids = run_ids(&tables);
    assert_eq!(ids.len(), profiles.len());
    for profile in &profiles {
        assert_eq!(heapledger::profile::check(profile), vec![], "the sample obeys every law");
        let id = &ids[&(i64::from(profile.process.pid), profile.process.duration_ns as i64)];
        assert_eq!(differences(&tables, id, profile), BTreeSet::new(), "{id}");
    }
}

#[test]
fn one_more_byte_or_block_in_any_table_is_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    let profile = fleet().remove(0);
    write(directory.path(), std::slice::from_ref(&profile));
    let tables = tables(directory.path());
    let id = run_ids(&tables).into_values().next().expect("a run");
    type Fault = fn(&mut Profile);
    let faults: [(&str, Fault); 9] = [
        ("run.total_bytes", |p| p.totals.total_bytes += 1),
        ("site.at_peak_bytes", |p| p.sites[2].at_peak_bytes += 1),
        ("histogram.blocks", |p| p.sites[1].lifetimes.add(1, 1)),
        ("block.size_bytes", |p| p.live[0].size += 1),
        ("timeline.lost", |p| p.timeline.intervals[1].lost += 1),
        ("timeline.resident_bytes", |p| p.memory.resident_by_interval[0] += 1),
        ("thread.freed_blocks", |p| p.threads[1].freed_blocks += 1),
        ("scope.reallocs", |p| p.scopes[0].reallocs += 1),
        ("remote_free.bytes", |p| p.crossings[0].bytes += 1),
    ];
    for (column, fault) in faults {
        let mut broken = profile.clone();
        fault(&mut broken);
        assert!(differences(&tables, &id, &broken).contains(column), "{column}");
    }
}

#[test]
fn a_key_is_the_same_in_every_build_and_at_every_address() {
    let directory = tempfile::tempdir().expect("a directory");
    write(directory.path(), &fleet());
    let tables = tables(directory.path());
    let mut places: BTreeMap<i64, BTreeSet<&str>> = BTreeMap::new();
    for site in &tables["site"] {
        places.entry(int(site, "site_key")).or_default().insert(text(site, "place"));
    }
    let shown: Vec<Vec<&str>> = places.into_values().map(|places| places.into_iter().collect()).collect();
    let mut expected = vec!["(no stack)", "demo::cache::insert", "demo::cache::insert", "demo::index::grow"];
    expected.push("demo::parse::words");
    let mut shown: Vec<&str> = shown.iter().map(|places| places[..].join(" ").leak() as &str).collect();
    shown.sort_unstable();
    assert_eq!(shown, expected, "a key for each path, and one place for each key");
    // Frames are there once for each build, under the keys of the sites.
    let frames: BTreeSet<(&str, i64, i64)> = (tables["frame"].iter())
        .map(|row| (text(row, "build_id"), int(row, "site_key"), int(row, "depth")))
        .collect();
    assert_eq!((frames.len(), tables["frame"].len()), (2 * 11, 2 * 11));
    let outermost = tables["frame"].iter().filter(|row| text(row, "function") == "demo::main");
    assert_eq!(outermost.count(), 2 * 4, "the frames of scopes are in the column `scope`");
    let scoped = tables["site"].iter().filter(|row| text(row, "scope") == "GET /search");
    assert_eq!(scoped.count(), fleet().len());
}

#[test]
fn without_names_offsets_stand_for_them_and_the_rows_say_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut profiles = fleet();
    for profile in &mut profiles {
        profile.symbols = Default::default();
    }
    write(directory.path(), &profiles);
    let tables = tables(directory.path());
    let named = |row: &Row| row["is_named"] == parquet::record::Field::Bool(true);
    assert!(!tables["site"].iter().any(named));
    let keys: BTreeSet<i64> = tables["site"].iter().map(|row| int(row, "site_key")).collect();
    assert_eq!(keys.len(), 1 + 2 * 4, "the same on every host, another one in each build");
}

#[test]
fn a_run_is_added_once_and_only_as_a_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let profiles = fleet();
    assert!(write(directory.path(), &profiles[..4]).iter().all(|added| *added == Added::New));
    let again = write(directory.path(), &profiles);
    assert_eq!(again.iter().filter(|added| **added == Added::Known).count(), 4);
    assert_eq!(tables(directory.path())["run"].len(), profiles.len());
    // A writer that does not come to its end leaves nothing behind.
    let other = tempfile::tempdir().expect("a directory");
    let mut writer = TableWriter::new(other.path(), Labels::default());
    add(&mut writer, &profiles[0]);
    drop(writer);
    assert!(TABLES.iter().all(|table| files(other.path(), table.name).is_empty()));
}

#[test]
fn every_table_exists_whatever_is_in_it() {
    let directory = tempfile::tempdir().expect("a directory");
    write(directory.path(), &[Profile::default()]);
    for table in TABLES {
        assert_eq!(files(directory.path(), table.name).len(), 1, "{}", table.name);
    }
    let tables = tables(directory.path());
    assert_eq!((tables["run"].len(), tables["event"].len(), tables["scope"].len()), (1, 0, 0));
    let path = files(directory.path(), "run").remove(0);
    assert!(path.to_string_lossy().contains("run/service=_/date=1970-01-01/"), "{}", path.display());
}

#[test]
fn hostile_profiles_are_written_where_they_belong() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("heaps");
    let mut profile = fleet().remove(0);
    profile.process.program = "../../a b\n=%/\u{202e}".into();
    profile.totals.total_bytes = u64::MAX;
    profile.sites[0].stack = 4_000_000;
    profile.sites[1].total_bytes = u64::MAX;
    profile.live[0].stack = u32::MAX;
    profile.live[0].align_log2 = 255;
    profile.process.started_unix_ns = u64::MAX;
    profile.timeline.interval_ns = u64::MAX;
    profile.stacks.push(Stack { frames: vec![0, u64::MAX, 1], truncated: true });
    write(&root, &[profile]);
    let entries: Vec<_> = fs::read_dir(directory.path()).expect("a directory").collect();
    assert_eq!(entries.len(), 1, "nothing beside the directory");
    let tables = tables(&root);
    assert_eq!(int(&tables["run"][0], "total_bytes"), i64::MAX);
    let path = files(&root, "run").remove(0);
    assert!(path.to_string_lossy().contains("service=.._.._a_b_____/date=2554-07-21"), "{}", path.display());
}

/// Writes each profile as a dump, and returns the paths.
fn dumps(directory: &Path, profiles: &[Profile]) -> Vec<String> {
    let name = |profile: &Profile| format!("{}.{}.hl", profile.process.pid, profile.process.duration_ns);
    let written = profiles.iter().map(|profile| {
        let path = directory.join(name(profile));
        heapledger::dumps::write_with_notes(&path, profile, &[]).expect("a dump");
        path.to_string_lossy().into_owned()
    });
    written.collect()
}

fn heapledger(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_heapledger")).args(arguments).output().expect("the command runs")
}

fn code_and_errors(arguments: &[&str]) -> (Option<i32>, String) {
    let output = heapledger(arguments);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_command_writes_what_it_can_read_and_names_the_rest() {
    let directory = tempfile::tempdir().expect("a directory");
    let paths = dumps(directory.path(), &fleet()[..2]);
    let bad = directory.path().join("bad.hl").to_string_lossy().into_owned();
    fs::write(&bad, "no dump").expect("written");
    let out = directory.path().join("heaps").to_string_lossy().into_owned();
    let parquet = ["export", "--format", "parquet", "-o", &out];
    let (code, said) = code_and_errors(&[&parquet[..], &[&paths[0], &bad, &paths[1]]].concat());
    assert!(code == Some(3) && said.contains("bad.hl") && said.contains("2 runs"), "{said}");
    assert!(said.contains("1 file could not be read"), "{said}");
    let (code, said) = code_and_errors(&[&parquet[..], &[&paths[0]]].concat());
    assert!(code == Some(0) && said.contains("1 run was there already"), "{said}");
    for (arguments, expected) in [
        (&["export", "--format", "parquet", &paths[0]][..], "name the directory with -o"),
        (&["export", "--format", "parquet", "-o", &bad, &paths[0]], "is no directory"),
        (&["export", "--format", "parquet", "-o", &out, "--by", "live", &paths[0]], "--by"),
        (&["export", "--format", "parquet", "-o", &out, "--from", "1s", &paths[0]], "--from"),
        (&["export", "--format", "json", &paths[0], &paths[1]], "holds one dump"),
        (&["export", "--format", "json", "--host", "a", &paths[0]], "--host"),
    ] {
        let (code, said) = code_and_errors(arguments);
        assert!(code == Some(2) && said.contains(expected), "{said}");
    }
}

/// Runs every query of `docs/FLEET.md` on the engines that are installed for `python3`, or for the interpreter that
/// `HEAPLEDGER_PYTHON` names. If none is installed, the test says so; with `HEAPLEDGER_READERS=all` it fails.
#[test]
fn query_engines_agree_with_each_other_and_with_json() {
    let directory = tempfile::tempdir().expect("a directory");
    let paths = dumps(directory.path(), &fleet());
    let json: Vec<serde_json::Value> = (paths.iter())
        .map(|path| {
            serde_json::from_slice(
                &heapledger(&["export", "--format", "json", "--format-version", "1", path]).stdout,
            )
            .expect("JSON")
        })
        .collect();
    let json_path = directory.path().join("dumps.json");
    fs::write(&json_path, serde_json::to_vec(&json).expect("JSON")).expect("written");
    let out = directory.path().join("heaps");
    let mut arguments = vec!["export", "--format", "parquet", "-o", out.to_str().expect("text")];
    arguments.extend(paths.iter().map(String::as_str));
    let (code, said) = code_and_errors(&arguments);
    assert_eq!(code, Some(0), "{said}");
    let python = std::env::var_os("HEAPLEDGER_PYTHON").unwrap_or("python3".into());
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tables/engines.py")).arg(&out);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/FLEET.md")).arg(&json_path);
    let must = std::env::var_os("HEAPLEDGER_READERS").is_some();
    let Ok(output) = command.output() else {
        assert!(!must, "there is no python3");
        println!("SKIPPED: there is no python3");
        return;
    };
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    println!("{said}");
    let none = output.status.code() == Some(5);
    assert!((none && !must) || output.status.success(), "{said}");
    assert!(!must || !said.contains("SKIPPED"), "{said}");
}

/// Writes 2,000 dumps, and prints what their tables take: `cargo test --release --all-features --test tables --
/// --ignored --nocapture`. With `HEAPLEDGER_SAMPLE=FILE` they are copies of that dump, each at other addresses; with
/// `HEAPLEDGER_KEEP=DIR` they stay there.
#[test]
#[ignore = "for people: it prints times"]
fn two_thousand_dumps_take_less_than_a_minute() {
    let directory = tempfile::tempdir().expect("a directory");
    let keep = std::env::var_os("HEAPLEDGER_KEEP").map(std::path::PathBuf::from);
    let place = keep.unwrap_or_else(|| directory.path().to_owned());
    let sample = match std::env::var_os("HEAPLEDGER_SAMPLE") {
        Some(path) => heapledger::dumps::read(Path::new(&path)).expect("a dump").profile,
        None => fleet::profile(fleet::runs()[0]),
    };
    let paths: Vec<String> = (0..2_000u32)
        .map(|number| {
            let mut profile = sample.clone();
            moved(&mut profile, number);
            let path = place.join(format!("{number}.hl"));
            heapledger::dumps::write_with_notes(&path, &profile, &[]).expect("a dump");
            path.to_string_lossy().into_owned()
        })
        .collect();
    let bytes: u64 = paths.iter().map(|path| fs::metadata(path).expect("a file").len()).sum();
    let out = directory.path().join("heaps");
    let mut arguments = vec!["export", "--format", "parquet", "-o", out.to_str().expect("text")];
    arguments.extend(paths.iter().map(String::as_str));
    let (started, before) = (std::time::Instant::now(), children_ticks());
    let (code, said) = code_and_errors(&arguments);
    let ticks = children_ticks() - before;
    assert_eq!(code, Some(0), "{said}");
    let seconds = started.elapsed().as_secs_f64();
    println!("{bytes} bytes of dumps; {seconds:.1} s, {:.1} s of processor; {said}", ticks as f64 / 100.0);
}

/// Moves a profile to other addresses, and makes it that of another process on another host.
fn moved(profile: &mut Profile, number: u32) {
    let shift = u64::from(number) * 0x10_0000;
    let by = |address: &mut u64| *address = address.wrapping_add(shift);
    profile.process.pid = 1_000 + number;
    profile.process.host = format!("host-{}", number % 100);
    profile.process.started_unix_ns += u64::from(number % 5) * 1_000_000_000;
    for module in &mut profile.modules {
        [&mut module.start, &mut module.end, &mut module.bias].into_iter().for_each(by);
    }
    let is_scope = |address: u64| heapledger::profile::scope_of_address(address).is_some();
    for address in profile.stacks.iter_mut().flat_map(|stack| &mut stack.frames) {
        if !is_scope(*address) {
            by(address);
        }
    }
    let frames = std::mem::take(&mut profile.symbols.frames).into_iter();
    profile.symbols.frames = frames
        .map(|(mut address, functions)| {
            if !is_scope(address) {
                by(&mut address);
            }
            (address, functions)
        })
        .collect();
    profile.live.iter_mut().for_each(|block| by(&mut block.address));
}

/// Returns the time in user space of the processes that were waited for, in hundredths of a second.
fn children_ticks() -> u64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    fields.split(' ').nth(13).and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}
