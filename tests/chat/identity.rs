//! Guests and verified users of one name are different users, and so is the server in a user's name.

use serde_json::{Value, json};
use switchboard::chat::command::Command;
use switchboard::chat::{Limits, Rate};

use crate::world::{Call, Client, World, list};

fn keyed(world: &mut World, client: Client, room: &str) -> Value {
    let post = json!({"type": "post", "id": 1, "room": room, "text": "x", "key": "k"});
    world.send(client, &post);
    world.tick();
    world.take(client).into_iter().find(|value| value["id"] == 1).unwrap()
}

/// Ada has a token, leaves, and a guest takes the name.
fn ada_then_a_guest(world: &mut World) -> Client {
    let ada = world.verified("Ada");
    world.join(ada, "r");
    assert_eq!(keyed(world, ada, "r")["type"], "ack");
    world.send(ada, &json!({"type": "react", "room": "r", "seq": 1, "emoji": "👍"}));
    world.send(ada, &json!({"type": "read", "room": "r", "seq": 1}));
    world.tick();
    world.cut(ada);
    world.tick();
    world.member("Ada", "r")
}

#[test]
fn a_key_is_of_a_user_a_room_and_a_kind_of_user() {
    let mut world = World::in_memory();
    let guest = ada_then_a_guest(&mut world);
    let first = keyed(&mut world, guest, "r");
    assert_eq!((&first["seq"], &first["duplicate"]), (&json!(2), &Value::Null), "not Ada's");
    let again = keyed(&mut world, guest, "r");
    assert_eq!((&again["seq"], &again["duplicate"]), (&json!(2), &json!(true)));
    world.join(guest, "s");
    let other = keyed(&mut world, guest, "s");
    assert_eq!((&other["seq"], &other["duplicate"]), (&json!(1), &Value::Null), "another room");
    let command = Command::Post {
        room: "r".into(),
        text: "x".into(),
        key: Some("k".into()),
        data: None,
        reply_to: None,
    };
    world.call(Call::Command(7, Some("Ada".to_owned()), command));
    let (_, answer) = world.answered().remove(0);
    assert_eq!((&answer["seq"], &answer["duplicate"]), (&json!(3), &Value::Null), "nor the server's");
}

#[test]
fn keys_keep_their_scope_after_a_restart() {
    let mut world = World::on_disk();
    let ada = world.verified("Ada");
    world.join(ada, "r");
    keyed_on_disk(&mut world, ada, "r");
    let mut world = world.restart();
    let guest = world.member("Ada", "r");
    assert_eq!(keyed_on_disk(&mut world, guest, "r")["duplicate"], Value::Null);
    let ada = world.verified("Ada");
    world.join(ada, "r");
    assert_eq!(keyed_on_disk(&mut world, ada, "r")["seq"], 1);
    world.join(ada, "s");
    assert_eq!(keyed_on_disk(&mut world, ada, "s")["duplicate"], Value::Null);
}

fn keyed_on_disk(world: &mut World, client: Client, room: &str) -> Value {
    world.take(client);
    world.send(client, &json!({"type": "post", "id": 1, "room": room, "text": "x", "key": "k"}));
    world.tick();
    world.commit();
    world.take(client).into_iter().find(|value| value["id"] == 1).unwrap()
}

#[test]
fn keys_end_by_the_clock_and_not_by_the_time_of_a_room() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "r");
    world.join(ada, "ahead");
    assert_eq!(keyed(&mut world, ada, "r")["seq"], 1);
    // For a moment the clock of the wall is wrong, and a room takes its time from it.
    world.jump(3_600_000);
    keyed(&mut world, ada, "ahead");
    world.jump(-3_600_000);
    world.send(ada, &json!({"type": "post", "room": "ahead", "text": "x", "key": "another"}));
    world.tick();
    assert_eq!(keyed(&mut world, ada, "r")["duplicate"], true);
    world.advance(10 * 60_000);
    assert_eq!(keyed(&mut world, ada, "r")["seq"], 2);
    assert_eq!(keyed(&mut world, ada, "ahead")["duplicate"], Value::Null);
}

#[test]
fn a_guest_changes_nothing_that_is_a_verified_users() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let bob = world.member("Bob", "r");
        let ada = world.verified("Ada");
        world.join(ada, "r");
        let done = |world: &mut World, client: Client, command: &Value| {
            world.send(client, command);
            world.tick();
            if on_disk {
                world.answer();
                world.commit();
            }
        };
        let react =
            |remove: bool| json!({"type": "react", "room": "r", "seq": 1, "emoji": "👍", "remove": remove});
        done(&mut world, ada, &json!({"type": "post", "room": "r", "text": "one"}));
        done(&mut world, ada, &react(false));
        done(&mut world, ada, &json!({"type": "read", "room": "r", "seq": 1}));
        world.cut(ada);
        world.tick();
        let guest = world.person("Ada");
        let joined = world.join(guest, "r");
        assert_eq!(joined["read"], 0, "a guest has read nothing of what Ada has");
        done(&mut world, guest, &react(true));
        done(&mut world, guest, &react(false));
        done(&mut world, guest, &json!({"type": "post", "room": "r", "text": "two"}));
        done(&mut world, guest, &json!({"type": "read", "room": "r", "seq": 2}));
        world.take(bob);
        let messages = list(&world.join(bob, "r"), "messages");
        assert_eq!(messages[0]["reactions"], json!({"👍": ["Ada", "Ada"]}), "hers and the guest's");
        assert_eq!(messages[0]["reactions_verified"], json!({"👍": ["Ada"]}));
        world.cut(guest);
        world.tick();
        let ada = world.verified("Ada");
        assert_eq!(world.join(ada, "r")["read"], 1);
        world.take(bob);
        done(&mut world, ada, &react(true));
        let told = world.take_type(bob, "reacted");
        assert_eq!((&told[0]["verified"], &told[0]["removed"]), (&json!(true), &json!(true)));
        let messages = list(&world.join(bob, "r"), "messages");
        assert_eq!(messages[0]["reactions"], json!({"👍": ["Ada"]}));
        assert_eq!(messages[0]["reactions_verified"], Value::Null);
    }
}

#[test]
fn the_read_marks_of_guests_go_with_them() {
    let mut world = World::in_memory();
    let (bob, first, second) = (world.member("Bob", "r"), world.member("Eve", "r"), world.member("eve", "r"));
    world.post(bob, "r", "x");
    world.tick();
    world.send(first, &json!({"type": "read", "room": "r", "seq": 1}));
    world.tick();
    world.cut(first);
    world.tick();
    world.take(second);
    assert_eq!(world.join(second, "r")["read"], 1, "somebody of that name is still here");
    world.ask(second, &json!({"type": "leave", "room": "r"}));
    assert_eq!(world.join(second, "r")["read"], 0);
}

#[test]
fn a_rate_is_not_forgotten_with_the_last_connection() {
    let posts = Rate { per_second: 10, burst: 10 };
    let mut world = World::in_memory_with(Limits::default().with(|it| {
        it.posts = posts;
        it.address_posts = Rate::default();
    }));
    let mut acked = 0;
    for _ in 0..5 {
        let ada = world.member("Ada", "r");
        for _ in 0..10 {
            world.post(ada, "r", "x");
        }
        world.tick();
        acked += world.take_type(ada, "ack").len();
        world.cut(ada);
        world.tick();
    }
    assert_eq!(acked, 10);
    world.advance(1000);
    let ada = world.member("Ada", "r");
    for _ in 0..11 {
        world.post(ada, "r", "x");
    }
    world.tick();
    assert_eq!(world.take_type(ada, "ack").len(), 10);
}

#[test]
fn a_rate_counts_from_the_first_command_and_for_every_way_in() {
    let posts = Rate { per_second: 10, burst: 10 };
    let mut world = World::in_memory_with(Limits::default().with(|it| {
        it.posts = posts;
        it.address_posts = Rate::default();
    }));
    let bob = world.person("Bob");
    world.join(bob, "general");
    let mut shown = 0;
    for _ in 0..4 {
        let tab = world.open("/ws", "json", "127.0.0.1:5000");
        world.tick();
        for _ in 0..5 {
            world.send(tab, &json!({"user": "Ada", "text": "x"}));
        }
        world.tick();
        shown += world.take_type(bob, "message").len();
        world.cut(tab);
        world.tick();
    }
    assert_eq!(shown, 10);
}

#[test]
fn a_table_of_rates_is_bounded() {
    let limits = Limits::default().with(|it| {
        it.max_resting = 0;
        it.address_posts = Rate::default();
    });
    let mut world = World::in_memory_with(limits);
    for _ in 0..2 {
        let ada = world.member("Ada", "r");
        for _ in 0..40 {
            world.post(ada, "r", "x");
        }
        world.tick();
        assert_eq!(world.take_type(ada, "ack").len(), 40, "nobody is remembered");
        world.cut(ada);
        world.tick();
    }
}

#[test]
fn client_ids_of_two_runs_are_not_the_same() {
    let ids = |seed: u64| {
        let mut world = World::seeded(seed);
        let clients = [world.member("Ada", "r"), world.member("Bob", "r")];
        let who = world.ask(clients[0], &json!({"type": "who", "room": "r"}));
        list(&who, "members")
            .iter()
            .map(|member| member["client"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let (one, other) = (ids(1), ids(2));
    assert!(one.iter().all(|id| id.len() == 11 && !other.contains(id)), "{one:?} {other:?}");
}

#[test]
fn a_repeated_direct_names_the_conversation_after_a_restart_too() {
    let mut world = World::on_disk();
    let (ada, _bob) = (world.verified("Ada"), world.verified("Bob"));
    let direct = json!({"type": "direct", "id": 1, "to": "bob", "text": "hi", "key": "k"});
    world.send(ada, &direct);
    world.tick();
    world.answer();
    world.commit();
    let mut world = world.restart();
    let ada = world.verified("Ada");
    for (name, here) in [("@bob", false), ("@Bob", true)] {
        if here {
            world.verified("Bob");
        }
        let ack = world.ask(ada, &direct);
        assert_eq!((&ack["room"], &ack["seq"], &ack["duplicate"]), (&json!(name), &json!(1), &json!(true)));
    }
}

#[test]
fn names_that_look_like_those_of_verified_users_are_told_apart() {
    let mut world = World::in_memory();
    let (ada, guest) = (world.verified("Ada"), world.member("\u{410}da", "r"));
    let bob = world.member("Bob", "r");
    let members = list(&world.join(ada, "r"), "members");
    let shown: Vec<_> = members.iter().map(|member| (&member["verified"], &member["lookalike"])).collect();
    assert!(shown.contains(&(&json!(false), &json!(true))) && shown.contains(&(&json!(true), &Value::Null)));
    world.take(bob);
    world.post(guest, "r", "I am Ada");
    world.post(ada, "r", "no");
    world.tick();
    let told = world.take_type(bob, "message");
    for messages in [told, list(&world.join(bob, "r"), "messages")] {
        assert_eq!(messages.len(), 2);
        for message in messages {
            assert_eq!(message["lookalike"] == true, message["user"] != "Ada", "{message}");
        }
    }
}

#[test]
fn invisible_characters_make_no_other_name() {
    let mut world = World::in_memory();
    let ada = world.member("Ada", "team");
    let twin = world.member("Ada\u{fe0f}", "team\u{fe0f}");
    assert_eq!(world.chat().stats().users, 1);
    let who = world.ask(ada, &json!({"type": "who", "room": "team"}));
    assert_eq!(who["count"], 2);
    let _ = twin;
    let client = world.connect();
    for name in ["\u{fe0f}", "\u{200b}", "a\u{200c}b", "\u{3164}"] {
        assert_eq!(
            world.ask(client, &json!({"type": "hello", "user": name}))["code"],
            "bad_field",
            "{name:?}"
        );
    }
}

#[test]
fn au_03_a_forged_position_concerns_nobody_else() {
    let mut world = World::on_disk();
    let ada = world.member("Ada", "r");
    world.post(ada, "r", "one");
    world.tick();
    world.commit();
    world.take(ada);
    let epoch = world.join(ada, "r")["epoch"].clone();
    let eve = world.person("Eve");
    for seq in [2, 1_u64 << 52] {
        let since = json!({"epoch": epoch, "seq": seq, "rev": 0});
        let joined = world.ask(eve, &json!({"type": "join", "room": "r", "since": since}));
        assert_eq!((&joined["recovered"], &joined["epoch"]), (&json!(false), &epoch));
    }
    world.take(ada);
    let since = json!({"epoch": epoch, "seq": 1, "rev": 0});
    let joined = world.ask(ada, &json!({"type": "join", "room": "r", "since": since}));
    assert_eq!((&joined["recovered"], &joined["epoch"]), (&json!(true), &epoch));
}
