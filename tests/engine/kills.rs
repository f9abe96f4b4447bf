//! A crowd that speaks while the engine and its servers are killed, again and again: what was acked is there once, and nobody
//! misses anything.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::nodes::node_with;
use crate::redis_server::{Engine, SOON, wait_until};
use crate::support::{Client, Server, TEXT, text};

const KILLS: u64 = 100;
const PEOPLE: usize = 6;
/// Posts of one person that wait for their acks at once.
const UNDER_WAY: usize = 4;

/// Where the servers are, and how far the crowd is.
struct Scene {
    servers: Mutex<Vec<SocketAddr>>,
    /// What each person has seen acked, and been told.
    acked: [AtomicU64; PEOPLE],
    told: [AtomicU64; PEOPLE],
    is_over: AtomicBool,
}

/// Somebody who posts, comes back at another server when theirs is gone, and checks what they are told.
struct Survivor {
    number: usize,
    client: Client,
    /// Messages by number: what this person was told.
    told: BTreeMap<u64, String>,
    epoch: Value,
    /// Posts that wait for their acks.
    waiting: Vec<String>,
    acked: BTreeMap<String, u64>,
    attempts: usize,
    next: u64,
    is_in: bool,
}

impl Survivor {
    fn new(number: usize, scene: &Scene) -> Self {
        let client = Client::connect(scene.servers.lock().unwrap()[0]);
        Self {
            number,
            client,
            told: BTreeMap::new(),
            epoch: Value::Null,
            waiting: Vec::new(),
            acked: BTreeMap::new(),
            attempts: number,
            next: 0,
            is_in: false,
        }
    }

    fn newest(&self) -> u64 {
        self.told.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    /// Connects to the next server, and joins from where this person was.
    fn enter(&mut self, scene: &Scene) -> bool {
        self.attempts += 1;
        let servers = scene.servers.lock().unwrap().clone();
        let Ok(stream) = std::net::TcpStream::connect(servers[self.attempts % servers.len()]) else {
            return false;
        };
        self.client = Client::over(stream);
        let offer = "Sec-WebSocket-Protocol: chat.v1.json\r\n";
        let request = crate::support::upgrade_request("/ws", offer);
        let is_open = self.client.try_send(request.as_bytes()).is_ok()
            && self.client.try_head(SOON).is_ok_and(|head| head.status == 101);
        is_open && self.send(&json!({"type": "hello", "user": format!("P{}", self.number)})) && self.join()
    }

    fn join(&mut self) -> bool {
        let since = json!({"epoch": self.epoch, "seq": self.newest(), "rev": 0});
        let mut join = json!({"type": "join", "id": "join", "room": "tea"});
        if self.epoch.is_string() {
            join["since"] = since;
        }
        self.send(&join)
    }

    fn send(&mut self, command: &Value) -> bool {
        self.client.try_send(&text(&command.to_string())).is_ok()
    }

    fn post(&mut self, key: &str) -> bool {
        self.send(&json!({"type": "post", "id": key, "room": "tea", "text": key, "key": key}))
    }

    /// Posts, reads and comes back until it is over and nothing waits.
    fn run(mut self, scene: &Scene) -> Self {
        let mut is_open = false;
        let mut since = Instant::now();
        loop {
            if !is_open {
                std::thread::sleep(Duration::from_millis(20));
                self.is_in = false;
                is_open = self.enter(scene);
                assert!(since.elapsed() < SOON, "{} does not come in again", self.number);
                continue;
            }
            let is_over = scene.is_over.load(Ordering::Relaxed);
            if self.is_in && self.waiting.len() < UNDER_WAY && !is_over {
                let key = format!("{}.{}", self.number, self.next);
                self.next += 1;
                is_open = self.post(&key);
                self.waiting.push(key);
                continue;
            }
            if self.is_in && is_over && self.waiting.is_empty() {
                return self;
            }
            match self.client.try_frame(SOON) {
                Ok(frame) if frame.opcode == TEXT => {
                    is_open = self.hear(&serde_json::from_slice(&frame.payload).unwrap(), scene);
                    since = Instant::now();
                }
                Ok(_) => {}
                Err(_) => is_open = false,
            }
        }
    }

    fn hear(&mut self, message: &Value, scene: &Scene) -> bool {
        let number = |name: &str| message[name].as_u64().unwrap_or_else(|| panic!("{name} of {message}"));
        match message["type"].as_str().unwrap() {
            "joined" => {
                // An engine that began again may have given the history another name; nothing of it is lost.
                assert!(self.epoch.is_null() || message["recovered"] == true, "{}: {message}", self.number);
                self.epoch = message["epoch"].clone();
                for missed in message["messages"].as_array().unwrap() {
                    self.see(missed);
                }
                self.is_in = true;
                self.waiting.clone().iter().all(|key| self.post(key))
            }
            "message" => {
                self.see(message);
                scene.told[self.number].fetch_add(1, Ordering::Relaxed);
                true
            }
            "epoch" => {
                assert!(number("seq") >= self.newest(), "somebody saw what is lost: {message}");
                self.epoch = message["epoch"].clone();
                true
            }
            "ack" if message["id"] != "join" => {
                let key = message["id"].as_str().unwrap();
                if let Some(at) = self.waiting.iter().position(|waiting| waiting == key) {
                    self.waiting.remove(at);
                    self.acked.insert(key.to_owned(), number("seq"));
                    scene.acked[self.number].fetch_add(1, Ordering::Relaxed);
                } else {
                    // It was sent again before the first answer came.
                    assert_eq!(self.acked[key], number("seq"), "{message}");
                }
                true
            }
            "error" => {
                assert_eq!(message["code"], "unavailable", "{message}");
                std::thread::sleep(Duration::from_millis(20));
                let key = message["id"].as_str().unwrap().to_owned();
                if key == "join" { self.join() } else { !self.waiting.contains(&key) || self.post(&key) }
            }
            _ => true,
        }
    }

    fn see(&mut self, message: &Value) {
        let seq = message["seq"].as_u64().unwrap();
        let said = message["text"].as_str().unwrap();
        assert!(
            self.told.is_empty() || seq == self.newest() + 1,
            "{}: {seq} after {}",
            self.number,
            self.newest()
        );
        self.told.insert(seq, said.to_owned());
    }
}

fn crowd(scene: &Arc<Scene>) -> Vec<JoinHandle<Survivor>> {
    let people = (0..PEOPLE).map(|number| Survivor::new(number, scene));
    people
        .map(|person| {
            let scene = Arc::clone(scene);
            std::thread::spawn(move || person.run(&scene))
        })
        .collect()
}

/// Waits until each of the crowd has been acked and told a few more: all of them are back.
fn let_them_speak(scene: &Scene, people: &[JoinHandle<Survivor>]) {
    let seen =
        || scene.acked.iter().chain(&scene.told).map(|it| it.load(Ordering::Relaxed)).collect::<Vec<_>>();
    let before = seen();
    wait_until("the crowd goes on", || {
        assert!(people.iter().all(|person| !person.is_finished()), "somebody has seen a fault");
        seen().iter().zip(&before).all(|(now, before)| *now >= before + 3)
    });
}

/// Ends the crowd, and compares what it was acked and told.
fn end(scene: &Scene, people: Vec<JoinHandle<Survivor>>, server: SocketAddr) {
    scene.is_over.store(true, Ordering::Relaxed);
    let people: Vec<Survivor> = people.into_iter().map(|person| person.join().unwrap()).collect();
    // Somebody may have left before the last words of others came: all of it comes to one who joins again, the last of it
    // live where this server has not heard of it yet.
    let newest = people.iter().flat_map(|person| person.acked.values().copied()).max().unwrap_or_default();
    servers_are(scene, &[server]);
    let mut all = BTreeMap::new();
    for person in people {
        let Survivor { number, epoch, told, acked, .. } = person;
        let mut again = Survivor { told, epoch, ..Survivor::new(number, scene) };
        assert!(again.enter(scene));
        while !again.is_in || again.newest() < newest {
            let frame = again.client.try_frame(SOON).unwrap();
            if frame.opcode == TEXT {
                assert!(again.hear(&serde_json::from_slice(&frame.payload).unwrap(), scene));
            }
        }
        for (key, seq) in &acked {
            assert_eq!(again.told.get(seq), Some(key), "acked, and not there");
        }
        if all.is_empty() {
            all = again.told;
        } else {
            assert_eq!(again.told, all, "everybody was told the same");
        }
    }
    let texts: std::collections::BTreeSet<&String> = all.values().collect();
    assert_eq!(texts.len(), all.len(), "something is there twice");
    assert!(all.keys().copied().eq(1..=all.len() as u64), "a gap");
}

fn servers_are(scene: &Scene, servers: &[SocketAddr]) {
    *scene.servers.lock().unwrap() = servers.to_vec();
}

fn begin(engine: &Engine) -> (Vec<Server>, Arc<Scene>) {
    let servers: Vec<Server> = (0..3).map(|_| start(engine)).collect();
    let scene = Scene {
        servers: Mutex::default(),
        acked: Default::default(),
        told: Default::default(),
        is_over: AtomicBool::new(false),
    };
    servers_are(&scene, &servers.iter().map(|it| it.addr).collect::<Vec<_>>());
    (servers, Arc::new(scene))
}

fn start(engine: &Engine) -> Server {
    node_with(&engine.url(), &["--posts-per-second", "0"])
}

#[test]
fn an_engine_that_is_killed_100_times_loses_nothing_and_doubles_nothing() {
    let mut engine = Engine::on_disk();
    let (servers, scene) = begin(&engine);
    let people = crowd(&scene);
    for _ in 0..KILLS {
        let_them_speak(&scene, &people);
        engine.kill();
        engine.start_again();
    }
    let_them_speak(&scene, &people);
    end(&scene, people, servers[0].addr);
}

#[test]
fn servers_that_are_killed_100_times_lose_nothing_and_double_nothing() {
    let engine = Engine::on_disk();
    let (mut servers, scene) = begin(&engine);
    let people = crowd(&scene);
    for nth in 0..KILLS {
        let_them_speak(&scene, &people);
        let at = nth as usize % servers.len();
        servers[at].signal("KILL");
        servers[at].wait(SOON);
        servers[at] = start(&engine);
        servers_are(&scene, &servers.iter().map(|it| it.addr).collect::<Vec<_>>());
    }
    let_them_speak(&scene, &people);
    end(&scene, people, servers[0].addr);
}
