//! State of the screen. Key presses change the state, and `draw` reads it.

use std::collections::VecDeque;

use heapledger::live::{Live, LiveScope, LiveSite};

use crate::analysis::LiveNames;

/// Number of seconds that the charts cover.
const SECONDS_SHOWN: usize = 300;

/// Table that the screen can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Table {
    /// Table of sites.
    #[default]
    Sites,
    /// Table of scopes.
    Scopes,
}

/// Figure that ranks the rows of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Live bytes.
    #[default]
    Live,
    /// Growth of the live bytes.
    Growth,
    /// Live blocks.
    Blocks,
    /// Bytes allocated.
    Total,
}

impl Order {
    /// Returns the figure that ranks the rows after the key for sorting is pressed.
    pub const fn next(self) -> Order {
        match self {
            Order::Live => Order::Growth,
            Order::Growth => Order::Blocks,
            Order::Blocks => Order::Total,
            Order::Total => Order::Live,
        }
    }

    /// Returns the heading of the column that shows the figure.
    pub const fn heading(self) -> &'static str {
        match self {
            Order::Live => "live",
            Order::Growth => "growth",
            Order::Blocks => "blocks",
            Order::Total => "allocated",
        }
    }
}

/// Command that a key press gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Closes the stack if it is open; else ends the program.
    Quit,
    /// Selects the row above.
    Up,
    /// Selects the row below.
    Down,
    /// Opens or closes the stack of the selected site.
    Enter,
    /// Ranks by the next figure.
    Sort,
    /// Ranks by this figure.
    By(Order),
    /// Switches between the table of sites and the table of scopes.
    Switch,
    /// Pauses the update of the figures, or continues it.
    Pause,
}

/// Figures of one second of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Second {
    /// Live bytes at the end of the second.
    pub live_bytes: u64,
    /// Blocks allocated in the second.
    pub allocated_blocks: u64,
}

/// State of the screen.
#[derive(Debug, Default)]
pub struct Screen {
    /// Newest figures.
    pub live: Live,
    /// Names that were looked up so far, for the functions in the stacks.
    pub names: LiveNames,
    /// Table on the screen.
    pub table: Table,
    /// Figure that ranks the rows.
    pub order: Order,
    /// Whether new figures are ignored.
    pub is_paused: bool,
    /// Whether the stack of the selected site is open.
    pub is_stack_open: bool,
    /// Message on a problem with the source of the figures; empty while the source answers.
    pub trouble: String,
    /// Stack number of the selected site, or number of the selected scope. The selection follows the site or scope if
    /// its row moves. `None` until a row is selected.
    selected: Option<u32>,
    seconds: VecDeque<(u64, Second)>,
}

impl Screen {
    /// Takes over new figures. Ignores new figures while the screen is paused.
    pub fn update(&mut self, live: Live) {
        if self.is_paused {
            return;
        }
        for interval in &live.intervals {
            let number = interval.end_ns / 1_000_000_000;
            let last = self.seconds.back().map(|(last, _)| *last);
            let is_new = interval.end_ns > self.live.intervals.last().map_or(0, |seen| seen.end_ns);
            if !is_new {
                continue;
            }
            if last != Some(number) {
                self.seconds.push_back((number, Second::default()));
            }
            if let Some((_, second)) = self.seconds.back_mut() {
                second.live_bytes = interval.live_bytes;
                second.allocated_blocks = second.allocated_blocks.saturating_add(interval.allocated_blocks);
            }
            if self.seconds.len() > SECONDS_SHOWN {
                self.seconds.pop_front();
            }
        }
        self.live = live;
    }

    /// Returns the last `count` full seconds, oldest first. The current second is left out, because it is not over.
    pub fn seconds(&self, count: usize) -> Vec<Second> {
        let whole = self.seconds.len().saturating_sub(1);
        self.seconds.iter().take(whole).skip(whole.saturating_sub(count)).map(|(_, second)| *second).collect()
    }

    /// Returns the sites, ranked by `order`.
    pub fn sites(&self) -> Vec<&LiveSite> {
        let mut sites: Vec<&LiveSite> = self.live.sites.iter().collect();
        sites.sort_by_key(|site| match self.order {
            Order::Live => (descending(site.live_bytes), site.stack),
            Order::Growth => (-i128::from(site.growth_bytes.unwrap_or(i64::MIN)), site.stack),
            Order::Blocks => (descending(site.live_blocks), site.stack),
            Order::Total => (descending(site.total_bytes), site.stack),
        });
        sites
    }

    /// Returns the scopes, ranked by `order`.
    pub fn scopes(&self) -> Vec<&LiveScope> {
        let mut scopes: Vec<&LiveScope> = self.live.scopes.iter().collect();
        scopes.sort_by_key(|scope| match self.order {
            Order::Live => (descending(scope.live_bytes), scope.number),
            Order::Growth => (-i128::from(scope.growth_bytes), scope.number),
            Order::Blocks => (descending(scope.live_blocks), scope.number),
            Order::Total => (descending(scope.total_bytes), scope.number),
        });
        scopes
    }

    fn rows(&self) -> Vec<u32> {
        match self.table {
            Table::Sites => self.sites().iter().map(|site| site.stack).collect(),
            Table::Scopes => self.scopes().iter().map(|scope| scope.number).collect(),
        }
    }

    /// Returns the index of the selected row; 0 if no row was selected, and `None` if the table is empty.
    pub fn selected_row(&self) -> Option<usize> {
        let rows = self.rows();
        let at = self.selected.and_then(|selected| rows.iter().position(|row| *row == selected));
        at.or_else(|| (!rows.is_empty()).then_some(0))
    }

    /// Returns the selected site; `None` if the table shows scopes or is empty.
    pub fn selected_site(&self) -> Option<&LiveSite> {
        let at = self.selected_row().filter(|_| self.table == Table::Sites)?;
        self.sites().get(at).copied()
    }

    /// Executes the command of a key. Returns `false` if the program must end.
    pub fn press(&mut self, key: Key) -> bool {
        match key {
            Key::Quit if self.is_stack_open => self.is_stack_open = false,
            Key::Quit => return false,
            Key::Up => self.step(-1),
            Key::Down => self.step(1),
            Key::Enter => {
                // Selects the current row for good, so that the selection follows the site.
                self.step(0);
                self.is_stack_open = !self.is_stack_open && self.selected_site().is_some();
            }
            Key::Sort => self.order = self.order.next(),
            Key::By(order) => self.order = order,
            Key::Switch => {
                (self.selected, self.is_stack_open) = (None, false);
                self.table = if self.table == Table::Sites { Table::Scopes } else { Table::Sites };
            }
            Key::Pause => self.is_paused = !self.is_paused,
        }
        true
    }

    fn step(&mut self, by: isize) {
        let rows = self.rows();
        let Some(at) = self.selected_row() else { return };
        self.selected = rows.get(at.saturating_add_signed(by).min(rows.len() - 1)).copied();
    }
}

fn descending(figure: u64) -> i128 {
    -i128::from(figure)
}

#[cfg(test)]
mod tests {
    use heapledger::live::LiveInterval;

    use super::*;

    pub(crate) fn site(stack: u32, live_bytes: u64, growth_bytes: Option<i64>) -> LiveSite {
        LiveSite { stack, live_bytes, growth_bytes, live_blocks: u64::from(stack), ..LiveSite::default() }
    }

    fn screen() -> Screen {
        let mut live = Live::default();
        live.sites = vec![site(1, 30, Some(-5)), site(2, 20, Some(9)), site(3, 10, None)];
        let mut screen = Screen::default();
        screen.update(live);
        screen
    }

    #[test]
    fn rows_are_ranked_by_the_figure_and_the_selection_stays_with_its_site() {
        let mut screen = screen();
        let order = |screen: &Screen| screen.sites().iter().map(|site| site.stack).collect::<Vec<_>>();
        assert_eq!(order(&screen), [1, 2, 3]);
        screen.press(Key::Down);
        screen.press(Key::Enter);
        assert!(screen.is_stack_open);
        screen.press(Key::By(Order::Growth));
        assert_eq!(order(&screen), [2, 1, 3]);
        assert_eq!((screen.selected_row(), screen.selected_site().unwrap().stack), (Some(0), 2));
        screen.press(Key::By(Order::Blocks));
        assert_eq!((order(&screen), screen.selected_row()), (vec![3, 2, 1], Some(1)));
        for _ in 0..9 {
            screen.press(Key::Down);
        }
        assert_eq!(screen.selected_row(), Some(2));
        // The first press closes the stack, the second press ends the program.
        assert!(screen.press(Key::Quit) && !screen.press(Key::Quit));
    }

    #[test]
    fn a_pause_keeps_the_figures_and_an_empty_table_has_no_selection() {
        let mut screen = screen();
        screen.press(Key::Pause);
        screen.update(Live::default());
        assert_eq!(screen.live.sites.len(), 3);
        screen.press(Key::Switch);
        assert_eq!(screen.selected_row(), None);
        assert!(screen.press(Key::Enter) && !screen.is_stack_open);
        screen.press(Key::Up);
    }

    #[test]
    fn seconds_sum_the_intervals_and_each_interval_counts_once() {
        let at = |quarter: u64, blocks| LiveInterval {
            end_ns: quarter * 250_000_000,
            live_bytes: quarter,
            allocated_blocks: blocks,
            ..LiveInterval::default()
        };
        let mut screen = Screen::default();
        let mut live = Live::default();
        live.intervals = (4..10).map(|quarter| at(quarter, 1)).collect();
        screen.update(live.clone());
        live.intervals = (6..13).map(|quarter| at(quarter, 1)).collect();
        screen.update(live);
        let second = |live_bytes, allocated_blocks| Second { live_bytes, allocated_blocks };
        assert_eq!(screen.seconds(9), [second(7, 4), second(11, 4)]);
        assert_eq!(screen.seconds(1), [second(11, 4)]);
    }
}
