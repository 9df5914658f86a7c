//! The table of scopes in a snapshot.

use crate::ledger::Ledger;
use crate::ledger::scopes::ScopeAccount;
use crate::ledger::scopes::Scopes;
use crate::profile::{Scope, ScopeCounts};
#[cfg(feature = "serve")]
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::sys::sync::Ordering;

/// Returns the rows of the scopes with these accounts. The accounts were copied while the ledger was frozen.
pub(super) fn rows(ledger: &Ledger, accounts: &[ScopeAccount]) -> Vec<Scope> {
    let numbered = (1u32..).zip(accounts);
    let row = |(number, account): (u32, &ScopeAccount)| {
        let name = ledger.scopes.with_name(&ledger.pages, number, shown).unwrap_or_default();
        row(name, ledger.scopes.parent_of(&ledger.pages, number), account)
    };
    numbered.map(row).collect()
}

/// Returns the rows of all scopes, with the events that are booked so far.
#[cfg(feature = "serve")]
pub(crate) fn now(ledger: &Ledger, scope: &InternalScope) -> Vec<Scope> {
    let count = ledger.scopes.count();
    let mut accounts: Vec<ScopeAccount> = Vec::with_capacity(count as usize);
    {
        let _paused = RecordingPaused::enter(scope);
        accounts.extend((1..=count).map(|number| ledger.scopes.read(&ledger.pages, number)));
    }
    rows(ledger, &accounts)
}

/// Returns the counts of a table of scopes.
pub(crate) fn counts(scopes: &Scopes) -> ScopeCounts {
    // relaxed, all: statistics, which need no ordering.
    ScopeCounts {
        without_room: scopes.without_cell.load(Ordering::Relaxed),
        out_of_order: scopes.out_of_order.load(Ordering::Relaxed),
        late_tokens: scopes.late_tokens.load(Ordering::Relaxed),
    }
}

/// Returns a name as text. A name that was cut may begin within a character.
pub(crate) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).trim_start_matches(char::REPLACEMENT_CHARACTER).to_owned()
}

/// Returns the row of a scope.
pub(crate) fn row(name: String, parent: u32, account: &ScopeAccount) -> Scope {
    let sums = &account.sums;
    Scope {
        name,
        parent,
        total_blocks: sums.total_blocks,
        total_bytes: sums.total_bytes,
        freed_blocks: sums.freed_blocks,
        freed_bytes: sums.freed_bytes,
        reallocs: sums.reallocs,
        peak_bytes: account.peak_bytes.max(0) as u64,
        peak_uncertainty_bytes: account.uncertainty_bytes(),
        threads: account.threads,
    }
}
