//! What an operator is told of who is connected, whichever server is asked.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::nodes::{call_api, node_with};
use crate::person::Person;
use crate::redis_server::{Engine, SOON, wait_until};
use crate::support::{Scratch, Server};

const SECRET: &str = "a-secret-of-the-operator-0123456789";

fn ask(addr: SocketAddr, what: &str, body: &str) -> (u16, Value) {
    let answer = call_api(addr, SECRET, what, body);
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap())
}

/// All of a list in pages of two, each asked of another server.
fn all(nodes: &[Server], list: &str) -> Vec<Value> {
    let kind = list.rsplit('/').next().unwrap().split('?').next().unwrap();
    let mark = if list.contains('?') { '&' } else { '?' };
    let (mut found, mut after) = (Vec::new(), None::<String>);
    for turn in 0..40 {
        let after_it = after.map(|after| format!("&after={after}")).unwrap_or_default();
        let what = format!("GET /api/v1/{list}{mark}limit=2{after_it}");
        let (status, page) = ask(nodes[turn % nodes.len()].addr, &what, "");
        assert_eq!(status, 200, "{what}: {page}");
        found.extend(page[kind].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return found,
        }
    }
    panic!("{list} does not end: {found:?}")
}

fn names(list: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> = list.iter().map(|it| it["user"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn lists_go_through_all_servers_and_a_connection_is_ended_wherever_it_is() {
    let engine = Engine::start();
    let secret = Scratch::new("api", SECRET.as_bytes());
    let start =
        |threads: &str| node_with(&engine.url(), &["--api-token-file", secret.path(), "--threads", threads]);
    let mut nodes = vec![start("1"), start("2"), start("1")];
    let who = ["Ada", "Bob", "Cleo", "Dan", "Eve", "Fay", "Gil"];
    let mut people: Vec<Person> =
        who.iter().enumerate().map(|(nth, name)| Person::hello(nodes[nth % 3].addr, name)).collect();
    // Ada is at two servers.
    people.push(Person::hello(nodes[1].addr, "Ada"));
    for person in &mut people {
        person.join("tea", None);
    }
    wait_until("all servers see all", || {
        people.iter_mut().all(|it| it.ask(&json!({"type": "who", "room": "tea"}))["count"] == 8)
    });
    let mut with_twice = who.to_vec();
    with_twice.push("Ada");
    with_twice.sort_unstable();
    for list in ["connections", "rooms/tea/members"] {
        assert_eq!(names(&all(&nodes, list)), with_twice, "{list}");
    }
    let users = all(&nodes, "users");
    assert_eq!(names(&users), who, "each once");
    let ada = users.iter().find(|it| it["user"] == "Ada").unwrap();
    assert_eq!(ada["connections"], 2, "on all servers");
    assert_eq!(names(&all(&nodes, "connections?search=ad")), ["Ada", "Ada"]);
    let (_, of_ada) = ask(nodes[2].addr, "GET /api/v1/users/Ada", "");
    let clients: Vec<&str> =
        of_ada["connections"].as_array().unwrap().iter().map(|it| it["client"].as_str().unwrap()).collect();
    assert_eq!(clients.len(), 2, "{of_ada}");
    let body = json!({"client": clients[0]}).to_string();
    let told = ask(nodes[2].addr, "POST /api/v1/disconnect", &body);
    assert_eq!(told, (200, json!({"disconnected": 1})));
    wait_until("one of the two is left", || all(&nodes, "connections").len() == 7);
    // A list that was at a server which is gone goes on at the next one, or ends.
    let places: Vec<String> = {
        let mut places = Vec::new();
        let mut what = "GET /api/v1/connections?limit=1".to_owned();
        while let Some(next) = ask(nodes[0].addr, &what, "").1["next"].as_str() {
            places.push(next.to_owned());
            what = format!("GET /api/v1/connections?limit=1&after={next}");
        }
        places
    };
    let mut gone = nodes.remove(1);
    gone.signal("TERM");
    gone.wait(SOON);
    wait_until("it is gone", || all(&nodes, "connections").iter().all(|it| it["user"] != "Bob"));
    for place in places {
        let (status, page) = ask(nodes[0].addr, &format!("GET /api/v1/connections?after={place}"), "");
        assert!(status == 200 && page["connections"].is_array(), "{place}: {page}");
    }
    let (status, refused) = ask(nodes[0].addr, "GET /api/v1/connections?after=0-0.9.9", "");
    assert_eq!((status, &refused["field"]), (422, &json!("after")), "{refused}");
}
