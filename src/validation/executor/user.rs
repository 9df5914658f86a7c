//! One simulated user.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use super::super::config::Metering;
use super::super::deadlock::enter;
use super::super::meter::{Meter, Parts};
use super::super::pool::ConnectionHandle;
use super::super::workload::{UserId, UserRng, Workload};
use super::Run;
use super::record::{Fate, Sample};

/// How often a user of a staged load looks whether it is wanted.
const STAGED_LOOK: Duration = Duration::from_millis(10);

impl<W: Workload> Run<W> {
    /// The whole life of a user. A panic of the workload ends the user, and is booked.
    pub(super) async fn live(self: Arc<Self>, user: usize) {
        let life = {
            let mut life = pin!(Arc::clone(&self).work(user));
            poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| life.as_mut().poll(cx))) {
                Ok(Poll::Ready(())) => Poll::Ready(true),
                Ok(Poll::Pending) => Poll::Pending,
                Err(_) => Poll::Ready(false),
            })
            .await
        };
        if !life {
            self.book_panic(user);
            self.leave(user);
        }
    }

    async fn work(self: Arc<Self>, user: usize) {
        let mut session = match self.workload.open_session(UserId(user)).await {
            Ok(session) => session,
            Err(e) => {
                let mut failed = self.failed_session.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert((user, e.to_string()));
                drop(failed);
                self.changed.notify_one();
                return;
            }
        };
        let probe = Arc::clone(&self.users[user].probe);
        let mut meter = Meter::new(probe, self.clock.clone());
        let mut rng = UserRng::new(self.config.seed, user, self.config.popularity);
        self.ready.fetch_add(1, Relaxed);
        self.changed.notify_one();
        if let Ok(permit) = self.gate.acquire().await {
            permit.forget();
        }
        if self.arrivals.is_some() {
            self.serve_arrivals(user, &mut session, &mut rng, &mut meter).await;
        } else {
            self.ask_in_a_loop(user, &mut session, &mut rng, &mut meter).await;
        }
        self.leave(user);
        // The session is kept until everything has been counted: dropping it would free memory inside the account.
        let _ = self.exit.acquire().await;
        drop(session);
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
        let mut row = u.row.lock().unwrap_or_else(PoisonError::into_inner);
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

    async fn serve_arrivals(
        &self,
        user: usize,
        session: &mut W::Session,
        rng: &mut UserRng,
        meter: &mut Meter,
    ) {
        let Some(queue) = &self.arrivals else { return };
        let mut seq = 0;
        loop {
            let worker_free_ns = self.clock.now_ns();
            let Some(intended_ns) = queue.take().await else { return };
            if self.is_cut_short() {
                // The coordinator counts it as interrupted.
                self.begin(user, intended_ns);
                return;
            }
            self.one_request(user, session, rng, meter, seq, (intended_ns, worker_free_ns)).await;
            queue.finished_one();
            seq += 1;
        }
    }

    async fn ask_in_a_loop(
        &self,
        user: usize,
        session: &mut W::Session,
        rng: &mut UserRng,
        meter: &mut Meter,
    ) {
        let ramp = self.config.ramp_up_duration.as_nanos() as u64;
        let first = ramp / self.users.len() as u64 * user as u64;
        tokio::time::sleep_until(self.clock.at(first)).await;
        let mut seq = 0;
        loop {
            let now_ns = self.clock.now_ns();
            if self.is_over(now_ns) {
                return;
            }
            if self.load.users_at(now_ns) <= user {
                tokio::time::sleep(STAGED_LOOK).await;
                continue;
            }
            self.one_request(user, session, rng, meter, seq, (now_ns, now_ns)).await;
            seq += 1;
            let pause = rng.pause(self.config.think);
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    }

    async fn one_request(
        &self,
        user: usize,
        session: &mut W::Session,
        rng: &mut UserRng,
        meter: &mut Meter,
        seq: u64,
        (intended_ns, worker_free_ns): (u64, u64),
    ) {
        let request = self.workload.next_request(session, rng, seq);
        let started_ns = self.clock.now_ns();
        // In a closed loop nothing can be late: the request is due when it is sent.
        let (intended_ns, worker_free_ns) =
            if self.load.is_open() { (intended_ns, worker_free_ns) } else { (started_ns, started_ns) };
        self.begin(user, intended_ns);
        let metered = match self.config.cpu_metering {
            Metering::EveryPoll => true,
            Metering::OneIn(k) => seq.is_multiple_of(u64::from(k.max(1))),
            Metering::Off => false,
        };
        let actor = &self.users[user].actor;
        let connection = {
            let mut acquire = pin!(self.connection());
            poll_fn(|cx| {
                let _here = enter(actor);
                acquire.as_mut().poll(cx)
            })
            .await
        };
        let served_ns = self.clock.now_ns();
        let pool_wait_ns = served_ns - started_ns;
        let mut sample = Sample {
            intended_ns,
            worker_free_ns,
            started_ns,
            ended_ns: served_ns,
            pool_wait_ns,
            fate: Fate::Rejected,
            metered: metered || self.config.cpu_metering == Metering::Off,
            parts: Parts::default(),
        };
        let Ok(mut connection) = connection else {
            self.record(user, &sample, Some(0));
            return;
        };
        // Called inside the first poll: a plain function may do its work before it returns a future, and that is the
        // request's time too.
        let execute = async { self.workload.execute(session, connection.first(), &request).await };
        let (outcome, parts) =
            meter.run(with_limit(self.config.request_timeout, execute), metered, || enter(actor)).await;
        sample.ended_ns = self.clock.now_ns();
        sample.parts = parts;
        drop(connection);
        let mut events = self.workload.expected_alloc_events(&request);
        sample.fate = match &outcome {
            Some(Ok(outcome)) => Fate::Answered { right: self.workload.check(&request, outcome) },
            Some(Err(_)) => Fate::Failed,
            None => Fate::TimedOut,
        };
        if !matches!(sample.fate, Fate::Answered { .. }) {
            // Nobody knows how far it got.
            events = None;
        }
        self.record(user, &sample, events);
    }

    async fn connection(&self) -> Result<Connections<W::Conn>, super::super::pool::PoolError> {
        let Some(pool) = &self.pool else { return Ok(Connections::None) };
        match self.workload.connections_per_request() {
            0 => Ok(Connections::None),
            1 => pool.acquire().await.map(Connections::One),
            n => pool.acquire_many(n).await.map(Connections::Many),
        }
    }
}

/// What a request got from the pool. Only a request that holds several pays for a list.
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

/// The output, or `None` when it took longer than the limit.
async fn with_limit<F: Future>(limit: Option<Duration>, future: F) -> Option<F::Output> {
    match limit {
        None => Some(future.await),
        Some(limit) => tokio::time::timeout(limit, future).await.ok(),
    }
}
