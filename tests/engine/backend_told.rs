//! What servers with one engine tell the team's backend: each thing once.

use serde_json::{Value, json};

use crate::backend::Backend;
use crate::nodes::{call_api, node_with};
use crate::person::Person;
use crate::redis_server::Engine;
use crate::support::Scratch;

const SECRET: &str = "a-secret-of-the-operator-0123456789";

fn count(events: &[Value], name: &str) -> usize {
    events.iter().filter(|event| event["event"] == name).count()
}

#[test]
fn a_ban_and_the_beginning_are_told_by_one_server() {
    let (engine, backend) = (Engine::start(), Backend::start());
    let (hook, operator) = (Scratch::new("hook", SECRET.as_bytes()), Scratch::new("api", SECRET.as_bytes()));
    let url = backend.url();
    let args = [
        "--hook-url",
        &*url,
        "--hook-secret-file",
        hook.path(),
        "--hook-tell",
        "posted,banned,connected",
        "--api-token-file",
        operator.path(),
    ];
    let nodes =
        [node_with(&engine.url(), &args), node_with(&engine.url(), &args), node_with(&engine.url(), &args)];
    let mut people: Vec<Person> =
        nodes.iter().zip(["Ada", "Bob", "Cleo"]).map(|(node, name)| Person::hello(node.addr, name)).collect();
    for person in &mut people {
        person.join("tea", None);
    }
    people[1].say("tea", "hello");
    for person in &mut people {
        person.messages(1);
    }
    for (node, what) in
        [(0, "PUT /api/v1/bans/Eve"), (2, "PUT /api/v1/bans/Mal"), (1, "DELETE /api/v1/bans/Eve")]
    {
        let answer = call_api(nodes[node].addr, SECRET, what, "{}");
        assert!(answer.starts_with("HTTP/1.1 20"), "{what}: {answer}");
        // Each server hears of it before the next one is asked.
        if what.starts_with("PUT") {
            let name = what.rsplit('/').next().unwrap();
            for node in &nodes {
                crate::redis_server::wait_until("it is known", || {
                    call_api(node.addr, SECRET, "GET /api/v1/bans", "").contains(&name.to_lowercase())
                });
            }
        }
    }
    backend.wait_for("all of them", |events| count(events, "unbanned") > 0 && count(events, "banned") > 1);
    people[0].ask(&json!({"type": "post", "room": "tea", "text": "the last word"}));
    backend.wait_for("the last word", |events| count(events, "posted") == 2);
    let events = backend.events();
    let counts = ["started", "connected", "posted", "banned", "unbanned"].map(|name| count(&events, name));
    assert_eq!(counts, [1, 3, 2, 2, 1], "{events:?}");
}
