//! A verified person is the subject of their tokens: what is theirs stays theirs under every name that they come with, and is
//! nobody else's who comes with one of their names.

use serde_json::{Value, json};
use switchboard::chat::command::Command;
use switchboard::chat::{Limits, Rate};

use crate::world::{Call, Client, World, list, seqs};

/// Does something, to its end.
fn done(world: &mut World, client: Client, command: &Value) -> Value {
    world.send(client, command);
    world.tick();
    if world.is_on_disk() {
        world.answer();
        world.commit();
    }
    let got = world.take(client);
    let is_answer = |value: &&Value| matches!(value["type"].as_str(), Some("ack" | "error"));
    got.iter().find(is_answer).cloned().unwrap_or_default()
}

fn leaves(world: &mut World, client: Client) {
    world.cut(client);
    world.tick();
}

fn kinds() -> [World; 2] {
    [World::in_memory(), World::on_disk()]
}

/// On the disk everything is read back.
fn again(world: World) -> World {
    if world.is_on_disk() { world.restart() } else { world }
}

fn edit(seq: u64) -> Value {
    json!({"type": "edit", "room": "r", "seq": seq, "text": "other words"})
}

fn react(remove: bool) -> Value {
    json!({"type": "react", "room": "r", "seq": 1, "emoji": "👍", "remove": remove})
}

#[test]
fn messages_reactions_and_keys_are_a_persons_under_every_name() {
    for mut world in kinds() {
        let ada = world.verified("x1/Ada");
        world.join(ada, "r");
        let keyed = json!({"type": "post", "room": "r", "text": "one", "key": "k"});
        done(&mut world, ada, &keyed);
        done(&mut world, ada, &json!({"type": "post", "room": "r", "text": "two"}));
        done(&mut world, ada, &react(false));
        done(&mut world, ada, &json!({"type": "read", "room": "r", "seq": 2}));
        leaves(&mut world, ada);
        let mut world = again(world);
        // Those who have nothing of hers: a guest of that name, and somebody else who looks like her.
        for name in ["Ada", "Ada L"] {
            let guest = world.person(name);
            world.join(guest, "r");
            for command in [edit(1), json!({"type": "delete", "room": "r", "seq": 2})] {
                assert_eq!(done(&mut world, guest, &command)["code"], "forbidden", "{name}");
            }
            leaves(&mut world, guest);
        }
        let eve = world.verified("x2/Eve");
        world.join(eve, "r");
        assert_eq!(done(&mut world, eve, &edit(1))["code"], "forbidden");
        let ada = world.verified("x1/Ada L");
        let joined = world.join(ada, "r");
        assert_eq!(joined["read"], 2);
        let again = done(&mut world, ada, &keyed);
        assert_eq!((&again["seq"], &again["duplicate"]), (&json!(1), &json!(true)));
        assert_eq!(done(&mut world, ada, &edit(1))["type"], "ack");
        // One reaction of each kind for each person: this one is there already.
        done(&mut world, ada, &react(false));
        let messages = list(&world.join(ada, "r"), "messages");
        assert_eq!(messages[0]["reactions"], json!({"👍": ["Ada"]}));
        done(&mut world, ada, &react(true));
        assert_eq!(done(&mut world, ada, &json!({"type": "delete", "room": "r", "seq": 2}))["type"], "ack");
        let messages = list(&world.join(ada, "r"), "messages");
        assert_eq!((&messages[0]["reactions"], &messages[1]["deleted"]), (&Value::Null, &json!(true)));
        // And back under the first name.
        leaves(&mut world, ada);
        done(&mut world, eve, &json!({"type": "post", "room": "r", "text": "three"}));
        let ada = world.verified("x1/Ada");
        world.join(ada, "r");
        assert_eq!(done(&mut world, ada, &edit(1))["type"], "ack");
        assert_eq!(done(&mut world, ada, &edit(3))["code"], "forbidden");
    }
}

#[test]
fn nobody_else_gets_a_name_that_a_person_had() {
    for mut world in kinds() {
        for token in ["x1/Ada", "x1/Ada L"] {
            let ada = world.verified(token);
            leaves(&mut world, ada);
        }
        if world.is_on_disk() {
            world.answer();
        }
        let mut world = again(world);
        for token in ["x2/Ada", "x2/ada l", "Ada"] {
            let other = world.connect();
            let refused = world.ask(other, &json!({"type": "hello", "token": format!("good-{token}")}));
            assert_eq!(
                (&refused["code"], &refused["field"]),
                (&json!("forbidden"), &json!("token")),
                "{token}"
            );
        }
        // While she is here no guest has any of them; when she comes, guests lose them.
        let guests = ["Ada", "Ada L"].map(|name| world.person(name));
        let ada = world.verified("x1/Ada L");
        for guest in guests {
            world.take(guest);
            assert_eq!(world.close_code(guest), Some(4001));
        }
        let guest = world.connect();
        for name in ["ada", "ADA L"] {
            assert_eq!(world.ask(guest, &json!({"type": "hello", "user": name}))["code"], "forbidden");
        }
        leaves(&mut world, ada);
        assert_eq!(world.ask(guest, &json!({"type": "hello", "user": "ada"}))["type"], "welcome");
    }
}

#[test]
fn conversations_and_what_is_read_of_them_are_a_persons_under_every_name() {
    for mut world in kinds() {
        let (ada, bob) = (world.verified("x1/Ada"), world.verified("x2/Bob"));
        let direct = |to: &str, text: &str| json!({"type": "direct", "to": to, "text": text, "key": text});
        assert_eq!(done(&mut world, ada, &direct("Bob", "one"))["seq"], 1);
        assert_eq!(done(&mut world, bob, &direct("Ada", "two"))["seq"], 2);
        done(&mut world, ada, &json!({"type": "read", "room": "@Bob", "seq": 1}));
        for client in [ada, bob] {
            leaves(&mut world, client);
        }
        let mut world = again(world);
        let (ada, bob) = (world.verified("x1/Ada L"), world.verified("x2/Robert"));
        // Whatever they are called by.
        let again = done(&mut world, ada, &direct("robert", "one"));
        assert_eq!((&again["seq"], &again["duplicate"]), (&json!(1), &json!(true)));
        assert_eq!(done(&mut world, ada, &direct("bob", "three"))["seq"], 3);
        let told = world.take_type(bob, "direct");
        assert_eq!(
            told.iter().map(|direct| (&direct["from"], &direct["to"])).collect::<Vec<_>>(),
            [(&json!("Ada L"), &json!("Robert"))]
        );
        assert_eq!(done(&mut world, bob, &direct("ada", "four"))["seq"], 4);
        for (client, other, read) in [(ada, "Robert", 1), (bob, "Ada L", 0)] {
            let answer = world.ask(client, &json!({"type": "conversations"}));
            let conversations = list(&answer, "conversations");
            assert_eq!(conversations.len(), 1, "{answer}");
            let conversation = &conversations[0];
            assert_eq!(
                (&conversation["user"], &conversation["seq"], &conversation["read"]),
                (&json!(other), &json!(4), &json!(read))
            );
        }
        for name in ["@bob", "@robert"] {
            let history = world.ask(ada, &json!({"type": "history", "room": name}));
            assert_eq!(seqs(&list(&history, "messages")), [1, 2, 3, 4]);
        }
        // A guest who takes the name that is free again has no conversation, and gets nothing of it.
        leaves(&mut world, bob);
        let guest = world.person("Bob");
        assert_eq!(world.ask(guest, &json!({"type": "conversations"}))["conversations"], json!([]));
        done(&mut world, ada, &direct("robert", "five"));
        assert_eq!(world.take_type(guest, "direct").len(), 0);
    }
}

#[test]
fn a_ban_is_the_persons_under_every_name() {
    for mut world in kinds() {
        let boss = world.verified("Boss:*");
        for token in ["x1/Ada", "x1/Ada-L"] {
            let ada = world.verified(token);
            leaves(&mut world, ada);
        }
        let ada = world.verified("x1/Ada");
        done(&mut world, boss, &json!({"type": "ban", "user": "ada-l"}));
        world.take(ada);
        assert_eq!(world.close_code(ada), Some(4002));
        let mut world = again(world);
        for token in ["x1/Ada", "x1/Ada-L", "x1/Countess"] {
            let banned = world.connect();
            world.send(banned, &json!({"type": "hello", "token": format!("good-{token}")}));
            world.tick();
            world.take(banned);
            assert_eq!(world.close_code(banned), Some(4002), "{token}");
            let tab = world.open(&format!("/ws?token=good-{token}"), "json", "127.0.0.1:5000");
            world.tick();
            assert_eq!(world.status(tab), Some(403), "{token}");
        }
        let boss = world.verified("Boss:*");
        // A second ban takes the place of the first.
        for name in ["countess", "Ada"] {
            assert_eq!(done(&mut world, boss, &json!({"type": "ban", "user": name}))["type"], "ack");
        }
        assert_eq!(done(&mut world, boss, &json!({"type": "unban", "user": "ada"}))["type"], "ack");
        assert_eq!(done(&mut world, boss, &json!({"type": "unban", "user": "ada-l"}))["code"], "not_found");
        world.verified("x1/Ada-L");
    }
}

#[test]
fn names_that_were_banned_before_they_were_one_persons_are_lifted_together() {
    let mut world = World::in_memory();
    let boss = world.verified("Boss:*");
    let ada = world.verified("x1/Ada");
    leaves(&mut world, ada);
    for name in ["ada l", "ada"] {
        world.ask(boss, &json!({"type": "ban", "user": name}));
    }
    let ada = world.connect();
    world.send(ada, &json!({"type": "hello", "token": "good-x1/Ada L"}));
    world.tick();
    world.take(ada);
    assert_eq!(world.close_code(ada), Some(4002));
    assert_eq!(world.ask(boss, &json!({"type": "unban", "user": "ADA"}))["type"], "ack");
    world.verified("x1/Ada L");
}

#[test]
fn a_rate_is_the_persons_under_every_name() {
    let posts = Rate { per_second: 10, burst: 10 };
    let mut world = World::in_memory_with(Limits::default().with(|it| {
        it.posts = posts;
        it.address_posts = Rate::default();
    }));
    let mut acked = 0;
    for nth in 0..5 {
        let ada = world.verified(&format!("x1/Ada {nth}"));
        world.join(ada, "r");
        for _ in 0..10 {
            world.post(ada, "r", "x");
        }
        world.tick();
        acked += world.take_type(ada, "ack").len();
        leaves(&mut world, ada);
    }
    assert_eq!(acked, 10);
}

#[test]
fn two_connections_of_one_person_are_one_user_called_as_the_last_token_says() {
    let mut world = World::in_memory();
    let (first, second) = (world.verified("x1/Ada"), world.verified("x1/Ada L"));
    world.join(first, "r");
    let members = list(&world.join(second, "r"), "members");
    assert_eq!(world.chat().stats().users, 1);
    assert!(members.iter().all(|member| member["user"] == "Ada L"), "{members:?}");
    world.post(first, "r", "x");
    world.tick();
    world.take(first);
    assert_eq!(world.ask(second, &edit(1))["type"], "ack");
    // Moderators may name either.
    let boss = world.verified("Boss:*");
    world.join(boss, "r");
    assert_eq!(world.ask(boss, &json!({"type": "kick", "room": "r", "user": "ada"}))["type"], "ack");
    assert_eq!(list(&world.ask(boss, &json!({"type": "who", "room": "r"})), "members").len(), 1);
    world.call(Call::DisconnectUser("ada".to_owned()));
    for client in [first, second] {
        world.take(client);
        assert_eq!(world.close_code(client), Some(4004));
    }
}

#[test]
fn a_token_that_names_one_of_a_persons_names_permits_the_conversation_with_them() {
    let mut world = World::in_memory();
    for token in ["x2/Bob", "x2/Robert"] {
        let bob = world.verified(token);
        leaves(&mut world, bob);
    }
    let _bob = world.verified("x2/Robert");
    for (pattern, may) in [("@bob", true), ("@robert", true), ("@eve", false)] {
        let ada = world.verified(&format!("x1/Ada:{pattern}=jp"));
        for to in ["bob", "robert"] {
            let got = world.ask(ada, &json!({"type": "direct", "to": to, "text": "x"}));
            assert_eq!(got["type"] == "ack", may, "{pattern} {to}: {got}");
        }
        leaves(&mut world, ada);
    }
}

/// Other parts of the server post as whoever they like; that is shown as theirs, and is the server's.
#[test]
fn what_the_server_posts_in_a_name_is_nobodys_who_has_it() {
    for mut world in kinds() {
        let ada = world.verified("x1/Ada");
        world.join(ada, "r");
        for (request, name) in [(1, "Ada"), (2, "Robot"), (3, "Guest")] {
            let command = Command::Post {
                room: "r".into(),
                text: name.into(),
                key: Some("k".into()),
                data: None,
                reply_to: None,
            };
            world.call(Call::Command(request, Some(name.to_owned()), command));
            if world.is_on_disk() {
                world.commit();
            }
        }
        let told = world.take_type(ada, "message");
        assert!(told.iter().all(|message| message["client"] == "server" && message["verified"] == true));
        leaves(&mut world, ada);
        let mut world = again(world);
        // One held the name, one takes it later, one has it without a token.
        let clients = [world.verified("x1/Ada"), world.verified("x9/Robot"), world.person("Guest")];
        for (client, seq) in clients.into_iter().zip(1..) {
            world.join(client, "r");
            assert_eq!(done(&mut world, client, &edit(seq))["code"], "forbidden");
            assert_eq!(
                done(&mut world, client, &json!({"type": "delete", "room": "r", "seq": seq}))["code"],
                "forbidden"
            );
            let keyed = json!({"type": "post", "room": "r", "text": "x", "key": "k"});
            assert_eq!(done(&mut world, client, &keyed)["duplicate"], Value::Null);
        }
        // The server's own key is known, whoever has the name now.
        let command = Command::Post {
            room: "r".into(),
            text: "Robot".into(),
            key: Some("k".into()),
            data: None,
            reply_to: None,
        };
        world.call(Call::Command(4, Some("robot".to_owned()), command));
        if world.is_on_disk() {
            world.commit();
        }
        let answered = world.answered();
        let (_, answer) = answered.last().unwrap();
        assert_eq!((&answer["seq"], &answer["duplicate"]), (&json!(2), &json!(true)));
        let boss = world.verified("Boss:*");
        world.join(boss, "r");
        assert_eq!(done(&mut world, boss, &edit(1))["type"], "ack", "a moderator may");
    }
}

#[test]
fn who_is_called_as_their_subject_stays_the_same_person_under_another_name() {
    for mut world in kinds() {
        let ada = world.verified("Ada");
        world.join(ada, "r");
        done(&mut world, ada, &json!({"type": "post", "room": "r", "text": "x"}));
        leaves(&mut world, ada);
        let mut world = again(world);
        let ada = world.verified("Ada/Countess");
        world.join(ada, "r");
        assert_eq!(done(&mut world, ada, &edit(1))["type"], "ack");
    }
}
