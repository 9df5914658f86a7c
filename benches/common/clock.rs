//! Processor time, by which the benches measure the cost of a recorder. On a busy machine it varies less than elapsed
//! time.

/// Returns the processor time of all threads of the process, in nanoseconds.
#[cfg(unix)]
pub fn process_cpu_ns() -> u64 {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Returns the processor time of the calling thread, in nanoseconds.
#[cfg(unix)]
pub fn thread_cpu_ns() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

#[cfg(unix)]
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes.
    let outcome = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(outcome, 0, "the system has no such clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Returns the time since the first call, in nanoseconds. Reading the processor time of this system would need further
/// dependencies.
#[cfg(not(unix))]
pub fn process_cpu_ns() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64
}

/// Returns elapsed time, for the same reason as [`process_cpu_ns`].
#[cfg(not(unix))]
pub fn thread_cpu_ns() -> u64 {
    process_cpu_ns()
}
