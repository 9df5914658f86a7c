//! One exchange on one connection: a request, a response, and the end of the connection.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::answer::Pending;
use super::request::{self, Request};
use super::response::Response;
use crate::sys::sockets::{Interest, Stream};

/// Time within which the whole request must arrive.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// Time within which the client must have taken the whole response.
const RESPONSE_TIME: Duration = Duration::from_secs(30);
/// Number of bytes that are read at a time.
const READ_BYTES: usize = 4_096;

/// A connection and its state.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    state: State,
    /// Time at which the connection is closed in any state.
    until: Instant,
    /// Time at which the connection was accepted. After the answer has begun, time at which the client last took a part
    /// of the answer.
    since: Instant,
}

#[derive(Debug)]
enum State {
    /// The request is being received.
    Reading(Vec<u8>),
    /// A difference is being measured.
    Waiting {
        pending: Pending,
        due: Instant,
    },
    /// The response is being sent.
    Writing {
        bytes: Vec<u8>,
        sent: usize,
    },
    Over,
}

/// The work that the server must do next for a connection.
#[derive(Debug)]
pub(super) enum Need {
    Nothing,
    /// The server must answer this request, which has this body.
    Answer(Request, Vec<u8>),
}

impl Connection {
    pub(super) fn new(stream: Stream, now: Instant) -> Connection {
        Connection { stream, state: State::Reading(Vec::new()), until: now + REQUEST_TIME, since: now }
    }

    pub(super) fn interest(&self) -> Interest {
        match self.state {
            State::Reading(_) => Interest::Readable,
            State::Writing { .. } => Interest::Writable,
            State::Waiting { .. } | State::Over => Interest::Nothing,
        }
    }

    pub(super) fn descriptor(&self) -> i32 {
        self.stream.descriptor()
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        matches!(self.state, State::Over) || now >= self.until
    }

    /// Returns the rank of a connection that waits for its client, and `None` for other connections. If there are too
    /// many connections, the server closes the connection with the lowest rank: first a connection without a whole
    /// request, then a connection whose client does not take its answer. Among equal connections, it closes the one
    /// that has waited longest.
    pub(super) fn rank(&self) -> Option<(bool, Instant)> {
        match self.state {
            State::Reading(_) | State::Writing { .. } => Some((self.unsent_bytes() > 0, self.since)),
            State::Waiting { .. } | State::Over => None,
        }
    }

    /// Returns the number of bytes of the response that the client has not taken.
    pub(super) fn unsent_bytes(&self) -> usize {
        match &self.state {
            State::Writing { bytes, sent } => bytes.len() - sent,
            _ => 0,
        }
    }

    pub(super) fn give_up(&mut self) {
        self.state = State::Over;
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// Returns the time at which a difference is due, or `None` if the connection waits for no difference.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { due, .. } => Some(*due),
            _ => None,
        }
    }

    /// Continues the exchange after the socket has become ready.
    pub(super) fn proceed(&mut self) -> Need {
        match &mut self.state {
            State::Reading(_) => self.read(),
            State::Writing { .. } => {
                self.write();
                Need::Nothing
            }
            // The client has closed the connection.
            State::Waiting { .. } => {
                self.state = State::Over;
                Need::Nothing
            }
            State::Over => Need::Nothing,
        }
    }

    fn read(&mut self) -> Need {
        let State::Reading(bytes) = &mut self.state else { return Need::Nothing };
        let mut part = [0; READ_BYTES];
        match self.stream.read(&mut part) {
            Ok(0) => self.state = State::Over,
            Ok(length) => {
                bytes.extend_from_slice(&part[..length]);
                match request::parse(bytes) {
                    Ok(None) => {}
                    Ok(Some(request)) => {
                        let end = request.head_bytes + request.body_bytes;
                        if bytes.len() >= end {
                            let body = bytes[request.head_bytes..end].to_vec();
                            return Need::Answer(request, body);
                        }
                    }
                    Err(refusal) => self.respond(&refusal, true),
                }
            }
            Err(error) if is_for_now(error.kind()) => {}
            Err(_) => self.state = State::Over,
        }
        Need::Nothing
    }

    /// Begins to send a response. Without `with_body`, sends only its head.
    pub(super) fn respond(&mut self, response: &Response, with_body: bool) {
        self.state = State::Writing { bytes: response.to_bytes(with_body), sent: 0 };
        self.since = Instant::now();
        self.until = self.since + RESPONSE_TIME;
        self.write();
    }

    /// Begins to wait until a difference is due.
    pub(super) fn wait_for(&mut self, pending: Pending, now: Instant) {
        let due = now + Duration::from_secs(pending.seconds);
        self.until = due + RESPONSE_TIME;
        self.state = State::Waiting { pending, due };
    }

    /// Takes the difference that is being measured.
    pub(super) fn take_pending(&mut self) -> Option<Pending> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Waiting { pending, .. } => Some(pending),
            other => {
                self.state = other;
                None
            }
        }
    }

    fn write(&mut self) {
        let State::Writing { bytes, sent } = &mut self.state else { return };
        while *sent < bytes.len() {
            match self.stream.write(&bytes[*sent..]) {
                Ok(0) => break,
                Ok(length) => {
                    *sent += length;
                    self.since = Instant::now();
                }
                Err(error) if is_for_now(error.kind()) => return,
                Err(_) => break,
            }
        }
        self.state = State::Over;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.stream.shut_down();
    }
}

fn is_for_now(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
