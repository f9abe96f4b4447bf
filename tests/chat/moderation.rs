//! Kicks and bans, and what the rest of the server does.

use serde_json::{Value, json};
use switchboard::chat::command::Command;

use crate::world::{Call, World, list, texts};

#[test]
fn a_kick_removes_a_user_from_a_room_and_no_more() {
    let mut world = World::in_memory();
    let boss = world.verified("Boss:r+s=jp");
    world.join(boss, "r");
    world.join(boss, "s");
    let both = [world.member("Bob", "r"), world.member("Bob", "r")];
    world.advance(200);
    let kick = |room: &str, user: &str| json!({"type": "kick", "id": 1, "room": room, "user": user, "reason": "spam"});
    assert_eq!(world.ask(both[0], &kick("r", "Boss"))["code"], "forbidden");
    assert_eq!(world.ask(boss, &kick("s", "Bob"))["code"], "forbidden", "of this room only");
    assert_eq!(world.ask(boss, &kick("r", "Nobody"))["code"], "not_found");
    for bob in &both {
        world.take(*bob);
    }
    assert_eq!(world.ask(boss, &kick("r", "BOB"))["type"], "ack");
    for bob in both {
        let kicked = world.take(bob).remove(0);
        assert_eq!(
            (&kicked["type"], &kicked["room"], &kicked["reason"]),
            (&json!("kicked"), &json!("r"), &json!("spam"))
        );
        assert_eq!(world.ask(bob, &json!({"type": "who", "room": "r"}))["code"], "not_joined");
        assert_eq!(world.join(bob, "r")["type"], "joined", "a kick is no ban");
    }
}

#[test]
fn a_moderator_changes_what_others_wrote() {
    let mut world = World::in_memory();
    let boss = world.verified("Boss:r");
    world.join(boss, "r");
    let bob = world.member("Bob", "r");
    world.post(bob, "r", "rude");
    world.tick();
    world.take(boss);
    assert_eq!(
        world.ask(boss, &json!({"type": "edit", "room": "r", "seq": 1, "text": "kind"}))["type"],
        "ack"
    );
    assert_eq!(world.ask(boss, &json!({"type": "delete", "room": "r", "seq": 1}))["type"], "ack");
}

#[test]
fn a_ban_ends_connections_and_keeps_the_user_out_until_it_ends() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let boss = world.verified("Boss:*");
        let local = world.verified("Local:r");
        let bob = world.member("Bob", "r");
        let ban = json!({"type": "ban", "user": "bob", "seconds": 60, "reason": "spam"});
        assert_eq!(world.ask(local, &ban)["code"], "forbidden", "a moderator of every room bans");
        world.send(boss, &ban);
        world.tick();
        if on_disk {
            world.take(bob);
            assert_eq!(world.take_type(boss, "ack"), Vec::<Value>::new());
            world.commit();
        }
        assert_eq!(world.take_type(boss, "ack").len(), 1);
        let byes = world.take_type(bob, "bye");
        assert_eq!((byes.len(), &byes[0]["reason"]), (1, &json!("banned")));
        let wait = byes[0]["retry_after_ms"].as_u64().unwrap();
        assert!((50_000..=60_000).contains(&wait), "the ban ends in {wait} ms");
        assert_eq!(world.close_code(bob), Some(4002));
        if on_disk {
            world = world.restart();
        }
        let boss = if on_disk { world.verified("Boss:*") } else { boss };
        for hello in [json!({"type": "hello", "user": "BOB"}), json!({"type": "hello", "token": "good-Bob"})]
        {
            let again = world.connect();
            world.send(again, &hello);
            world.tick();
            let told = world.take(again);
            let bye = told.iter().find(|value| value["reason"] == "banned").unwrap();
            assert!(bye["retry_after_ms"].as_u64().unwrap() > 0, "{bye}");
            assert_eq!(world.close_code(again), Some(4002));
        }
        world.advance(60_000);
        world.person("Bob");
        assert_eq!(world.ask(boss, &json!({"type": "unban", "user": "Bob"}))["code"], "not_found");
        for command in [json!({"type": "ban", "user": "Eve"}), json!({"type": "unban", "user": "Eve"})] {
            world.send(boss, &command);
            world.tick();
            world.commit();
            assert_eq!(world.take_type(boss, "ack").len(), 1);
        }
        world.person("Eve");
    }
}

#[test]
fn the_rest_of_the_server_does_the_same_on_the_same_ways() {
    let mut world = World::on_disk();
    let bob = world.member("Bob", "r");
    world.advance(200);
    world.take(bob);
    let post = |key: &'static str| Command::Post {
        room: "R".into(),
        text: "from the API".into(),
        key: Some(key.into()),
        data: None,
        reply_to: None,
    };
    world.call(Call::Command(1, Some("Bot".to_owned()), post("k")));
    world.call(Call::Command(2, Some("Bot".to_owned()), post("k")));
    assert_eq!(world.answered(), [], "nothing is said before the commit");
    world.commit();
    let message = world.take_type(bob, "message").remove(0);
    assert_eq!(
        (&message["user"], &message["client"], &message["verified"]),
        (&json!("Bot"), &json!("server"), &json!(true))
    );
    let answered = world.answered();
    assert_eq!(answered.iter().map(|(request, _)| *request).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((&answered[0].1["seq"], &answered[1].1["duplicate"]), (&json!(1), &json!(true)));
    // A room that nobody is in is opened for it.
    world.call(Call::Command(3, None, Command::Who { room: "elsewhere".into() }));
    world.call(Call::Command(
        4,
        None,
        Command::History { room: "r".into(), before: None, after: None, limit: None },
    ));
    world.call(Call::Command(5, Some("a  b".to_owned()), post("l")));
    world.call(Call::Command(6, None, Command::Join { room: "r".into(), since: None, history: None }));
    world.answer();
    let answered = world.answered();
    let of = |request: u64| answered.iter().find(|(other, _)| *other == request).unwrap().1.clone();
    assert_eq!((&of(3)["type"], &of(3)["count"]), (&json!("members"), &json!(0)));
    assert_eq!(texts(&list(&of(4), "messages")), ["from the API"]);
    assert_eq!((&of(5)["code"], &of(6)["code"]), (&json!("bad_field"), &json!("bad_field")));
    let rooms: Vec<String> = world.chat().rooms().iter().map(|room| room.name.to_string()).collect();
    assert_eq!(rooms, ["general", "r"]);

    world.call(Call::Broadcast("maintenance at noon".to_owned()));
    assert_eq!(world.take_type(bob, "broadcast")[0]["text"], "maintenance at noon");
    let other = world.person("Bob");
    let welcome = world.connect();
    let client =
        world.ask(welcome, &json!({"type": "hello", "user": "Eve"}))["client"].as_str().unwrap().to_owned();
    world.call(Call::DisconnectUser("BOB".to_owned()));
    world.call(Call::DisconnectClient(client));
    for client in [bob, other, welcome] {
        assert_eq!(world.take_type(client, "bye")[0]["reason"], "disconnected");
        assert_eq!(world.close_code(client), Some(4004));
    }
    world.call(Call::DisconnectClient("c0".to_owned()));
}
