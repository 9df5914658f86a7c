//! The compared allocators (the contestants) with their settings.

/// One allocator with its settings.
pub struct Contestant {
    pub name: &'static str,
    /// Name of the program, which was built with the bench.
    pub program: &'static str,
    pub environment: &'static [(&'static str, &'static str)],
    /// Command that runs the program, with its arguments; empty if the program runs directly. The contestant takes no
    /// part if the command is not installed.
    pub runner: &'static [&'static str],
    /// For a contestant that records every event, the name of the heapledger contestant to compare with. Both
    /// contestants record stacks, or neither does.
    pub beside: Option<&'static str>,
    /// Data that the contestant keeps. Contestants that keep different data cannot be ranked by their ratios.
    pub keeps: Keeps,
}

/// The data that a contestant keeps of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    Nothing,
    Counters,
    Samples,
    LiveBlocks,
    /// Events wait in memory for a viewer. Allocations are not matched with frees, and nothing is summed.
    Queue,
    /// Every event is booked to its block and its site. Events are not kept, or only the last events are kept.
    Books,
}

impl Keeps {
    pub fn word(self) -> &'static str {
        match self {
            Keeps::Nothing => "nothing",
            Keeps::Counters => "counters",
            Keeps::Samples => "samples",
            Keeps::LiveBlocks => "live blocks",
            Keeps::Queue => "a queue of events",
            Keeps::Books => "books of every event",
        }
    }
}

const fn plain(
    name: &'static str,
    program: &'static str,
    environment: &'static [(&'static str, &'static str)],
    keeps: Keeps,
) -> Contestant {
    Contestant { name, program, environment, runner: &[], beside: None, keeps }
}

/// Returns a contestant that records every event.
const fn rival(name: &'static str, program: &'static str, keeps: Keeps, beside: &'static str) -> Contestant {
    Contestant { name, program, environment: &[], runner: &[], beside: Some(beside), keeps }
}

const WITH_STACKS: &str = "heapledger";
const WITHOUT_STACKS: &str = "heapledger, no stacks";

/// Placeholder for the path of the child's file.
pub const FILE: &str = "{file}";

/// Environment variable that makes a child start an idle thread.
pub const IDLE_THREAD: &str = "RIVALS_IDLE_THREAD";

/// All contestants. The first is the baseline of the others.
pub const ALL: [Contestant; 25] = [
    plain("bare System", "under_system", &[], Keeps::Nothing),
    plain("System, by attribute", "under_system_installed", &[], Keeps::Nothing),
    // glibc takes no locks while a process has a single thread. heapledger starts a second thread; this is its cost.
    plain("System, with an idle thread", "under_system", &[(IDLE_THREAD, "1")], Keeps::Nothing),
    // The cost of a delay without any other work. It is negative where threads wait for each other's locks.
    plain("System, each call a little later", "under_system_delayed", &[], Keeps::Nothing),
    plain(WITH_STACKS, "under_heapledger", &[("HEAPLEDGER_DUMP", FILE)], Keeps::Books),
    plain(
        "heapledger, a stamp per event",
        "under_heapledger",
        &[("HEAPLEDGER_DUMP", FILE), ("HEAPLEDGER_CLOCK", "per-event")],
        Keeps::Books,
    ),
    plain(
        WITHOUT_STACKS,
        "under_heapledger",
        &[("HEAPLEDGER_DUMP", FILE), ("HEAPLEDGER_STACKS", "off")],
        Keeps::Books,
    ),
    plain(
        "heapledger, no stacks, black box",
        "under_heapledger",
        &[("HEAPLEDGER_DUMP", "off"), ("HEAPLEDGER_STACKS", "off"), ("HEAPLEDGER_BLACKBOX", FILE)],
        Keeps::Books,
    ),
    plain(
        "heapledger, no stacks, trace",
        "under_heapledger",
        &[("HEAPLEDGER_DUMP", "off"), ("HEAPLEDGER_STACKS", "off"), ("HEAPLEDGER_TRACE", FILE)],
        Keeps::Books,
    ),
    plain(
        "heapledger, stacks by frame pointers",
        "under_heapledger",
        &[("HEAPLEDGER_DUMP", FILE), ("HEAPLEDGER_STACKS", "fp")],
        Keeps::Books,
    ),
    plain(
        "heapledger, stacks by DWARF",
        "under_heapledger",
        &[("HEAPLEDGER_DUMP", FILE), ("HEAPLEDGER_STACKS", "dwarf")],
        Keeps::Books,
    ),
    plain(
        "heapledger, a stack in 64 KiB",
        "under_heapledger",
        &[("HEAPLEDGER_DUMP", FILE), ("HEAPLEDGER_STACKS", "sampled:65536")],
        Keeps::Books,
    ),
    plain(
        "heapledger, HighThroughput",
        "under_heapledger",
        &[("HEAPLEDGER_DUMP", FILE), ("HEAPLEDGER_MODE", "throughput")],
        Keeps::Samples,
    ),
    plain(
        "heapledger, no stacks, HighAccuracy",
        "under_heapledger",
        &[("HEAPLEDGER_DUMP", FILE), ("HEAPLEDGER_STACKS", "off"), ("HEAPLEDGER_MODE", "high")],
        Keeps::Books,
    ),
    plain(
        "heapledger, no stacks, BestEffort",
        "under_heapledger",
        &[("HEAPLEDGER_DUMP", FILE), ("HEAPLEDGER_STACKS", "off"), ("HEAPLEDGER_MODE", "best-effort")],
        Keeps::Books,
    ),
    plain("heapledger, off", "under_heapledger", &[("HEAPLEDGER", "off")], Keeps::Nothing),
    plain("stats_alloc", "under_stats_alloc", &[], Keeps::Counters),
    plain("mod-alloc", "under_mod_alloc", &[], Keeps::Counters),
    plain("tracking-allocator", "under_tracking_allocator", &[], Keeps::Counters),
    plain("jemalloc", "under_jemalloc", &[("_RJEM_MALLOC_CONF", "prof:false")], Keeps::Nothing),
    plain(
        "jemalloc, sampling 512 KiB",
        "under_jemalloc",
        &[(
            "_RJEM_MALLOC_CONF",
            "prof:true,prof_active:true,lg_prof_sample:19,prof_final:true,prof_prefix:{file}",
        )],
        Keeps::Samples,
    ),
    plain("memscope-rs", "under_memscope", &[], Keeps::LiveBlocks),
    rival("Tracy client", "under_tracy", Keeps::Queue, WITHOUT_STACKS),
    rival("dhat", "under_dhat", Keeps::Books, WITH_STACKS),
    Contestant {
        runner: &["heaptrack", "-o", FILE],
        ..rival("heaptrack", "under_system", Keeps::Books, WITH_STACKS)
    },
];
