//! A listening socket that survives the want of descriptors without spinning.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::listen::{Address, At, Listen, Speaks, is_abstract};
use crate::app::Entrance;
use crate::proto::Millis;

/// Connections that the kernel keeps until they are accepted.
const LISTEN_BACKLOG: i32 = 4096;
/// First and longest wait after the kernel had no descriptor or memory for a connection.
const RETRY_MS: std::ops::RangeInclusive<Millis> = 50..=1000;
/// The same complaint is logged at most this often.
const LOG_EVERY_MS: Millis = 1000;
/// Who connects over a Unix socket has no address; this one stands for all of them.
const UNIX_PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) entrance: Entrance,
    /// What comes first on its connections.
    pub(super) speaks: Speaks,
    /// Its connections are dealt out to all loops by this one.
    pub(super) hands_over: bool,
    address: Address,
    /// `None` once it is closed. mio needs no more than the descriptor, so this is a Unix socket as well.
    socket: Option<TcpListener>,
    /// What is removed when it is closed.
    file: Option<SocketFile>,
    /// Connections may wait: `accept` has not said `WouldBlock` since the last event. Events are edge-triggered, so
    /// nothing but this remembers them.
    is_ready: bool,
    /// Not to be tried before.
    retry_at: Option<Millis>,
    backoff_ms: Millis,
    logged_at: Option<Millis>,
}

impl Listener {
    /// `only_v6`: an IPv6 address takes no IPv4 connections.
    pub(super) fn bind(
        listen: &Listen,
        only_v6: bool,
        entrance: Entrance,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let (socket, file) = match &listen.at {
            At::Tcp(address) => (bind_tcp(*address, only_v6, listen.shares_port)?, None),
            At::Any(port) => (bind_any(*port, only_v6, listen.shares_port)?, None),
            At::Unix { path, mode } => bind_unix(path, *mode)?,
            At::Existing(socket) => (take_over(socket)?, None),
        };
        let socket = OwnedFd::from(socket);
        let address = Address::of(&socket)?;
        let is_trusted = address.has_file();
        let mut listener = TcpListener::from_std(socket.into());
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Self {
            entrance: Entrance { is_trusted, is_introduced: listen.speaks.proxy_protocol, ..entrance },
            speaks: listen.speaks,
            hands_over: false,
            address,
            socket: Some(listener),
            file,
            is_ready: true,
            retry_at: None,
            backoff_ms: *RETRY_MS.start(),
            logged_at: None,
        })
    }

    /// Whether an address is free; with `SO_REUSEPORT` it would be shared with a server that has it already.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn check_free(listen: &Listen, only_v6: bool) -> io::Result<()> {
        match listen.at {
            At::Tcp(address) => drop(bind_socket(address, only_v6, false)?),
            At::Any(port) => drop(with_any(port, |address| bind_socket(address, only_v6, false))?),
            At::Unix { .. } | At::Existing(_) => {}
        }
        Ok(())
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Accepts no more: the kernel refuses who comes.
    pub(super) fn close(&mut self) {
        self.socket = None;
        self.file = None;
        self.is_ready = false;
    }

    pub(super) fn handle_ready(&mut self) {
        self.is_ready = self.socket.is_some();
    }

    /// Whether [`Self::accept`] may give a connection now.
    pub(super) fn is_ready(&self, now: Millis) -> bool {
        self.is_ready && self.retry_at.is_none_or(|at| at <= now)
    }

    pub(super) fn retry_at(&self) -> Option<Millis> {
        self.retry_at.filter(|_| self.is_ready)
    }

    /// The next connection, if one waits. Errors of a single connection are passed over; want of descriptors or
    /// memory pauses accepting for a while.
    pub(super) fn accept(&mut self, now: Millis) -> Option<(TcpStream, SocketAddr)> {
        if !self.is_ready(now) {
            return None;
        }
        let socket = self.socket.as_ref()?;
        match accept(socket) {
            Ok(accepted) => {
                self.retry_at = None;
                self.backoff_ms = *RETRY_MS.start();
                return Some(accepted);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_ready = false;
                self.retry_at = None;
            }
            // One connection that was reset before we came to it; the next one is tried in the next tick.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::Interrupted
                ) => {}
            // EMFILE, ENFILE, ENOBUFS, ENOMEM and whatever else the kernel may say: trying at once would spin.
            Err(error) => {
                self.retry_at = Some(now + self.backoff_ms);
                self.backoff_ms = (self.backoff_ms * 2).min(*RETRY_MS.end());
                if self.logged_at.is_none_or(|at| at + LOG_EVERY_MS <= now) {
                    self.logged_at = Some(now);
                    tracing::warn!(%error, "cannot accept connections; trying again in a moment");
                }
            }
        }
        None
    }
}

/// Accepts from a socket of either family. A connected descriptor is all that the loop needs of a stream, so a Unix socket goes on
/// as a `TcpStream` and nothing behind this line has a branch for it.
fn accept(socket: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    #[cfg(target_os = "linux")]
    let (stream, peer) = {
        use rustix::net::SocketFlags;
        rustix::net::acceptfrom_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?
    };
    #[cfg(not(target_os = "linux"))]
    let (stream, peer) = {
        let (stream, peer) = rustix::net::acceptfrom(socket)?;
        rustix::io::fcntl_setfd(&stream, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&stream, true)?;
        (stream, peer)
    };
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok()).unwrap_or(UNIX_PEER);
    Ok((TcpStream::from_std(stream.into()), peer))
}

fn bind_tcp(address: SocketAddr, only_v6: bool, shares_port: bool) -> io::Result<Socket> {
    let socket = bind_socket(address, only_v6, shares_port)?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket)
}

/// A socket with its address, which does not listen yet.
fn bind_socket(address: SocketAddr, only_v6: bool, shares_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // Whatever the system's default is.
        socket.set_only_v6(only_v6)?;
    }
    // RX-10: a restart must not wait for TIME_WAIT.
    socket.set_reuse_address(true)?;
    if shares_port {
        socket.set_reuse_port(true)?;
    }
    // Inherited by accepted sockets on Linux: one write per tick needs no help from Nagle.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Binds a port of all addresses: of IPv6, which takes IPv4 as well, or of IPv4 alone where there is no IPv6.
fn bind_any(port: u16, only_v6: bool, shares_port: bool) -> io::Result<Socket> {
    with_any(port, |address| bind_tcp(address, only_v6, shares_port))
}

/// Binds the address of IPv6 that stands for all, or that of IPv4 where there is no IPv6.
fn with_any(port: u16, bind: impl Fn(SocketAddr) -> io::Result<Socket>) -> io::Result<Socket> {
    bind((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| match Errno::from_io_error(&error) {
        Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => bind((Ipv4Addr::UNSPECIFIED, port).into()),
        _ => Err(error),
    })
}

/// A socket that somebody else made: it must listen already, and nothing of it changes but what the loop needs.
fn take_over(socket: &OwnedFd) -> io::Result<Socket> {
    let socket = Socket::from(socket.try_clone()?);
    if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this descriptor is no socket that listens"));
    }
    socket.set_nonblocking(true)?;
    if socket.domain()? != Domain::UNIX {
        socket.set_tcp_nodelay(true)?;
    }
    Ok(socket)
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<(Socket, Option<SocketFile>)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let file = if is_abstract(path) {
        socket.bind(&abstract_name(path)?)?;
        None
    } else {
        remove_stale(path)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = SocketFile::note(path)?;
        // Nobody can connect before `listen`, so the mode that the file was made with lets nobody in.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        Some(file)
    };
    socket.listen(LISTEN_BACKLOG)?;
    Ok((socket, file))
}

/// The address of a name in the abstract namespace, which begins with a NUL where people write `@`.
fn abstract_name(path: &Path) -> io::Result<SockAddr> {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux has abstract names"));
    }
    let mut name = path.as_os_str().as_bytes().to_vec();
    name[0] = 0;
    SockAddr::unix(PathBuf::from(std::ffi::OsString::from_vec(name)))
}

/// Removes a socket that a server left behind which did not end in order. Anything else that is there is an error.
fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        let error = "there is a file of this name that is no socket; remove it, or choose another path";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, error));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A server that is alive may have a full queue, and does not make us wait.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens on this socket")),
    }
}

/// The file of a Unix socket, removed at the end unless another server has put its own there meanwhile.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn note(path: &Path) -> io::Result<Self> {
        // The working directory may change before the end.
        let path = std::path::absolute(path)?;
        Ok(Self { id: Self::id(&path)?, path })
    }

    fn id(path: &Path) -> io::Result<(u64, u64)> {
        let metadata = fs::symlink_metadata(path)?;
        Ok((metadata.dev(), metadata.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if Self::id(&self.path).is_ok_and(|id| id == self.id)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the file of the socket is left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::{UnixListener, UnixStream};

    use mio::Poll;

    use super::*;

    fn bind(listen: &Listen) -> io::Result<Listener> {
        let poll = Poll::new()?;
        Listener::bind(listen, false, Entrance::default(), poll.registry(), Token(0))
    }

    /// A path that no other test has, in a directory that is removed with the value.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("switchboard-{}-{name}", std::process::id()));
            fs::create_dir(&directory).unwrap();
            Self(directory.join("s"))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(self.0.parent().unwrap()).unwrap();
        }
    }

    #[test]
    fn a_connection_of_a_unix_socket_is_one_like_any_other() {
        let place = Place::new("stream");
        let mut listener = bind(&Listen::unix(&place.0).mode(0o600)).unwrap();
        assert_eq!(listener.address().to_string(), format!("unix:{}", place.0.display()));
        assert!(listener.entrance.is_trusted);
        assert_eq!(fs::metadata(&place.0).unwrap().permissions().mode() & 0o777, 0o600);
        let mut client = UnixStream::connect(&place.0).unwrap();
        let (mut stream, peer) = listener.accept(0).unwrap();
        assert_eq!(peer, UNIX_PEER);
        client.write_all(b"there").unwrap();
        let mut octets = [0; 9];
        assert_eq!(stream.read(&mut octets).unwrap(), 5);
        assert_eq!(stream.read(&mut octets).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        stream.write_all(b"and back").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "and back");
        listener.close();
        assert!(!place.0.exists(), "removed with the listener");
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_replaced_and_nothing_else_is() {
        let place = Place::new("stale");
        drop(UnixListener::bind(&place.0).unwrap());
        assert!(place.0.exists(), "std leaves the file");
        let listener = bind(&Listen::unix(&place.0)).unwrap();
        assert_eq!(fs::metadata(&place.0).unwrap().permissions().mode() & 0o777, 0o660);
        let second = bind(&Listen::unix(&place.0)).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        assert!(UnixStream::connect(&place.0).is_ok(), "the first one is as it was");
        // Another server has taken the place: its socket stays.
        fs::remove_file(&place.0).unwrap();
        let successor = bind(&Listen::unix(&place.0)).unwrap();
        drop(listener);
        assert!(UnixStream::connect(&place.0).is_ok());
        drop(successor);
        assert!(!place.0.exists());
        fs::write(&place.0, "a file").unwrap();
        let file = bind(&Listen::unix(&place.0)).unwrap_err();
        assert_eq!(file.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&place.0).unwrap(), "a file");
        let long = place.0.with_file_name("x".repeat(120));
        assert_eq!(bind(&Listen::unix(long)).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let nowhere = place.0.join("below");
        assert!(bind(&Listen::unix(nowhere)).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_in_the_abstract_namespace_is_no_file_and_nobody_is_trusted_there() {
        use std::os::linux::net::SocketAddrExt as _;
        let name = format!("switchboard-{}", std::process::id());
        let mut listener = bind(&Listen::unix(format!("@{name}"))).unwrap();
        assert_eq!(listener.address().to_string(), format!("unix:@{name}"));
        assert!(!listener.entrance.is_trusted);
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let _client = UnixStream::connect_addr(&address).unwrap();
        assert!(listener.accept(0).is_some());
        assert_eq!(bind(&Listen::unix(format!("@{name}"))).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_socket_that_listens_is_taken_over_as_it_is() {
        let place = Place::new("existing");
        let unix = UnixListener::bind(&place.0).unwrap();
        let listen = Listen::existing(unix);
        for _ in 0..2 {
            let mut listener = bind(&listen).unwrap();
            assert!(listener.entrance.is_trusted);
            let _client = UnixStream::connect(&place.0).unwrap();
            assert!(listener.accept(0).is_some());
            assert!(listener.accept(0).is_none(), "it does not block");
        }
        assert!(place.0.exists(), "the file is somebody else's");
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let mut listener = bind(&Listen::existing(tcp)).unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let (stream, peer) = listener.accept(0).unwrap();
        assert_eq!((peer, stream.nodelay().unwrap()), (client.local_addr().unwrap(), true));
        for none in [
            Listen::existing(UnixStream::pair().unwrap().0),
            Listen::existing(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()),
            Listen::existing(OwnedFd::from(fs::File::open("/dev/null").unwrap())),
        ] {
            assert!(bind(&none).is_err(), "{none}");
        }
    }

    #[test]
    fn all_addresses_are_those_of_both_families() {
        let mut listener = bind(&Listen::any(0)).unwrap();
        let port = listener.address().tcp().unwrap().port();
        let _client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (_, peer) = listener.accept(0).unwrap();
        assert!(peer.ip().to_canonical().is_loopback());
        if listener.address().tcp().unwrap().is_ipv6()
            && bind_tcp((Ipv6Addr::LOCALHOST, 0).into(), true, false).is_ok()
        {
            let _client = std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
            assert!(listener.accept(0).is_some());
        }
    }
}
