//! Who takes part, and with which environment.

/// One allocator with its settings.
pub struct Contestant {
    pub name: &'static str,
    /// The program, found by its name among those that the bench was built with.
    pub program: &'static str,
    pub environment: &'static [(&'static str, &'static str)],
    /// A program that runs it, with its arguments, if there is one. Where that is not installed the contestant takes no part.
    pub runner: &'static [&'static str],
    /// The heapledger that does the same job, if this one records every event: with stacks where this one has them.
    pub beside: Option<&'static str>,
    /// What is left of an allocation. Ratios of contestants that keep different things do not rank them.
    pub keeps: Keeps,
}

/// What a contestant keeps of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    Nothing,
    Counters,
    Samples,
    LiveBlocks,
    /// Events wait in memory for a viewer; nothing is matched or summed up.
    Queue,
    /// Every event is booked to its block and its site; the events themselves are not kept, or only the last.
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

/// One that records every event.
const fn rival(name: &'static str, program: &'static str, keeps: Keeps, beside: &'static str) -> Contestant {
    Contestant { name, program, environment: &[], runner: &[], beside: Some(beside), keeps }
}

const WITH_STACKS: &str = "heapledger";
const WITHOUT_STACKS: &str = "heapledger, no stacks";

/// Replaced by the path of the child's file.
pub const FILE: &str = "{file}";

/// The variable that has a child start a thread that does nothing.
pub const IDLE_THREAD: &str = "RIVALS_IDLE_THREAD";

/// All contestants; the first is the one that the others are compared with.
pub const ALL: [Contestant; 25] = [
    plain("bare System", "under_system", &[], Keeps::Nothing),
    plain("System, by attribute", "under_system_installed", &[], Keeps::Nothing),
    // glibc leaves its locks out while a process has one thread, and heapledger starts one: what that alone costs.
    plain("System, with an idle thread", "under_system", &[(IDLE_THREAD, "1")], Keeps::Nothing),
    // What it costs to take time and nothing else: less than nothing, where threads wait for each other's locks.
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
