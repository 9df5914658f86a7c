//! Profiles with known sums, with stacks and names.

use heapledger::profile::{HeapStats, Module, Peak, Profile, Site, Stack, SymbolFrame};

pub fn empty() -> Profile {
    let mut profile = Profile::default();
    profile.quality.installed = true;
    profile.quality.current_completeness = 1.0;
    profile
}

/// Returns the profile of a process with these sites.
fn with_sites(sites: Vec<Site>) -> Profile {
    let mut profile = empty();
    profile.process.program = "demo".into();
    profile.process.pid = 4711;
    profile.process.duration_ns = 2_000_000_000;
    let sum = |figure: fn(&Site) -> u64| sites.iter().map(figure).sum();
    profile.totals = HeapStats {
        total_blocks: sum(|site| site.total_blocks),
        total_bytes: sum(|site| site.total_bytes),
        freed_blocks: sum(|site| site.freed_blocks),
        freed_bytes: sum(|site| site.freed_bytes),
        live_blocks: sum(Site::live_blocks),
        live_bytes: sum(Site::live_bytes),
        peak_blocks: sum(|site| site.at_peak_blocks),
        peak_bytes: sum(|site| site.at_peak_bytes),
        ..HeapStats::default()
    };
    let totals = profile.totals;
    profile.peak = Peak {
        bytes: totals.peak_bytes,
        blocks: totals.peak_blocks,
        at_ns: 1_000_000_000,
        uncertainty_bytes: 0,
    };
    profile.sites = sites;
    profile
}

fn site(stack: u32, blocks: u64, bytes: u64, freed: (u64, u64), peak: (u64, u64), temporary: u64) -> Site {
    let mut site = Site {
        stack,
        total_blocks: blocks,
        total_bytes: bytes,
        freed_blocks: freed.0,
        freed_bytes: freed.1,
        at_peak_blocks: peak.0,
        at_peak_bytes: peak.1,
        own_peak_bytes: peak.1.max(bytes - freed.1),
        temporary_blocks: temporary,
        temporary_bytes: temporary * (bytes / blocks),
        ..Site::default()
    };
    site.sizes.add(bytes / blocks, blocks);
    site.lifetimes.add(1_000, freed.0);
    site
}

/// Returns a profile of five sites: one without a stack, one with inlined functions, one in a library without names,
/// one in no object, and a recursive one.
pub fn ordinary() -> Profile {
    let mut profile = with_sites(vec![
        site(0, 2, 20, (2, 20), (0, 0), 2),
        site(1, 5, 1_000, (4, 800), (2, 400), 0),
        site(2, 10, 10_001, (9, 9_001), (1, 1_000), 3),
        site(3, 1, 64, (1, 64), (1, 64), 0),
        site(4, 7, 77, (6, 66), (1, 11), 0),
        site(5, 3, 30, (0, 0), (3, 30), 0),
    ]);
    let stack = |frames: &[u64]| Stack { frames: frames.to_vec(), truncated: false };
    profile.stacks = vec![
        Stack::default(),
        stack(&[0x1010, 0x1100]),
        stack(&[0x8124, 0x1100]),
        stack(&[0xf000]),
        stack(&[0x1010, 0x1010, 0x1100]),
        stack(&[0x1010, 0x1100]),
    ];
    let texts = [
        "",
        "alloc::vec::Vec<T>::push",
        "src/vec.rs",
        "demo::parse",
        "src/parse.rs",
        "demo::main",
        "src/main.rs",
    ];
    profile.symbols.strings = texts.map(str::to_owned).to_vec();
    let symbol = |function, file, line, inlined| SymbolFrame { function, file, line, inlined };
    profile.symbols.frames.extend([
        (0x1010, vec![symbol(1, 2, 20, true), symbol(3, 4, 10, false)]),
        (0x1100, vec![symbol(5, 6, 5, false)]),
    ]);
    let module = |path: &str, build_id: &str, start, end| Module {
        path: path.into(),
        build_id: build_id.into(),
        start,
        end,
        bias: start,
    };
    profile.modules =
        vec![module("/opt/demo", "ab01", 0x1000, 0x3000), module("/lib/libx.so", "", 0x8000, 0x9000)];
    profile
}

pub fn without_stacks() -> Profile {
    let mut profile = with_sites(vec![site(0, 10, 1_234, (7, 1_000), (5, 700), 2)]);
    profile.stacks = vec![Stack::default()];
    profile
}

/// Returns a profile with names that are markup, lines of the formats, escapes, or a megabyte long.
pub fn with_hostile_names() -> Profile {
    let mut profile = ordinary();
    profile.symbols.strings[1] =
        "\u{1b}[31m\u{0}\r\n+ 1\n- 1\n</script><script>alert(1)</script>\"',;=#{}".into();
    profile.symbols.strings[2] = "\u{fffd}\u{202e}/a b;c 12".into();
    profile.symbols.strings[3] = "x".repeat(1 << 20);
    profile.symbols.strings[5] = "frame 12 34".into();
    profile.modules[1].path = "/lib/\n\"<b>\";x 9.so".into();
    profile.process.program = "</title>\n\u{7}".into();
    profile.process.command_line = vec!["a\nX b".into(), "\"".into()];
    profile
}

/// Returns a profile of `sites` sites with stacks of `depth` frames, half of them shared.
pub fn large(sites: u32, depth: u64) -> Profile {
    let accounts = (1..=sites).map(|stack| {
        let blocks = u64::from(stack % 7) + 2;
        site(stack, blocks, blocks * 100 + 3, (1, 100), (blocks - 1, (blocks - 1) * 100 + 3), 0)
    });
    let mut profile = with_sites(accounts.collect());
    profile.stacks = vec![Stack::default()];
    let places = 5_000;
    for stack in 0..u64::from(sites) {
        let frame = |level: u64| {
            let varied = if level < depth / 2 {
                stack * 31 + level * level * (stack % 11)
            } else {
                stack % 13 + level
            };
            0x10_0000 + 16 * (varied % places) + 8
        };
        // The outermost but one tells stacks apart, whatever the others are.
        let mut frames: Vec<u64> = (0..depth).map(frame).collect();
        frames[0] = 0x100_0000 + 16 * stack;
        profile.stacks.push(Stack { frames, truncated: false });
    }
    profile.symbols.strings = vec![String::new()];
    for place in 0..places {
        let number = profile.symbols.strings.len() as u32;
        profile
            .symbols
            .strings
            .push(format!("crate_{}::module::function_{place}::<alloc::string::String>", place % 40));
        let symbol = SymbolFrame { function: number, ..SymbolFrame::default() };
        profile.symbols.frames.insert(0x10_0000 + 16 * place + 8, vec![symbol]);
    }
    profile.modules = (0..200u64)
        .map(|index| Module {
            path: format!("/lib/lib{index}.so"),
            start: 0x10_0000 + index * 0x1000,
            end: 0x10_0000 + (index + 1) * 0x1000,
            bias: 0x10_0000,
            ..Module::default()
        })
        .collect();
    profile
}
