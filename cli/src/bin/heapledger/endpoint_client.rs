//! HTTP client for the endpoint of a recorded program: one request at a time, with limits on time and length.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Timeout for connecting, and for each read and write.
const PATIENCE: Duration = Duration::from_secs(5);
/// Maximum length of an answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Address of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Tcp(String),
    Unix(String),
}

impl Endpoint {
    /// Parses `http://HOST:PORT/…` or `unix:PATH`; returns `None` for any other text.
    pub fn parse(text: &str) -> Option<Endpoint> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Some(Endpoint { host: "localhost".to_owned(), place: Place::Unix(path.to_owned()) });
        }
        let host = text.strip_prefix("http://")?.split('/').next().filter(|host| !host.is_empty())?;
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port { host.to_owned() } else { format!("{host}:80") };
        Some(Endpoint { host: host.to_owned(), place: Place::Tcp(address) })
    }

    /// Requests the path `target`, and returns the body of the answer. Any status but 200 is an error.
    pub fn get(&self, target: &str) -> io::Result<Vec<u8>> {
        match &self.place {
            Place::Tcp(address) => {
                let at = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
                let stream = TcpStream::connect_timeout(&at, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                self.exchange(stream, target)
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                self.exchange(stream, target)
            }
        }
    }

    fn exchange(&self, mut stream: impl Read + Write, target: &str) -> io::Result<Vec<u8>> {
        // The request is written at once, because a server may answer and close after the first part.
        stream.write_all(format!("GET {target} HTTP/1.0\r\nHost: {}\r\n\r\n", self.host).as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|end| end == b"\r\n\r\n");
        let Some(end) = end.filter(|_| answer.starts_with(b"HTTP/1.")) else {
            return Err(io::Error::other("the answer is none of HTTP"));
        };
        let status = std::str::from_utf8(&answer[9..answer.len().min(12)]).unwrap_or("?").to_owned();
        let body = answer.split_off(end + 4);
        if status == "200" {
            return Ok(body);
        }
        let said = String::from_utf8_lossy(&body);
        Err(io::Error::other(format!("it answers {status}: {}", said.lines().next().unwrap_or_default())))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_are_those_of_endpoints() {
        let of = |text: &str| Endpoint::parse(text).map(|endpoint| endpoint.place);
        assert_eq!(of("http://[::1]:9123/x"), Some(Place::Tcp("[::1]:9123".to_owned())));
        assert_eq!(of("http://localhost"), Some(Place::Tcp("localhost:80".to_owned())));
        assert_eq!(of("unix:/run/a"), Some(Place::Unix("/run/a".to_owned())));
        assert_eq!([of("1234"), of("/a/b.box"), of("http:///")], [None, None, None]);
    }

    #[test]
    fn an_answer_is_its_body_and_a_refusal_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let server = std::thread::spawn(move || {
            for answer in ["HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", "HTTP/1.1 503 No\r\n\r\nnothing\n", "x"] {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 200]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        assert_eq!(endpoint.get("/").unwrap(), b"body");
        assert_eq!(endpoint.get("/").unwrap_err().to_string(), "it answers 503: nothing");
        assert!(endpoint.get("/").unwrap_err().to_string().contains("none of HTTP"));
        server.join().unwrap();
    }
}
