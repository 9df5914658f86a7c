//! Load on the user's HTTP service, at a loopback address of this machine.

use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;

use heapledger::validation::{Answers, Outcome, SyncWorkload, UserId, UserRng, checksum_of};

/// Text in the address or the body that is replaced by the query.
const QUERY: &str = "{}";
/// Whether a byte of a query is written to a URL unchanged: an unreserved character of RFC 3986.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Workload that sends requests to a service. Each user keeps one connection open.
pub struct HttpWorkload {
    name: String,
    url: String,
    body: Option<String>,
    queries: Vec<String>,
    answers: Answers,
    limit: Option<Duration>,
}

impl HttpWorkload {
    pub fn new(url: &str, body: Option<&str>, queries: Vec<String>, limit: Option<Duration>) -> Self {
        let queries = if queries.is_empty() { vec![String::new()] } else { queries };
        let (url, body) = (url.to_owned(), body.map(str::to_owned));
        let method = if body.is_some() { "POST" } else { "GET" };
        let answers = Answers::unchecked();
        Self { name: format!("service: {method} {url}"), url, body, queries, answers, limit }
    }

    /// Makes an answer wrong if it differs from the first answer to the same query.
    pub fn same_answers(mut self) -> Self {
        self.answers = Answers::checked(self.queries.len());
        self
    }
}

/// Checks that `text` is a URL with the scheme `http` that leads to this machine.
pub fn loopback_url(text: &str) -> Result<String, String> {
    let uri: ureq::http::Uri =
        text.replace(QUERY, "0").parse().map_err(|error| format!("{text:?} is no address: {error}"))?;
    if uri.scheme_str() != Some("http") {
        return Err(format!("{text:?} does not begin with http://"));
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    if is_here {
        Ok(text.to_owned())
    } else {
        Err(format!("{host} is not this machine: load goes to localhost, 127.0.0.1 or [::1] only"))
    }
}

fn encoded(query: &str) -> String {
    let byte = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    query.bytes().map(byte).collect()
}

impl SyncWorkload for HttpWorkload {
    type Session = ureq::Agent;
    /// Index of the query.
    type Request = usize;
    type Error = ureq::Error;

    fn name(&self) -> &str {
        &self.name
    }

    fn open_session(&self, _: UserId) -> Result<ureq::Agent, ureq::Error> {
        let config = ureq::Agent::config_builder().proxy(None).max_redirects(0).timeout_global(self.limit);
        Ok(config.build().into())
    }

    fn next_request(&self, _: &mut ureq::Agent, rng: &mut UserRng, _: u64) -> usize {
        rng.pick(self.queries.len())
    }

    fn execute(&self, agent: &mut ureq::Agent, query: &usize) -> Result<Outcome, ureq::Error> {
        let query = &self.queries[*query];
        let url = self.url.replace(QUERY, &encoded(query));
        let mut response = match &self.body {
            Some(body) => agent.post(&url).send(body.replace(QUERY, query))?,
            None => agent.get(&url).call()?,
        };
        // The answer is read to its end, so that the connection can be used again.
        let mut answer = Vec::new();
        response.body_mut().as_reader().read_to_end(&mut answer).map_err(ureq::Error::from)?;
        Ok(Outcome { items: 1, checksum: checksum_of(&answer) })
    }

    fn check(&self, query: &usize, outcome: &Outcome) -> bool {
        self.answers.agree(*query, outcome.checksum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_goes_to_this_machine_only() {
        for here in [
            "http://127.0.0.1:8080/search?q={}",
            "http://localhost/",
            "http://[::1]:9/{}",
            "http://127.3.2.1",
        ] {
            assert_eq!(loopback_url(here).as_deref(), Ok(here));
        }
        for (elsewhere, said) in [
            ("http://example.com/", "not this machine"),
            ("http://localhost.example.com/", "not this machine"),
            ("http://10.0.0.1/", "not this machine"),
            ("http://user@example.com/", "not this machine"),
            ("https://localhost/", "does not begin with http://"),
            ("localhost:80", "does not begin with http://"),
            ("http://", "no address"),
        ] {
            let error = loopback_url(elsewhere).unwrap_err();
            assert!(error.contains(said), "{elsewhere}: {error}");
        }
    }

    #[test]
    fn a_query_cannot_change_the_rest_of_an_address() {
        assert_eq!(encoded("a b&c=#/é"), "a%20b%26c%3D%23%2F%C3%A9");
    }
}
