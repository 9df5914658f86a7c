//! Address of the endpoint: a loopback address, or a socket file that only its user may open. An address that other
//! machines can reach needs the prefix `public:`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Address at which the endpoint listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp {
        at: SocketAddr,
        /// Whether other machines may send requests. If so, the header `Host` of a request may name any host.
        is_public: bool,
    },
    /// Path of a socket file.
    Unix(String),
}

/// Reason why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AddressError {
    Unreadable,
    /// Other machines could reach the address, but it has no prefix `public:`.
    Public(SocketAddr),
}

impl Address {
    /// Parses `127.0.0.1:9123`, `[::1]:9123`, `localhost:9123`, `:9123` or `9123` (loopback), `unix:PATH`, and
    /// `public:0.0.0.0:9123`.
    pub(crate) fn parse(text: &str) -> Result<Address, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(AddressError::Unreadable)
            } else {
                Ok(Address::Unix(path.to_owned()))
            };
        }
        let (text, is_public) = match text.strip_prefix("public:") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let loopback = |port: &str| Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?)));
        let short = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
        let at = text.parse().ok().or_else(|| loopback(short)).ok_or(AddressError::Unreadable)?;
        if !is_public && !is_loopback(at.ip()) {
            return Err(AddressError::Public(at));
        }
        Ok(Address::Tcp { at, is_public })
    }

    /// Whether a request with this header `Host` is accepted. A web page can let its host name resolve to this machine
    /// (DNS rebinding). Requests of the page then name that host, and are refused.
    pub(crate) fn accepts(&self, host: Option<&str>) -> bool {
        let Address::Tcp { is_public: false, .. } = self else { return true };
        // HTTP/1.0 does not require the header. Browsers always send it.
        let Some(host) = host else { return true };
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port),
            _ => (host, ""),
        };
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let is_local = name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback);
        is_local && port.bytes().all(|byte| byte.is_ascii_digit())
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.is_loopback()
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressError::Unreadable => {
                f.write_str("it takes 127.0.0.1:PORT, unix:PATH, or public:ADDRESS:PORT")
            }
            AddressError::Public(at) => write!(
                f,
                "other machines could read what the program allocates; public:{at} says that they may"
            ),
        }
    }
}
