//! The server: one thread that serves all clients and never waits for a single client.
//!
//! A request that arrives at once is answered at once. A slow client is one that does not send its request, or does not
//! take its answer. When [`CONNECTIONS_MAX`] connections are open, the server closes the connection of a slow client
//! for each new connection, so slow clients cannot exclude others. The server does not close a connection in the round
//! that accepts it, nor in the next round, so a request that arrives a moment later is answered. All work together
//! takes at most one part in [`CPU_SHARE`] of a processor, averaged over some seconds. If the work takes more, the
//! server rests, and further connections wait in the system.

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
/// Maximum number of differences that are measured at one time. Each difference keeps a profile of sites from its
/// beginning.
pub(crate) const DIFFERENCES_MAX: usize = 4;
/// Maximum number of bytes of answers that clients have not taken yet, without the newest answer. Above this number,
/// the server closes connections with untaken answers, beginning with the connection whose client has taken nothing for
/// the longest time.
pub(crate) const UNSENT_BYTES_MAX: usize = 16 << 20;
/// Maximum number of connections that are accepted in one round: half of the maximum of open connections. So the server
/// waits for the request of a new connection at least once before newer connections can displace the connection.
pub(crate) const ACCEPTED_AT_ONCE: usize = CONNECTIONS_MAX / 2;
/// Maximum pause between two checks for the end of the program.
const TURN: Duration = Duration::from_millis(250);
/// Divisor of the processor time: the server may use one processor for a part of the time, 1 / `CPU_SHARE`.
const CPU_SHARE: u64 = 50;
/// Processor time that the server may use without a rest, in nanoseconds. If the server has used more, at most
/// `CPU_DEBT_NS` of the excess counts, so a rest is not too long.
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

    /// Serves until `goes_on` returns `false`. Returns `false` if the program has closed the listener.
    pub(crate) fn run(&mut self, goes_on: impl Fn() -> bool) -> bool {
        while goes_on() {
            if !self.turn() {
                return false;
            }
        }
        true
    }

    /// Waits for sockets, and serves the sockets that are ready. Returns `false` if the program has closed the
    /// listener.
    pub(super) fn turn(&mut self) -> bool {
        self.credit.charge(platform::thread_cpu_ns());
        if let Some(rest) = self.credit.rest() {
            platform::sleep_ns(rest.min(TURN).as_nanos() as u64);
            return true;
        }
        let ready = self.wait();
        let now = Instant::now();
        for (at, _) in ready.iter().skip(1).enumerate().filter(|(_, ready)| **ready) {
            if let Need::Answer(request, body) = self.connections[at].proceed() {
                self.answer(at, &request, &body, now);
            }
        }
        self.answer_differences(now);
        let is_open = !ready.first().is_some_and(|ready| *ready) || self.accept(now);
        // Closes connections that are over, because a client that reads to the end of its answer waits for the close. A
        // connection that was accepted and answered in this round can be over too.
        self.connections.retain(|connection| !connection.is_over(now));
        self.answers.forget();
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
                // No connection waits, or the process has no free descriptor; further connections then wait in the
                // system.
                Err(_) => break,
            }
        }
        true
    }

    /// Adds a new connection. If its request has already arrived, the request is answered before the connection can be
    /// closed for a newer connection.
    fn admit(&mut self, mut connection: Connection, now: Instant) {
        let need = connection.proceed();
        self.make_room(now);
        if self.connections.len() < CONNECTIONS_MAX && !connection.is_over(now) {
            self.connections.push(connection);
            if let Need::Answer(request, body) = need {
                self.answer(self.connections.len() - 1, &request, &body, now);
            }
        }
    }

    /// Closes connections of slow clients while there are too many connections. Before that, reads from or writes to
    /// the connection once more, because its client may have sent or taken bytes in the meantime.
    fn make_room(&mut self, now: Instant) {
        self.connections.retain(|connection| !connection.is_over(now));
        while self.connections.len() >= CONNECTIONS_MAX
            && let Some(at) = self.next_to_give_up()
        {
            let before = self.connections[at].rank();
            match self.connections[at].proceed() {
                Need::Answer(request, body) => self.answer(at, &request, &body, now),
                Need::Nothing if self.connections[at].rank() == before => self.connections[at].give_up(),
                Need::Nothing => {}
            }
            self.connections.retain(|connection| !connection.is_over(now));
        }
    }

    fn next_to_give_up(&self) -> Option<usize> {
        let ranks = self.connections.iter().enumerate();
        ranks.filter_map(|(at, connection)| Some((connection.rank()?, at))).min().map(|(_, at)| at)
    }

    /// Closes connections whose clients do not take their answers, so that the answers do not fill the memory. The
    /// answer at index `newest` may have any length.
    fn bound_unsent(&mut self, newest: usize) {
        loop {
            let others = self.connections.iter().enumerate().filter(|(at, _)| *at != newest);
            let unsent = |(at, one): (usize, &Connection)| Some((one.rank()?, at, one.unsent_bytes()));
            let slow: Vec<_> = others.filter_map(unsent).filter(|(.., bytes)| *bytes > 0).collect();
            if slow.iter().map(|(.., bytes)| bytes).sum::<usize>() <= UNSENT_BYTES_MAX {
                return;
            }
            let Some((_, at, _)) = slow.into_iter().min() else { return };
            self.connections[at].give_up();
        }
    }

    fn respond(&mut self, at: usize, response: &Response, with_body: bool) {
        self.connections[at].respond(response, with_body);
        self.bound_unsent(at);
    }

    fn answer(&mut self, at: usize, request: &Request, body: &[u8], now: Instant) {
        let with_body = request.method != "HEAD";
        if !self.address.accepts(request.host.as_deref()) {
            let refusal = Response::refusal(403, "the header Host names another machine than this one");
            return self.respond(at, &refusal, with_body);
        }
        match self.answers.answer(&request.method, &request.target, body) {
            Answer::Now(response) => self.respond(at, &response, with_body),
            Answer::Later(pending) => {
                let waiting = self.connections.iter().filter(|connection| connection.is_waiting()).count();
                if waiting < DIFFERENCES_MAX {
                    self.connections[at].wait_for(pending, now);
                } else {
                    let refusal = Response::refusal(429, "four differences are being measured already");
                    self.respond(at, &refusal.with("Retry-After", "5"), with_body);
                }
            }
        }
    }

    fn answer_differences(&mut self, now: Instant) {
        for at in 0..self.connections.len() {
            if self.connections[at].due().is_some_and(|due| now >= due)
                && let Some(pending) = self.connections[at].take_pending()
            {
                let response = self.answers.difference(&pending);
                self.respond(at, &response, true);
            }
        }
    }

    /// Closes the listener, unless its descriptor now belongs to another file of the program.
    pub(crate) fn close(self) {
        self.listener.close();
    }
}

/// Processor time that the server may still use. Below zero, the server must rest.
struct Credit {
    ns: i64,
    at: Instant,
    /// Processor time of the server's thread at the last charge. `None` before the first charge.
    charged_ns: Option<u64>,
}

impl Credit {
    fn new() -> Credit {
        Credit { ns: CPU_CREDIT_NS as i64, at: Instant::now(), charged_ns: None }
    }

    /// Spends the processor time since the last charge, so that no work of the thread is free: waiting for sockets costs
    /// time too. `thread_ns` is the processor time that the thread has used since its start.
    fn charge(&mut self, thread_ns: u64) {
        let charged_ns = self.charged_ns.replace(thread_ns).unwrap_or(thread_ns);
        self.spend(thread_ns.saturating_sub(charged_ns));
    }

    fn spend(&mut self, ns: u64) {
        let now = Instant::now();
        let earned = now.saturating_duration_since(self.at).as_nanos() as u64 / CPU_SHARE;
        self.at = now;
        let after =
            self.ns.saturating_add_unsigned(earned).min(CPU_CREDIT_NS as i64).saturating_sub_unsigned(ns);
        self.ns = after.max(-(CPU_DEBT_NS as i64));
    }

    /// Returns the time for which the server must rest, or `None` if it need not rest.
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

    #[test]
    fn all_time_between_two_charges_is_spent() {
        let mut credit = Credit::new();
        credit.charge(7 * CPU_CREDIT_NS);
        assert!(credit.rest().is_none(), "time before the first charge is not the server's");
        credit.charge(7 * CPU_CREDIT_NS + CPU_CREDIT_NS / 2);
        assert!(credit.rest().is_none());
        credit.charge(8 * CPU_CREDIT_NS + CPU_DEBT_NS);
        assert!(credit.rest().is_some());
    }
}
