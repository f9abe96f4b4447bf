//! What a listener is: its address, and what it expects of those who connect.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::listener::Listener;

/// Mode of the file of a Unix socket, unless [`Listen::mode`] says otherwise: its owner and its group may connect.
const DEFAULT_MODE: u32 = 0o660;

/// One listener of a [`Server`](super::Server): an address, or a socket that listens already.
///
/// ```
/// use switchboard::apps::Echo;
/// use switchboard::net::{Listen, Options, Server};
///
/// let socket = std::env::temp_dir().join(format!("echo-{}.sock", std::process::id()));
/// let options = Options::listen_on(vec![
///     Listen::tcp(([127, 0, 0, 1], 0).into()),
///     Listen::unix(&socket).mode(0o600),
/// ]);
/// let server = Server::bind(options, Echo)?;
/// assert_eq!(server.local_addrs()?.len(), 1, "of TCP");
/// assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Listen {
    pub(super) at: At,
    pub(super) speaks: Speaks,
    pub(super) shares_port: bool,
}

/// Where a listener is.
#[derive(Debug, Clone)]
pub(super) enum At {
    Tcp(SocketAddr),
    /// All addresses of the machine, of both families.
    Any(u16),
    Unix {
        path: PathBuf,
        mode: u32,
    },
    /// A socket that somebody else made. Options are cloned, the socket is not.
    Existing(Arc<OwnedFd>),
}

/// What comes first on each connection of a listener.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Speaks {
    /// The header of the PROXY protocol, before everything else.
    pub(super) proxy_protocol: bool,
    /// TLS.
    pub(super) tls: bool,
}

impl Listen {
    /// A TCP address; port 0 lets the kernel choose. An IPv6 address that is unspecified takes IPv4 connections too, unless another
    /// listener has the same port for IPv4.
    #[must_use]
    pub fn tcp(address: SocketAddr) -> Self {
        Self::new(At::Tcp(address))
    }

    /// A port of all addresses of the machine, IPv6 and IPv4, or IPv4 alone where there is no IPv6.
    #[must_use]
    pub fn any(port: u16) -> Self {
        Self::new(At::Any(port))
    }

    /// A listener for each address of a name such as `localhost` that this machine has. With port 0 there is one, for the first of them.
    /// The lookup of the name blocks.
    ///
    /// # Errors
    /// The name has no address, or none of this machine.
    pub fn named(name: &str, port: u16) -> io::Result<Vec<Self>> {
        let unknown = |why: String| io::Error::new(io::ErrorKind::AddrNotAvailable, why);
        let found: Vec<SocketAddr> = if name.eq_ignore_ascii_case("localhost") {
            // RFC 6761 6.3: both, whatever the file of hosts says.
            vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
        } else {
            let found = (name, port).to_socket_addrs();
            found.map_err(|error| unknown(format!("the name {name} has no address: {error}")))?.collect()
        };
        let mut own: Vec<SocketAddr> = Vec::new();
        for address in found {
            if !own.contains(&address) && is_own(address) {
                own.push(address);
            }
        }
        if own.is_empty() {
            return Err(unknown(format!("no address of the name {name} is one of this machine")));
        }
        if port == 0 {
            own.truncate(1);
        }
        Ok(own.into_iter().map(Self::tcp).collect())
    }

    /// A Unix socket. On Linux a path that begins with `@` is a name in the abstract namespace instead, which is no file.
    ///
    /// The file is made when the server binds, and removed at its end. A file that an earlier server left there is removed first, unless
    /// somebody listens on it; any other file is an error.
    ///
    /// A process that may connect to the file counts as a trusted proxy (see [`Self::mode`]): it has no address, so it speaks for
    /// others. An abstract name has no mode, and its peers are not trusted.
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Self::new(At::Unix { path: path.as_ref().to_owned(), mode: DEFAULT_MODE })
    }

    /// A socket that listens already, TCP or Unix: from a service manager, or from a process that this one replaces. A file of a Unix
    /// socket is left where it is.
    ///
    /// ```
    /// use switchboard::apps::Echo;
    /// use switchboard::net::{Listen, Options, Server};
    ///
    /// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let address = socket.local_addr()?;
    /// let server = Server::bind(Options::listen_on(vec![Listen::existing(socket)]), Echo)?;
    /// assert_eq!(server.local_addrs()?, [address]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn existing(socket: impl Into<OwnedFd>) -> Self {
        Self::new(At::Existing(Arc::new(socket.into())))
    }

    fn new(at: At) -> Self {
        Self { at, speaks: Speaks::default(), shares_port: false }
    }

    /// The mode of the file of a Unix socket, 0o660 unless given. It says who may connect. Nothing else has a mode.
    #[must_use]
    pub fn mode(mut self, bits: u32) -> Self {
        if let At::Unix { mode, .. } = &mut self.at {
            *mode = bits;
        }
        self
    }

    /// Connections speak TLS.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.speaks.tls = true;
        self
    }

    /// Connections begin with a header of the PROXY protocol, version 1 or 2, which says for whom the proxy connects. A
    /// connection without one is closed. With [`Self::tls`] the header comes before TLS.
    #[must_use]
    pub fn proxy_protocol(mut self) -> Self {
        self.speaks.proxy_protocol = true;
        self
    }

    /// Other servers of the same user may listen on the same port, each with this option (`SO_REUSEPORT`). The kernel deals new
    /// connections out to them. For TCP alone.
    ///
    /// ```
    /// use switchboard::apps::Echo;
    /// use switchboard::net::{Listen, Options, Server};
    ///
    /// let first = Listen::tcp(([127, 0, 0, 1], 0).into()).reuse_port();
    /// let first = Server::bind(Options::listen_on(vec![first]), Echo)?;
    /// let address = first.local_addrs()?[0];
    /// let second = Server::bind(Options::listen_on(vec![Listen::tcp(address).reuse_port()]), Echo)?;
    /// assert_eq!(second.local_addrs()?, [address]);
    /// assert!(Server::bind(Options::listen(address), Echo).is_err(), "without the option the port is taken");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn reuse_port(mut self) -> Self {
        self.shares_port = true;
        self
    }

    /// Whether connections speak TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.speaks.tls
    }

    /// The port; `None` of a Unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match &self.at {
            At::Tcp(address) => Some(address.port()),
            At::Any(port) => Some(*port),
            At::Unix { .. } => None,
            At::Existing(socket) => Address::of(socket).ok()?.tcp().map(|address| address.port()),
        }
    }

    /// Whether connections begin with a header of the PROXY protocol.
    #[must_use]
    pub fn is_proxy_protocol(&self) -> bool {
        self.speaks.proxy_protocol
    }

    /// Whether it is a loopback address of TCP, which the pages in a browser of this machine can reach.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let address = match &self.at {
            At::Tcp(address) => Some(*address),
            At::Existing(socket) => Address::of(socket).ok().and_then(|address| address.tcp()),
            At::Any(_) | At::Unix { .. } => None,
        };
        address.is_some_and(|address| address.ip().is_loopback())
    }

    /// Whether nobody else listens there, and this process may. It binds the address for a moment. Of a Unix socket nothing is
    /// tried.
    ///
    /// # Errors
    /// Those of the system.
    pub fn check_free(&self) -> io::Result<()> {
        Listener::check_free(self, false)
    }

    /// Whether the kernel deals connections out to several listeners at the same address.
    pub(super) fn is_balanced(&self) -> bool {
        let is_tcp = matches!(self.at, At::Tcp(_) | At::Any(_));
        is_tcp && cfg!(any(target_os = "linux", target_os = "android"))
    }

    /// The same listener at another address.
    pub(super) fn at_address(&self, address: SocketAddr) -> Self {
        Self { at: At::Tcp(address), ..self.clone() }
    }

    /// The port, if the listener is one of IPv6.
    pub(super) fn v6_port(&self) -> Option<u16> {
        match self.at {
            At::Tcp(SocketAddr::V6(address)) => Some(address.port()),
            At::Any(port) => Some(port),
            _ => None,
        }
    }

    /// Whether it is a listener of IPv4 on this port.
    pub(super) fn takes_v4(&self, port: u16) -> bool {
        matches!(self.at, At::Tcp(SocketAddr::V4(address)) if address.port() == port)
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::tcp(address)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Tcp(address) => write!(f, "{address}"),
            At::Any(port) => write!(f, ":{port}"),
            At::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            At::Existing(socket) => match Address::of(socket) {
                Ok(address) => write!(f, "{address}"),
                Err(_) => f.write_str("a descriptor that is no socket"),
            },
        }
    }
}

/// Where a bound listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// An address of TCP.
    Tcp(SocketAddr),
    /// The path of a Unix socket; a name in the abstract namespace begins with `@`. Empty where the socket has no name.
    Unix(PathBuf),
}

impl Address {
    /// Where a socket is.
    pub(super) fn of(socket: &OwnedFd) -> io::Result<Self> {
        use std::os::unix::ffi::OsStrExt as _;
        let address = socket2::SockRef::from(socket).local_addr()?;
        if let Some(address) = address.as_socket() {
            return Ok(Self::Tcp(address));
        }
        if !address.is_unix() {
            return Err(io::Error::other("this socket is neither TCP nor Unix"));
        }
        if let Some(name) = address.as_abstract_namespace() {
            return Ok(Self::Unix(PathBuf::from(OsStr::from_bytes(&[b"@", name].concat()))));
        }
        Ok(Self::Unix(address.as_pathname().unwrap_or(Path::new("")).to_owned()))
    }

    /// The address of TCP.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        if let Self::Tcp(address) = self { Some(*address) } else { None }
    }

    /// Whether it is a Unix socket to which the mode of a file admits.
    pub(super) fn has_file(&self) -> bool {
        matches!(self, Self::Unix(path) if !path.as_os_str().is_empty() && !is_abstract(path))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Whether this machine has the address: `localhost` is `::1` as well only where there is IPv6.
fn is_own(address: SocketAddr) -> bool {
    let probe = TcpListener::bind((address.ip(), 0));
    !probe.is_err_and(|error| {
        matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
            || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
    })
}

/// Whether a path of a Unix socket is a name in the abstract namespace.
pub(super) fn is_abstract(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes().first() == Some(&b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_shows_itself_as_it_is_written() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        for (listen, shown, is_loopback) in [
            (Listen::tcp(([10, 0, 0, 1], 80).into()), "10.0.0.1:80".to_owned(), false),
            (Listen::tcp("[::1]:80".parse().unwrap()), "[::1]:80".to_owned(), true),
            (Listen::any(80), ":80".to_owned(), false),
            (Listen::unix("/run/a.sock"), "unix:/run/a.sock".to_owned(), false),
            (Listen::existing(socket), address.to_string(), true),
        ] {
            assert_eq!((listen.to_string(), listen.is_loopback()), (shown, is_loopback));
        }
    }

    #[test]
    fn a_name_has_the_addresses_of_this_machine() {
        let shown = |port| -> Vec<String> {
            Listen::named("localhost", port).unwrap().iter().map(ToString::to_string).collect()
        };
        assert!(shown(8080).contains(&"127.0.0.1:8080".to_owned()), "{:?}", shown(8080));
        assert!(Listen::named("localhost", 80).unwrap().iter().all(Listen::is_loopback));
        assert_eq!(shown(0).len(), 1);
        let other = Listen::named("192.0.2.1", 1).unwrap_err();
        assert!(other.to_string().contains("no address of the name"), "{other}");
    }
}
