//! The paths of the endpoint.

use std::time::{Duration, Instant};

use super::heap::Heap;
use super::request::{parameter, path};
use super::response::Response;
use super::{json, listing, metrics};
use crate::pprof::{self, Kind, encode, gzip};
use crate::profile::{LossReason, Profile, Site};
use crate::text::escape::escaped;

/// Maximum of the parameter `seconds`: the time over which a *difference*, the change of the figures between two
/// moments, is measured.
pub(crate) const DIFFERENCE_SECONDS_MAX: u64 = 600;
/// Time for which one profile of sites is used for further requests, so that a scraper of two paths costs one snapshot.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// Answers requests about one heap. Keeps the last profile of sites for a second.
pub(crate) struct Answers<'a> {
    heap: &'a dyn Heap,
    sites: Option<(Instant, Profile)>,
    dumped: Option<Instant>,
}

/// Result of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Now(Response),
    /// A difference. [`Answers::difference`] makes the response when the time of the difference has passed.
    Later(Pending),
}

/// A difference whose measurement has begun.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) seconds: u64,
    kind: Kind,
    before: Box<Profile>,
}

impl<'a> Answers<'a> {
    pub(crate) fn new(heap: &'a dyn Heap) -> Answers<'a> {
        Answers { heap, sites: None, dumped: None }
    }

    /// Answers one request.
    pub(crate) fn answer(&mut self, method: &str, target: &str, body: &[u8]) -> Answer {
        if !matches!(method, "GET" | "HEAD" | "POST") {
            return Answer::Now(Response::refusal(405, "only GET, HEAD and POST are answered"));
        }
        Answer::Now(match path(target) {
            "/debug/pprof/heap" => return self.pprof(target, Kind::Live),
            "/debug/pprof/allocs" => return self.pprof(target, Kind::Allocated),
            "/" | "/debug/pprof" | "/debug/pprof/" => Response::text(INDEX),
            "/debug/pprof/cmdline" => Response::text(self.heap.command_line().join(&0)),
            "/debug/pprof/symbol" => {
                let query = target.split_once('?').map_or("", |(_, query)| query);
                self.symbols(if method == "POST" { body } else { query.as_bytes() })
            }
            "/metrics" => {
                let with_scopes = parameter(target, "scopes").is_some_and(|value| value != "0");
                match self.heap.figures(with_scopes) {
                    Some(figures) => {
                        Response::new(metrics::CONTENT_TYPE, metrics::metrics(&figures, with_scopes))
                    }
                    None => Answers::none(),
                }
            }
            "/heapledger/live.json" => match self.heap.live() {
                Some(live) => Response::new("application/json", json::json(&live)),
                None => Answers::none(),
            },
            "/heapledger/dump" => self.dump(),
            _ => Response::refusal(404, "no such path; / lists those that there are"),
        })
    }

    /// Answers a request for names of functions, in the format of Go's handler. The request is a list of addresses such
    /// as `0x1+0x2`. The first line of the answer is a number, which is 0 only if no names are looked up. Then follows
    /// a line for each address that has a name.
    fn symbols(&self, asked: &[u8]) -> Response {
        let address = |text: &str| u64::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok();
        let asked = String::from_utf8_lossy(asked);
        let addresses: Vec<u64> = asked.split('+').filter_map(address).collect();
        let Some(names) = self.heap.names(&addresses) else { return Response::text("num_symbols: 0\n") };
        let mut text = "num_symbols: 1\n".to_owned();
        for (address, name) in addresses.iter().zip(names).filter(|(_, name)| !name.is_empty()) {
            text += &format!("{address:#x} {}\n", escaped(&name));
        }
        Response::text(text)
    }

    /// Returns the answer of a process that records nothing.
    pub(crate) fn none() -> Response {
        Response::refusal(
            503,
            "nothing was recorded: make a HeapLedger the global allocator, and do not set HEAPLEDGER=off",
        )
    }

    /// Drops the profile of sites once it is too old to serve another request.
    pub(crate) fn forget(&mut self) {
        self.sites.take_if(|(made, _)| made.elapsed() >= SHARED_FOR);
    }

    fn dump(&mut self) -> Response {
        if self.dumped.is_some_and(|dumped| dumped.elapsed() < SHARED_FOR) {
            return Response::refusal(429, "one dump a second is written").with("Retry-After", "1");
        }
        let Some(bytes) = self.heap.dump() else { return Answers::none() };
        self.dumped = Some(Instant::now());
        Response::new("application/octet-stream", bytes)
            .with("Content-Disposition", "attachment; filename=\"heapledger.hl\"")
    }

    fn sites(&mut self) -> Option<&Profile> {
        self.forget();
        if self.sites.is_none() {
            self.sites = Some((Instant::now(), self.heap.sites()?));
        }
        self.sites.as_ref().map(|(_, profile)| profile)
    }

    fn pprof(&mut self, target: &str, kind: Kind) -> Answer {
        let is_text = parameter(target, "debug").is_some_and(|value| value != "0");
        let seconds = match parameter(target, "seconds").map(str::parse::<u64>) {
            None | Some(Ok(0)) => 0,
            Some(Ok(seconds @ 1..=DIFFERENCE_SECONDS_MAX)) => seconds,
            Some(_) => {
                return Answer::Now(Response::refusal(400, "seconds takes a whole number up to 600"));
            }
        };
        if seconds > 0 {
            // A difference begins now, so it cannot use a profile that was made for an earlier request.
            return match self.heap.sites() {
                Some(before) => Answer::Later(Pending { seconds, kind, before: Box::new(before) }),
                None => Answer::Now(Answers::none()),
            };
        }
        let heap = self.heap;
        let Some(profile) = self.sites() else { return Answer::Now(Answers::none()) };
        Answer::Now(if is_text { text(profile, kind) } else { message(heap, profile, None, kind) })
    }

    /// Makes the response of a difference whose time has passed.
    pub(crate) fn difference(&mut self, pending: &Pending) -> Response {
        match self.heap.sites() {
            Some(now) => message(self.heap, &now, Some(&pending.before), pending.kind),
            None => Answers::none(),
        }
    }
}

fn text(profile: &Profile, kind: Kind) -> Response {
    Response::text(match kind {
        Kind::Live => listing::listing(profile, "Sites by live bytes", Site::live_bytes),
        Kind::Allocated => listing::listing(profile, "Sites by allocated bytes", |site| site.total_bytes),
    })
}

fn message(heap: &dyn Heap, profile: &Profile, before: Option<&Profile>, kind: Kind) -> Response {
    let comments = comments(profile, before.is_some());
    let message = pprof::of(profile, &heap.code(), before, kind, &comments);
    Response::new("application/octet-stream", gzip(&encode(&message)))
}

/// Returns the comments of a pprof message, one line each: the program, the counters that tell how complete the figures
/// are, and for a difference the meaning of its values.
fn comments(profile: &Profile, is_difference: bool) -> Vec<String> {
    let quality = &profile.quality;
    let mut lines = vec![
        format!("heapledger {} of {}", env!("CARGO_PKG_VERSION"), escaped(&profile.process.program)),
        format!("completeness {}", quality.current_completeness),
        format!("attempted {}", quality.attempted),
        format!("recorded {}", quality.recorded),
        format!("in_flight {}", quality.in_flight),
        format!("sampled_out {}", quality.sampled_out),
        format!("anomalies {}", quality.anomalies.total()),
    ];
    let lost = LossReason::ALL.into_iter().filter(|reason| quality.lost.get(*reason) > 0);
    lines.extend(lost.map(|reason| format!("lost_{} {}", reason.name(), quality.lost.get(reason))));
    if is_difference {
        lines.push("values are the change between two moments; completeness is of the whole run".to_owned());
    }
    lines
}

const INDEX: &str = "\
heapledger

/debug/pprof/heap          what is live, for go tool pprof; ?debug=1 as text, ?seconds=N what changes in N seconds
/debug/pprof/allocs        what was allocated; the same parameters
/debug/pprof/cmdline       arguments of the process
/metrics                   counters for Prometheus; ?scopes=1 also by scope
/heapledger/live.json      the live page, which heapledger top shows
/heapledger/dump           a whole dump, for heapledger report
";
