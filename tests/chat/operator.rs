//! Lists of who is connected: bounded pages, each connection once, over one loop and over several.

use serde_json::{Value, json};
use switchboard::chat::command::Command;
use switchboard::chat::{Listing, MAX_CONNECTIONS_LISTED, Place};

use crate::cluster::Cluster;
use crate::world::{Call, World, list, options};

/// Places that one page looks at.
const MAX_LOOKED: usize = 4096;
/// Rooms that are named for one connection.
const MAX_ROOMS_NAMED: usize = 20;

/// One page, and how it was asked for.
fn page(world: &mut World, listing: &Listing, place: Place, limit: usize) -> Value {
    world.call(Call::List(listing.clone(), place, limit));
    world.answered().pop().unwrap().1
}

/// All pages of a list; each has at most so many elements.
fn pages(world: &mut World, listing: &Listing, name: &str, limit: usize) -> Vec<Vec<Value>> {
    let (mut found, mut place) = (Vec::new(), Some(Place::default()));
    while let Some(at) = place {
        let page = page(world, listing, at, limit);
        found.push(list(&page, name));
        place = page["next"].as_str().map(|next| next.parse().unwrap());
        assert!(found.len() < 1000, "the list has no end");
    }
    found
}

fn clients(pages: &[Vec<Value>]) -> Vec<String> {
    let mut clients: Vec<String> =
        pages.iter().flatten().map(|it| it["client"].as_str().unwrap().to_owned()).collect();
    clients.sort_unstable();
    clients
}

#[test]
fn a_page_has_a_bounded_number_of_elements_and_every_connection_is_in_one() {
    let mut world = World::in_memory();
    let count = 2 * MAX_CONNECTIONS_LISTED + 50;
    let members: Vec<_> = (0..count).map(|nth| world.member(&format!("user{nth}"), "hall")).collect();
    for (listing, name) in
        [(Listing::Connections(None), "connections"), (Listing::Members("hall".into()), "members")]
    {
        let pages = pages(&mut world, &listing, name, usize::MAX);
        assert!(pages.iter().all(|page| page.len() <= MAX_CONNECTIONS_LISTED), "{name}");
        let mut all = clients(&pages);
        all.dedup();
        assert_eq!(all.len(), count, "{name}: each once");
    }
    let users = pages(&mut world, &Listing::Users(None), "users", usize::MAX);
    assert_eq!(users.iter().map(Vec::len).sum::<usize>(), count);
    assert!(users.iter().all(|page| page.len() <= MAX_CONNECTIONS_LISTED));
    // Who goes and who comes while the list is read moves nobody who stays.
    let first = page(&mut world, &Listing::Members("hall".into()), Place::default(), 100);
    for member in members.iter().take(300).skip(100).step_by(2) {
        world.cut(*member);
    }
    world.tick();
    let mut seen = list(&first, "members").len();
    let mut next = first["next"].as_str().map(|next| next.parse().unwrap());
    while let Some(place) = next {
        let page = page(&mut world, &Listing::Members("hall".into()), place, 100);
        seen += list(&page, "members").len();
        next = page["next"].as_str().map(|next| next.parse().unwrap());
    }
    assert_eq!(seen, count - 100, "those who stay are listed once");
}

#[test]
fn a_page_looks_at_a_bounded_number_of_places() {
    let mut world = World::in_memory();
    for _ in 0..=MAX_LOOKED {
        world.connect();
    }
    let ada = world.person("Ada");
    let wanted = Listing::Connections(Some("ada".into()));
    let first = page(&mut world, &wanted, Place::default(), 10);
    assert_eq!((list(&first, "connections").len(), first["next"].as_str()), (0, Some("0.4096")));
    let next = page(&mut world, &wanted, "0.4096".parse().unwrap(), 10);
    assert_eq!((&next["connections"][0]["user"], &next["next"]), (&json!("Ada"), &Value::Null));
    world.cut(ada);
    world.tick();
    assert_eq!(pages(&mut world, &wanted, "connections", 10).concat(), Vec::<Value>::new());
}

#[test]
fn a_connection_names_some_of_its_rooms_and_what_waits_for_it() {
    let mut world = World::in_memory();
    let ada = world.person("Ada");
    for nth in 0..=MAX_ROOMS_NAMED {
        world.join(ada, &format!("room-{nth}"));
    }
    world.stall(ada, true);
    let ben = world.member("Ben", "room-1");
    world.send(ben, &json!({"type": "post", "room": "room-1", "text": "x".repeat(1000)}));
    world.tick();
    let found = page(&mut world, &Listing::Connections(Some("ada".into())), Place::default(), 1);
    let connection = &found["connections"][0];
    assert_eq!(list(connection, "rooms").len(), MAX_ROOMS_NAMED);
    assert_eq!(connection["room_count"], MAX_ROOMS_NAMED + 1);
    assert!(connection["queued"].as_u64().unwrap() >= 1000, "{connection}");
    assert_eq!(connection["since"], world.unix_ms());
}

/// All elements of a list that one loop of several is asked for.
fn all(cluster: &mut Cluster, asked: usize, listing: &Listing, name: &str) -> Vec<Value> {
    let (mut found, mut place) = (Vec::new(), Some(Place::default()));
    while let Some(at) = place {
        cluster.loops[asked].call(Call::List(listing.clone(), at, 2));
        // A few rounds, so that no client is silent for too long.
        for _ in 0..4 {
            cluster.round();
        }
        let page = cluster.loops[asked].answered().pop().unwrap().1;
        found.extend(list(&page, name));
        place = page["next"].as_str().map(|next| next.parse().unwrap());
    }
    found
}

#[test]
fn lists_of_several_loops_go_from_loop_to_loop() {
    let mut cluster = Cluster::new(3, &options());
    for (at, name) in [(0, "Ada"), (1, "Ada"), (1, "Ben"), (2, "Cleo"), (2, "Ada")] {
        let world = &mut cluster.loops[at];
        let client = world.person(name);
        world.send(client, &json!({"type": "join", "room": "hall"}));
        cluster.settle();
    }
    for asked in 0..3 {
        let mut found = all(&mut cluster, asked, &Listing::Connections(None), "connections");
        found.sort_by_key(|it| it["client"].to_string());
        found.dedup();
        assert_eq!(found.len(), 5, "asked of loop {asked}");
        assert_eq!(all(&mut cluster, asked, &Listing::Members("hall".into()), "members").len(), 5);
        let users = all(&mut cluster, asked, &Listing::Users(None), "users");
        let mut users: Vec<(&str, u64)> = users
            .iter()
            .map(|it| (it["user"].as_str().unwrap(), it["connections"].as_u64().unwrap()))
            .collect();
        users.sort_unstable();
        assert_eq!(users, [("Ada", 3), ("Ben", 1), ("Cleo", 1)]);
    }
    // A loop that does not answer in time is one that was not asked.
    cluster.loops[0].call(Call::List(Listing::Connections(None), "2.0".parse().unwrap(), 10));
    cluster.loops[0].advance(1000);
    let late = cluster.loops[0].answered().pop().unwrap().1;
    assert_eq!((&late["type"], &late["code"]), (&json!("error"), &json!("unavailable")));
}

/// Everything is as durable as it will be, and every question is answered.
fn settle(world: &mut World) {
    world.tick();
    while world.is_on_disk() && world.has_batches() {
        world.commit();
    }
    world.answer();
}

#[test]
fn the_server_is_told_what_a_user_has_not_read_and_nothing_live() {
    for on_disk in [false, true] {
        let mut world = if on_disk { World::on_disk() } else { World::in_memory() };
        let (ada, ben) = (world.verified("Ada"), world.verified("Ben"));
        world.join(ben, "news");
        world.send(ada, &json!({"type": "subscribe", "room": "news"}));
        settle(&mut world);
        for nth in 0..3 {
            world.send(ben, &json!({"type": "post", "room": "news", "text": format!("text {nth}")}));
            settle(&mut world);
        }
        world.take(ada);
        world.call(Call::Command(1, Some("ADA".to_owned()), Command::Mine { page: None, limit: None }));
        settle(&mut world);
        let mine = world.answered().pop().unwrap().1;
        let room = &mine["rooms"][0];
        assert_eq!(
            (&mine["type"], &room["room"], &room["unread"]),
            (&json!("mine"), &json!("news"), &json!(3)),
            "{mine}"
        );
        assert_eq!(room["message"]["text"], "text 2");
        // Nobody of that name is one who has asked: nothing more is told.
        world.send(ben, &json!({"type": "post", "room": "news", "text": "one more"}));
        settle(&mut world);
        world.advance(5000);
        assert_eq!(world.take_type(ada, "unread"), Vec::<Value>::new());
        assert_eq!(world.answered().len(), 1);
    }
}
