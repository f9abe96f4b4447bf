//! Where a server listens: Unix sockets, names, all addresses, sockets of a service manager, and what is said to such a manager.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ops::run_with;
use crate::support::tls::Identity;
use crate::support::{Client, FIN, Launch, SOON, Scratch, TEXT, frame, upgrade_request, wait_until};

/// A path for a socket, in a directory that goes with the file beside it.
fn path_beside(scratch: &Scratch) -> String {
    Path::new(scratch.path()).with_file_name("s.sock").to_str().unwrap().to_owned()
}

/// Sends a message over a Unix socket and gets it back.
#[track_caller]
fn echoes(path: &str) {
    let mut client = Client::of_unix(UnixStream::connect(path).expect("connect"));
    client.send(upgrade_request("/", "").as_bytes());
    assert_eq!(client.head().status, 101);
    client.send(&frame(FIN | TEXT, b"there and back"));
    assert_eq!(client.frame().payload, b"there and back");
}

#[test]
fn a_unix_socket_serves_like_a_port_and_is_gone_at_the_end() {
    let scratch = Scratch::new("x", b"");
    let path = path_beside(&scratch);
    let listen = format!("unix:{path}");
    let args = ["--listen", &listen, "--unix-mode", "0600"];
    let mut server = Launch::echo().args(&args).start();
    server.wait_for_log(&format!("Server running at unix:{path}"));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    echoes(&path);
    let (code, _, said) = run_with(&["echo", "--listen", &listen], &[], "");
    assert!(code == 2 && said.contains(&path) && said.contains("another server listens"), "{said}");
    echoes(&path);
    server.signal("TERM");
    assert!(server.wait(SOON).success());
    assert!(!Path::new(&path).exists(), "the file is left behind");
    // One that is killed leaves its file, and the next one takes its place.
    let mut server = Launch::echo().args(&args).start();
    server.signal("KILL");
    server.wait(SOON);
    assert!(Path::new(&path).exists());
    let _server = Launch::echo().args(&["--listen", &listen]).start();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    echoes(&path);
}

#[test]
fn a_file_that_is_no_socket_is_never_touched() {
    let scratch = Scratch::new("precious", b"words");
    let (code, _, said) = run_with(&["echo", "--listen", &format!("unix:{}", scratch.path())], &[], "");
    assert!(code == 2 && said.contains("is no socket"), "{said}");
    assert_eq!(std::fs::read(scratch.path()).unwrap(), b"words");
}

#[test]
fn what_is_no_place_to_listen_is_answered_with_an_example() {
    for (value, hint) in [
        ("8080", "localhost:PORT"),
        ("localhost", "the port is missing"),
        ("localhost:http", "no number"),
        ("::1:8080", "in brackets"),
        ("http://localhost:8080", "neither an address"),
        ("no-such-name.invalid:8080", "no-such-name.invalid"),
    ] {
        for command in ["serve", "echo"] {
            let args = [command, "--listen", value];
            let args =
                if command == "serve" { [&args[..], &["--ephemeral"]].concat() } else { args.to_vec() };
            let (code, _, said) = run_with(&args, &[], "");
            assert!(code == 2 && said.contains(hint) && said.contains("--listen"), "{value}: {said}");
        }
    }
    let (code, _, said) = run_with(&["echo", "--trusted-proxy", "proxy.example"], &[], "");
    assert!(code == 2 && said.contains("--trusted-proxy") && said.contains("10.0.0.0/8"), "{said}");
}

fn has_v6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// A port that is free in both families now.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn a_name_and_a_port_alone_are_addresses_of_both_families() {
    let port = free_port();
    for listen in [format!("localhost:{port}"), format!(":{port}"), format!("*:{port}")] {
        let mut server = Launch::switchboard(&["echo", "--listen", &listen]).start();
        let mut hosts = vec![TcpStream::connect((Ipv4Addr::LOCALHOST, port))];
        if has_v6() {
            hosts.push(TcpStream::connect((Ipv6Addr::LOCALHOST, port)));
        }
        for stream in hosts {
            let mut client = Client::over(stream.unwrap_or_else(|error| panic!("{listen}: {error}")));
            client.send(upgrade_request("/", "").as_bytes());
            assert_eq!(client.head().status, 101);
        }
        server.signal("TERM");
        assert!(server.wait(SOON).success());
    }
}

#[test]
fn the_port_of_a_platform_is_one_of_all_addresses() {
    let port = free_port().to_string();
    let server = Launch::switchboard(&["--ephemeral"]).env("PORT", &port).start();
    assert!(server.wait_for_log("PORT is set").contains("all addresses"));
    // No page gets in by DNS rebinding where any host is answered: that is for loopback addresses alone.
    let request = "GET / HTTP/1.1\r\nHost: chat.example\r\n\r\n";
    assert_eq!(crate::support::head_of(server.addr, request.as_bytes()).1.unwrap().status, 200);
    drop(server);
    // The setting is no variable of a platform, and a listener of one's own takes precedence.
    let server = Launch::switchboard(&["--ephemeral"]).env("SWITCHBOARD_PORT", &port).start();
    assert_eq!(crate::support::head_of(server.addr, request.as_bytes()).1.unwrap().status, 421);
    assert!(!server.log().iter().any(|line| line.contains("PORT is set")));
    drop(server);
    let server = Launch::serve().env("PORT", &port).start();
    assert_ne!(server.port().to_string(), port);
}

/// Starts a server as a service manager does that has opened these sockets (at most two).
fn activated(args: &[&str], sockets: Vec<OwnedFd>, names: &str) -> Launch {
    let count = sockets.len();
    let move_second = if count == 2 { "4<&1" } else { "" };
    let script = format!(
        "exec 3<&0 {move_second} 0</dev/null 1>&2; export LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names}; exec \"$@\""
    );
    Launch::switchboard(args).with_descriptors_of(&script, sockets)
}

#[test]
fn sockets_of_a_service_manager_are_served() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let scratch = Scratch::new("x", b"");
    let path = path_beside(&scratch);
    let unix = UnixListener::bind(&path).unwrap();
    // A client that came before the server.
    let mut early = Client::connect(address);
    early.send(upgrade_request("/", "").as_bytes());
    let mut server = activated(&["echo"], vec![tcp.into(), unix.into()], "web:web").start();
    assert_eq!(server.addr.port(), address.port());
    assert_eq!(early.head().status, 101);
    echoes(&path);
    server.wait_for_log("Server running at unix:");
    let lines = server.log().iter().filter(|line| line.contains("Server running at")).count();
    assert_eq!(lines, 2, "no default beside them: {:?}", server.log());
    drop(early);
    server.signal("TERM");
    assert!(server.wait(SOON).success());
    assert!(Path::new(&path).exists(), "the file belongs to the manager");
}

#[test]
fn a_socket_named_internal_is_the_operators() {
    let internal = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = internal.local_addr().unwrap();
    let args = ["echo", "--listen", "127.0.0.1:0"];
    let server = activated(&args, vec![internal.into()], "internal").start();
    server.wait_for_log("Metrics and health at");
    assert_eq!(crate::ops::get(address, "/healthz"), (200, "ok\n".into()));
    assert_eq!(crate::ops::get(server.addr, "/healthz").0, 426);
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let server = Launch::echo().env("LISTEN_PID", "1").env("LISTEN_FDS", "1").start();
    assert_eq!(crate::ops::get(server.addr, "/healthz").0, 200);
}

#[test]
fn systemd_socket_activate_starts_a_server_with_its_socket() {
    let port = free_port();
    let activate = PathBuf::from("/usr/bin/systemd-socket-activate");
    if !activate.exists() {
        eprintln!("systemd-socket-activate is missing: apt-get install systemd");
        return;
    }
    let child = Command::new(activate)
        .args(["-l", &format!("127.0.0.1:{port}"), "--fdname=web", env!("CARGO_BIN_EXE_switchboard"), "echo"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    let mut child = KillOnDrop(child.unwrap());
    let address = (Ipv4Addr::LOCALHOST, port).into();
    wait_until(SOON, "it listens", || TcpStream::connect(address).is_ok());
    // The first connection started the server, and was closed before it could be accepted.
    let (mut client, _) = Client::upgrade(address, "/", "");
    client.send(&frame(FIN | TEXT, b"activated"));
    assert_eq!(client.frame().payload, b"activated");
    assert!(child.0.try_wait().unwrap().is_none());
}

struct KillOnDrop(std::process::Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_service_manager_is_told_how_the_server_is() {
    let scratch = Scratch::new("x", b"");
    let path = path_beside(&scratch);
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let word = || {
        let mut octets = [0; 100];
        let len = manager.recv(&mut octets).expect("a word");
        String::from_utf8_lossy(&octets[..len]).into_owned()
    };
    let launch = Launch::serve().env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let mut server = launch.start();
    assert_eq!(word(), "READY=1");
    for _ in 0..3 {
        assert_eq!(word(), "WATCHDOG=1");
    }
    server.signal("TERM");
    loop {
        match word().as_str() {
            "WATCHDOG=1" => {}
            other => break assert_eq!(other, "STOPPING=1"),
        }
    }
    assert!(server.wait(SOON).success());
    // A loop that stands still says nothing, so the manager notices.
    let server = Launch::echo().env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000").start();
    while word() != "WATCHDOG=1" {}
    server.signal("STOP");
    manager.set_read_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
    let mut octets = [0; 100];
    let words = std::iter::from_fn(|| manager.recv(&mut octets).ok()).take(10).count();
    assert!(words < 10, "a process that is stopped still says that it is alive");
    server.signal("CONT");
    drop(server);
    // A name in the abstract namespace, as containers have it.
    let name = format!("switchboard-manager-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let _server = Launch::echo().env("NOTIFY_SOCKET", &format!("@{name}")).start();
    let len = manager.recv(&mut octets).expect("a word");
    assert_eq!(&octets[..len], b"READY=1");
}

#[test]
fn a_service_manager_is_told_of_a_reload_and_of_its_end() {
    let scratch = Scratch::new("x", b"");
    let path = path_beside(&scratch);
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let word = || {
        let mut octets = [0; 100];
        let len = manager.recv(&mut octets).expect("a word");
        String::from_utf8_lossy(&octets[..len]).into_owned()
    };
    let identity = Identity::new(&["localhost"]);
    let flags = [&["--tls-listen", "127.0.0.1:0"][..], &identity.flags()].concat();
    let server = Launch::echo().env("NOTIFY_SOCKET", &path).args(&flags).start();
    assert_eq!(word(), "READY=1");
    let mut last = 0;
    // Also of one that changes nothing, or the manager would wait until its timeout.
    for (certificate, result) in [(None, "were read again"), (Some("nonsense"), "stay as they were")] {
        if let Some(certificate) = certificate {
            std::fs::write(identity.certificate.path(), certificate).unwrap();
        }
        server.signal("HUP");
        let reloading = word();
        let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
        let since: u64 = since.parse().unwrap();
        assert!(since > last, "{since} after {last}");
        last = since;
        assert_eq!(word(), "READY=1");
        server.wait_for_log(result);
    }
}
