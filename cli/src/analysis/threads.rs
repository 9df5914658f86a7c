//! Figures by thread, and blocks that one thread allocated and another thread freed.

use super::arithmetic::saturating_sum;
use heapledger::profile::{LossCounts, Profile, RemoteFrees, ThreadRow};

/// Threads with the most allocated bytes, and the sum of the remaining threads.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreadFinding {
    /// Number of threads of the program, without the threads of heapledger.
    pub threads: u64,
    /// Listed threads, the most allocated bytes first. Threads with lost events are always preferred, even if other
    /// threads allocated more bytes.
    pub lines: Vec<ThreadRow>,
    /// Sum of the threads that are not in `lines`; `None` if `lines` has all threads.
    pub others: Option<ThreadRow>,
}

/// Lists `limit` threads, and sums the remaining threads.
pub fn threads(profile: &Profile, limit: usize) -> ThreadFinding {
    let mut lines = profile.threads.clone();
    lines.sort_by_key(|line| (line.lost.total() == 0, std::cmp::Reverse(line.total_bytes)));
    let rest = lines.split_off(limit.min(lines.len()));
    lines.sort_by_key(|line| std::cmp::Reverse(line.total_bytes));
    let others = (!rest.is_empty()).then(|| together(&rest));
    ThreadFinding {
        threads: saturating_sum(profile.threads.iter().filter(|row| !row.own).map(|row| row.threads)),
        lines,
        others,
    }
}

/// Returns the sum of several rows, without a name. The sum has an end time only if all threads have ended.
fn together(rows: &[ThreadRow]) -> ThreadRow {
    let sum = |field: fn(&ThreadRow) -> u64| saturating_sum(rows.iter().map(field));
    let mut lost = LossCounts::default();
    rows.iter().for_each(|row| lost.merge(&row.lost));
    ThreadRow {
        threads: sum(|row| row.threads),
        ended_ns: rows
            .iter()
            .map(|row| row.ended_ns)
            .collect::<Option<Vec<_>>>()
            .and_then(|all| all.into_iter().max()),
        total_blocks: sum(|row| row.total_blocks),
        total_bytes: sum(|row| row.total_bytes),
        freed_blocks: sum(|row| row.freed_blocks),
        freed_bytes: sum(|row| row.freed_bytes),
        cross_thread_frees: sum(|row| row.cross_thread_frees),
        attempted: sum(|row| row.attempted),
        recorded: sum(|row| row.recorded),
        lost,
        ..ThreadRow::default()
    }
}

/// Blocks that one particular thread allocated and another particular thread freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrossingLine {
    /// Name and id of the thread that allocated the blocks. A name may be empty, and may contain any characters.
    pub allocated_by: (String, u64),
    /// Name and id of the thread that freed the blocks.
    pub freed_by: (String, u64),
    /// Number of blocks.
    pub blocks: u64,
    /// Bytes of these blocks.
    pub bytes: u64,
}

/// Blocks that one thread allocated and another thread freed, by pair of threads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Crossings {
    /// Pairs with the most blocks.
    pub lines: Vec<CrossingLine>,
    /// Number of pairs that are not in `lines`.
    pub other_pairs: u64,
    /// Number of blocks of the pairs that are not in `lines`.
    pub other_blocks: u64,
    /// Number of bytes of the pairs that are not in `lines`.
    pub other_bytes: u64,
}

/// Returns the `limit` pairs of threads with the most blocks, and the sums of the remaining pairs.
pub fn crossings(profile: &Profile, limit: usize) -> Crossings {
    let who = |row: u32| {
        profile.threads.get(row as usize).map_or_else(Default::default, |row| (row.name.clone(), row.os_id))
    };
    let (shown, others) = profile.crossings.split_at(limit.min(profile.crossings.len()));
    let line = |crossing: &RemoteFrees| CrossingLine {
        allocated_by: who(crossing.allocated_by),
        freed_by: who(crossing.freed_by),
        blocks: crossing.blocks,
        bytes: crossing.bytes,
    };
    Crossings {
        lines: shown.iter().map(line).collect(),
        other_pairs: others.len() as u64,
        other_blocks: others.iter().fold(0, |sum, crossing| sum.saturating_add(crossing.blocks)),
        other_bytes: others.iter().fold(0, |sum, crossing| sum.saturating_add(crossing.bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use heapledger::profile::LossReason;

    #[test]
    fn the_busiest_come_first_and_the_rest_is_one_line() {
        let finding = threads(&sample::complete(), 1);
        assert_eq!(finding.threads, 2);
        assert_eq!(finding.lines.len(), 1);
        assert_eq!((finding.lines[0].name.as_str(), finding.lines[0].total_bytes), ("main", 4_000));
        assert_eq!(
            finding.others.map(|line| (line.threads, line.total_bytes)),
            Some((2, 1_000)),
            "worker and heapledger"
        );
    }

    #[test]
    fn a_thread_that_lost_events_is_not_left_out() {
        let mut profile = sample::complete();
        let mut lost = LossCounts::default();
        lost.add(LossReason::RingFull, 1);
        profile.threads[1].lost = lost;
        assert_eq!(threads(&profile, 1).lines[0].name, "worker");
    }
}
