//! Rooms that somebody has subscribed to and conversations of theirs: what is unread in them, without joining.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use switchboard::chat::{Limits, Options};
use switchboard::reactor::Config;

use crate::cluster::Cluster;
use crate::disk::Disk;
use crate::world::{Client, World, list, options};

/// Milliseconds between two notices: a test must not last until the server sends a Ping.
const UNREAD_MS: u64 = 20;

fn fast(change: impl FnOnce(&mut Limits)) -> Options {
    let limits = options().limits.with(|it| it.unread_ms = UNREAD_MS).with(change);
    options().with(|it| it.limits = limits)
}

/// The same in memory and on the disk.
fn worlds(changed: &Options) -> [World; 2] {
    let in_memory = World::with(changed.clone(), None, Config::default());
    [in_memory, World::on_disk_with(Disk::new(), changed.clone())]
}

fn both(test: impl Fn(&mut World)) {
    for mut world in worlds(&fast(|_| {})) {
        test(&mut world);
    }
}

/// Everything that is proposed, asked and collected has come to its end.
fn settle(world: &mut World) {
    for _ in 0..4 {
        world.tick();
        world.answer();
        if world.is_on_disk() {
            world.commit();
        }
    }
    world.advance(UNREAD_MS);
    for _ in 0..4 {
        world.answer();
        world.tick();
    }
}

fn mine(world: &mut World, client: Client) -> Vec<Value> {
    let answer = world.ask(client, &json!({"type": "mine"}));
    assert_eq!(answer["type"], "mine", "{answer}");
    list(&answer, "rooms")
}

/// What each room of a list says: its name, and how much is unread.
fn rows(rooms: &[Value]) -> Vec<(String, u64)> {
    rooms
        .iter()
        .map(|one| (one["room"].as_str().unwrap().to_owned(), one["unread"].as_u64().unwrap()))
        .collect()
}

fn row(room: &str, unread: u64) -> (String, u64) {
    (room.to_owned(), unread)
}

fn subscribe(world: &mut World, client: Client, room: &str) {
    let ack = world.ask(client, &json!({"type": "subscribe", "room": room}));
    assert_eq!((&ack["type"], &ack["room"]), (&json!("ack"), &json!(room.to_lowercase())), "{ack}");
}

/// The rooms of the `unread` events that somebody got.
fn told(world: &mut World, client: Client) -> Vec<(String, u64)> {
    let events = world.take_type(client, "unread");
    events.iter().flat_map(|event| rows(&list(event, "rooms"))).collect()
}

#[test]
fn ones_rooms_are_listed_with_what_is_unread_and_the_newest_message() {
    both(|world| {
        let (ada, bob) = (world.verified("Ada"), world.verified("Bob"));
        world.join(bob, "news");
        for text in ["one", "two", "three"] {
            world.post(bob, "news", text);
        }
        world.send(bob, &json!({"type": "direct", "to": "Ada", "text": "psst", "data": [1]}));
        settle(world);
        world.take(bob);
        subscribe(world, ada, "News");
        subscribe(world, ada, "silent");
        settle(world);
        world.take(ada);
        let rooms = mine(world, ada);
        let mut known = rows(&rooms);
        assert_eq!(known.pop(), Some(row("silent", 0)), "nothing was said there: it comes last");
        known.sort();
        assert_eq!(known, [row("@Bob", 1), row("news", 3)]);
        let news = rooms.iter().find(|one| one["room"] == "news").unwrap();
        assert_eq!(
            (&news["seq"], &news["read"], &news["message"]["text"]),
            (&json!(3), &json!(0), &json!("three"))
        );
        let bobs = rooms.iter().find(|one| one["room"] == "@Bob").unwrap();
        assert_eq!((&bobs["message"]["data"], &bobs["message"]["user"]), (&json!([1]), &json!("Bob")));
        // What is deleted, and what one said oneself, is not unread.
        world.ask(bob, &json!({"type": "delete", "room": "news", "seq": 2}));
        world.join(ada, "news");
        world.take(ada);
        world.ask(ada, &json!({"type": "post", "room": "news", "text": "mine"}));
        world.take(ada);
        assert_eq!(rows(&mine(world, ada)).iter().find(|(room, _)| room == "news"), Some(&row("news", 2)));
        world.send(ada, &json!({"type": "read", "room": "news", "seq": 1}));
        world.send(ada, &json!({"type": "read", "room": "@Bob", "seq": 1}));
        settle(world);
        world.take(ada);
        let mut known = rows(&mine(world, ada));
        known.sort();
        assert_eq!(known, [row("@Bob", 0), row("news", 1), row("silent", 0)]);
        world.ask(ada, &json!({"type": "unsubscribe", "room": "news"}));
        assert!(rows(&mine(world, ada)).iter().all(|(room, _)| room != "news"));
    });
}

#[test]
fn who_asked_for_their_rooms_is_told_what_becomes_unread_once_in_a_while() {
    both(|world| {
        let (ada, bob, old) = (world.verified("Ada"), world.verified("Bob"), world.verified("Ada"));
        subscribe(world, ada, "news");
        world.join(bob, "news");
        mine(world, ada);
        settle(world);
        world.take(ada);
        for text in ["one", "two", "three"] {
            world.post(bob, "news", text);
            world.tick();
            if world.is_on_disk() {
                world.commit();
            }
            world.answer();
        }
        let first = told(world, ada);
        assert_eq!(first.len(), 1, "{first:?}");
        settle(world);
        assert_eq!(told(world, ada), [row("news", 3)]);
        // A direct message, too; and no client that does not know of it is told.
        world.send(bob, &json!({"type": "direct", "to": "Ada", "text": "psst"}));
        settle(world);
        assert_eq!(told(world, ada), [row("@Bob", 1)]);
        assert!(told(world, old).is_empty());
        // Who has joined the room sees it all.
        world.join(ada, "news");
        settle(world);
        world.take(ada);
        world.post(bob, "news", "four");
        settle(world);
        assert!(told(world, ada).is_empty());
        // The others of one's connections are told what one has read.
        mine(world, old);
        settle(world);
        world.take(old);
        world.send(ada, &json!({"type": "read", "room": "news", "seq": 3}));
        settle(world);
        assert_eq!(told(world, old), [row("news", 1)]);
        world.ask(ada, &json!({"type": "unsubscribe", "room": "news"}));
        world.take(bob);
        world.post(bob, "news", "five");
        settle(world);
        assert!(told(world, old).is_empty());
    });
}

#[test]
fn what_may_not_be_read_is_not_told_of_and_guests_have_nothing() {
    both(|world| {
        let (ada, bob, guest) =
            (world.verified("Ada:a=j+@*=j"), world.verified("Bob"), world.person("Guest"));
        for room in ["b", "not a room", "@Bob"] {
            let refused = world.ask(ada, &json!({"type": "subscribe", "room": room}));
            assert!(["forbidden", "bad_field"].contains(&refused["code"].as_str().unwrap()), "{refused}");
        }
        assert_eq!(world.ask(guest, &json!({"type": "subscribe", "room": "a"}))["code"], "forbidden");
        assert_eq!(mine(world, guest), Vec::<Value>::new());
        for room in ["a", "b"] {
            subscribe(world, bob, room);
            world.join(bob, room);
        }
        subscribe(world, ada, "a");
        mine(world, ada);
        world.post(bob, "a", "x");
        settle(world);
        world.take(ada);
        // The token that comes next does not permit it any more.
        world.ask(ada, &json!({"type": "refresh", "token": "good-Ada:b=j"}));
        assert_eq!(rows(&mine(world, ada)), []);
        world.take(bob);
        world.post(bob, "a", "y");
        settle(world);
        assert!(told(world, ada).is_empty());
    });
}

#[test]
fn a_user_subscribes_to_so_many_rooms_and_lists_them_page_by_page() {
    for mut world in worlds(&fast(|it| it.max_subscriptions = 7)) {
        let ada = world.verified("Ada");
        for i in 0..7 {
            subscribe(&mut world, ada, &format!("r{i}"));
        }
        subscribe(&mut world, ada, "r0");
        let refused = world.ask(ada, &json!({"type": "subscribe", "room": "r7"}));
        assert_eq!((&refused["code"], &refused["field"]), (&json!("too_many_rooms"), &json!("room")));
        let (mut seen, mut page) = (Vec::new(), Value::Null);
        loop {
            let answer = world.ask(ada, &json!({"type": "mine", "limit": 3, "page": page}));
            let part = list(&answer, "rooms");
            assert!(part.len() <= 3 && !part.is_empty());
            seen.extend(part.iter().map(|one| one["room"].as_str().unwrap().to_owned()));
            page = answer["next"].clone();
            if page.is_null() {
                break;
            }
        }
        assert_eq!(seen, (0..7).map(|i| format!("r{i}")).collect::<Vec<_>>());
        assert_eq!(world.ask(ada, &json!({"type": "mine", "page": "nonsense"}))["field"], "page");
        world.ask(ada, &json!({"type": "unsubscribe", "room": "R3"}));
        subscribe(&mut world, ada, "r7");
    }
}

#[test]
fn users_are_told_in_bounded_turns() {
    let [mut world, _] = worlds(&fast(|it| it.turn_unread = 2));
    let people: Vec<Client> = (0..7).map(|i| world.verified(&format!("P{i}"))).collect();
    for client in &people {
        subscribe(&mut world, *client, "r");
        mine(&mut world, *client);
    }
    settle(&mut world);
    for _ in 0..8 {
        world.advance(10);
    }
    for client in &people {
        world.take(*client);
    }
    let bob = world.member("Bob", "r");
    world.advance(UNREAD_MS);
    world.post(bob, "r", "x");
    let mut heard = Vec::new();
    for _ in 0..5 {
        world.advance(10);
        heard.push(people.iter().map(|client| told(&mut world, *client).len()).sum::<usize>());
    }
    assert_eq!(heard, [2, 2, 2, 1, 0]);
}

#[test]
fn subscriptions_and_counts_hold_on_all_loops() {
    let mut cluster = Cluster::new(3, &fast(|_| {}));
    let verified = |cluster: &mut Cluster, number: usize, user: &str| {
        let client = cluster.loops[number].connect();
        cluster.loops[number].send(client, &json!({"type": "hello", "token": format!("good-{user}")}));
        cluster.settle();
        cluster.loops[number].take(client);
        client
    };
    let (ada, phone) = (verified(&mut cluster, 0, "Ada"), verified(&mut cluster, 1, "Ada"));
    let bob = verified(&mut cluster, 2, "Bob");
    let ask = |cluster: &mut Cluster, number: usize, client: Client, command: Value| {
        cluster.loops[number].send(client, &command);
        cluster.settle();
        cluster.loops[number].take(client)
    };
    ask(&mut cluster, 1, phone, json!({"type": "mine"}));
    ask(&mut cluster, 0, ada, json!({"type": "subscribe", "room": "r"}));
    ask(&mut cluster, 2, bob, json!({"type": "join", "room": "r"}));
    cluster.loops[1].take(phone);
    ask(&mut cluster, 2, bob, json!({"type": "post", "room": "r", "text": "x"}));
    assert_eq!(told(&mut cluster.loops[1], phone), [row("r", 1)], "the room is open on no loop of hers");
    ask(&mut cluster, 2, bob, json!({"type": "direct", "to": "Ada", "text": "y"}));
    assert_eq!(told(&mut cluster.loops[1], phone), [row("@Bob", 1)]);
    ask(&mut cluster, 0, ada, json!({"type": "join", "room": "r"}));
    ask(&mut cluster, 0, ada, json!({"type": "read", "room": "r", "seq": 1}));
    assert_eq!(told(&mut cluster.loops[1], phone), [row("r", 0)]);
    ask(&mut cluster, 0, ada, json!({"type": "unsubscribe", "room": "r"}));
    ask(&mut cluster, 2, bob, json!({"type": "post", "room": "r", "text": "z"}));
    assert!(told(&mut cluster.loops[1], phone).is_empty());
}

// ---- the model

const PEOPLE: [&str; 3] = ["Ada", "Bob", "Cleo"];
const ROOMS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    Post(usize, usize),
    Direct(usize, usize),
    Delete(usize, u64),
    Read(usize, usize, u64),
    Subscribe(usize, usize, bool),
    /// The one who watches is gone, and comes back.
    Back(usize),
    Settle,
    Advance(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let (who, room) = (0..PEOPLE.len(), 0..ROOMS.len());
    prop_oneof![
        6 => (who.clone(), room.clone()).prop_map(|(who, room)| Step::Post(who, room)),
        2 => (who.clone(), who.clone()).prop_map(|(who, to)| Step::Direct(who, to)),
        2 => (room.clone(), 1..9_u64).prop_map(|(room, seq)| Step::Delete(room, seq)),
        3 => (who.clone(), room.clone(), 0..12_u64).prop_map(|(who, room, seq)| Step::Read(who, room, seq)),
        3 => (who.clone(), room, prop::bool::weighted(0.7)).prop_map(|(who, room, is_on)| Step::Subscribe(who, room, is_on)),
        1 => who.prop_map(Step::Back),
        3 => Just(Step::Settle),
        3 => (0..40_u64).prop_map(Step::Advance),
        1 => Just(Step::Restart),
    ]
}

/// What is true, as a list would have it.
#[derive(Default)]
struct Model {
    /// Who said each message of a room or conversation, and whether it is there; a conversation by both names in order.
    said: BTreeMap<String, Vec<(usize, bool)>>,
    read: BTreeMap<(usize, String), u64>,
    subscribed: [BTreeSet<String>; 3],
}

fn pair(a: usize, b: usize) -> String {
    format!("{}+{}", PEOPLE[a.min(b)], PEOPLE[a.max(b)])
}

impl Model {
    fn unread(&self, who: usize, room: &str) -> u64 {
        let read = self.read.get(&(who, room.to_owned())).copied().unwrap_or(0);
        let said = self.said.get(room).map(Vec::as_slice).unwrap_or_default();
        let counts = |(seq, (by, is_there)): &(u64, &(usize, bool))| *seq > read && *by != who && *is_there;
        (1..).zip(said).filter(counts).count() as u64
    }

    /// Every room of somebody's, as they call it, and how much is unread there.
    fn of(&self, who: usize) -> BTreeMap<String, u64> {
        let groups = self.subscribed[who].iter().map(|room| (room.clone(), self.unread(who, room)));
        let pairs = (0..PEOPLE.len()).filter(|other| self.said.contains_key(&pair(who, *other)));
        let pairs = pairs.map(|other| (format!("@{}", PEOPLE[other]), self.unread(who, &pair(who, other))));
        folded(groups.chain(pairs))
    }
}

/// Who is not here is called by the folded name.
fn folded(rows: impl IntoIterator<Item = (String, u64)>) -> BTreeMap<String, u64> {
    rows.into_iter().map(|(room, unread)| (room.to_lowercase(), unread)).collect()
}

/// A person: one connection that is in every room, and one that watches.
struct Person {
    talks: Client,
    watches: Client,
    /// What the one that watches was told last.
    view: BTreeMap<String, u64>,
}

fn arrive(world: &mut World, who: usize) -> Person {
    let talks = world.verified(PEOPLE[who]);
    for room in ROOMS {
        world.join(talks, room);
    }
    let watches = world.verified(PEOPLE[who]);
    let view = folded(rows(&mine(world, watches)));
    Person { talks, watches, view }
}

fn check(world: &mut World, people: &mut [Person], model: &Model) {
    settle(world);
    settle(world);
    for (who, person) in people.iter_mut().enumerate() {
        person.view.extend(folded(told(world, person.watches)));
        person.view.retain(|room, _| room.starts_with('@') || model.subscribed[who].contains(room));
        let listed = folded(rows(&mine(world, person.watches)));
        let expected = model.of(who);
        assert_eq!(listed, expected, "{} asks", PEOPLE[who]);
        assert_eq!(person.view, expected, "{} was told", PEOPLE[who]);
    }
}

fn run(mut world: World, steps: &[Step]) {
    let mut model = Model::default();
    let mut people: Vec<Person> = (0..PEOPLE.len()).map(|who| arrive(&mut world, who)).collect();
    for step in steps {
        match step {
            Step::Post(who, room) => {
                world.send(people[*who].talks, &json!({"type": "post", "room": ROOMS[*room], "text": "x"}));
                model.said.entry(ROOMS[*room].to_owned()).or_default().push((*who, true));
            }
            Step::Direct(who, to) => {
                world.send(people[*who].talks, &json!({"type": "direct", "to": PEOPLE[*to], "text": "x"}));
                model.said.entry(pair(*who, *to)).or_default().push((*who, true));
            }
            Step::Delete(room, seq) => {
                settle(&mut world);
                let said = model.said.entry(ROOMS[*room].to_owned()).or_default();
                let Some((by, is_there)) = said.get_mut(*seq as usize - 1) else { continue };
                if std::mem::replace(is_there, false) {
                    let command = json!({"type": "delete", "room": ROOMS[*room], "seq": seq});
                    world.send(people[*by].talks, &command);
                }
            }
            Step::Read(who, room, seq) => {
                settle(&mut world);
                world.send(people[*who].talks, &json!({"type": "read", "room": ROOMS[*room], "seq": seq}));
                let newest = model.said.get(ROOMS[*room]).map_or(0, Vec::len) as u64;
                let read = model.read.entry((*who, ROOMS[*room].to_owned())).or_default();
                *read = (*read).max((*seq).min(newest));
            }
            Step::Subscribe(who, room, is_on) => {
                let kind = if *is_on { "subscribe" } else { "unsubscribe" };
                world.send(people[*who].talks, &json!({"type": kind, "room": ROOMS[*room]}));
                if *is_on {
                    model.subscribed[*who].insert(ROOMS[*room].to_owned());
                } else {
                    model.subscribed[*who].remove(ROOMS[*room]);
                }
            }
            Step::Back(who) => {
                settle(&mut world);
                world.cut(people[*who].watches);
                world.tick();
                let watches = world.verified(PEOPLE[*who]);
                let view = folded(rows(&mine(&mut world, watches)));
                people[*who] = Person { watches, view, talks: people[*who].talks };
            }
            Step::Settle => check(&mut world, &mut people, &model),
            Step::Advance(ms) => world.advance(*ms),
            Step::Restart if world.is_on_disk() => {
                settle(&mut world);
                world = world.restart();
                people = (0..PEOPLE.len()).map(|who| arrive(&mut world, who)).collect();
            }
            Step::Restart => {}
        }
        world.tick();
    }
    check(&mut world, &mut people, &model);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_unread_is_what_a_naive_model_counts(steps in prop::collection::vec(step(), 1..60)) {
        for world in worlds(&fast(|_| {})) {
            run(world, &steps);
        }
    }
}
