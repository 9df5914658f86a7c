//! Pool sizes from queueing theory.
//!
//! A pool of m connections with random arrivals is a queue with m servers. Erlang's C formula gives the probability of
//! a wait from the offered load a = arrival rate × mean hold time (A. K. Erlang 1917; in the recursive form of Cooper,
//! *Introduction to Queueing Theory*, which never overflows). The formula assumes Poisson arrivals and exponential hold
//! times. Real arrivals and hold times only resemble them, so the resulting size is a starting point for a measurement.
//!
//! Requests that hold several connections at once can deadlock a pool. With T users that each need C connections, the
//! pool needs at least T·(C−1)+1 connections (the rule in HikariCP's documentation about pool locking).

/// Returns the probability that an arrival has to wait for one of `servers`, with an offered load of `load` erlangs.
/// `None` if the load is negative, not finite, or at least `servers`; in the last case the queue would grow without
/// end.
///
/// # Examples
/// ```
/// use heapledger::validation::erlang_c;
/// // Four connections, 3.2 in use on average.
/// assert!((erlang_c(4, 3.2).unwrap() - 0.5964).abs() < 1e-4);
/// assert_eq!(erlang_c(4, 4.0), None);
/// ```
pub fn erlang_c(servers: usize, load: f64) -> Option<f64> {
    if servers == 0 || !(load.is_finite() && load >= 0.0) || load >= servers as f64 {
        return None;
    }
    let blocked = (1..=servers).fold(1.0, |b, k| load * b / (k as f64 + load * b));
    let share = load / servers as f64;
    Some(blocked / (1.0 - share + share * blocked))
}

/// Returns the mean wait of all arrivals, in the unit of `mean_hold`. Arrivals without a wait count as 0. Returns
/// `None` under the same conditions as [`erlang_c`].
pub fn erlang_c_mean_wait(servers: usize, load: f64, mean_hold: f64) -> Option<f64> {
    Some(erlang_c(servers, load)? * mean_hold / (servers as f64 - load))
}

/// Returns the smallest pool size, up to 10,000, whose mean wait does not exceed `target_wait`; `None` if no such size
/// is large enough.
pub fn smallest_pool(load: f64, mean_hold: f64, target_wait: f64) -> Option<usize> {
    (1..=10_000).find(|&m| erlang_c_mean_wait(m, load, mean_hold).is_some_and(|w| w <= target_wait))
}

/// Returns the smallest pool size with which `users` requests cannot deadlock, if each request holds up to
/// `per_request` connections.
pub const fn smallest_unlockable(users: usize, per_request: usize) -> usize {
    users * per_request.saturating_sub(1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_waits_as_often_as_it_is_busy() {
        assert!((erlang_c(1, 0.7).unwrap() - 0.7).abs() < 1e-12);
        assert!((erlang_c_mean_wait(1, 0.5, 2.0).unwrap() - 2.0).abs() < 1e-12);
    }

    #[test]
    fn the_planted_queue_waits_74_55_seconds() {
        assert!((erlang_c_mean_wait(4, 3.2, 100.0).unwrap() - 74.55).abs() < 0.01);
    }

    #[test]
    fn sizes_follow_from_the_target() {
        let m = smallest_pool(3.2, 100.0, 10.0).unwrap();
        assert!(erlang_c_mean_wait(m, 3.2, 100.0).unwrap() <= 10.0);
        assert!(erlang_c_mean_wait(m - 1, 3.2, 100.0).unwrap() > 10.0);
        assert_eq!(smallest_pool(f64::INFINITY, 1.0, 1.0), None);
        assert_eq!(smallest_unlockable(8, 2), 9);
        assert_eq!(smallest_unlockable(8, 1), 1);
    }
}
