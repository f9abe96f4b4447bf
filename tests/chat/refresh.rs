//! A connection goes on with a new token.

use serde_json::{Value, json};

use crate::world::{Client, World, list};

fn both(test: impl Fn(&mut World)) {
    for mut world in [World::in_memory(), World::on_disk()] {
        test(&mut world);
    }
}

fn refresh(world: &mut World, client: Client, token: &str) -> Value {
    world.ask(client, &json!({"type": "refresh", "token": token}))
}

#[test]
fn a_session_lasts_as_long_as_its_newest_token() {
    both(|world| {
        let now = world.unix_ms() / 1000;
        let ada = world.connect();
        world.send(ada, &json!({"type": "hello", "token": format!("good-Ada@{}", now + 6)}));
        world.tick();
        let welcome = world.next(ada);
        assert_eq!(welcome["expires_ms"], 6_000);
        assert!(list(&welcome, "features").contains(&json!("refresh")));
        world.join(ada, "r");
        world.advance(5_000);
        let answer = refresh(world, ada, &format!("good-Ada@{}", now + 12));
        assert_eq!((&answer["type"], &answer["user"]), (&json!("refreshed"), &json!("Ada")));
        assert_eq!(answer["expires_ms"], 7_000);
        assert_eq!(answer["rooms"], json!({"r": ["join", "post"]}));
        world.advance(6_999);
        assert_eq!(world.ask(ada, &json!({"type": "post", "room": "r", "text": "x"}))["type"], "ack");
        world.advance(1);
        world.take(ada);
        assert_eq!(world.close_code(ada), Some(4003));
        assert_eq!(world.chat().stats().users, 0);
    });
}

#[test]
fn a_token_of_somebody_else_or_a_bad_one_changes_nothing() {
    both(|world| {
        let now = world.unix_ms() / 1000;
        let (ada, eve) = (world.verified(&format!("x1/Ada@{}", now + 6)), world.verified("Eve"));
        let guest = world.person("Guest");
        world.cut(eve);
        world.tick();
        for token in
            ["good-Eve", "good-x2/Ada", "good-x1/Eve", "bad", &format!("good-x1/Ada@{now}"), "good-x9/New"]
        {
            let refused = refresh(world, ada, token);
            assert_eq!(
                (&refused["code"], &refused["field"]),
                (&json!("forbidden"), &json!("token")),
                "{token}"
            );
        }
        assert_eq!(refresh(world, guest, "good-Guest")["code"], "forbidden");
        assert_eq!(world.ask(ada, &json!({"type": "refresh"}))["field"], "token");
        // What was refused was nobody's name either.
        world.verified("x9/New");
        assert_eq!(world.join(ada, "r")["type"], "joined", "the connection goes on");
        world.advance(6_000);
        world.take(ada);
        assert_eq!(world.close_code(ada), Some(4003), "until its own token ends");
    });
}

#[test]
fn new_permissions_hold_at_once() {
    both(|world| {
        let (ada, bob) = (world.verified("Ada:*=jp"), world.verified("Bob"));
        for room in ["a", "b"] {
            for client in [ada, bob] {
                world.join(client, room);
            }
        }
        world.advance(1000);
        world.take(ada);
        world.send(ada, &json!({"type": "refresh", "id": 1, "token": "good-Ada:a=j+*=m"}));
        world.tick();
        let got = world.take(ada);
        assert_eq!((&got[0]["type"], &got[0]["room"]), (&json!("kicked"), &json!("b")));
        assert_eq!(got[1]["rooms"], json!({"a": ["join", "moderate"]}));
        assert_eq!(got[1]["permissions"], json!(["ban"]));
        world.advance(1000);
        let left = world.take_type(bob, "presence");
        assert_eq!(left.last().unwrap()["left"][0]["user"], "Ada");
        assert_eq!(world.ask(ada, &json!({"type": "post", "room": "a", "text": "x"}))["code"], "forbidden");
        assert_eq!(world.ask(ada, &json!({"type": "post", "room": "b", "text": "x"}))["code"], "not_joined");
        refresh(world, ada, "good-Ada");
        assert_eq!(world.ask(ada, &json!({"type": "post", "room": "a", "text": "x"}))["type"], "ack");
        assert_eq!(world.join(ada, "b")["type"], "joined");
    });
}

#[test]
fn a_new_name_is_the_same_persons_and_no_guest_has_it() {
    both(|world| {
        let (ada, guest) = (world.verified("x1/Ada"), world.person("Countess"));
        assert_eq!(refresh(world, ada, "good-x1/Countess")["user"], "Countess");
        let bye = world.take(guest);
        assert_eq!(bye[0]["reason"], "name_taken");
        let bob = world.member("Bob", "r");
        world.join(ada, "r");
        world.take(bob);
        world.send(ada, &json!({"type": "post", "room": "r", "text": "x"}));
        world.tick();
        if world.is_on_disk() {
            world.commit();
        }
        let message = &world.take_type(bob, "message")[0];
        assert_eq!((&message["user"], &message["verified"]), (&json!("Countess"), &json!(true)));
    });
}
