//! Parses the head of a request. No part of the head is trusted.

use super::response::Response;

/// Maximum length of a request's head, in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 8 << 10;
/// Maximum length of a request's body, in bytes: a list of addresses.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 10;

/// A request whose head has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Value of the header `Host`; `None` without the header.
    pub(crate) host: Option<String>,
    /// Length of the head, including the empty line at its end, in bytes.
    pub(crate) head_bytes: usize,
    /// Length of the body, in bytes.
    pub(crate) body_bytes: usize,
}

/// Returns the request at the start of `bytes`, or `None` if its head is not complete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Request>, Response> {
    let head_bytes =
        bytes.windows(4).take(HEAD_BYTES_MAX).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
    let Some(head_bytes) = head_bytes else {
        let is_long = bytes.len() >= HEAD_BYTES_MAX;
        return if is_long {
            Err(Response::refusal(431, "the head of the request has more than 8 KiB"))
        } else {
            early(bytes)
        };
    };
    let head = std::str::from_utf8(&bytes[..head_bytes]).map_err(|_| bad())?;
    let mut lines = head.trim_end().split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target, version) = (first.next(), first.next(), first.next());
    let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
        (method, target, version, first.next())
    else {
        return Err(bad());
    };
    if !target.starts_with('/') || target.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(bad());
    }
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        host: None,
        head_bytes,
        body_bytes: 0,
    };
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(bad)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("host") {
            // A request with two hosts is refused, because servers and proxies disagree about its meaning.
            if request.host.replace(value.to_owned()).is_some() {
                return Err(bad());
            }
        } else if name.eq_ignore_ascii_case("content-length") {
            request.body_bytes = value.parse().map_err(|_| bad())?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Response::refusal(400, "a body needs the header Content-Length"));
        }
    }
    if request.body_bytes > BODY_BYTES_MAX {
        return Err(Response::refusal(413, "the body of the request has more than 64 KiB"));
    }
    Ok(Some(request))
}

/// Refuses bytes as soon as they cannot become a request.
fn early(bytes: &[u8]) -> Result<Option<Request>, Response> {
    let methods: [&[u8]; 3] = [b"GET ", b"HEAD ", b"POST "];
    let may_become = methods.iter().any(|method| {
        let length = method.len().min(bytes.len());
        bytes[..length] == method[..length]
    });
    if may_become { Ok(None) } else { Err(Response::refusal(405, "only GET, HEAD and POST are answered")) }
}

fn bad() -> Response {
    Response::refusal(400, "this is no request of HTTP/1.1")
}

/// Returns the value of a parameter in the query of a request's target.
pub(crate) fn parameter<'a>(target: &'a str, name: &str) -> Option<&'a str> {
    let (_, query) = target.split_once('?')?;
    query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

/// Returns the path in a request's target.
pub(crate) fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}
