//! Runs the binary, and servers for it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;
use switchboard::app::Application;
use switchboard::net::{Handle, Options, Server};
use switchboard::proto::handshake::{check_upgrade, write_accept};
use switchboard::proto::head::{HeadScanner, with_request};
use switchboard::proto::{Connection, Event, Input, Limits, Opcode, ProtoConfig, write_frame};
use switchboard::reactor::Config;

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Run {
    /// A number of the JSON report.
    #[track_caller]
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.json[name].as_u64().unwrap_or_else(|| unreachable!("no {name} in {self:?}"))
    }

    /// How often a failure was seen whose name holds `part`.
    #[track_caller]
    pub(crate) fn failures(&self, part: &str) -> u64 {
        let failures = self.json["failures"].as_object().expect("the failures");
        failures
            .iter()
            .filter(|(name, _)| name.contains(part))
            .map(|(_, count)| count.as_u64().expect("a count"))
            .sum()
    }

    /// Lost, duplicated, reordered, corrupted.
    #[track_caller]
    pub(crate) fn faults(&self) -> [u64; 4] {
        ["lost", "duplicated", "reordered", "corrupted"].map(|name| self.count(name))
    }
}

/// Runs the binary with these words.
pub(crate) fn loadgen(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen")).args(words).output().expect("loadgen runs")
}

/// A file of one test, which is removed when it is dropped.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(kind: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("loadgen-{}-{count}.{kind}", std::process::id());
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("a path")
    }

    pub(crate) fn read(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap_or_default()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been written.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs a scenario against `url`; `options` are separated by spaces.
pub(crate) fn run(scenario: &str, url: &str, options: &str) -> Run {
    let file = Scratch::new("json");
    let mut words = vec![scenario, url, "--json", file.path()];
    words.extend(options.split_whitespace());
    let output = loadgen(&words);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Run {
        status: output.status.code().expect("an exit status"),
        text: String::from_utf8(output.stdout).expect("text") + &errors,
        json: serde_json::from_str(&file.read()).unwrap_or_default(),
    }
}

/// Runs a scenario against `address`.
pub(crate) fn flood(scenario: &str, address: SocketAddr, options: &str) -> Run {
    run(scenario, &format!("ws://{address}/"), options)
}

/// Runs the scenario `echo` against `address`.
pub(crate) fn echo(address: SocketAddr, options: &str) -> Run {
    flood("echo", address, options)
}

/// The real server on a thread, until it is dropped.
pub(crate) struct Honest<M> {
    pub(crate) address: SocketAddr,
    handle: Handle<M>,
    thread: Option<thread::JoinHandle<()>>,
}

impl<M> Honest<M> {
    pub(crate) fn start<A: Application<Mail = M> + Send + 'static>(app: A) -> Self
    where
        M: Send + 'static,
    {
        Self::start_with(app, |_| {})
    }

    /// Starts it with a changed configuration.
    pub(crate) fn start_with<A>(app: A, configure: impl FnOnce(&mut Config)) -> Self
    where
        A: Application<Mail = M> + Send + 'static,
        M: Send + 'static,
    {
        let mut options = Options::listen("127.0.0.1:0".parse().expect("an address"));
        configure(&mut options.config);
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let server = Server::bind(options, app).expect("a server");
            sender
                .send((server.local_addrs().expect("an address")[0], server.handle()))
                .expect("the test waits");
            server.run().expect("the loop runs");
        });
        let (address, handle) = receiver.recv().expect("a server");
        Self { address, handle, thread: Some(thread) }
    }
}

impl<M> Drop for Honest<M> {
    fn drop(&mut self) {
        assert!(self.handle.shutdown());
        self.thread.take().expect("a thread").join().expect("the server ends well");
    }
}

/// A server with one fault.
pub(crate) trait Liar: Send + Sync + 'static {
    /// May change the 101 response.
    fn twist_head(&self, head: Vec<u8>) -> Vec<u8> {
        head
    }

    /// Whether it ends a connection before the opening handshake is complete.
    fn hangs_up(&self) -> bool {
        false
    }

    /// Message `seq` arrived: returns the answers, in order. `held` is the memory of this connection. `None`: the
    /// connection ends without a closing handshake.
    fn answer(&self, seq: usize, message: Vec<u8>, held: &mut Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>>;

    /// Whether it answers a Close.
    fn answers_close(&self) -> bool {
        true
    }
}

/// A server whose answers are a function of message number, message and memory.
pub(crate) struct Answers<F>(pub(crate) F);

impl<F> Liar for Answers<F>
where
    F: Fn(usize, Vec<u8>, &mut Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> + Send + Sync + 'static,
{
    fn answer(&self, seq: usize, message: Vec<u8>, held: &mut Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
        (self.0)(seq, message, held)
    }
}

/// Serves each connection on a thread, which ends with the connection or with the process.
pub(crate) fn start(liar: impl Liar) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let liar = Arc::new(liar);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (liar, stream) = (Arc::clone(&liar), stream.expect("a connection"));
            thread::spawn(move || serve(&*liar, stream));
        }
    });
    address
}

pub(crate) fn serve(liar: &dyn Liar, mut stream: impl Read + Write) {
    let config = Arc::new(ProtoConfig::default());
    let mut buffer = vec![0; 64 * 1024];
    let head = accept(&mut stream, &mut buffer, &config.limits, None);
    if liar.hangs_up() || stream.write_all(&liar.twist_head(head)).is_err() {
        return;
    }
    let mut connection = Connection::server(&config, 0);
    let (mut seq, mut kept) = (0, Vec::new());
    loop {
        let count = match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let (mut input, mut answers, mut out) = (Input::new(&mut buffer[..count]), Vec::new(), Vec::new());
        let mut is_closed = false;
        while let Some(event) =
            connection.next_event(&mut input, &mut out).expect("a client that keeps the rules")
        {
            match event {
                Event::Message(message) => {
                    let Some(answer) = liar.answer(seq, message.payload.to_vec(), &mut kept) else {
                        return;
                    };
                    answers.extend(answer);
                    seq += 1;
                }
                Event::Close(_) => is_closed = true,
                Event::Ping(_) | Event::Pong(_) | Event::Chunk(_) => {}
            }
        }
        let mut frames = Vec::new();
        for answer in &answers {
            write_frame(&mut frames, true, Opcode::Binary, answer, None);
        }
        if is_closed && !liar.answers_close() {
            return;
        }
        frames.extend_from_slice(&out);
        if stream.write_all(&frames).is_err() || is_closed {
            return;
        }
    }
}

/// Reads the request, and returns the correct answer to it.
pub(crate) fn accept(
    stream: &mut impl Read,
    buffer: &mut [u8],
    limits: &Limits,
    subprotocol: Option<&str>,
) -> Vec<u8> {
    let (mut scanner, mut len, mut out) = (HeadScanner::default(), 0, Vec::new());
    loop {
        len += stream.read(&mut buffer[len..]).expect("a request");
        if let Some(end) = scanner.find_end(&buffer[..len], limits).expect("a request") {
            with_request(&buffer[..end], limits, |head| {
                let head = head.expect("a request");
                write_accept(check_upgrade(&head).expect("an upgrade").key, subprotocol, &[], &mut out);
            });
            return out;
        }
    }
}

/// Checks the text with `promtool check metrics`, if promtool is installed (Debian: apt-get install prometheus); the other
/// assertions need only Rust.
#[track_caller]
pub(crate) fn promtool_accepts(text: &str) {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else { return };
    promtool.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("promtool reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stderr));
}
