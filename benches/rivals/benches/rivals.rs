//! Lets all contestants do all kinds of work by turns, and prints what it cost.
//!
//! `cargo bench -p rivals` gives each kind of work rounds for 45 seconds, three at least and 25 at most; a contestant that has
//! taken four seconds of them has had enough after three. `-- --quick` takes one round. `--rounds N` (of each), `--seconds N` (for each
//! kind of work), `--only WORD` (a kind of work) and `--svg FILE` (from the root of the repository) do what they say. memscope-rs takes part with `--features memscope`.

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

/// Rounds that each kind of work has at least, and each contestant in them; and at most.
const ROUNDS_MIN: usize = 3;
const ROUNDS_MAX: usize = 25;
/// Seconds after which no further round is begun, unless told otherwise.
const WORK_SECONDS: u64 = 45;
/// After which a contestant takes no part any more: the fast ones, of which a run differs the most from the next, have the time.
const CONTESTANT_TIME: Duration = Duration::from_secs(4);
/// Whose count of blocks the others' is held against: a counter in each call, and nothing else.
const COUNTER: &str = "stats_alloc";

struct Choice {
    /// As many rounds as there is time for if there is no number.
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
    // Before the work of a quarter of an hour, not after it.
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

/// Every contestant's outcome, round by round. One that fails is named once and left out of that round.
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
            // All are held against the first.
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

/// heapledger beside each that records every event.
fn duels<'a>(present: &[(&'a Contestant, PathBuf)], outcomes: &[Rounds]) -> Vec<Duel<'a>> {
    let named = |name: &str| present.iter().position(|(contestant, _)| contestant.name == name);
    let duel = |((rival, _), rounds): (&(&'a Contestant, PathBuf), &Rounds)| {
        let index = named(rival.beside?)?;
        Duel::new((present[index].0.name, &outcomes[index]), (rival.name, rounds))
    };
    present.iter().zip(outcomes).filter_map(duel).collect()
}

/// Blocks that the work allocates in one process.
fn blocks_counted(present: &[(&Contestant, PathBuf)], outcomes: &[Rounds]) -> Option<f64> {
    let index = present.iter().position(|(contestant, _)| contestant.name == COUNTER)?;
    outcomes[index].iter().flatten().find_map(|outcome| outcome.told.blocks)
}
