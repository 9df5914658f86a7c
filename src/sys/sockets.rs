//! Sockets of the endpoint: listening, accepting, and waiting for many sockets at once. Only [`wait`] blocks, for a
//! bounded time.
//!
//! The descriptors have numbers that programs do not use (see `descriptors`). A listener is used only while the program
//! has not taken over its descriptor.

pub(crate) use os::{Listener, Stream, close_listener, remove_socket, wait};

/// The event of a socket for which [`wait`] waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Readable,
    Writable,
    /// Only the end of the connection by the peer.
    Nothing,
}

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod os {
    use std::ffi::CString;
    use std::io::{self, Read, Write};
    use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::Duration;

    use super::super::descriptors::{Identity, raised};
    use super::Interest;

    /// A socket that listens.
    #[derive(Debug)]
    pub(crate) struct Listener {
        kind: Kind,
        /// Identity of the socket behind the descriptor when the socket was made.
        identity: Option<Identity>,
    }

    #[derive(Debug)]
    enum Kind {
        Tcp(TcpListener),
        Unix(UnixListener),
    }

    impl Listener {
        pub(crate) fn tcp(at: SocketAddr) -> io::Result<Listener> {
            let listener = TcpListener::from(raised(TcpListener::bind(at)?.into()));
            listener.set_nonblocking(true)?;
            Ok(Listener { identity: Identity::of(listener.as_raw_fd()), kind: Kind::Tcp(listener) })
        }

        /// Listens at a socket file that only its owner can use. Replaces a socket file at which no process listens.
        pub(crate) fn unix(path: &str) -> io::Result<Listener> {
            if UnixStream::connect(path).is_ok() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            remove_socket(path);
            let listener = UnixListener::from(raised(bound_unix(path)?));
            listener.set_nonblocking(true)?;
            Ok(Listener { identity: Identity::of(listener.as_raw_fd()), kind: Kind::Unix(listener) })
        }

        /// Returns the address of a TCP listener with the port that the system chose; `None` for a socket file.
        pub(crate) fn local_address(&self) -> Option<SocketAddr> {
            match &self.kind {
                Kind::Tcp(listener) => listener.local_addr().ok(),
                Kind::Unix(_) => None,
            }
        }

        /// Returns a waiting connection, without blocking. The error kind `NotConnected` means that the program has
        /// closed the listener.
        pub(crate) fn accept(&self) -> io::Result<Stream> {
            if !self.identity.is_some_and(|identity| identity.is_behind(self.descriptor())) {
                return Err(io::ErrorKind::NotConnected.into());
            }
            match &self.kind {
                Kind::Tcp(listener) => {
                    let (stream, _) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok(Stream::Tcp(raised(stream.into()).into()))
                }
                Kind::Unix(listener) => {
                    let (stream, _) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok(Stream::Unix(raised(stream.into()).into()))
                }
            }
        }

        pub(crate) fn descriptor(&self) -> RawFd {
            match &self.kind {
                Kind::Tcp(listener) => listener.as_raw_fd(),
                Kind::Unix(listener) => listener.as_raw_fd(),
            }
        }

        /// Closes the socket, unless the program has reused the descriptor for another file.
        pub(crate) fn close(self) {
            if !self.identity.is_some_and(|identity| identity.is_behind(self.descriptor())) {
                std::mem::forget(self);
            }
        }
    }

    /// Closes the descriptor of a listener in a forked child, unless the program has reused it for another file.
    pub(crate) fn close_listener(descriptor: RawFd) {
        let mut listens: libc::c_int = 0;
        let mut length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the result has the length passed; the descriptor is this process's copy of the parent's.
        unsafe {
            let asked = libc::getsockopt(
                descriptor,
                libc::SOL_SOCKET,
                libc::SO_ACCEPTCONN,
                (&raw mut listens).cast(),
                &mut length,
            );
            if asked == 0 && listens == 1 {
                libc::close(descriptor);
            }
        }
    }

    /// Removes the socket file at a path.
    pub(crate) fn remove_socket(path: &str) {
        use std::os::unix::fs::FileTypeExt;
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket());
        if is_socket {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Makes a socket that listens at a file. The file has mode 0600 from the moment of its creation.
    fn bound_unix(path: &str) -> io::Result<OwnedFd> {
        let name = CString::new(path).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: a zeroed address is valid. The name is copied into it only if it fits with its zero byte. The
        // descriptor has an owner at once.
        unsafe {
            let mut address: libc::sockaddr_un = std::mem::zeroed();
            let bytes = name.as_bytes_with_nul();
            if bytes.len() > address.sun_path.len() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path has more than 107 bytes"));
            }
            address.sun_family = libc::AF_UNIX as libc::sa_family_t;
            for (to, byte) in address.sun_path.iter_mut().zip(bytes) {
                *to = *byte as libc::c_char;
            }
            let socket = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
            if socket < 0 {
                return Err(io::Error::last_os_error());
            }
            let socket = OwnedFd::from_raw_fd(socket);
            let descriptor = socket.as_raw_fd();
            let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
            // The file gets the mode of the socket.
            if libc::fchmod(descriptor, 0o600) != 0
                || libc::bind(descriptor, (&raw const address).cast(), length) != 0
                || libc::listen(descriptor, 16) != 0
            {
                return Err(io::Error::last_os_error());
            }
            Ok(socket)
        }
    }

    /// A connection.
    #[derive(Debug)]
    pub(crate) enum Stream {
        Tcp(TcpStream),
        Unix(UnixStream),
    }

    impl Stream {
        pub(crate) fn descriptor(&self) -> RawFd {
            match self {
                Stream::Tcp(stream) => stream.as_raw_fd(),
                Stream::Unix(stream) => stream.as_raw_fd(),
            }
        }

        pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self {
                Stream::Tcp(stream) => stream.read(into),
                Stream::Unix(stream) => stream.read(into),
            }
        }

        pub(crate) fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            match self {
                Stream::Tcp(stream) => stream.write(from),
                Stream::Unix(stream) => stream.write(from),
            }
        }

        /// Ends the connection, even if a forked child has a copy of the descriptor.
        pub(crate) fn shut_down(&self) {
            // Fails if the connection has already ended.
            let _ = match self {
                Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
                Stream::Unix(stream) => stream.shutdown(Shutdown::Both),
            };
        }
    }

    /// Waits until one of the sockets is ready or the time has passed. Returns for each socket whether it is ready.
    pub(crate) fn wait(sockets: &[(RawFd, Interest)], at_most: Duration) -> Vec<bool> {
        let events = |interest| match interest {
            Interest::Readable => libc::POLLIN,
            Interest::Writable => libc::POLLOUT,
            Interest::Nothing => 0,
        };
        let mut polled: Vec<libc::pollfd> = sockets
            .iter()
            .map(|(fd, interest)| libc::pollfd { fd: *fd, events: events(*interest), revents: 0 })
            .collect();
        let timeout = i32::try_from(at_most.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the length passed is the length of the array.
        let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout) };
        polled.iter().map(|socket| ready > 0 && socket.revents != 0).collect()
    }
}

/// The implementation for other systems, with std only: without socket files, and with a wait that sleeps and reports
/// each socket as ready.
#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod os {
    use std::io::{self, Read, Write};
    use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    use super::Interest;

    #[derive(Debug)]
    pub(crate) struct Listener(TcpListener);

    impl Listener {
        pub(crate) fn tcp(at: SocketAddr) -> io::Result<Listener> {
            let listener = TcpListener::bind(at)?;
            listener.set_nonblocking(true)?;
            Ok(Listener(listener))
        }

        pub(crate) fn unix(_path: &str) -> io::Result<Listener> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(crate) fn local_address(&self) -> Option<SocketAddr> {
            self.0.local_addr().ok()
        }

        pub(crate) fn accept(&self) -> io::Result<Stream> {
            let (stream, _) = self.0.accept()?;
            stream.set_nonblocking(true)?;
            Ok(Stream(stream))
        }

        pub(crate) fn descriptor(&self) -> i32 {
            0
        }

        pub(crate) fn close(self) {}
    }

    pub(crate) fn close_listener(_descriptor: i32) {}

    pub(crate) fn remove_socket(_path: &str) {}

    #[derive(Debug)]
    pub(crate) struct Stream(TcpStream);

    impl Stream {
        pub(crate) fn descriptor(&self) -> i32 {
            0
        }

        pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0.read(into)
        }

        pub(crate) fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            self.0.write(from)
        }

        pub(crate) fn shut_down(&self) {
            let _ = self.0.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn wait(sockets: &[(i32, Interest)], at_most: Duration) -> Vec<bool> {
        std::thread::sleep(at_most.min(Duration::from_millis(20)));
        sockets.iter().map(|(_, interest)| *interest != Interest::Nothing).collect()
    }
}
