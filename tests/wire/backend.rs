//! The team's backend as a script: it listens to requests, and answers as the test says, or badly.

use std::collections::VecDeque;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::support::{millis, wait_until};

/// What is said to backends is in `openapi.json`, in every detail.
mod contract {
    use std::collections::BTreeMap;
    use std::sync::OnceLock;

    use jsonschema::Validator;
    use serde_json::{Value, json};

    /// A request is what the schemas of its questions or events say, and has no other field.
    pub(super) fn check(hook: &str, body: &Value) {
        static VALIDATORS: OnceLock<BTreeMap<String, Validator>> = OnceLock::new();
        let validators = VALIDATORS.get_or_init(validators);
        let (kind, items) = match body.as_array() {
            Some(events) => ("event", events.as_slice()),
            None => ("ask", std::slice::from_ref(body)),
        };
        assert_eq!(hook == "tell", kind == "event", "{hook}: {body}");
        for item in items {
            let name = item[kind].as_str().unwrap_or_default();
            let known = validators.get(name).unwrap_or_else(|| panic!("no schema of {name:?}: {item}"));
            if let Err(error) = known.validate(item) {
                panic!("{error} at {}: {item}", error.instance_path());
            }
        }
    }

    /// By `ask` or `event`.
    fn validators() -> BTreeMap<String, Validator> {
        let contract: Value = serde_json::from_str(include_str!("../../src/api/openapi.json")).unwrap();
        let schemas = contract["components"]["schemas"].as_object().unwrap();
        let mut validators = BTreeMap::new();
        for (name, schema) in schemas.iter().filter(|(name, _)| name.starts_with("Hook")) {
            let properties = &schema["properties"];
            let Some(kind) =
                properties["ask"]["const"].as_str().or_else(|| properties["event"]["const"].as_str())
            else {
                continue;
            };
            let mut closed = schema.clone();
            closed["additionalProperties"] = json!(false);
            let known = validators.insert(kind.to_owned(), jsonschema::validator_for(&closed).unwrap());
            assert!(known.is_none(), "{name} is there twice");
        }
        validators
    }
}

/// How the backend answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As it should.
    Good,
    /// Not before [`Backend::let_go`].
    Silent,
    /// With this status, and an answer that would be a good one.
    Status(u16),
    /// What is no JSON.
    Nonsense,
    /// Fields of wrong types.
    WrongTypes,
    /// More octets than anybody reads.
    Huge,
    /// A body that never ends.
    Endless,
    /// A body that ends too early.
    Cut,
    /// The end of the connection.
    Hangs,
    /// What is no HTTP.
    NoHttp,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) hook: String,
    pub(crate) signature: String,
    pub(crate) path: String,
    pub(crate) body: String,
}

type Decide = Box<dyn Fn(&Value) -> Value + Send>;

struct State {
    mood: Mood,
    /// Refuses requests that hold this.
    poison: Option<&'static str>,
    decide: Decide,
    heard: VecDeque<Heard>,
    /// Events of the requests that were taken.
    events: Vec<Value>,
    asked: Vec<Value>,
    sockets: Vec<Box<dyn Fn() + Send>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    is_ended: AtomicBool,
}

/// A backend; it goes with the value, and what it knows stays in [`Memory`].
pub(crate) struct Backend {
    pub(crate) addr: Option<SocketAddr>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    wake: Box<dyn Fn() + Send>,
}

/// What a backend knows, for the next one that begins in its place.
#[derive(Default)]
pub(crate) struct Memory(Vec<Value>);

trait Line: Read + Write + Send + 'static {
    fn again(&self) -> io::Result<Self>
    where
        Self: Sized;
    fn end(&self);
}

impl Line for TcpStream {
    fn again(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn end(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl Line for UnixStream {
    fn again(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn end(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl Backend {
    pub(crate) fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), Memory::default())
    }

    /// A backend that was there before.
    pub(crate) fn at(addr: SocketAddr, memory: Memory) -> Self {
        let mut listener = None;
        wait_until(crate::support::SOON, "the port is free again", || {
            listener = TcpListener::bind(addr).ok();
            listener.is_some()
        });
        let listener = listener.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = shared(memory);
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve(&serving, || listener.accept().map(|(line, _)| line)));
        let wake = Box::new(move || drop(TcpStream::connect(addr)));
        Self { addr: Some(addr), shared, thread: Some(thread), wake }
    }

    pub(crate) fn on_socket(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let shared = shared(Memory::default());
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve(&serving, || listener.accept().map(|(line, _)| line)));
        let path = path.to_owned();
        let wake = Box::new(move || drop(UnixStream::connect(&path)));
        Self { addr: None, shared, thread: Some(thread), wake }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hooks", self.addr.unwrap())
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.shared.state.lock().unwrap().mood = mood;
        self.shared.changed.notify_all();
    }

    pub(crate) fn poison(&self, word: &'static str) {
        self.shared.state.lock().unwrap().poison = Some(word);
    }

    /// What is answered to questions.
    pub(crate) fn decide(&self, decide: impl Fn(&Value) -> Value + Send + 'static) {
        self.shared.state.lock().unwrap().decide = Box::new(decide);
    }

    /// All requests so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.shared.state.lock().unwrap().heard.iter().cloned().collect()
    }

    /// The events that were taken so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.shared.state.lock().unwrap().events.clone()
    }

    /// The questions so far.
    pub(crate) fn asked(&self) -> Vec<Value> {
        self.shared.state.lock().unwrap().asked.clone()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, mut holds: impl FnMut(&[Value]) -> bool) {
        wait_until(crate::support::secs(60), what, || holds(&self.shared.state.lock().unwrap().events));
    }

    #[track_caller]
    pub(crate) fn wait_for_questions(&self, count: usize) {
        wait_until(crate::support::SOON, "questions", || self.asked().len() >= count);
    }

    /// The backend ends; returns what it knows.
    pub(crate) fn end(mut self) -> Memory {
        self.stop();
        Memory(std::mem::take(&mut self.shared.state.lock().unwrap().events))
    }

    fn stop(&mut self) {
        self.shared.is_ended.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        for end in &self.shared.state.lock().unwrap().sockets {
            end();
        }
        (self.wake)();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
    }
}

fn shared(memory: Memory) -> Arc<Shared> {
    let state = State {
        mood: Mood::Good,
        poison: None,
        decide: Box::new(|_| json!({ "allow": true })),
        heard: VecDeque::new(),
        events: memory.0,
        asked: Vec::new(),
        sockets: Vec::new(),
    };
    Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), is_ended: AtomicBool::new(false) })
}

fn serve<L: Line>(shared: &Arc<Shared>, accept: impl Fn() -> io::Result<L>) {
    let mut threads = Vec::new();
    while let Ok(line) = accept() {
        if shared.is_ended.load(Ordering::SeqCst) {
            break;
        }
        let end = line.again().unwrap();
        shared.state.lock().unwrap().sockets.push(Box::new(move || end.end()));
        let shared = Arc::clone(shared);
        threads.push(std::thread::spawn(move || {
            let _ = talk(&shared, &line);
            line.end();
        }));
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Requests of one connection, until it ends.
fn talk<L: Line>(shared: &Shared, line: &L) -> io::Result<()> {
    let mut reader = BufReader::new(line.again()?);
    let mut writer = line.again()?;
    while let Some(heard) = read(&mut reader)? {
        let value: Value = serde_json::from_str(&heard.body).unwrap();
        contract::check(&heard.hook, &value);
        let (mood, answer) = {
            let mut state = shared.state.lock().unwrap();
            state.heard.push_back(heard.clone());
            let answer = if heard.hook == "ask" {
                state.asked.push(value.clone());
                (state.decide)(&value)
            } else {
                json!({})
            };
            while state.mood == Mood::Silent && !shared.is_ended.load(Ordering::SeqCst) {
                state = shared.changed.wait_timeout(state, millis(50)).unwrap().0;
            }
            let is_poisoned = state.poison.is_some_and(|word| heard.body.contains(word));
            let mood = if is_poisoned { Mood::Status(422) } else { state.mood };
            // A backend may take what it then answers badly to: that is told twice.
            if heard.hook == "tell" && mood == Mood::Good {
                state.events.extend(value.as_array().unwrap().iter().cloned());
            }
            (mood, answer.to_string())
        };
        if shared.is_ended.load(Ordering::SeqCst) || !respond(&mut writer, shared, mood, &answer)? {
            return Ok(());
        }
    }
    Ok(())
}

fn read(reader: &mut impl io::BufRead) -> io::Result<Option<Heard>> {
    let mut heard =
        Heard { hook: String::new(), signature: String::new(), path: String::new(), body: String::new() };
    let mut length = 0;
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    line.split(' ').nth(1).unwrap_or_default().clone_into(&mut heard.path);
    assert!(line.starts_with("POST "), "{line}");
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "switchboard-hook" => value.clone_into(&mut heard.hook),
            "switchboard-signature" => value.clone_into(&mut heard.signature),
            "content-type" => assert_eq!(value, "application/json"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    heard.body = String::from_utf8(body).unwrap();
    Ok(Some(heard))
}

/// `false`: the connection ends.
fn respond(writer: &mut impl Write, shared: &Shared, mood: Mood, answer: &str) -> io::Result<bool> {
    let mut with = |status: u16, body: &str| {
        writer.write_all(
            format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes(),
        )
    };
    match mood {
        Mood::Good | Mood::Silent => with(200, answer)?,
        Mood::Status(status) => with(status, answer)?,
        Mood::Nonsense => with(500, "{\"allow\":true")?,
        Mood::WrongTypes => with(503, r#"{"allow":"true"}"#)?,
        Mood::Huge => with(500, &format!("{{\"allow\":true,\"pad\":\"{}\"}}", "x".repeat(1 << 20)))?,
        Mood::Endless => {
            writer.write_all(b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            while !shared.is_ended.load(Ordering::SeqCst) && writer.write_all(b"1\r\n \r\n").is_ok() {
                std::thread::sleep(millis(10));
            }
            return Ok(false);
        }
        Mood::Cut => {
            writer.write_all(b"HTTP/1.1 500 X\r\nContent-Length: 99\r\n\r\n{\"allow\":true}")?;
            return Ok(false);
        }
        Mood::Hangs => return Ok(false),
        Mood::NoHttp => {
            writer.write_all(b"SMTP ready\r\n\r\n")?;
            return Ok(false);
        }
    }
    Ok(true)
}
