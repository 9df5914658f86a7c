//! One simulated user.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use super::super::config::Metering;
use super::super::deadlock::enter;
use super::super::meter::{Meter, Parts};
use super::super::pool::{ConnectionHandle, PoolError};
use super::super::random::UserRng;
use super::super::sync::lock;
use super::super::workload::{UserId, Workload};
use super::row::{Fate, Sample};
use super::run::Run;

/// Interval at which an inactive user of a staged load checks whether it is active.
const STAGED_POLL: Duration = Duration::from_millis(10);

/// A user's state during a run.
struct Seat<S> {
    user: usize,
    session: S,
    rng: UserRng,
    meter: Meter,
    seq: u64,
}

impl<W: Workload> Run<W> {
    /// Runs a user from its session to the end of the run. A panic of the workload ends the user and is recorded.
    pub(super) async fn live(self: Arc<Self>, user: usize) {
        let mut life = pin!(Arc::clone(&self).work(user));
        let ended = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| life.as_mut().poll(cx))) {
            Ok(poll) => poll.map(|()| true),
            Err(_) => Poll::Ready(false),
        });
        if !ended.await {
            self.book_panic(user);
            self.leave(user);
        }
    }

    async fn work(self: Arc<Self>, user: usize) {
        let session = match self.workload.open_session(UserId(user)).await {
            Ok(session) => session,
            Err(e) => {
                lock(&self.failed_session).get_or_insert((user, e.to_string()));
                self.changed.notify_one();
                return;
            }
        };
        let meter = Meter::new(Arc::clone(&self.users[user].probe), self.clock.clone());
        let rng = UserRng::new(self.config.seed, user, self.config.popularity);
        let mut seat = Seat { user, session, rng, meter, seq: 0 };
        self.ready.fetch_add(1, Relaxed);
        self.changed.notify_one();
        if let Ok(permit) = self.gate.acquire().await {
            permit.forget();
        }
        if self.arrivals.is_some() {
            self.serve_arrivals(&mut seat).await;
        } else {
            self.ask_in_a_loop(&mut seat).await;
        }
        self.leave(user);
        // Dropping the session frees memory, so it must happen after the tracker's last snapshot.
        let _ = self.exit.acquire().await;
        drop(seat);
    }

    fn leave(&self, user: usize) {
        if !self.users[user].done.swap(true, Relaxed) {
            self.finished.fetch_add(1, Relaxed);
        }
        self.changed.notify_one();
    }

    fn book_panic(&self, user: usize) {
        let u = &self.users[user];
        u.actor.request_since.store(0, Relaxed);
        let mut row = lock(&u.row);
        row.panicked = true;
        row.expected_events = None;
        row.executed += 1;
        let intended = std::mem::take(&mut row.under_way);
        if intended != 0 && !self.closed.load(Relaxed) {
            if let Some(queue) = &self.arrivals {
                queue.finished_one();
            }
            if self.in_window(intended - 1) {
                row.started += 1;
                row.failed += 1;
            }
        }
    }

    async fn serve_arrivals(&self, seat: &mut Seat<W::Session>) {
        let Some(queue) = &self.arrivals else { return };
        loop {
            let worker_free_ns = self.clock.now_ns();
            let Some(intended_ns) = queue.take().await else { return };
            if self.is_cut_short() {
                // The coordinator counts this request as interrupted.
                self.begin(seat.user, intended_ns);
                return;
            }
            self.one_request(seat, Some((intended_ns, worker_free_ns))).await;
            queue.finished_one();
        }
    }

    async fn ask_in_a_loop(&self, seat: &mut Seat<W::Session>) {
        let ramp = self.config.ramp_up_duration.as_nanos() as u64;
        let first = ramp / self.users.len() as u64 * seat.user as u64;
        tokio::time::sleep_until(self.clock.at(first)).await;
        loop {
            let now_ns = self.clock.now_ns();
            if self.is_over(now_ns) {
                return;
            }
            if self.load.users_at(now_ns) <= seat.user {
                tokio::time::sleep(STAGED_POLL).await;
                continue;
            }
            self.one_request(seat, None).await;
            let pause = seat.rng.pause(self.config.think);
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Executes one request. `due` has the intended start of the request, and the time from which this worker was free.
    /// In a closed loop `due` is `None`, and a request is due when it is sent.
    async fn one_request(&self, seat: &mut Seat<W::Session>, due: Option<(u64, u64)>) {
        let Seat { user, session, rng, meter, seq } = seat;
        let request = self.workload.next_request(session, rng, *seq);
        let started_ns = self.clock.now_ns();
        let (intended_ns, worker_free_ns) = due.unwrap_or((started_ns, started_ns));
        self.begin(*user, intended_ns);
        let metering = self.config.cpu_metering;
        let read_clocks = match metering {
            Metering::EveryPoll => true,
            Metering::OneIn(k) => seq.is_multiple_of(u64::from(k.max(1))),
            Metering::Off => false,
        };
        *seq += 1;
        let actor = &self.users[*user].actor;
        let mut acquire = pin!(self.connection());
        let connection = poll_fn(|cx| {
            let _entered = enter(actor);
            acquire.as_mut().poll(cx)
        })
        .await;
        let served_ns = self.clock.now_ns();
        let mut sample = Sample {
            intended_ns,
            worker_free_ns,
            started_ns,
            ended_ns: served_ns,
            pool_wait_ns: served_ns - started_ns,
            fate: Fate::Rejected,
            metered: read_clocks || metering == Metering::Off,
            parts: Parts::default(),
        };
        let Ok(mut connection) = connection else {
            self.record(*user, &sample, Some(0));
            return;
        };
        // The workload is called inside the first poll, so that its work before it returns a future is measured too.
        let execute = async { self.workload.execute(session, connection.first(), &request).await };
        let limited = with_limit(self.config.request_timeout, execute);
        let (outcome, parts) = meter.run(limited, read_clocks, || enter(actor)).await;
        sample.ended_ns = self.clock.now_ns();
        sample.parts = parts;
        drop(connection);
        sample.fate = match &outcome {
            Some(Ok(outcome)) => Fate::Answered { right: self.workload.check(&request, outcome) },
            Some(Err(_)) => Fate::Failed,
            None => Fate::TimedOut,
        };
        // A request without an answer may have caused any number of allocations.
        let events = if sample.is_answered() { self.workload.expected_alloc_events(&request) } else { None };
        self.record(*user, &sample, events);
    }

    async fn connection(&self) -> Result<Connections<W::Conn>, PoolError> {
        match (&self.pool, self.workload.connections_per_request()) {
            (None, _) | (_, 0) => Ok(Connections::None),
            (Some(pool), 1) => pool.acquire().await.map(Connections::One),
            (Some(pool), n) => pool.acquire_many(n).await.map(Connections::Many),
        }
    }
}

/// The connections of a request. Only a request with several connections allocates a list.
enum Connections<C> {
    None,
    One(ConnectionHandle<C>),
    Many(Vec<ConnectionHandle<C>>),
}

impl<C> Connections<C> {
    fn first(&mut self) -> Option<&mut C> {
        match self {
            Self::None => None,
            Self::One(handle) => Some(handle),
            Self::Many(handles) => handles.first_mut().map(|h| &mut **h),
        }
    }
}

/// Returns the output of `future`, or `None` if the future takes longer than `limit`.
async fn with_limit<F: Future>(limit: Option<Duration>, future: F) -> Option<F::Output> {
    match limit {
        None => Some(future.await),
        Some(limit) => tokio::time::timeout(limit, future).await.ok(),
    }
}
