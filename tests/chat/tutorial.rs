//! The subprotocol `json`: a view on the room `general`.

use serde_json::{Value, json};
use switchboard::chat::Limits;
use switchboard::reactor::Config;

use crate::world::{Client, World, list, options, texts};

fn tab(world: &mut World) -> Client {
    let client = world.open("/", "json", "127.0.0.1:5000");
    world.tick();
    client
}

#[test]
fn messages_cross_both_ways() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let ada = world.member("Ada", "General");
        let tab = tab(&mut world);
        assert_eq!(world.next(tab), json!({"msg": []}));
        world.post(ada, "general", "from v1");
        world.send(tab, &json!({"user": "Bob", "text": "from json"}));
        world.tick();
        if on_disk {
            assert_eq!(world.take(tab), Vec::<Value>::new());
            world.commit();
        }
        let lists = world.take(tab);
        assert_eq!(lists.len(), 1, "one list in a turn");
        assert_eq!(texts(&list(&lists[0], "msg")), ["from json", "from v1"]);
        let got = world.take_type(ada, "message");
        assert_eq!(texts(&got), ["from v1", "from json"]);
        assert_eq!((&got[1]["user"], &got[1]["verified"]), (&json!("Bob"), &Value::Null));
        // A deleted message is not shown.
        world.send(ada, &json!({"type": "delete", "room": "general", "seq": 1}));
        world.tick();
        if on_disk {
            world.commit();
        }
        assert_eq!(texts(&list(&world.next(tab), "msg")), ["from json"]);
    }
}

#[test]
fn who_comes_in_the_turn_of_a_post_gets_the_list_once() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "general");
    world.post(ada, "general", "x");
    let tab = tab(&mut world);
    assert_eq!(texts(&list(&world.next(tab), "msg")), ["x"]);
}

#[test]
fn before_the_room_is_open_nobody_is_told_that_it_is_empty() {
    let mut world = World::on_disk();
    let ada = world.member("Ada", "general");
    world.post(ada, "general", "old");
    world.tick();
    world.commit();
    let disk = world.disk.clone();
    let mut world = World::with(options(), Some(disk), Config::default());
    let tab = tab(&mut world);
    assert_eq!(world.take(tab), Vec::<Value>::new());
    world.answer();
    assert_eq!(texts(&list(&world.next(tab), "msg")), ["old"]);
}

#[test]
fn names_and_rates_follow_the_same_rules() {
    let options = options().with(|it| it.limits = Limits::default());
    let mut world = World::with(options, None, Config::default());
    let ada = world.verified("Ada");
    let tab = tab(&mut world);
    world.take(tab);
    for user in ["ADA", "@x", "a\u{200b}", " a"] {
        world.send(tab, &json!({"user": user, "text": "x"}));
        world.tick();
        assert!(world.next(tab)["error"].is_string(), "{user}");
    }
    world.advance(10_000);
    for _ in 0..41 {
        world.send(tab, &json!({"user": "Bob", "text": "x"}));
    }
    world.tick();
    let got = world.take(tab);
    assert_eq!(got.iter().filter(|value| value["error"].is_string()).count(), 1);
    let lists: Vec<_> = got.iter().filter(|value| value["msg"].is_array()).collect();
    assert_eq!((lists.len(), list(lists[0], "msg").len()), (1, 40));
    let _ = ada;
}
