//! HTTP client of `heapledger push`, without TLS.

use std::time::Duration;

use heapledger::text::escape::escaped;
use heapledger::text::units;
use ureq::Agent;
use ureq::http::Uri;

use crate::exit::{Failure, FailureKind};

/// Returns an HTTP client with a timeout for each request, in seconds.
pub fn agent(timeout_s: u64) -> Agent {
    let timeout = Duration::from_secs(timeout_s.max(1));
    // Redirects are not followed, because they would send credentials and profiles to another server.
    let config = Agent::config_builder().timeout_global(Some(timeout)).max_redirects(0);
    config
        .http_status_as_error(false)
        .user_agent(concat!("heapledger/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// Parses a URL with the scheme `http`. `what` names the URL in error messages.
pub fn http_uri(url: &str, what: &str) -> Result<Uri, Failure> {
    let shown = escaped(url);
    let uri: Uri = url.parse().map_err(|error| {
        Failure::new(FailureKind::Usage, format_args!("{what}: {shown} is no URL: {error}"))
            .hint("a URL is such as http://localhost:4040")
    })?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) if uri.query().is_none() || what != "--to" => Ok(uri),
        (Some("http"), Some(_)) => {
            Err(Failure::new(FailureKind::Usage, format_args!("{what}: {shown} has a query")))
        }
        (Some("https"), _) => Err(Failure::new(
            FailureKind::Usage,
            format_args!("{what}: {shown} needs TLS, which this command does not have"),
        )
        .hint("send to a collector that forwards profiles, such as Alloy's pyroscope.receive_http")),
        _ => Err(Failure::new(
            FailureKind::Usage,
            format_args!("{what}: {shown} is no URL of the scheme http"),
        )
        .hint("a URL is such as http://localhost:4040")),
    }
}

/// Returns the message for an error of the HTTP client.
pub fn said(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "there was no answer in time (--timeout)".to_owned(),
        ureq::Error::HostNotFound => "there is no host of this name".to_owned(),
        ureq::Error::BodyExceedsLimit(bytes) => format!("it is longer than {}", units::bytes(*bytes)),
        other => escaped(&other.to_string()),
    }
}
