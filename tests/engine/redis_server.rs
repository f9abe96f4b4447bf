//! An engine of a test's own: a process on a free port, with a directory that goes with it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue, cmd};

/// How long a test waits for something that should happen at once.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// The program, unless this variable names another one: Valkey's, say.
pub(crate) const PROGRAM: &str = "SWITCHBOARD_TEST_ENGINE";

/// Polls `holds` until it is true.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A running engine; it is killed, by its id, when the value goes.
#[derive(Debug)]
pub(crate) struct Engine {
    program: String,
    child: Child,
    port: u16,
    dir: PathBuf,
    args: Vec<String>,
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Engine {
    /// One that keeps nothing on the disk.
    pub(crate) fn start() -> Self {
        Self::with(&["--save", "", "--appendonly", "no"])
    }

    /// One that answers when the disk has it.
    pub(crate) fn on_disk() -> Self {
        Self::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
    }

    pub(crate) fn with(args: &[&str]) -> Self {
        Self::of(std::env::var(PROGRAM).unwrap_or_else(|_| "redis-server".into()), args)
    }

    /// Redis, whatever the others are: the Valkey of the tests is built without TLS.
    pub(crate) fn with_tls(args: &[&str]) -> Self {
        Self::of("redis-server".into(), args)
    }

    fn of(program: String, args: &[&str]) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("engine-{}-{nth}", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let port = free_port();
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let child = launch(&program, port, &dir, &args);
        let engine = Self { program, child, port, dir, args };
        engine.wait();
        engine
    }

    fn wait(&self) {
        wait_until("the engine answers", || {
            let answer = self.try_connect().and_then(|mut it| cmd("PING").query::<String>(&mut it));
            answer.is_ok()
        });
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn try_connect(&self) -> redis::RedisResult<Connection> {
        redis::Client::open(self.url())?.get_connection_with_timeout(Duration::from_secs(1))
    }

    pub(crate) fn connect(&self) -> Connection {
        self.try_connect().unwrap()
    }

    /// Runs a command.
    #[track_caller]
    pub(crate) fn run<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query(&mut self.connect()).unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(status.unwrap().success(), "kill -{name}");
    }

    /// Kills it, with nothing written that is not on the disk already.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, with what is in its directory.
    pub(crate) fn start_again(&mut self) {
        self.child = launch(&self.program, self.port, &self.dir, &self.args);
        self.wait();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn launch(program: &str, port: u16, dir: &Path, args: &[String]) -> Child {
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(dir).args(args);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    child.unwrap_or_else(|error| {
        panic!("{program} cannot be started ({error}); on Debian, as root: apt-get install redis-server")
    })
}
