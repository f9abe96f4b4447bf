//! One server stops in order while the others serve: nobody misses anything, and nobody is seen who is gone.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::nodes::node_with;
use crate::person::Person;
use crate::redis_server::{Engine, SOON, wait_until};
use crate::support::StopOnDrop;

/// What somebody has seen of the room, wherever they were connected.
struct Reader {
    person: Person,
    name: String,
    epoch: Value,
    seen: Vec<u64>,
}

impl Reader {
    /// Reads until the server says goodbye.
    fn read_to_the_end(&mut self) {
        let bye = self.person.event("bye");
        assert_eq!(bye["reason"], "shutting_down");
        self.take();
    }

    fn take(&mut self) {
        let came = self.person.events.iter().filter(|it| it["type"] == "message");
        self.seen.extend(came.map(|it| it["seq"].as_u64().unwrap()));
        self.person.events.clear();
    }

    /// Comes back to another server.
    fn resume(&mut self, addr: std::net::SocketAddr) {
        self.person = Person::hello(addr, &self.name);
        let last = self.seen.last().copied().unwrap_or(0);
        let joined = self.person.join("tea", Some(&json!({"epoch": self.epoch, "seq": last, "rev": 0})));
        assert_eq!(joined["recovered"], true, "{joined}");
        let missed = joined["messages"].as_array().unwrap().iter().map(|it| it["seq"].as_u64().unwrap());
        self.seen.extend(missed);
    }
}

#[test]
fn people_of_a_server_that_drains_resume_at_others_without_a_gap() {
    let engine = Engine::start();
    let mut stops = node_with(&engine.url(), &["--threads", "2", "--drain-spread", "1000"]);
    let others = [node_with(&engine.url(), &[]), node_with(&engine.url(), &["--threads", "2"])];
    let mut ada = Person::hello(others[0].addr, "Ada");
    let epoch = ada.join("tea", None)["epoch"].clone();
    let mut readers: Vec<Reader> = (0..6)
        .map(|nth| {
            let name = format!("R{nth}");
            let mut person = Person::hello(stops.addr, &name);
            assert_eq!(person.join("tea", None)["seq"], 0);
            Reader { person, name, epoch: epoch.clone(), seen: Vec::new() }
        })
        .collect();
    wait_until("they are seen", || ada.ask(&json!({"type": "who", "room": "tea"}))["count"] == 7);
    let mut writer = Person::hello(others[1].addr, "Writer");
    writer.join("tea", None);
    let is_over = AtomicBool::new(false);
    let said = std::thread::scope(|scope| {
        let stop = StopOnDrop(&is_over);
        let saying = scope.spawn(|| {
            let mut said = 0;
            while !is_over.load(Ordering::Relaxed) {
                said = writer.say("tea", &format!("word {said}"));
                std::thread::sleep(Duration::from_millis(5));
            }
            said
        });
        stops.signal("TERM");
        let begin = Instant::now();
        for (nth, reader) in readers.iter_mut().enumerate() {
            reader.read_to_the_end();
            reader.resume(others[nth % 2].addr);
        }
        stops.wait(SOON);
        assert!(begin.elapsed() < Duration::from_secs(9), "that was before a lease was over");
        drop(stop);
        saying.join().unwrap()
    });
    // Who was there is there once, though they were at two servers within a lease.
    wait_until("each is seen once", || {
        let who = ada.ask(&json!({"type": "who", "room": "tea"}));
        let names =
            who["members"].as_array().unwrap().iter().map(|it| it["user"].as_str().unwrap().to_owned());
        let names: Vec<String> = names.collect();
        let is_once = names.iter().collect::<BTreeSet<_>>().len() == names.len();
        is_once && names.len() == 8 && who["count"] == 8
    });
    let last = ada.say("tea", "that is all");
    assert_eq!(last, said + 1);
    for reader in &mut readers {
        reader.person.await_where("the last word", |it| it["type"] == "message" && it["seq"] == last);
        reader.take();
        reader.seen.push(last);
        assert!(reader.seen.iter().copied().eq(1..=last), "{}: {:?}", reader.name, reader.seen);
    }
}
