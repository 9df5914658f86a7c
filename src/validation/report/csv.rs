//! One row per run, for spreadsheets and plots. What is undefined is empty.

use std::fmt::Write;

use super::super::result::ConcurrentTestResult;
use super::runs::load_in_words;

const HEADINGS: &str = "load,users,tracker,seed,window_s,requests,answered,failed,timed_out,rejected,interrupted,dropped,wrong,\
requests_per_second,offered_per_second,mean_ms,p50_ms,p90_ms,p99_ms,p999_ms,max_ms,service_p99_ms,co_gap,co_exposure,cpu_ms_per_answer,\
efficiency_percent,contention,lock,cpu,coherency,pool,backlog,observed,aggregated,lost,completeness,oracle_error,events_per_second,\
throughput_loss,valid";

fn figure(value: Option<f64>) -> String {
    value.map_or_else(String::new, |v| v.to_string())
}

fn row(text: &mut String, r: &ConcurrentTestResult, tracker: &str) {
    let counts = [
        r.total_requests,
        r.successful_requests,
        r.failed_requests,
        r.timeout_requests,
        r.rejected_requests,
        r.interrupted_requests,
        r.dropped_arrivals as usize,
        r.check_failures,
    ];
    let (c, t) = (r.contention, r.completeness.as_ref());
    let figures = [
        Some(r.requests_per_second),
        r.offered_rate,
        r.response.mean_ms,
        r.response.p50_ms,
        r.response.p90_ms,
        r.response.p99_ms,
        r.response.p999_ms,
        r.response.max_ms,
        r.service.p99_ms,
        r.co_gap,
        r.co_exposure,
        r.breakdown.as_ref().and_then(|b| b.on_cpu_ms),
        r.scalability_efficiency,
        c.map(|c| c.total),
        c.and_then(|c| c.lock),
        c.and_then(|c| c.cpu),
        c.and_then(|c| c.coherency),
        c.map(|c| c.pool),
        c.map(|c| c.backlog),
        t.map(|t| t.observed as f64),
        t.map(|t| t.aggregated as f64),
        t.map(|t| t.dropped.total() as f64),
        t.and_then(|t| t.completeness),
        t.and_then(|t| t.oracle_error).map(|e| e as f64),
        t.and_then(|t| t.events_per_s),
        r.tracker_overhead.map(|o| o.throughput_loss),
    ];
    let _ =
        write!(text, "{},{},{tracker},{},{}", load_in_words(&r.load), r.concurrent_users, r.seed, r.window_s);
    for count in counts {
        let _ = write!(text, ",{count}");
    }
    for value in figures {
        let _ = write!(text, ",{}", figure(value));
    }
    let _ = writeln!(text, ",{}", r.valid);
}

/// The runs with the tracker, or with none to be had, then those without it.
pub(super) fn runs_csv<'a>(
    runs: impl Iterator<Item = &'a ConcurrentTestResult>,
    without: &[ConcurrentTestResult],
) -> String {
    let mut text = format!("{HEADINGS}\n");
    for r in runs {
        row(&mut text, r, if r.completeness.is_some() { "on" } else { "none" });
    }
    without.iter().for_each(|r| row(&mut text, r, "off"));
    text
}
