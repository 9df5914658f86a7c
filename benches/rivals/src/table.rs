//! The figures of one kind of work as a Markdown table.

use crate::common::figures::Spread;
use crate::contestants::Contestant;
use crate::run::Outcome;

/// The outcomes of one contestant on one kind of work, by round; `None` for a round without the contestant.
pub type Rounds = Vec<Option<Outcome>>;

/// The figures of a contestant on one kind of work. The times are ratios to the bare allocator's.
pub struct Row<'a> {
    pub contestant: &'a Contestant,
    pub app_cpu: Spread,
    pub process_cpu: Spread,
    pub wall: Spread,
    pub peak_rss_bytes: f64,
    pub file_bytes: f64,
    /// Completeness by the contestant's own account.
    pub stated: Option<f64>,
    /// Number of blocks by the contestant's count, as a share of the count of the contestant `stats_alloc`.
    pub counted: Option<f64>,
    pub rounds: usize,
    /// Median of the process's processor time minus that of the bare allocator, in nanoseconds.
    pub added_ns: f64,
}

impl<'a> Row<'a> {
    /// Returns the row of a contestant, or `None` if it never ran. `blocks` is the number of blocks that the work
    /// allocates, by the count of another contestant.
    pub fn new(
        contestant: &'a Contestant,
        rounds: &Rounds,
        bare: &Rounds,
        blocks: Option<f64>,
    ) -> Option<Row<'a>> {
        let pairs: Vec<(Outcome, Outcome)> =
            rounds.iter().zip(bare).filter_map(|(one, base)| Some(((*one)?, (*base)?))).collect();
        if pairs.is_empty() {
            return None;
        }
        let ratio = |figure: fn(&Outcome) -> f64| {
            Spread::of(
                &pairs.iter().map(|(one, base)| figure(one) / figure(base).max(1.0)).collect::<Vec<_>>(),
            )
        };
        let median = |figure: fn(&Outcome) -> f64| {
            Spread::of(&pairs.iter().map(|(one, _)| figure(one)).collect::<Vec<_>>()).median
        };
        let last = pairs[pairs.len() - 1].0.told;
        Some(Row {
            contestant,
            app_cpu: ratio(|outcome| outcome.told.app_cpu_ns),
            process_cpu: ratio(|outcome| outcome.process_cpu_ns),
            wall: ratio(|outcome| outcome.told.wall_ns),
            peak_rss_bytes: median(|outcome| outcome.peak_rss_bytes),
            file_bytes: median(|outcome| outcome.file_bytes),
            stated: last.completeness,
            counted: last.blocks.zip(blocks).map(|(told, made)| told / made),
            rounds: pairs.len(),
            added_ns: Spread::of(
                &pairs.iter().map(|(one, base)| one.process_cpu_ns - base.process_cpu_ns).collect::<Vec<_>>(),
            )
            .median,
        })
    }
}

/// heapledger's processor time as a share of another contestant's on one kind of work, over the rounds with both.
pub struct Duel<'a> {
    pub heapledger: &'a str,
    pub rival: &'a str,
    pub app_cpu: Spread,
    pub process_cpu: Spread,
    pub rounds: usize,
}

impl<'a> Duel<'a> {
    /// Returns the comparison, or `None` if no round has both.
    pub fn new(heapledger: (&'a str, &Rounds), rival: (&'a str, &Rounds)) -> Option<Duel<'a>> {
        let pairs: Vec<(Outcome, Outcome)> =
            heapledger.1.iter().zip(rival.1).filter_map(|(one, other)| Some(((*one)?, (*other)?))).collect();
        if pairs.is_empty() {
            return None;
        }
        let ratio = |figure: fn(&Outcome) -> f64| {
            let ratios: Vec<f64> =
                pairs.iter().map(|(one, other)| figure(one) / figure(other).max(1.0)).collect();
            Spread::of(&ratios)
        };
        Some(Duel {
            heapledger: heapledger.0,
            rival: rival.0,
            app_cpu: ratio(|outcome| outcome.told.app_cpu_ns),
            process_cpu: ratio(|outcome| outcome.process_cpu_ns),
            rounds: pairs.len(),
        })
    }
}

/// Prints the comparisons of heapledger with the contestants that record every event, below the table of one kind of
/// work.
pub fn print_duels(duels: &[Duel<'_>]) {
    println!("\n| of the time of one that records every event | app CPU | process CPU | rounds |");
    println!("| --- | ---: | ---: | ---: |");
    let shown = |spread: &Spread| format!("{:.2}× ({:.2}–{:.2})", spread.median, spread.low, spread.high);
    for duel in duels {
        let (app, process) = (shown(&duel.app_cpu), shown(&duel.process_cpu));
        println!("| {}, of {} | {app} | {process} | {} |", duel.heapledger, duel.rival, duel.rounds);
    }
}

/// Prints the table of one kind of work. `operations` is the number of pairs of an allocation and its free, for work
/// that consists of such pairs only.
pub fn print(title: &str, operations: Option<u64>, bare: &Rounds, rows: &[Row<'_>]) {
    let of_bare = |figure: fn(&Outcome) -> f64| {
        Spread::of(&bare.iter().flatten().map(figure).collect::<Vec<_>>()).median / 1e6
    };
    println!("\n### {title}\n");
    println!(
        "Bare System: {:.1} ms of app-thread CPU, {:.1} ms of process CPU, {:.1} ms on the wall.\n",
        of_bare(|outcome| outcome.told.app_cpu_ns),
        of_bare(|outcome| outcome.process_cpu_ns),
        of_bare(|outcome| outcome.told.wall_ns),
    );
    println!(
        "| allocator | keeps | app CPU | process CPU | quartiles | wall | peak RSS | file | says of itself | blocks counted | rounds | added a pair |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for row in rows {
        println!(
            "| {} | {} | {:.2}× | {:.2}× | {:.2}–{:.2} | {:.2}× | {:.1} MiB | {} | {} | {} | {} | {} |",
            row.contestant.name,
            row.contestant.keeps.word(),
            row.app_cpu.median,
            row.process_cpu.median,
            row.process_cpu.low,
            row.process_cpu.high,
            row.wall.median,
            row.peak_rss_bytes / f64::from(1 << 20),
            size(row.file_bytes),
            stated(row.stated),
            counted(row.counted),
            row.rounds,
            operations.map_or(String::from("–"), |pairs| format!("{:.1} ns", row.added_ns / pairs as f64)),
        );
    }
}

fn size(bytes: f64) -> String {
    if bytes == 0.0 { String::from("–") } else { format!("{:.1} KiB", bytes / 1024.0) }
}

fn stated(completeness: Option<f64>) -> String {
    // Rounded down, so that a loss never reads as 100 %.
    completeness.map_or(String::from("–"), |share| format!("{:.3} %", (share * 1e5).floor() / 1e3))
}

/// Returns the share of blocks as text. Races, and the start and end of a process, make small differences between two
/// correct counts.
fn counted(share: Option<f64>) -> String {
    share.map_or(String::from("–"), |share| format!("{:.2} %", share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_rounded_up_to_a_hundred() {
        assert_eq!(stated(Some(0.999_999_9)), "99.999 %");
        assert_eq!(stated(Some(1.0)), "100.000 %");
        assert_eq!(stated(None), "–");
    }
}
