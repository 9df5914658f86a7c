//! References between the tables of a profile: those that lead nowhere are led to row 0, as in a dump.

use crate::profile::{Profile, Table, lost_thread, references};

/// Makes every reference lead to a row, and notes it where one did not.
pub(super) fn settle(profile: &mut Profile, notes: &mut Vec<String>) {
    let (stacks, threads) = (profile.stacks.len(), profile.threads.len());
    let mut astray = 0u64;
    references(profile, |table, reference| {
        let rows = match table {
            Table::Stacks => stacks,
            Table::Threads => threads,
        };
        if *reference as usize >= rows {
            *reference = 0;
            astray += 1;
        }
    });
    if astray > 0 {
        notes.push(format!("{astray} references in the black box lead nowhere"));
    }
    // The table lay behind the end of a cut file: what refers to a thread refers to its row 0 now.
    if threads == 0 && astray > 0 {
        profile.threads.push(lost_thread());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{LiveBlock, Stack};

    #[test]
    fn what_leads_nowhere_is_led_to_a_row_that_is_there() {
        let mut profile = crate::dump::empty_profile();
        profile.threads.clear();
        profile.stacks = vec![Stack::default()];
        profile.live.push(LiveBlock { thread: 3, stack: 77, ..LiveBlock::default() });
        let mut notes = Vec::new();
        settle(&mut profile, &mut notes);
        assert_eq!((profile.live[0].thread, profile.live[0].stack), (0, 0));
        assert_eq!((profile.threads.len(), notes.len()), (1, 1));
        // A dump of it is whole.
        let mut file = Vec::new();
        crate::dump::write_to(&mut file, &profile).unwrap();
        assert_eq!(crate::dump::read_bytes(&file).unwrap().damage, []);
    }
}
