//! A way to the engine that can be cut and frozen, and that spoils what is told.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::Dice;

/// How something begins that a room is told.
const NEWS: &[u8] = b"*3\r\n$7\r\nmessage\r\n$8\r\nsb:C:{r}\r\n";

#[derive(Debug, Default)]
struct State {
    engine: AtomicU16,
    is_frozen: AtomicBool,
    is_closed: AtomicBool,
    is_over: AtomicBool,
    /// Some of what rooms are told is lost, comes twice, or comes after what comes next.
    spoils: AtomicBool,
    /// What became of it: as it was, lost, twice, late.
    fates: [AtomicUsize; 4],
    streams: Mutex<Vec<TcpStream>>,
}

/// A proxy on a port of its own.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
}

impl Proxy {
    pub(crate) fn to(engine: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { engine: AtomicU16::new(engine), ..State::default() });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let Ok(near) = near else { continue };
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let is_closed = shared.is_closed.load(Ordering::Relaxed);
                let engine = shared.engine.load(Ordering::Relaxed);
                if let Some(far) = TcpStream::connect(("127.0.0.1", engine)).ok().filter(|_| !is_closed) {
                    join(&near, &far, &shared);
                }
            }
        });
        Self { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Ends all connections, wherever they are in what they say.
    pub(crate) fn cut(&self) {
        for stream in self.state.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Leads to another engine from now on; all connections end.
    pub(crate) fn lead_to(&self, engine: u16) {
        self.state.engine.store(engine, Ordering::Relaxed);
        self.cut();
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// No octet goes through from now on, and nothing ends.
    pub(crate) fn freeze(&self, is_frozen: bool) {
        self.state.is_frozen.store(is_frozen, Ordering::Relaxed);
    }

    /// Whether some of what rooms are told is lost, comes twice, or comes after what comes next.
    pub(crate) fn spoil(&self, spoils: bool) {
        self.state.spoils.store(spoils, Ordering::Relaxed);
    }

    /// How much was told as it was, was lost, came twice, and came late.
    pub(crate) fn fates(&self) -> [usize; 4] {
        self.state.fates.each_ref().map(|fate| fate.load(Ordering::Relaxed))
    }

    /// Ends all connections, and takes no more.
    pub(crate) fn close(&self, is_closed: bool) {
        self.state.is_closed.store(is_closed, Ordering::Relaxed);
        if is_closed {
            self.cut();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn join(near: &TcpStream, far: &TcpStream, state: &Arc<State>) {
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    state.streams.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
    for (from, to) in [(near, far), (far, near)] {
        let (from, to, state) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(state));
        std::thread::spawn(move || copy(from, to, &state));
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, state: &State) {
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut buffer = [0; 16 * 1024];
    let (mut dice, mut late) = (Dice::new(11), Vec::new());
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        };
        while state.is_frozen.load(Ordering::Relaxed) && !state.is_over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let said = &buffer[..count];
        // Words of other servers may be with it.
        let has_news = said.windows(NEWS.len()).any(|part| part == NEWS);
        let is_spoilt = has_news && state.spoils.load(Ordering::Relaxed);
        let fate = if is_spoilt { dice.below(4) } else { 0 };
        if is_spoilt {
            state.fates[fate].fetch_add(1, Ordering::Relaxed);
        }
        let before = std::mem::take(&mut late);
        let passed = match fate {
            1 => before,
            2 => [said, &before, said].concat(),
            3 => {
                late = said.to_vec();
                before
            }
            _ => [said, &before].concat(),
        };
        if to.write_all(&passed).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
