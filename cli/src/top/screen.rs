//! Drawing of the screen from its state.

use heapledger::live::LiveSite;
use heapledger::text::escape::escaped;
use heapledger::text::units::{bytes, count, counted, duration};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row, Sparkline, Table, TableState, Wrap};

use super::state::{Order, Screen, Table as Shown};
use crate::report::live::{completeness, place_of, rates, signed_bytes, title};

const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);
const HELP: &str = "q quit  ↑↓ select  Enter stack  s sort  l g b a by column  Tab sites/scopes  p pause";

/// Draws the whole screen. `now_unix_ns` is the current time in nanoseconds since 1970, for the age of the figures.
pub fn draw(frame: &mut Frame<'_>, screen: &Screen, now_unix_ns: u64) {
    // A small terminal shows only the table, which matters more than the charts.
    let charts = if frame.area().height >= 20 { 5 } else { 0 };
    let parts =
        [Constraint::Length(5), Constraint::Length(charts), Constraint::Min(3), Constraint::Length(1)];
    let [head, chart, table, foot] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(Paragraph::new(heading(screen, now_unix_ns)), head);
    if charts > 0 {
        draw_charts(frame, screen, chart);
    }
    match screen.table {
        Shown::Sites => draw_sites(frame, screen, table),
        Shown::Scopes => draw_scopes(frame, screen, table),
    }
    frame.render_widget(Paragraph::new(Line::styled(HELP, FAINT)), foot);
    if screen.is_stack_open
        && let Some(site) = screen.selected_site()
    {
        draw_stack(frame, screen, site, table);
    }
}

fn heading(screen: &Screen, now_unix_ns: u64) -> Vec<Line<'static>> {
    let live = &screen.live;
    let totals = &live.totals;
    let colour = if live.quality.lost.total() > 0 { Color::Red } else { Color::Green };
    let mut first = vec![Span::styled(title(live, now_unix_ns), BOLD)];
    if screen.is_paused {
        first.push(Span::styled("  paused", Style::new().fg(Color::Yellow)));
    }
    if !screen.trouble.is_empty() {
        let trouble = format!("  {}", escaped(&screen.trouble));
        first.push(Span::styled(trouble, Style::new().fg(Color::Red)));
    }
    let resident = live.resident_bytes.map_or("n/a".to_owned(), bytes);
    let rate = rates(live).map_or_else(
        || "rate not known yet".to_owned(),
        |(blocks, allocated, change)| {
            format!(
                "{} blocks/s  {}/s  live {} a second",
                count(blocks),
                bytes(allocated),
                signed_bytes(change)
            )
        },
    );
    vec![
        Line::from(first),
        Line::from(vec![Span::raw("complete   "), Span::styled(completeness(live), Style::new().fg(colour))]),
        Line::from(format!(
            "live       {} in {}   peak {}   resident {resident}",
            bytes(totals.live_bytes),
            counted(totals.live_blocks, "block", "blocks"),
            bytes(totals.peak_bytes),
        )),
        Line::from(format!(
            "allocated  {} in {} blocks   {rate}",
            bytes(totals.total_bytes),
            count(totals.total_blocks)
        )),
        Line::styled(
            format!(
                "heapledger {} of memory, {} of processor time",
                bytes(live.quality.own_bytes),
                duration(live.quality.own_cpu_ns)
            ),
            FAINT,
        ),
    ]
}

fn draw_charts(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let [left, right] = Layout::horizontal([Constraint::Percentage(50); 2]).areas(area);
    let seconds = screen.seconds(usize::from(left.width.saturating_sub(2)));
    let draw = |frame: &mut Frame<'_>, area: Rect, name: &str, highest: String, data: Vec<u64>| {
        let title = format!(" {name}, last {} s, up to {highest} ", data.len());
        let chart = Sparkline::default().data(data).block(Block::bordered().title(title));
        frame.render_widget(chart.style(Style::new().fg(Color::Cyan)), area);
    };
    let live: Vec<u64> = seconds.iter().map(|second| second.live_bytes).collect();
    let rate: Vec<u64> = seconds.iter().map(|second| second.allocated_blocks).collect();
    let highest = |data: &[u64]| data.iter().copied().max().unwrap_or(0);
    draw(frame, left, "live", bytes(highest(&live)), live);
    draw(frame, right, "blocks/s", count(highest(&rate)), rate);
}

fn header(screen: &Screen, columns: &[(Option<Order>, &'static str)]) -> Row<'static> {
    let cell = |(order, name): &(Option<Order>, &'static str)| {
        let name = order.map_or(*name, Order::heading);
        if *order == Some(screen.order) {
            return Cell::from(Line::from(format!("{name} ▼")).right_aligned()).style(BOLD);
        }
        let line = Line::from(name);
        Cell::from(if order.is_some() { line.right_aligned() } else { line })
    };
    Row::new(columns.iter().map(cell).collect::<Vec<_>>()).style(FAINT.remove_modifier(Modifier::DIM))
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

fn growth(change: Option<i64>) -> Cell<'static> {
    let text = change.map_or("n/a".to_owned(), signed_bytes);
    let style =
        if change.is_some_and(|change| change > 0) { Style::new().fg(Color::Yellow) } else { Style::new() };
    right(text).style(style)
}

const WIDTHS: [Constraint; 5] = [
    Constraint::Length(11),
    Constraint::Length(12),
    Constraint::Length(12),
    Constraint::Length(11),
    Constraint::Min(20),
];

fn draw_table(
    frame: &mut Frame<'_>,
    screen: &Screen,
    area: Rect,
    title: String,
    last: &'static str,
    rows: Vec<Row<'static>>,
) {
    let columns = [Order::Live, Order::Growth, Order::Blocks, Order::Total].map(|order| (Some(order), ""));
    let columns: Vec<_> = columns.into_iter().chain([(None, last)]).collect();
    let table = Table::new(rows, WIDTHS)
        .header(header(screen, &columns))
        .block(Block::bordered().title(title))
        .row_highlight_style(SELECTED);
    frame.render_stateful_widget(
        table,
        area,
        &mut TableState::default().with_selected(screen.selected_row()),
    );
}

fn draw_sites(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let rows = screen.sites().into_iter().map(|site| {
        let (name, file) = place_of(site, &screen.names);
        Row::new([
            right(bytes(site.live_bytes)),
            growth(site.growth_bytes),
            right(count(site.live_blocks)),
            right(bytes(site.total_bytes)),
            Cell::from(Line::from(vec![Span::raw(name), Span::styled(format!("  {file}"), FAINT)])),
        ])
    });
    let rows = rows.collect();
    let live = &screen.live;
    let title = format!(
        " {} of {} sites, growth over {} ",
        live.sites.len(),
        count(live.sites_known),
        duration(live.growth_ns)
    );
    draw_table(frame, screen, area, title, "place", rows);
}

fn draw_scopes(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let rows = screen.scopes().into_iter().map(|scope| {
        Row::new([
            right(bytes(scope.live_bytes)),
            growth(Some(scope.growth_bytes)),
            right(count(scope.live_blocks)),
            right(bytes(scope.total_bytes)),
            Cell::from(escaped(&scope.name)),
        ])
    });
    let rows = rows.collect();
    let title = format!(" {} of {} scopes ", screen.live.scopes.len(), count(screen.live.scopes_known));
    draw_table(frame, screen, area, title, "scope", rows);
}

/// Draws the stack of a site over the table.
fn draw_stack(frame: &mut Frame<'_>, screen: &Screen, site: &LiveSite, area: Rect) {
    let mut lines = Vec::new();
    if let Some(stack) = screen.names.of(site.stack) {
        for (at, function) in stack.frames.iter().enumerate() {
            let style = if at == stack.place { BOLD } else { Style::new() };
            let mut line = vec![Span::styled(escaped(&function.name), style)];
            if !function.file.is_empty() {
                line.push(Span::styled(format!("  {}:{}", escaped(&function.file), function.line), FAINT));
            }
            lines.push(Line::from(line));
        }
    }
    if lines.is_empty() {
        lines.push(Line::from("no stack is known for this site"));
    }
    if site.is_cut {
        lines.push(Line::styled("outer frames are not in the page", FAINT));
    }
    let blocks = counted(site.live_blocks, "block", "blocks");
    let title = format!(" {} live in {blocks} ", bytes(site.live_bytes));
    frame.render_widget(Clear, area);
    let stack = Paragraph::new(lines).wrap(Wrap { trim: false }).block(Block::bordered().title(title));
    frame.render_widget(stack, area);
}

#[cfg(test)]
mod tests {
    use heapledger::live::{Live, LiveInterval, LiveScope};
    use heapledger::profile::LossReason;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::state::Key;
    use super::*;

    fn live() -> Live {
        let mut live = Live::default();
        (live.pid, live.program, live.written_unix_ns) = (7, "app\u{1b}[2J".to_owned(), 5_000_000_000);
        (live.totals.live_bytes, live.totals.live_blocks) = (3 << 20, 12);
        (live.quality.attempted, live.quality.recorded) = (1_000, 1_000);
        (live.sites_known, live.growth_ns) = (400, 40_000_000_000);
        let site = |stack, live_bytes, growth| LiveSite {
            stack,
            live_bytes,
            growth_bytes: Some(growth),
            frames: vec![0xABC1],
            ..LiveSite::default()
        };
        live.sites = vec![site(1, 2 << 20, -7), site(2, 1 << 20, 4_096)];
        live.scopes = vec![LiveScope { name: "GET /search".to_owned(), number: 1, ..LiveScope::default() }];
        live.intervals = (1..40)
            .map(|at| LiveInterval {
                end_ns: at * 250_000_000,
                live_bytes: at << 16,
                allocated_blocks: 250,
                ..LiveInterval::default()
            })
            .collect();
        live
    }

    fn drawn(screen: &Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, screen, 5_500_000_000)).unwrap();
        terminal.backend().to_string()
    }

    fn screen() -> Screen {
        let mut screen = Screen::default();
        screen.update(live());
        if let Some(profile) = screen.names.missing(&live()) {
            screen.names.add(&profile);
        }
        screen
    }

    #[test]
    fn the_screen_shows_figures_charts_and_sites_and_no_escape_of_a_name() {
        let screen = screen();
        let shown = drawn(&screen, 110, 30);
        for text in [
            "app\\u{1b}[2J (7), live",
            "figures of 500.0 ms ago",
            "100.000 % of 1,000 events",
            "3.0 MiB in 12 blocks",
            "1,000 blocks/s",
            "live ▼",
            "2 of 400 sites, growth over 40.0 s",
            "+4.0 KiB",
            "0xabc0",
            "blocks/s, last 9 s, up to 1,000",
        ] {
            assert!(shown.contains(text), "{text}\n{shown}");
        }
        assert!(!shown.contains('\u{1b}'));
    }

    #[test]
    fn keys_open_a_stack_and_show_scopes_and_a_loss_is_told() {
        let mut screen = screen();
        screen.press(Key::Down);
        screen.press(Key::Enter);
        assert!(drawn(&screen, 100, 30).contains("1.0 MiB live in 0 blocks"), "{}", drawn(&screen, 100, 30));
        screen.press(Key::Switch);
        assert!(drawn(&screen, 100, 30).contains("GET /search"));
        screen.live.quality.lost.add(LossReason::RingFull, 3);
        screen.trouble = "connection refused".to_owned();
        let shown = drawn(&screen, 140, 30);
        assert!(shown.contains("3 lost as ring_full") && shown.contains("connection refused"), "{shown}");
    }

    #[test]
    fn any_size_of_the_terminal_can_be_drawn() {
        let mut screen = screen();
        for (width, height) in [(1, 1), (5, 3), (20, 9), (40, 12), (300, 100)] {
            drawn(&screen, width, height);
        }
        screen.press(Key::Enter);
        drawn(&screen, 3, 3);
    }
}
