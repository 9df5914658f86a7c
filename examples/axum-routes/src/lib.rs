//! A service with three routes, each in a separate scope, and a small client for the service.
//!
//! The scope follows the request: [`Scope::wrap`] enters the scope at each poll of the handler, on any worker.

use std::future::poll_fn;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::task::Poll;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use heapledger::Scope;

// Compiles and runs the axum handler of docs/LIVE.md.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/LIVE.md")]
struct LivePage;

/// The routes: their paths and the names of their scopes.
pub const ROUTES: [(&str, &str); 3] =
    [("/search", "GET /search"), ("/session", "GET /session"), ("/export", "GET /export")];

/// Number of bytes that each request of `/session` leaks.
pub const SESSION_BYTES: usize = 1000;

/// Returns the service. Each handler runs in the scope of its route.
pub fn service() -> Router {
    ROUTES.iter().zip(handlers()).fold(Router::new(), |router, ((path, name), handler)| {
        router.route(path, handler.layer(from_fn_with_state(Scope::named(name), in_scope)))
    })
}

async fn in_scope(State(scope): State<Scope>, request: Request, next: Next) -> Response {
    scope.wrap(next.run(request)).await
}

/// Returns the handlers of the routes.
pub fn handlers() -> [MethodRouter; 3] {
    [get(search), get(session), get(export)]
}

/// Returns to the runtime a few times, so that another worker may continue the request. Unlike `yield_now`, this
/// function needs no allocation by the runtime, so that all requests of a route allocate the same.
async fn wander() {
    for _ in 0..4 {
        let mut has_returned = false;
        poll_fn(|context| {
            if std::mem::replace(&mut has_returned, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

async fn search() -> String {
    let mut hits = Vec::new();
    for hit in 0..20 {
        hits.push(format!("hit {hit}"));
        if hit == 10 {
            wander().await;
        }
    }
    hits.join("\n")
}

static SESSIONS: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Allocates a block and never frees it: the leak of this service.
#[inline(never)]
fn remember() -> usize {
    let session: Box<[u8]> = vec![7u8; SESSION_BYTES].into_boxed_slice();
    Box::leak(session).as_ptr().addr()
}

async fn session() -> String {
    wander().await;
    let session = remember();
    SESSIONS.lock().expect("no handler panics").push(session);
    wander().await;
    "remembered".to_owned()
}

async fn export() -> Vec<u8> {
    let mut table = vec![0u8; 16 << 10];
    wander().await;
    table.extend_from_slice(&[1; 16 << 10]);
    wander().await;
    table
}

/// Makes room for the addresses of sessions, so that no request has to grow the list.
pub fn reserve(sessions: usize) {
    SESSIONS.lock().expect("no handler panics").reserve(sessions);
}

/// Sends `requests` requests to the routes in turn, over one connection. Returns the number of bytes of all answers.
///
/// # Panics
///
/// Panics if the service does not answer with `200 OK`.
pub fn drive(address: SocketAddr, requests: usize) -> usize {
    let mut connection = TcpStream::connect(address).expect("the service listens");
    connection.set_nodelay(true).expect("a socket");
    let mut answers = BufReader::new(connection.try_clone().expect("a socket"));
    let (mut line, mut body, mut bytes) = (String::new(), Vec::new(), 0);
    for request in 0..requests {
        let (path, _) = ROUTES[request % ROUTES.len()];
        write!(connection, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("the service reads");
        let mut length = 0;
        let mut is_first = true;
        loop {
            line.clear();
            answers.read_line(&mut line).expect("the service answers");
            assert!(!is_first || line.starts_with("HTTP/1.1 200"), "{line}");
            is_first = false;
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        body.resize(length, 0);
        answers.read_exact(&mut body).expect("the whole answer");
        bytes += length;
    }
    bytes
}
