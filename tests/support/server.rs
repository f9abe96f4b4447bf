//! A server process on a port of its own, watched through /proc and ended with the test.

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use super::{SOON, millis, tls, wait_until};

/// With this variable the servers of the tests that can have several loops have as many.
const THREADS: &str = "SWITCHBOARD_TEST_THREADS";

/// How a server will be started.
#[derive(Debug)]
pub(crate) struct Launch {
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    wrapper: Vec<String>,
    /// What the wrapper finds as its standard input and output, instead of nothing and the log.
    given: Vec<OwnedFd>,
    directory: Option<PathBuf>,
    announcement: &'static str,
}

impl Launch {
    /// The chat, on a free port and without a store.
    pub(crate) fn serve() -> Self {
        Self::switchboard(&["serve", "--listen", "127.0.0.1:0", "--ephemeral"])
    }

    pub(crate) fn echo() -> Self {
        Self::switchboard(&["echo", "--listen", "127.0.0.1:0"])
    }

    pub(crate) fn fanout() -> Self {
        Self::switchboard(&["fanout", "--listen", "127.0.0.1:0"])
    }

    pub(crate) fn switchboard(args: &[&str]) -> Self {
        Self::program(env!("CARGO_BIN_EXE_switchboard").into(), "Server running at http://").args(args)
    }

    /// Any program that says where it listens: the port is the first number with a `:` or `port ` before it that
    /// follows `announcement`.
    pub(crate) fn program(program: PathBuf, announcement: &'static str) -> Self {
        Self {
            program,
            args: Vec::new(),
            env: Vec::new(),
            wrapper: Vec::new(),
            given: Vec::new(),
            directory: None,
            announcement,
        }
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    pub(crate) fn working_in(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// Runs the server by a script of the shell that is given up to two descriptors, as its standard input and output.
    pub(crate) fn with_descriptors_of(mut self, script: &str, given: Vec<OwnedFd>) -> Self {
        self.wrapper = vec!["sh".into(), "-c".into(), script.into(), "sh".into()];
        self.given = given;
        self
    }

    /// Runs the server with at most `limit` file descriptors, in a way that it cannot raise again.
    pub(crate) fn with_descriptors(mut self, limit: u32) -> Self {
        self.wrapper = vec!["sh".into(), "-c".into(), format!("ulimit -n {limit}; exec \"$@\""), "sh".into()];
        self
    }

    /// Runs the server with a limit of descriptors that it may raise, and without a standard input.
    pub(crate) fn with_soft_descriptors(mut self, limit: u32) -> Self {
        let limit = format!("ulimit -S -n {limit}; exec \"$@\" <&-");
        self.wrapper = vec!["sh".into(), "-c".into(), limit, "sh".into()];
        self
    }

    /// Runs the server with at most so much address space: an allocation may fail.
    pub(crate) fn with_address_space(mut self, kib: u64) -> Self {
        self.wrapper = vec!["sh".into(), "-c".into(), format!("ulimit -v {kib}; exec \"$@\""), "sh".into()];
        self
    }

    /// Runs the server with files of at most this many KiB; a write beyond fails, as on a full disk. The limit can be raised.
    pub(crate) fn with_file_size(mut self, kib: u64) -> Self {
        let limit = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$@\"", kib * 2);
        self.wrapper = vec!["sh".into(), "-c".into(), limit, "sh".into()];
        self
    }

    /// Runs the server under strace with these faults injected (`accept4:error=ENOBUFS:when=3+2`, …). The tracer is
    /// a grandchild (`-D`), so the process id is the server's own.
    pub(crate) fn with_faults(mut self, faults: &[&str]) -> Self {
        require_strace();
        self.wrapper = ["strace", "-f", "-D", "-qq", "-o", "/dev/null"].map(String::from).to_vec();
        for fault in faults {
            self.wrapper.push("-e".into());
            self.wrapper.push(format!("inject={fault}"));
        }
        self
    }

    /// The same server, with TLS on the port that it would listen on without.
    fn over_tls(mut self) -> Self {
        let at = self.args.windows(2).position(|pair| pair == ["--listen", "127.0.0.1:0"]);
        if let Some(at) = at.filter(|_| self.program == Path::new(env!("CARGO_BIN_EXE_switchboard"))) {
            self.args[at] = "--tls-listen".into();
            self.announcement = "Server running at https://";
            self = self.args(&tls::identity().flags());
        }
        self
    }

    /// The same server on as many loops as the environment says, where it can have several.
    fn on_loops(self) -> Self {
        let can = self.program == Path::new(env!("CARGO_BIN_EXE_switchboard"))
            && self.args.first().is_some_and(|command| matches!(&**command, "echo" | "fanout" | "serve"))
            && !self.args.iter().any(|arg| arg == "--threads");
        match std::env::var(THREADS) {
            Ok(loops) if can => self.args(&["--threads", &loops]),
            _ => self,
        }
    }

    #[track_caller]
    pub(crate) fn start(self) -> Server {
        let plain = self.announcement;
        let this = self.on_loops();
        let this = if tls::is_on() { this.over_tls() } else { this };
        let is_over_tls = this.announcement != plain;
        let mut server = this.start_as_it_is();
        if is_over_tls {
            server.addr = tls::bridge(server.addr);
        }
        server
    }

    /// Starts it without regard to whether this is the run over TLS.
    #[track_caller]
    pub(crate) fn start_as_it_is(self) -> Server {
        raise_own_descriptor_limit();
        let mut words = self.wrapper.clone();
        words.push(self.program.to_string_lossy().into_owned());
        words.extend(self.args.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_remove("PORT").env_remove("RUST_LOG").env_remove(THREADS).env("NO_COLOR", "1");
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let mut given = self.given.into_iter();
        if let Some(first) = given.next() {
            command.stdin(first);
        }
        if let Some(second) = given.next() {
            command.stdout(second);
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {words:?}: {error}"));
        let log = Arc::new(Mutex::new(Vec::new()));
        if let Some(stdout) = child.stdout.take() {
            collect(stdout, Arc::clone(&log));
        }
        collect(child.stderr.take().unwrap(), Arc::clone(&log));
        let mut server = Server { child, log, addr: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into() };
        let deadline = Instant::now() + Duration::from_mins(1);
        let port = loop {
            if let Some(port) = server.log().iter().find_map(|line| announced_port(line, self.announcement)) {
                break port;
            }
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("{words:?} ended with {status} before it listened");
            }
            assert!(Instant::now() < deadline, "{words:?} never said {:?}", self.announcement);
            std::thread::sleep(millis(5));
        };
        server.addr = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into();
        server
    }
}

fn announced_port(line: &str, announcement: &str) -> Option<u16> {
    let (_, rest) = line.split_once(announcement)?;
    let starts = rest.match_indices("port ").map(|(at, found)| at + found.len());
    let starts = starts.chain(rest.match_indices(':').map(|(at, found)| at + found.len()));
    for start in starts {
        let digits: String = rest[start..].chars().take_while(char::is_ascii_digit).collect();
        if let Ok(port) = digits.parse() {
            return Some(port);
        }
    }
    None
}

/// Reads a pipe to its end on a thread, so that a chatty server never blocks on it.
fn collect(pipe: impl Read + Send + 'static, log: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            log.lock().unwrap().push(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned());
            line.clear();
        }
    });
}

/// The tests of one process hold thousands of sockets at once: more than the usual soft limit of 1,024.
fn raise_own_descriptor_limit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let own_id = std::process::id().to_string();
        for limit in ["65536:", "16384:", "8192:", "4096:"] {
            let set = Command::new("prlimit")
                .args(["--pid", &own_id, &format!("--nofile={limit}")])
                .stderr(Stdio::null())
                .status();
            if set.is_ok_and(|status| status.success()) {
                return;
            }
        }
    });
}

/// Fault injection needs strace; a machine without it must not pass these rows by accident.
#[track_caller]
fn require_strace() {
    let works = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    assert!(works, "strace is missing or may not trace: apt-get install strace");
}

/// An example of this package, which `cargo test` builds beside the tests.
#[track_caller]
pub(crate) fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not built: cargo build --examples", path.display());
    path
}

/// A running server; it is killed, by its id, when the value goes.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    pub(crate) addr: SocketAddr,
}

impl Server {
    pub(crate) fn port(&self) -> u16 {
        self.addr.port()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the server has logged so far, both streams.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    #[track_caller]
    pub(crate) fn wait_for_log(&self, part: &str) -> String {
        let mut found = String::new();
        wait_until(SOON, &format!("{part:?} in the log"), || {
            let line = self.log().into_iter().find(|line| line.contains(part));
            line.is_some_and(|line| {
                found = line;
                true
            })
        });
        found
    }

    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(status.success(), "kill -{name}: {status}");
    }

    /// Waits until the process has ended by itself.
    #[track_caller]
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        wait_until(limit, "the server has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    #[track_caller]
    pub(crate) fn assert_alive(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "the server has ended: {ended:?}");
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap_or_default()
    }

    /// Processor time used so far, user and system, all threads; 10 ms steps.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        let (_, fields) = stat.rsplit_once(')').expect("the server lives");
        let ticks = fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap());
        millis(ticks.sum::<u64>() * 10)
    }

    pub(crate) fn cpu_since(&self, start: Duration) -> Duration {
        self.cpu().saturating_sub(start)
    }

    fn status_kib(&self, key: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the server lives");
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub(crate) fn rss_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    pub(crate) fn address_space_kib(&self) -> u64 {
        self.status_kib("VmSize:")
    }

    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    /// Waits until no more descriptors are open than `base`: every connection made since then is gone.
    #[track_caller]
    pub(crate) fn wait_for_descriptors(&self, base: usize, limit: Duration) {
        wait_until(limit, &format!("descriptors back at {base}"), || self.descriptors() <= base);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail = log[log.len().saturating_sub(20)..].join("\n");
            eprintln!("--- the last lines of the server ---\n{tail}\n---");
        }
    }
}

/// Compares figures in an assertion with both in the message.
#[track_caller]
pub(crate) fn assert_below<T: PartialOrd + Debug + Copy>(what: &str, got: T, limit: T) {
    assert!(got < limit, "{what}: {got:?}, the bound is {limit:?}");
}
