//! Where the endpoint listens: a loopback address, or a socket file of its user's own. A public address has to be asked for
//! in words.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Where the endpoint listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp {
        at: SocketAddr,
        /// Whether other machines may ask. Then every name of this machine is accepted.
        is_public: bool,
    },
    /// Path of a socket file.
    Unix(String),
}

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AddressError {
    Unreadable,
    /// Other machines could ask, and the address does not say so in words.
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

    /// Whether a request may name this host. A page in a browser can have its own name lead to this machine; its requests
    /// then name that host.
    pub(crate) fn accepts(&self, host: Option<&str>) -> bool {
        let Address::Tcp { is_public: false, .. } = self else { return true };
        // A request of HTTP/1.0 has none; browsers always send one.
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
