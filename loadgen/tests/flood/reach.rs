//! Servers behind other doors than a TCP port: Unix domain sockets and the PROXY protocol; errors that say what to do.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use crate::support::{Answers, echo, loadgen, run, serve};

/// A socket that is gone when it is dropped.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("loadgen-{}-{name}.sock", std::process::id())))
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        // The server may never have made it.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_unix_domain_socket_is_flooded_as_a_port_is() {
    let path = SocketPath::new("echo");
    let listener = UnixListener::bind(&path.0).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            thread::spawn(move || serve(&Answers(|_, message, _: &mut Vec<_>| Some(vec![message])), stream));
        }
    });
    let url = format!("ws+unix:{}:/chat?room=1", path.0.display());
    let flood = run("echo", &url, "--connections 20 --messages 30 --pipeline 4 --connect-burst 8");
    assert_eq!((flood.status, flood.count("answered"), flood.count("closed")), (0, 600, 20), "{flood:?}");
    assert_eq!(flood.json["url"], url);
    let words = [&["echo", &url], &["--source-ip", "127.0.0.1"][..]].concat();
    assert_eq!(loadgen(&words).status.code(), Some(2));
    let missing = format!("ws+unix:{}", SocketPath::new("missing").0.display());
    let flood = run("echo", &missing, "--connections 2 --messages 1");
    assert_eq!(
        (flood.status, flood.failures("there is no such socket; start the server")),
        (1, 2),
        "{flood:?}"
    );
}

#[test]
fn a_proxy_header_names_the_addresses_of_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let sender = sender.clone();
            thread::spawn(move || {
                let mut header = [0; 28];
                stream.read_exact(&mut header).expect("a header");
                sender.send((header, stream.peer_addr().expect("a peer"))).expect("the test waits");
                serve(&Answers(|_, message, _: &mut Vec<_>| Some(vec![message])), stream);
            });
        }
    });
    let flood = echo(address, "--connections 3 --messages 4 --proxy-protocol --source-ip 127.0.0.5");
    assert_eq!((flood.status, flood.count("answered")), (0, 12), "{flood:?}");
    for (header, peer) in receiver.try_iter().collect::<Vec<_>>() {
        let SocketAddr::V4(peer) = peer else { unreachable!("{peer}") };
        assert_eq!(&header[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c");
        assert_eq!((&header[16..20], &header[20..24]), (&peer.ip().octets()[..], &[127, 0, 0, 1][..]));
        assert_eq!(header[24..26], peer.port().to_be_bytes());
        assert_eq!(header[26..28], address.port().to_be_bytes());
    }
}
