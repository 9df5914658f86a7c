//! Profiles with random content that keep only the rules of the model: references lead to rows, row 0 exists, and
//! histograms have up to 64 buckets.

use heapledger::profile::tracked::{
    Holder, PointerEvent, PointerKind, TrackedEvent, TrackedPointer, Unlisted,
};
use heapledger::profile::{
    Anomalies, Change, ClockInfo, Estimate, Estimates, Event, EventKind, Histogram, Interval, LiveBlock,
    Module, OwnMemory, Peak, ProcessInfo, ProcessMemory, QualityIndicator, ReallocStats, RemoteFrees, Scope,
    ScopeCounts, Settings, Site, SiteCurve, Stack, StackFigures, SymbolFrame, Symbols, ThreadRow, Timeline,
    TrackedReport, TurnTimes,
};
use heapledger::{
    ClockMode, CompletenessTrend, ConcurrencyConfig, Coverage, DataQualityMode, ForkPolicy, HeapStats,
    HistoryLimits, LossCounts, Profile, Stacks,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Returns small numbers, large numbers, and the ends of the range.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..300, any::<u64>(), Just(u64::MAX)]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z/._-]{1,20}", any::<String>()]
}

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), 0.0f64..1.0]
}

/// Returns `N` numbers. Strategies of tuples have at most twelve parts, so structs of counts are filled from one array.
fn numbers<const N: usize>() -> impl Strategy<Value = [u64; N]> {
    vec(number(), N).prop_map(|numbers| numbers.try_into().unwrap())
}

fn losses() -> impl Strategy<Value = LossCounts> {
    numbers::<7>().prop_map(LossCounts::from_counts)
}

fn mode() -> impl Strategy<Value = DataQualityMode> {
    prop::sample::select(DataQualityMode::ALL.to_vec())
}

fn trend() -> impl Strategy<Value = CompletenessTrend> {
    use CompletenessTrend::{Degrading, Improving, Stable, Unknown};
    prop::sample::select(vec![Degrading, Improving, Stable, Unknown])
}

fn quality() -> impl Strategy<Value = QualityIndicator> {
    let words = (any::<bool>(), share(), share(), prop::option::of(share()), trend(), text(), mode());
    (words, losses(), numbers::<18>()).prop_map(|(words, lost, n)| QualityIndicator {
        installed: words.0,
        current_completeness: words.1,
        target_completeness: words.2,
        windowed_completeness: words.3,
        trend: words.4,
        recommendation: words.5,
        mode: words.6,
        attempted: n[0],
        recorded: n[1],
        in_flight: n[2],
        lost,
        sampled_out: n[3],
        retained: n[4],
        evicted: n[5],
        anomalies: Anomalies {
            unmatched_frees: n[6],
            double_allocations: n[7],
            ambiguous_pairings: n[8],
            layout_mismatches: n[9],
        },
        own_events: n[10],
        lag_ns: n[11],
        ring_high_water_words: n[12],
        folds_at_home: n[13],
        folds_away: n[14],
        waits: n[15],
        spare_segments: n[16],
        own_bytes: n[17],
        own_cpu_ns: n[0],
        turn_times: TurnTimes::default(),
        own_memory: OwnMemory { rings: n[1], live_blocks: n[2], sites: n[3], stacks: n[4], tables: n[5] },
    })
}

fn process() -> impl Strategy<Value = ProcessInfo> {
    let ids = (any::<u32>(), any::<Option<u32>>(), number(), number());
    let surroundings = (text(), vec(text(), 0..3), text());
    (ids, text(), vec(text(), 0..5), text(), text(), text(), surroundings).prop_map(
        |(ids, program, command_line, a, b, c, (directory, unread, host))| {
            let (pid, forked_from, started_unix_ns, duration_ns) = ids;
            let (platform, heapledger_version, reason) = (a, b, c);
            ProcessInfo {
                pid,
                forked_from,
                program,
                command_line,
                platform,
                heapledger_version,
                started_unix_ns,
                duration_ns,
                reason,
                directory,
                unread,
                host,
            }
        },
    )
}

fn stack_figures() -> impl Strategy<Value = StackFigures> {
    (text(), text(), numbers::<7>()).prop_map(|(walker, why, n)| StackFigures {
        walker,
        why,
        taken: n[0],
        truncated: n[1],
        failed: n[2],
        table_full: n[3],
        left_out: n[4],
        checked: n[5],
        check_failed: n[6],
    })
}

fn turn_times() -> impl Strategy<Value = TurnTimes> {
    let some = numbers::<32>().prop_map(|durations| TurnTimes {
        turns: durations[0],
        timed: durations[1],
        timed_ns: durations[2],
        durations,
    });
    prop_oneof![Just(TurnTimes::default()), some]
}

fn estimates() -> impl Strategy<Value = Option<Estimates>> {
    let estimate =
        (0.0f64..1e18, share()).prop_map(|(value, error)| Estimate { value, standard_error: value * error });
    let some = (vec(estimate, 4), numbers::<2>()).prop_map(|(figures, n)| Estimates {
        total_blocks: figures[0],
        total_bytes: figures[1],
        live_blocks: figures[2],
        live_bytes: figures[3],
        mean_bytes_between_samples: n[0],
        sampled_blocks: n[1],
        ..Estimates::default()
    });
    prop::option::of(some)
}

fn tracked_pointer() -> impl Strategy<Value = TrackedPointer> {
    let holder = (text(), number(), number()).prop_map(|(place, made, held)| Holder { place, made, held });
    let texts = (text(), text(), text());
    (any::<(u32, bool)>(), texts, numbers::<7>(), vec(holder, 0..4)).prop_map(|(kind, texts, n, holders)| {
        TrackedPointer {
            id: kind.0,
            name: texts.0,
            type_name: texts.1,
            kind: if kind.1 { PointerKind::Arc } else { PointerKind::Rc },
            created_at: texts.2,
            clones: n[0],
            drops: n[1],
            unwrapped: n[2],
            held: n[3],
            strong_high_water: n[4],
            storms: n[5],
            largest_burst_clones: n[6],
            holders,
        }
    })
}

/// Remote frees that refer to thread 0 only, because there may be no other thread.
fn crossings() -> impl Strategy<Value = Vec<RemoteFrees>> {
    let crossing = (number(), number()).prop_map(|(blocks, bytes)| RemoteFrees {
        allocated_by: 0,
        freed_by: 0,
        blocks,
        bytes,
    });
    vec(crossing, 0..4)
}

fn scopes() -> impl Strategy<Value = Vec<Scope>> {
    let scope = (text(), numbers::<7>(), any::<u32>()).prop_map(|(name, n, threads)| Scope {
        name,
        // A parent that is no earlier row is redirected by the reader.
        parent: 0,
        total_blocks: n[0],
        total_bytes: n[1],
        freed_blocks: n[2],
        freed_bytes: n[3],
        reallocs: n[4],
        peak_bytes: n[5],
        peak_uncertainty_bytes: n[6],
        threads,
    });
    vec(scope, 0..4)
}

fn uses_of_scopes() -> impl Strategy<Value = ScopeCounts> {
    numbers::<3>().prop_map(|[without_room, out_of_order, late_tokens]| ScopeCounts {
        without_room,
        out_of_order,
        late_tokens,
    })
}

fn pointer_event() -> impl Strategy<Value = PointerEvent> {
    prop::sample::select(vec![
        PointerEvent::Listed,
        PointerEvent::Cloned,
        PointerEvent::Dropped,
        PointerEvent::Unwrapped,
    ])
}

fn tracked() -> impl Strategy<Value = TrackedReport> {
    let event = (number(), any::<(u32, u32)>(), pointer_event())
        .prop_map(|(number, (pointer, held), event)| TrackedEvent { number, pointer, event, held });
    (vec(tracked_pointer(), 0..4), vec(event, 0..9), numbers::<10>()).prop_map(|(mut pointers, events, n)| {
        pointers.sort_by_key(|pointer| pointer.id);
        let report = TrackedReport {
            pointers,
            events,
            events_total: n[0],
            events_recorded: n[8],
            events_unrecorded: n[9],
            unlisted: Unlisted {
                pointers: n[1],
                clones: n[2],
                drops: n[3],
                unwrapped: n[4],
                holders_without_place: n[5],
            },
            storm_clones: n[6],
            storm_window_events: n[7],
        };
        // Nothing is written of a report that says that there was nothing.
        if report.is_empty() { TrackedReport::default() } else { report }
    })
}

fn stacks() -> impl Strategy<Value = Stacks> {
    prop_oneof![
        prop::sample::select(vec![Stacks::Off, Stacks::Auto, Stacks::FramePointers, Stacks::Dwarf]),
        number().prop_map(|bytes| Stacks::Sampled { bytes }),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let clock = prop::sample::select(vec![ClockMode::Batched, ClockMode::PerEvent, ClockMode::Monotonic]);
    let fork = prop::sample::select(vec![ForkPolicy::Fresh, ForkPolicy::Off]);
    let numbers = (number(), number(), prop::option::of(number()), number(), number());
    (mode(), (clock, stacks()), fork, numbers, any::<u32>(), any::<bool>(), share()).prop_map(
        |(mode, (clock, stacks), fork, n, max_retries, enable_overflow_buffer, target_completeness)| {
            Settings {
                mode,
                stacks,
                clock,
                history: HistoryLimits { events: n.0, bytes: n.1, age_ns: n.2 },
                concurrency: ConcurrencyConfig {
                    max_retries,
                    base_delay_ns: n.3,
                    enable_overflow_buffer,
                    target_completeness,
                },
                fork,
                memory_limit_bytes: n.4,
            }
        },
    )
}

fn histogram() -> impl Strategy<Value = Histogram> {
    vec(number(), 0..=64).prop_map(|counts| Histogram { counts })
}

fn site(stacks: u32) -> impl Strategy<Value = Site> {
    (0..stacks, numbers::<16>(), histogram(), histogram()).prop_map(|(stack, n, sizes, lifetimes)| Site {
        stack,
        total_blocks: n[0],
        total_bytes: n[1],
        freed_blocks: n[2],
        freed_bytes: n[3],
        own_peak_bytes: n[4],
        at_peak_bytes: n[5],
        at_peak_blocks: n[6],
        temporary_blocks: n[7],
        temporary_bytes: n[8],
        cross_thread_frees: n[9],
        reallocs: ReallocStats {
            count: n[10],
            moved: n[11],
            copied_bytes: n[12],
            chains: n[13],
            chain_links: n[14],
            longest_chain: n[15],
        },
        sizes,
        lifetimes,
    })
}

fn thread() -> impl Strategy<Value = ThreadRow> {
    (any::<u32>(), text(), prop::option::of(number()), any::<bool>(), losses(), numbers::<10>()).prop_map(
        |(index, name, ended_ns, own, lost, n)| ThreadRow {
            index,
            name,
            os_id: n[0],
            started_ns: n[1],
            ended_ns,
            threads: n[2],
            own,
            attempted: n[3],
            recorded: n[4],
            lost,
            total_blocks: n[5],
            total_bytes: n[6],
            freed_blocks: n[7],
            freed_bytes: n[8],
            cross_thread_frees: n[9],
        },
    )
}

fn event(stacks: u32, threads: u32) -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        (number(), number(), any::<bool>()).prop_map(|(address, size, zeroed)| EventKind::Alloc {
            address,
            size,
            zeroed
        }),
        number().prop_map(|address| EventKind::Free { address }),
        (number(), number(), number()).prop_map(|(old_address, new_address, new_size)| {
            EventKind::Realloc { old_address, new_address, new_size }
        }),
        number().prop_map(|address| EventKind::ReallocFailed { address }),
        (any::<(u32, u32)>(), pointer_event()).prop_map(|((pointer, held), event)| EventKind::Tracked {
            pointer,
            event,
            held
        }),
    ];
    (number(), 0..stacks, 0..threads, kind).prop_map(|(at_ns, stack, thread, kind)| Event {
        at_ns,
        thread,
        stack,
        kind,
    })
}

fn live_block(stacks: u32, threads: u32) -> impl Strategy<Value = LiveBlock> {
    (numbers::<3>(), 0..stacks, 0..threads, any::<u8>(), any::<u8>()).prop_map(
        |([address, size, born_ns], stack, thread, align_log2, reallocs)| LiveBlock {
            address,
            size,
            born_ns,
            stack,
            thread,
            align_log2,
            reallocs,
        },
    )
}

type Tables = (Vec<Site>, Vec<Stack>, Vec<Module>, Vec<LiveBlock>, Vec<ThreadRow>, Vec<Event>, Vec<Change>);

fn tables() -> impl Strategy<Value = Tables> {
    (1u32..9, 1u32..9).prop_flat_map(|(stacks, threads)| {
        let stack =
            (vec(number(), 0..9), any::<bool>()).prop_map(|(frames, truncated)| Stack { frames, truncated });
        let module = (text(), text(), numbers::<3>())
            .prop_map(|(path, build_id, [start, end, bias])| Module { path, build_id, start, end, bias });
        (
            vec(site(stacks), 0..5),
            vec(stack, stacks as usize),
            vec(module, 0..4),
            vec(live_block(stacks, threads), 0..30),
            vec(thread(), threads as usize),
            vec(event(stacks, threads), 0..30),
            vec((number(), text()).prop_map(|(at_ns, what)| Change { at_ns, what }), 0..4),
        )
    })
}

fn timeline() -> impl Strategy<Value = Timeline> {
    let interval = numbers::<6>().prop_map(|n| Interval {
        allocated_blocks: n[0],
        allocated_bytes: n[1],
        freed_blocks: n[2],
        freed_bytes: n[3],
        peak_bytes: n[4],
        lost: n[5],
    });
    (number(), vec(interval, 0..20)).prop_map(|(interval_ns, intervals)| Timeline { interval_ns, intervals })
}

/// Names for some addresses. Every number leads to a text, and text 0 is empty.
fn symbols() -> impl Strategy<Value = Symbols> {
    (vec(text(), 0..9), vec(text(), 0..4)).prop_flat_map(|(names, notes)| {
        let strings: Vec<String> = std::iter::once(String::new()).chain(names).collect();
        let number = 0..strings.len() as u32;
        let frame = (number.clone(), number, any::<u32>(), any::<bool>())
            .prop_map(|(function, file, line, inlined)| SymbolFrame { function, file, line, inlined });
        let frames = prop::collection::btree_map(any::<u64>(), vec(frame, 0..4), 0..9);
        frames.prop_map(move |frames| {
            let strings = strings.clone();
            Symbols { strings, frames, notes: notes.clone() }
        })
    })
}

fn curve_of(site: &Site) -> SiteCurve {
    SiteCurve {
        stack: site.stack,
        interval_ns: site.total_bytes,
        first_interval: site.total_blocks as u32,
        live_bytes: vec![site.total_bytes, site.freed_bytes, site.own_peak_bytes],
    }
}

fn memory_of(quality: &QualityIndicator, process: &ProcessInfo, stacks: &[Stack]) -> ProcessMemory {
    ProcessMemory {
        resident_by_interval: stacks.first().map(|stack| stack.frames.clone()).unwrap_or_default(),
        resident_bytes: process.forked_from.map(u64::from),
        highest_resident_bytes: Some(quality.attempted),
        allocator: process.platform.clone(),
        large_blocks_bytes: quality.lag_ns.checked_sub(9),
        ..ProcessMemory::default()
    }
}

fn clock() -> impl Strategy<Value = ClockInfo> {
    (text(), text(), number()).prop_map(|(source, why, longest_span_ns)| ClockInfo {
        source,
        why,
        longest_span_ns,
    })
}

/// Any profile.
pub fn profile() -> impl Strategy<Value = Profile> {
    let totals = numbers::<10>().prop_map(|n| HeapStats {
        total_blocks: n[0],
        total_bytes: n[1],
        freed_blocks: n[2],
        freed_bytes: n[3],
        live_blocks: n[4],
        live_bytes: n[5],
        peak_blocks: n[6],
        peak_bytes: n[7],
        reallocs: n[8],
        failed: n[9],
        ..HeapStats::default()
    });
    let peak = numbers::<4>().prop_map(|[bytes, blocks, at_ns, uncertainty_bytes]| Peak {
        bytes,
        blocks,
        at_ns,
        uncertainty_bytes,
    });
    let rest = (
        (timeline(), crossings(), scopes(), uses_of_scopes()),
        (stack_figures(), symbols()),
        turn_times(),
        estimates(),
        tracked(),
    );
    (quality(), process(), settings(), clock(), totals, peak, tables(), rest).prop_map(
        |(mut quality, process, settings, clock, totals, peak, tables, rest)| {
            let ((timeline, crossings, scopes, uses), (figures, symbols), turn_times, estimates, tracked) =
                rest;
            quality.turn_times = turn_times;
            let (sites, stacks, modules, live, threads, history, changes) = tables;
            // A reader finds these numbers in the quality.
            let coverage = Coverage { recorded_events: quality.recorded, lost_events: quality.lost.total() };
            let totals = HeapStats { coverage, ..totals };
            let curves = sites.iter().map(curve_of).collect();
            let memory = memory_of(&quality, &process, &stacks);
            let estimates = estimates.map(|estimates| Estimates { coverage, ..estimates });
            Profile {
                quality,
                process,
                settings,
                clock,
                totals,
                estimates,
                peak,
                sites,
                curves,
                scopes,
                scope_counts: uses,
                stacks,
                stack_figures: figures,
                modules,
                symbols,
                live,
                crossings: if threads.is_empty() { Vec::new() } else { crossings },
                threads,
                timeline,
                memory,
                history,
                changes,
                tracked,
            }
        },
    )
}
