//! Ten thousand requests over loopback, on two workers: the figures of each route against an allocator that counts by
//! itself, the sum of all scopes against the totals, and a leak by its route, function and line.
#![allow(unsafe_code, reason = "an allocator that counts, and a pinned field")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::thread::ThreadId;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum_routes::{ROUTES, SESSION_BYTES, drive, handlers, reserve};
use heapledger::profile::{Profile, Site};
use heapledger::{HeapLedger, Scope};
use heapledger_cli::analysis::Origin;
use heapledger_cli::report::{Layout as Page, write_report};
use heapledger_cli::symbols;

/// An allocator that counts the blocks, bytes and reallocs of each route while a handler of the route is polled.
struct Counting;

#[global_allocator]
static HEAP: HeapLedger<Counting> = HeapLedger::new(Counting).dump(heapledger::DumpTarget::Off);

static COUNTED: [[AtomicU64; 3]; 3] = [const { [const { AtomicU64::new(0) }; 3] }; 3];
/// Number of polls of a handler by another worker than at the previous poll.
static MIGRATED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static ROUTE: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn count(blocks: u64, bytes: usize, reallocs: u64) {
    let counts = ROUTE.try_with(|route| COUNTED.get(route.get())).ok().flatten();
    if let Some([of_blocks, of_bytes, of_reallocs]) = counts.filter(|_| !heapledger::is_internal()) {
        of_blocks.fetch_add(blocks, SeqCst);
        of_bytes.fetch_add(bytes as u64, SeqCst);
        of_reallocs.fetch_add(reallocs, SeqCst);
    }
}

// SAFETY: everything is the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size(), 0);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size(), 0);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(0, new_size, 1);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(block, layout, new_size) }
    }
}

/// A future whose allocations the allocator counts for a route.
struct Counted<F> {
    route: usize,
    worker: Option<ThreadId>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let worker = std::thread::current().id();
        if self.worker.replace(worker).is_some_and(|before| before != worker) {
            MIGRATED.fetch_add(1, SeqCst);
        }
        let before = ROUTE.replace(self.route);
        let polled = self.future.as_mut().poll(context);
        ROUTE.set(before);
        polled
    }
}

async fn counted(State((scope, route)): State<(Scope, usize)>, request: Request, next: Next) -> Response {
    let future = Box::pin(next.run(request));
    scope.wrap(Counted { route, worker: None, future }).await
}

const CLIENTS: usize = 8;
const REQUESTS: usize = 10_000;

fn main() {
    // The test harness is this function: `cargo test -- --list` asks for names.
    if std::env::args().any(|argument| argument == "--list") {
        return println!("routes: test");
    }
    let router = ROUTES.iter().zip(handlers()).enumerate().fold(
        Router::new(),
        |router, (route, ((path, name), handler))| {
            router.route(path, handler.layer(from_fn_with_state((Scope::named(name), route), counted)))
        },
    );
    reserve(REQUESTS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_io().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, router).await });
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| std::thread::spawn(move || drive(address, REQUESTS / CLIENTS))).collect();
    clients.into_iter().for_each(|client| assert!(client.join().unwrap() > 0));
    runtime.shutdown_background();
    check_routes();
    check_the_dump();
    println!("test routes ... ok");
}

/// Returns the number of requests of a route: each client asks for the routes in turn.
fn requests_of(route: usize) -> u64 {
    let each = REQUESTS / CLIENTS;
    (CLIENTS * (each / ROUTES.len() + usize::from(route < each % ROUTES.len()))) as u64
}

fn check_routes() {
    println!("{} polls on another worker than the one before", MIGRATED.load(SeqCst));
    assert!(MIGRATED.load(SeqCst) > 1000, "hardly a request changed its worker");
    assert_eq!((0..3).map(requests_of).sum::<u64>(), REQUESTS as u64);
    for (route, (_, name)) in ROUTES.iter().enumerate() {
        let usage = Scope::named(name).usage();
        let counted = COUNTED[route].each_ref().map(|count| count.load(SeqCst));
        println!("{name}: {} requests, {usage:?}", requests_of(route));
        assert_eq!([usage.allocations, usage.bytes, usage.reallocations], counted, "{name}");
        assert_eq!(
            (usage.allocations + usage.reallocations) % requests_of(route),
            0,
            "{name}: each request is equal"
        );
        assert_eq!(usage.lost, 0);
        let sessions = if *name == "GET /session" { requests_of(route) } else { 0 };
        assert_eq!(
            (usage.retained_blocks, usage.retained_bytes),
            (sessions, sessions * SESSION_BYTES as u64),
            "{name}"
        );
    }
}

fn check_the_dump() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.hl");
    heapledger::dump(&path).unwrap();
    let mut profile = heapledger::dumps::read(&path).unwrap().profile;
    let outside = |figure: fn(&Site) -> u64| -> u64 {
        profile.sites.iter().filter(|site| profile.scope_of_stack(site.stack) == 0).map(figure).sum()
    };
    let over = |figure: fn(&heapledger::profile::Scope) -> u64| -> u64 {
        profile.scopes.iter().filter(|scope| scope.parent == 0).map(figure).sum()
    };
    let totals = &profile.totals;
    assert_eq!(over(|scope| scope.total_blocks) + outside(|site| site.total_blocks), totals.total_blocks);
    assert_eq!(over(|scope| scope.total_bytes) + outside(|site| site.total_bytes), totals.total_bytes);
    assert_eq!(over(|scope| scope.live_bytes()) + outside(|site| site.live_bytes()), totals.live_bytes);
    name_the_leak(&mut profile);
}

fn name_the_leak(profile: &mut Profile) {
    symbols::resolve(profile, &symbols::Options::default(), &mut |_| ());
    let mut report = Vec::new();
    write_report(profile, &Origin::default(), &Page::default(), &mut report).unwrap();
    let report = String::from_utf8(report).unwrap();
    let line =
        include_str!("../src/lib.rs").lines().position(|line| line.contains("vec![7u8; SESSION_BYTES]"));
    let place = format!("src/lib.rs:{}", line.unwrap() + 1);
    for needed in ["GET /session", "axum_routes::remember", &place] {
        assert!(report.contains(needed), "{needed} is not in the report\n{report}");
    }
    if std::env::var_os("SHOW_REPORT").is_some() {
        println!("{report}");
    }
}
