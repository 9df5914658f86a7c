//! Runs all contestants on all kinds of work, interleaved, and prints the cost.
//!
//! `cargo bench -p rivals` repeats each kind of work for 45 seconds, for three to 25 rounds; a contestant that has used
//! four seconds takes part in no more than three rounds. Options: `--quick` (one round), `--rounds N` (of each kind of
//! work), `--seconds N` (for each kind of work), `--only WORD` (a kind of work), `--svg FILE` (relative to the root of
//! the repository). memscope-rs takes part with `--features memscope`.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rivals::contestants::{self, Contestant, Keeps};
use rivals::plot::{self, Dot};
use rivals::run::{Outcome, is_installed, program, run};
use rivals::table::{self, Duel, Rounds, Row};
use rivals::workloads;

/// Minimum number of rounds of each kind of work, and of each contestant in them. `ROUNDS_MAX` is the maximum.
const ROUNDS_MIN: usize = 3;
const ROUNDS_MAX: usize = 25;
/// Seconds after which no further round begins, unless `--seconds` sets another number.
const WORK_SECONDS: u64 = 45;
/// Time after which a contestant takes part in no further round. The fast contestants, whose times vary the most, get
/// the remaining time.
const CONTESTANT_TIME: Duration = Duration::from_secs(4);
/// Contestant whose count of blocks is the reference for the others. This contestant only counts calls.
const COUNTER: &str = "stats_alloc";

struct Choice {
    /// Number of rounds. With `None`, there are as many rounds as the time allows.
    rounds: Option<usize>,
    work_time: Duration,
    only: String,
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    let after = |word: &str| {
        let place = arguments.iter().position(|argument| argument == word)?;
        arguments.get(place + 1).cloned()
    };
    if !has("--bench") {
        return ExitCode::SUCCESS;
    }
    let rounds = after("--rounds").and_then(|rounds| rounds.parse().ok()).map(|rounds: usize| rounds.max(1));
    let seconds = after("--seconds").and_then(|seconds| seconds.parse().ok());
    let choice = Choice {
        rounds: rounds.or(has("--quick").then_some(1)),
        work_time: Duration::from_secs(seconds.unwrap_or(WORK_SECONDS)),
        only: after("--only").unwrap_or_default(),
        // cargo starts a bench in the folder of its package.
        svg: after("--svg").map(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)),
    };
    match compete(&choice) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rivals: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compete(choice: &Choice) -> io::Result<()> {
    let installed: Vec<(&Contestant, PathBuf)> = contestants::ALL
        .iter()
        .filter(|contestant| contestant.runner.first().is_none_or(|runner| is_installed(runner)))
        .filter_map(|contestant| {
            Some((contestant, program(contestant.program, env!("CARGO_BIN_EXE_under_system"))?))
        })
        .collect();
    // The file is created before the work of a quarter of an hour, so that a wrong path is reported at once.
    let create = |path: &PathBuf| {
        File::create(path)
            .map_err(|error| io::Error::other(format!("cannot write {}: {error}", path.display())))
    };
    let mut drawing = choice.svg.as_ref().map(create).transpose()?;
    let (mut groups, mut ahead, mut duels_in_all) = (Vec::new(), [0, 0], 0);
    for workload in workloads::ALL.iter().filter(|workload| workload.name.contains(&choice.only)) {
        let takes_part = |contestant: &Contestant| {
            !workload.sampled || matches!(contestant.keeps, Keeps::Nothing | Keeps::Samples)
        };
        let present: Vec<_> = installed.iter().filter(|(one, _)| takes_part(one)).cloned().collect();
        let outcomes = all_rounds(&present, workload.name, choice);
        let bare = &outcomes[0];
        let blocks = blocks_counted(&present, &outcomes);
        let rows: Vec<Row<'_>> = present
            .iter()
            .zip(&outcomes)
            .filter_map(|((contestant, _), rounds)| Row::new(contestant, rounds, bare, blocks))
            .collect();
        table::print(workload.title, workload.pairs, bare, &rows);
        let duels = duels(&present, &outcomes);
        if !duels.is_empty() {
            table::print_duels(&duels);
        }
        duels_in_all += duels.len();
        for duel in &duels {
            ahead[0] += usize::from(duel.app_cpu.median < 1.0);
            ahead[1] += usize::from(duel.process_cpu.median < 1.0);
        }
        let dots =
            rows.iter().skip(1).map(|row| Dot { contestant: row.contestant, ratio: row.process_cpu.median });
        groups.push((workload.title, dots.collect::<Vec<_>>()));
    }
    if let Some(file) = &mut drawing {
        file.write_all(plot::svg(&groups, "medians of rounds, each process by turns").as_bytes())?;
    }
    let [threads, process] = ahead;
    if duels_in_all > 0 {
        println!(
            "\nBeside those that record every event, heapledger takes less of the threads' time in {threads} of {duels_in_all} \
             cases, and less of the process's in {process}."
        );
    }
    Ok(())
}

/// Returns the outcomes of every contestant, round by round. A contestant that fails is reported once, and has no
/// outcome in the rounds in which it failed.
fn all_rounds(present: &[(&Contestant, PathBuf)], workload: &str, choice: &Choice) -> Vec<Rounds> {
    let mut outcomes: Vec<Rounds> = vec![Vec::new(); present.len()];
    let mut taken = vec![Duration::ZERO; present.len()];
    let begun = Instant::now();
    for round in 0..choice.rounds.unwrap_or(ROUNDS_MAX) {
        let has_enough =
            |taken: Duration, time| choice.rounds.is_none() && round >= ROUNDS_MIN && taken > time;
        if has_enough(begun.elapsed(), choice.work_time) {
            break;
        }
        let mut this_round: Vec<Option<Outcome>> = vec![None; present.len()];
        for place in 0..present.len() {
            let index = (place + round) % present.len();
            let (contestant, program) = &present[index];
            // The first contestant takes part in every round, because the others are compared with it.
            if index > 0 && has_enough(taken[index], CONTESTANT_TIME) {
                continue;
            }
            let started = Instant::now();
            match run(program, contestant, workload) {
                Ok(outcome) => this_round[index] = Some(outcome),
                Err(error) => eprintln!("{} on {workload}: {error}", contestant.name),
            }
            taken[index] += started.elapsed();
        }
        for (all, one) in outcomes.iter_mut().zip(this_round) {
            all.push(one);
        }
    }
    outcomes
}

/// Compares heapledger with each contestant that records every event.
fn duels<'a>(present: &[(&'a Contestant, PathBuf)], outcomes: &[Rounds]) -> Vec<Duel<'a>> {
    let named = |name: &str| present.iter().position(|(contestant, _)| contestant.name == name);
    let duel = |((rival, _), rounds): (&(&'a Contestant, PathBuf), &Rounds)| {
        let index = named(rival.beside?)?;
        Duel::new((present[index].0.name, &outcomes[index]), (rival.name, rounds))
    };
    present.iter().zip(outcomes).filter_map(duel).collect()
}

/// Returns the number of blocks that the work allocates in one process.
fn blocks_counted(present: &[(&Contestant, PathBuf)], outcomes: &[Rounds]) -> Option<f64> {
    let index = present.iter().position(|(contestant, _)| contestant.name == COUNTER)?;
    outcomes[index].iter().flatten().find_map(|outcome| outcome.told.blocks)
}
