//! Subcommand `top`: shows a running process on a terminal, or prints its figures once.

use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use heapledger::dumps::LiveReader;
use heapledger::live::Live;
use heapledger::text::escape::escaped;
use heapledger_cli::analysis::LiveNames;
use heapledger_cli::report::write_live;
use heapledger_cli::symbols::return_freed_memory;
use heapledger_cli::top::{Key, Order, Screen, draw};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::args::TopArgs;
use crate::endpoint_client::Endpoint;
use crate::exit::{Exit, Failure, FailureKind, STDOUT, written};
use crate::page::layout;
use crate::running::{look_up, now_unix_ns};

/// Time between two reads of the figures.
const REFRESH: Duration = Duration::from_millis(250);
/// Time that may be spent on looking up names at once. After that, lookups take at most 1 / NAMES_SHARE of the time:
/// each lookup reads the object files again, and new sites keep appearing.
const NAMES_BURST: Duration = Duration::from_secs(1);
const NAMES_SHARE: u32 = 200;
/// Maximum time between two drawings. Even if the figures do not change, their age on the screen does.
const REDRAW: Duration = Duration::from_secs(1);

/// Source of the figures of a process.
enum Source {
    Page(Box<LiveReader>),
    Endpoint(Endpoint),
}

impl Source {
    /// Opens the source that `target` names: the URL of an endpoint, a process id, or a file.
    fn find(target: &str) -> Result<Source, Failure> {
        if let Some(endpoint) = Endpoint::parse(target) {
            return Ok(Source::Endpoint(endpoint));
        }
        let is_process = !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_digit());
        let path = if is_process { page_of(target)? } else { PathBuf::from(target) };
        let shown = escaped(&path.display().to_string());
        LiveReader::open(&path).map(|page| Source::Page(Box::new(page))).map_err(|error| {
            Failure::new(FailureKind::Unreadable, format_args!("{shown}: {}", escaped(&error.to_string())))
        })
    }

    fn read(&mut self) -> Result<Live, String> {
        match self {
            Source::Page(page) => page.read().map_err(|error| error.to_string()),
            Source::Endpoint(endpoint) => {
                let body = endpoint.get("/heapledger/live.json").map_err(|error| error.to_string())?;
                serde_json::from_slice(&body).map_err(|error| format!("its answer is no live page: {error}"))
            }
        }
    }
}

/// Returns the file with the live page of a process: the separate file of the page, or else the black box. A live page
/// has the current figures of a process.
fn page_of(process: &str) -> Result<PathBuf, Failure> {
    let own = PathBuf::from(format!("/dev/shm/heapledger.{process}.live"));
    if own.exists() {
        return Ok(own);
    }
    let maps = fs::read(format!("/proc/{process}/maps")).map_err(|error| {
        let error = format_args!("process {process} cannot be looked at: {error}");
        Failure::new(FailureKind::Unreadable, error)
    })?;
    let maps = String::from_utf8_lossy(&maps);
    // Each line has address, permissions, offset, device, inode, path. A black box is a shared mapping (`s` in the
    // permissions).
    let mut files: Vec<&str> = maps
        .lines()
        .filter(|line| line.split(' ').nth(1).is_some_and(|permissions| permissions.ends_with('s')))
        .filter_map(|line| line.find('/').map(|at| &line[at..]))
        .collect();
    files.dedup();
    let found = files.iter().find(|path| LiveReader::open(path).is_ok());
    found.map(PathBuf::from).ok_or_else(|| {
        let error = format_args!("process {process} has neither a live page nor a black box");
        Failure::new(FailureKind::Unreadable, error)
            .hint("start it with HEAPLEDGER_LIVE=1, or with an endpoint, HEAPLEDGER_SERVE, and give its URL")
    })
}

pub fn top(args: &TopArgs) -> Result<Exit, Failure> {
    let mut source = Source::find(&args.target)?;
    if args.once || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return once(args, &mut source);
    }
    let mut terminal = ratatui::try_init().map_err(|error| failed(&error))?;
    let result = show(args, &mut source, &mut terminal);
    ratatui::restore();
    result.map_err(|error| failed(&error))?;
    Ok(Exit::Fine)
}

fn failed(error: &io::Error) -> Failure {
    Failure::new(FailureKind::Unwritable, format_args!("cannot use the terminal: {error}"))
}

/// Prints the figures once. If there are none yet, waits up to two seconds, because the process may have just started.
fn once(args: &TopArgs, source: &mut Source) -> Result<Exit, Failure> {
    let until = Instant::now() + Duration::from_secs(2);
    let live = loop {
        match source.read() {
            Ok(live) => break live,
            Err(_) if Instant::now() < until => std::thread::sleep(REFRESH),
            Err(error) => {
                let target = escaped(&args.target);
                return Err(Failure::new(
                    FailureKind::Unreadable,
                    format_args!("{target}: {}", escaped(&error)),
                ));
            }
        }
    };
    let mut names = LiveNames::default();
    if !args.no_symbols {
        look_up(&mut names, &live, &args.names);
    }
    let layout = layout(&args.page, &io::stdout());
    let mut out = BufWriter::new(io::stdout().lock());
    let result = write_live(&live, &names, now_unix_ns(), &layout, &mut out);
    written(result.and_then(|()| out.flush()), STDOUT)?;
    Ok(Exit::Fine)
}

fn show(args: &TopArgs, source: &mut Source, terminal: &mut ratatui::DefaultTerminal) -> io::Result<()> {
    let mut screen = Screen::default();
    let (mut drawn, mut is_new) = (None, true);
    let (started, mut names_took) = (Instant::now(), Duration::ZERO);
    loop {
        let before = (screen.live.writes, screen.live.has_ended, screen.trouble.clone());
        match source.read() {
            Ok(live) => {
                screen.trouble.clear();
                screen.update(live);
                let began = Instant::now();
                if !args.no_symbols
                    && names_took <= NAMES_BURST + started.elapsed() / NAMES_SHARE
                    && look_up(&mut screen.names, &screen.live, &args.names)
                {
                    return_freed_memory();
                    names_took += began.elapsed();
                }
            }
            // The last figures stay on the screen, with the error.
            Err(error) => screen.trouble = error,
        }
        is_new |= before != (screen.live.writes, screen.live.has_ended, screen.trouble.clone());
        let due = Instant::now() + REFRESH;
        loop {
            let is_due = drawn.is_none_or(|drawn: Instant| drawn.elapsed() >= REDRAW);
            if is_new || is_due {
                terminal.draw(|frame| draw(frame, &screen, now_unix_ns()))?;
                (drawn, is_new) = (Some(Instant::now()), false);
            }
            if !event::poll(due.saturating_duration_since(Instant::now()))? {
                break;
            }
            match event::read()? {
                Event::Key(pressed) if pressed.kind == KeyEventKind::Press => {
                    let is_interrupt = pressed.code == KeyCode::Char('c')
                        && pressed.modifiers.contains(KeyModifiers::CONTROL);
                    if is_interrupt || key_of(pressed).is_some_and(|key| !screen.press(key)) {
                        return Ok(());
                    }
                    is_new = true;
                }
                Event::Resize(..) => is_new = true,
                _ => {}
            }
        }
    }
}

fn key_of(pressed: KeyEvent) -> Option<Key> {
    Some(match pressed.code {
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::Enter => Key::Enter,
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Char('l') => Key::By(Order::Live),
        KeyCode::Char('g') => Key::By(Order::Growth),
        KeyCode::Char('b') => Key::By(Order::Blocks),
        KeyCode::Char('a') => Key::By(Order::Total),
        KeyCode::Tab => Key::Switch,
        KeyCode::Char('p') => Key::Pause,
        _ => return None,
    })
}
