//! A response of the endpoint.

/// A response of the endpoint, which a program can also send from its HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// Status code, such as 200.
    pub status: u16,
    /// Value of the header `Content-Type`.
    pub content_type: &'static str,
    /// Further headers, each with its value.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    pub(crate) fn new(content_type: &'static str, body: impl Into<Vec<u8>>) -> Response {
        Response { status: 200, content_type, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn text(body: impl Into<Vec<u8>>) -> Response {
        Response::new("text/plain; charset=utf-8", body)
    }

    /// Returns a response that refuses the request. The body gives the reason and the remedy.
    pub(crate) fn refusal(status: u16, why: &str) -> Response {
        Response { status, ..Response::text(format!("{why}\n")) }
    }

    pub(crate) fn with(mut self, header: &'static str, value: impl Into<String>) -> Response {
        self.headers.push((header, value.into()));
        self
    }

    /// Returns the response in the format of HTTP/1.1. The connection ends after this response.
    pub(crate) fn to_bytes(&self, with_body: bool) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            413 => "Content Too Large",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            _ => "Error",
        };
        let mut head = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\
             X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n",
            self.status,
            self.content_type,
            self.body.len()
        );
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        if with_body {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}
