//! The server: one thread, which never waits for one client.
//!
//! A client that sends its request at once is answered at once. One that does not is given up for a newer one as soon as
//! [`CONNECTIONS_MAX`] are open, so that any number of slow ones keeps nobody out. All work together takes at most
//! [`CPU_SHARE`] of a processor, over some seconds; beyond that the server rests, and the system holds further connections back.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::address::Address;
use super::answer::{Answer, Answers};
use super::connection::{Connection, Need};
use super::heap::Heap;
use super::request::Request;
use super::response::Response;
use crate::sys::platform;
use crate::sys::sockets::{Interest, Listener, wait};

/// Maximum number of open connections.
pub(crate) const CONNECTIONS_MAX: usize = 64;
/// Maximum number of differences that are measured at one time; each holds the sites of its beginning.
pub(crate) const DIFFERENCES_MAX: usize = 4;
/// Maximum number of connections that are accepted before others get on.
const ACCEPTED_AT_ONCE: usize = 128;
/// Maximum pause between two looks at the end of the program.
const TURN: Duration = Duration::from_millis(250);
/// The share of a processor that the server may use: one in this number.
const CPU_SHARE: u64 = 50;
/// Processor time that the server may use at once, and that it may owe, in nanoseconds.
const CPU_CREDIT_NS: u64 = 500_000_000;
const CPU_DEBT_NS: u64 = 100_000_000;

/// The server of one listener.
pub(crate) struct Server<'a> {
    listener: Listener,
    address: Address,
    answers: Answers<'a>,
    connections: Vec<Connection>,
    credit: Credit,
}

impl<'a> Server<'a> {
    pub(crate) fn new(listener: Listener, address: Address, heap: &'a dyn Heap) -> Server<'a> {
        Server {
            listener,
            address,
            answers: Answers::new(heap),
            connections: Vec::new(),
            credit: Credit::new(),
        }
    }

    /// Serves until `goes_on` returns false. Returns false if the program has closed the listener.
    pub(crate) fn run(&mut self, goes_on: impl Fn() -> bool) -> bool {
        while goes_on() {
            if !self.turn() {
                return false;
            }
        }
        true
    }

    /// Waits for a socket, and serves those that are ready. Returns false if the program has closed the listener.
    fn turn(&mut self) -> bool {
        if let Some(rest) = self.credit.rest() {
            platform::sleep_ns(rest.min(TURN).as_nanos() as u64);
            return true;
        }
        let ready = self.wait();
        let began_ns = platform::thread_cpu_ns();
        let now = Instant::now();
        for (at, _) in ready.iter().skip(1).enumerate().filter(|(_, ready)| **ready) {
            if let Need::Answer(request, body) = self.connections[at].proceed() {
                self.answer(at, &request, &body, now);
            }
        }
        self.answer_differences(now);
        self.connections.retain(|connection| !connection.is_over(now));
        let is_open = !ready.first().is_some_and(|ready| *ready) || self.accept(now);
        self.answers.forget();
        self.credit.spend(platform::thread_cpu_ns().saturating_sub(began_ns));
        is_open
    }

    fn wait(&self) -> Vec<bool> {
        let mut sockets = vec![(self.listener.descriptor(), Interest::Readable)];
        sockets.extend(self.connections.iter().map(|one| (one.descriptor(), one.interest())));
        let due = self.connections.iter().filter_map(Connection::due).min();
        let pause = due.map_or(TURN, |due| due.saturating_duration_since(Instant::now()).min(TURN));
        wait(&sockets, pause)
    }

    fn accept(&mut self, now: Instant) -> bool {
        for _ in 0..ACCEPTED_AT_ONCE {
            match self.listener.accept() {
                Ok(stream) => self.admit(Connection::new(stream, now), now),
                Err(error) if error.kind() == ErrorKind::NotConnected => return false,
                // None is waiting, or the process has no descriptor left: then the system holds them back.
                Err(_) => break,
            }
        }
        true
    }

    /// Takes a new connection. A request that has arrived already is answered before the connection can be given up for
    /// another one.
    fn admit(&mut self, mut connection: Connection, now: Instant) {
        let need = connection.proceed();
        self.make_room();
        if self.connections.len() < CONNECTIONS_MAX && !connection.is_over(now) {
            self.connections.push(connection);
            if let Need::Answer(request, body) = need {
                self.answer(self.connections.len() - 1, &request, &body, now);
            }
        }
    }

    /// Gives up the oldest connection that has not sent its request, if there are too many.
    fn make_room(&mut self) {
        if self.connections.len() < CONNECTIONS_MAX {
            return;
        }
        let oldest = (0..self.connections.len())
            .filter(|at| self.connections[*at].is_reading())
            .min_by_key(|at| self.connections[*at].began);
        if let Some(oldest) = oldest {
            self.connections.swap_remove(oldest);
        }
    }

    fn answer(&mut self, at: usize, request: &Request, body: &[u8], now: Instant) {
        let with_body = request.method != "HEAD";
        if !self.address.accepts(request.host.as_deref()) {
            let refusal = Response::refusal(403, "the header Host names another machine than this one");
            return self.connections[at].respond(&refusal, with_body);
        }
        match self.answers.answer(&request.method, &request.target, body) {
            Answer::Now(response) => self.connections[at].respond(&response, with_body),
            Answer::Later(pending) => {
                let waiting = self.connections.iter().filter(|connection| connection.is_waiting()).count();
                if waiting < DIFFERENCES_MAX {
                    self.connections[at].wait_for(pending, now);
                } else {
                    let refusal = Response::refusal(429, "four differences are being measured already");
                    self.connections[at].respond(&refusal.with("Retry-After", "5"), with_body);
                }
            }
        }
    }

    fn answer_differences(&mut self, now: Instant) {
        for connection in &mut self.connections {
            if connection.due().is_some_and(|due| now >= due)
                && let Some(pending) = connection.take_pending()
            {
                connection.respond(&self.answers.difference(&pending), true);
            }
        }
    }

    /// Closes the listener, unless the program has put another file under its descriptor.
    pub(crate) fn close(self) {
        self.listener.close();
    }
}

/// Processor time that the server may still use.
struct Credit {
    ns: i64,
    at: Instant,
}

impl Credit {
    fn new() -> Credit {
        Credit { ns: CPU_CREDIT_NS as i64, at: Instant::now() }
    }

    fn spend(&mut self, ns: u64) {
        let now = Instant::now();
        let earned = now.saturating_duration_since(self.at).as_nanos() as u64 / CPU_SHARE;
        self.at = now;
        let after =
            self.ns.saturating_add_unsigned(earned).min(CPU_CREDIT_NS as i64).saturating_sub_unsigned(ns);
        self.ns = after.max(-(CPU_DEBT_NS as i64));
    }

    /// Returns how long the server rests.
    fn rest(&mut self) -> Option<Duration> {
        self.spend(0);
        (self.ns < 0).then(|| Duration::from_nanos(self.ns.unsigned_abs() * CPU_SHARE))
    }
}

#[cfg(test)]
mod credit_tests {
    use super::*;

    #[test]
    fn work_beyond_the_share_is_followed_by_a_rest_that_is_bounded() {
        let mut credit = Credit::new();
        assert!(credit.rest().is_none());
        credit.spend(CPU_CREDIT_NS / 2);
        assert!(credit.rest().is_none(), "a burst is allowed");
        credit.spend(10 * CPU_CREDIT_NS);
        let rest = credit.rest().unwrap();
        assert!(
            rest <= Duration::from_nanos(CPU_DEBT_NS * CPU_SHARE) && rest > Duration::from_secs(3),
            "{rest:?}"
        );
    }
}
