//! Lets all contestants do all kinds of work by turns, and prints what it cost.
//!
//! `cargo bench -p rivals` takes seven rounds (slow contestants three), `-- --quick` one. `--rounds N`, `--only WORD`
//! (a kind of work) and `--svg FILE` do what they say. memscope-rs takes part with `--features memscope`.

use std::path::PathBuf;
use std::process::ExitCode;

use rivals::contestants::{self, Contestant};
use rivals::plot::{self, Dot};
use rivals::run::{Outcome, is_installed, program, run};
use rivals::table::{self, Rounds, Row};
use rivals::work;

/// Rounds unless told otherwise.
const ROUNDS: usize = 7;
/// Rounds in which slow contestants take part.
const ROUNDS_SLOW: usize = 3;
/// Whose count of blocks the others' is held against: a counter in each call, and nothing else.
const COUNTER: &str = "stats_alloc";

struct Choice {
    rounds: usize,
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
    let rounds = after("--rounds").and_then(|rounds| rounds.parse().ok());
    let choice = Choice {
        rounds: rounds.unwrap_or(if has("--quick") { 1 } else { ROUNDS }).max(1),
        only: after("--only").unwrap_or_default(),
        svg: after("--svg").map(PathBuf::from),
    };
    match compete(&choice) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rivals: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compete(choice: &Choice) -> std::io::Result<()> {
    let present: Vec<(&Contestant, PathBuf)> = contestants::ALL
        .iter()
        .filter(|contestant| contestant.runner.first().is_none_or(|runner| is_installed(runner)))
        .filter_map(|contestant| {
            Some((contestant, program(contestant.program, env!("CARGO_BIN_EXE_under_system"))?))
        })
        .collect();
    let mut groups = Vec::new();
    for work in work::ALL.iter().filter(|work| work.name.contains(&choice.only)) {
        let outcomes = all_rounds(&present, work.name, choice.rounds);
        let bare = &outcomes[0];
        let blocks = blocks_counted(&present, &outcomes);
        let rows: Vec<Row<'_>> = present
            .iter()
            .zip(&outcomes)
            .filter_map(|((contestant, _), rounds)| Row::new(contestant, rounds, bare, blocks))
            .collect();
        table::print(work.title, work.pairs, bare, &rows);
        let dots =
            rows.iter().skip(1).map(|row| Dot { contestant: row.contestant, ratio: row.process_cpu.median });
        groups.push((work.title, dots.collect::<Vec<_>>()));
    }
    if let Some(path) = &choice.svg {
        let caption = format!("median of {} rounds, each process by turns", choice.rounds);
        std::fs::write(path, plot::svg(&groups, &caption))?;
    }
    Ok(())
}

/// Every contestant's outcome, round by round. One that fails is named once and left out of that round.
fn all_rounds(present: &[(&Contestant, PathBuf)], work: &str, rounds: usize) -> Vec<Rounds> {
    let mut outcomes: Vec<Rounds> = vec![Vec::new(); present.len()];
    for round in 0..rounds {
        let mut this_round: Vec<Option<Outcome>> = vec![None; present.len()];
        for place in 0..present.len() {
            let index = (place + round) % present.len();
            let (contestant, program) = &present[index];
            if contestant.is_slow && round >= ROUNDS_SLOW {
                continue;
            }
            match run(program, contestant, work) {
                Ok(outcome) => this_round[index] = Some(outcome),
                Err(error) => eprintln!("{} on {work}: {error}", contestant.name),
            }
        }
        for (all, one) in outcomes.iter_mut().zip(this_round) {
            all.push(one);
        }
    }
    outcomes
}

/// Blocks that the work allocates in one process.
fn blocks_counted(present: &[(&Contestant, PathBuf)], outcomes: &[Rounds]) -> Option<f64> {
    let index = present.iter().position(|(contestant, _)| contestant.name == COUNTER)?;
    outcomes[index].iter().flatten().find_map(|outcome| outcome.told.blocks)
}
