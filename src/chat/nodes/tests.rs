use super::*;
use crate::chat::people::member::Person;
use crate::chat::people::user::Identity;

/// Servers, and what is on its way between them.
struct Network {
    nodes: Vec<Nodes>,
    now: Millis,
}

impl Network {
    fn new(count: usize) -> Self {
        Self { nodes: (0..count).map(|_| Nodes::new(&[], 2)).collect(), now: 0 }
    }

    /// Time goes on, and everybody tells all others what there is to tell, unless it is lost. Returns what loops are told, by
    /// server.
    fn tick(&mut self, mut is_lost: impl FnMut(usize, usize) -> bool) -> Vec<Vec<(usize, Mail)>> {
        self.now += 50;
        let mut mails: Vec<Vec<(usize, Mail)>> = self.nodes.iter().map(|_| Vec::new()).collect();
        for (at, node) in self.nodes.iter().enumerate() {
            mails[at].extend(node.sweep_silent(self.now));
        }
        for from in 0..self.nodes.len() {
            for (whom, word) in self.nodes[from].take(self.now) {
                for to in (0..self.nodes.len()).filter(|to| *to != from && !is_lost(from, *to)) {
                    if whom == To::All || whom == To::Node(to.to_string().into()) {
                        mails[to].extend(self.nodes[to].hear(&from.to_string(), &word, self.now));
                    }
                }
            }
        }
        mails
    }

    fn settle(&mut self) {
        for _ in 0..40 {
            self.tick(|_, _| false);
        }
    }

    fn exchange(&self, node: usize) -> Exchange {
        self.nodes[node].ends().0
    }

    fn join(&self, node: usize, client: &str, room: &str) {
        let person = Person { client: client.into(), user: client.into(), is_verified: false };
        let count = 1 + self
            .exchange(node)
            .in_room(99, room)
            .iter()
            .filter(|it| it.0 < 2)
            .map(|it| it.1.count)
            .sum::<usize>();
        self.exchange(node).came(0, &room.into(), (person, count), 100);
        let guest = Identity { person: client.into(), is_verified: false };
        self.exchange(node).enter_guest(0, &guest, (&client.into(), true), &client.into());
    }
}

fn user(name: &str, is_verified: bool) -> Identity {
    Identity { person: name.into(), is_verified }
}

#[test]
fn every_server_knows_who_is_on_all() {
    let mut network = Network::new(3);
    network.join(0, "ada", "tea");
    network.settle();
    network.join(1, "bob", "tea");
    let mails = network.tick(|_, _| false);
    let told: Vec<usize> = mails.iter().map(Vec::len).collect();
    assert_eq!(told, [1, 0, 0], "only a loop with members in the room is told");
    for node in 0..3 {
        assert_eq!(network.exchange(node).count(99, "tea"), 2, "{node}");
        let exchange = network.exchange(node);
        assert_eq!(exchange.elsewhere(0, &user("ada", false)).is_some(), node != 0);
        assert_eq!(exchange.users(), usize::from(node < 2), "those of this server alone are counted");
    }
    network.exchange(1).went(0, &"tea".into(), ("bob", 0));
    network.exchange(1).exit(0, &user("bob", false), true);
    network.tick(|_, _| false);
    for node in 0..3 {
        assert_eq!(network.exchange(node).count(99, "tea"), 1);
        assert!(network.exchange(node).connections(&user("bob", false)).is_none());
    }
}

#[test]
fn whatever_is_lost_all_servers_know_the_same_in_the_end() {
    let mut dice: u64 = 7;
    let mut roll = move |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    for _ in 0..20 {
        let mut network = Network::new(3);
        for nth in 0..60 {
            network.join(roll(3) as usize, &format!("c{nth}"), &format!("r{}", roll(4)));
            network.tick(|_, _| roll(3) == 0);
        }
        network.settle();
        for room in 0..4 {
            let counts = [0, 1, 2].map(|node| network.exchange(node).count(99, &format!("r{room}")));
            assert!(counts[0] == counts[1] && counts[1] == counts[2], "{counts:?}");
        }
        let all: usize = (0..4).map(|room| network.exchange(0).count(99, &format!("r{room}"))).sum();
        assert_eq!(all, 60);
    }
}

#[test]
fn who_was_on_a_server_that_says_nothing_leaves_within_a_lease_and_comes_back_with_it() {
    let mut network = Network::new(2);
    network.join(0, "ada", "tea");
    network.join(1, "bob", "tea");
    network.settle();
    let mut gone_after = 0;
    while network.exchange(0).count(99, "tea") == 2 {
        network.tick(|_, _| true);
        gone_after += 50;
        assert!(gone_after <= LEASE_MS + 100, "{gone_after}");
    }
    assert!(network.exchange(0).elsewhere(0, &user("bob", false)).is_none());
    network.settle();
    assert_eq!([0, 1].map(|node| network.exchange(node).count(99, "tea")), [2, 2]);
    let farewell = network.nodes[1].last_word();
    let mails = network.nodes[0].hear("1", &farewell, network.now);
    assert_eq!((mails.len(), network.exchange(0).count(99, "tea")), (1, 1), "who says so is gone at once");
}

#[test]
fn what_concerns_one_server_is_told_to_it_alone_and_its_answer_finds_the_loop_that_asked() {
    let mut network = Network::new(3);
    network.join(1, "bob", "tea");
    network.settle();
    let (exchange, outgoing) = network.nodes[0].ends();
    let peers = crate::app::Peers::new([]);
    let mut ours = crate::chat::neighbours::Neighbours::new(1, exchange.clone(), peers, Some(outgoing));
    let nodes = exchange.nodes();
    assert_eq!(nodes.iter().map(|it| it.1).collect::<Vec<_>>(), [2, 2], "two loops each");
    let at = exchange.in_room(1, "tea")[0].0;
    let deed =
        crate::chat::neighbours::Deed::Kick { room: "tea".into(), user: "bob".into(), reason: "".into() };
    ours.tell(at, Word::Do { from: 1, gather: 9, deed: Arc::new(deed) });
    let mails = network.tick(|_, _| false);
    assert_eq!(mails.iter().map(Vec::len).collect::<Vec<_>>(), [0, 2, 0], "all loops of that server");
    let Mail::Signal(Signal(Word::Do { from, .. })) = &mails[1][0].1 else { panic!("no deed") };
    let (exchange, outgoing) = network.nodes[1].ends();
    let mut theirs =
        crate::chat::neighbours::Neighbours::new(0, exchange, crate::app::Peers::new([]), Some(outgoing));
    theirs.tell(*from, Word::Done { gather: 9, found: crate::chat::connections::Found::Count(3) });
    let mails = network.tick(|_, _| false);
    assert_eq!(mails.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 0]);
    assert!(
        matches!(&mails[0][0], (1, Mail::Signal(Signal(Word::Done { gather: 9, found }))) if found.count() == 3)
    );
}

#[test]
fn what_no_server_says_is_nothing() {
    let network = Network::new(1);
    for word in
        ["", "{}", "hello", r#"{"sign":"boo"}"#, r#"{"sign":"done","to_loop":77,"gather":1,"count":1}"#]
    {
        assert!(network.nodes[0].hear("x", word, 1).is_empty(), "{word}");
    }
    let far = r#"{"sign":"done","to_loop":77,"gather":1,"count":1}"#;
    let _ = network.nodes[0].hear("x", r#"{"sign":"beat","number":0,"loops":1}"#, 1);
    assert!(network.nodes[0].hear("x", far, 1).is_empty(), "there is no such loop");
}

#[test]
fn what_is_told_comes_in_bounded_parts() {
    let about =
        |nth: usize| About::of(&Attendance { room: nth.to_string().into(), count: 1, listed: Vec::new() });
    let rooms: Vec<About> = (0..2500).map(about).collect();
    let cut = parts(&rooms, &[]);
    assert_eq!(cut.iter().map(|it| it.2.len()).collect::<Vec<_>>(), [1000, 1000, 500]);
    assert_eq!(
        cut.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>(),
        [(true, false), (false, false), (false, true)]
    );
    assert_eq!(parts(&[], &[]).len(), 1);
}

#[test]
fn a_rate_is_shared_by_the_servers_where_somebody_is() {
    let mut network = Network::new(3);
    let (ada, name): (Identity, Arc<str>) =
        (Identity { person: "ada".into(), is_verified: true }, "Ada".into());
    let rate = crate::app::Rate { per_second: 20, burst: 40 };
    let share =
        |network: &Network, at: usize| network.nodes[at].ends().0.posts_of(&ada, 0).share(rate).per_second;
    for at in 0..2 {
        network.nodes[at].ends().0.enter_verified(0, &ada, (&name, true), std::iter::empty());
        network.nodes[at].ends().0.enter_verified(1, &ada, (&name, true), std::iter::empty());
    }
    // What holds a share now learns of servers that come later.
    let held = network.nodes[0].ends().0.posts_of(&ada, 0);
    assert_eq!(held.share(rate).per_second, 20);
    network.settle();
    assert_eq!((share(&network, 0), share(&network, 1), held.share(rate).per_second), (10, 10, 10));
    network.nodes[2].ends().0.enter_verified(0, &ada, (&name, true), std::iter::empty());
    network.settle();
    assert_eq!((share(&network, 0), share(&network, 2)), (6, 6));
    for own in 0..2 {
        network.nodes[1].ends().0.exit(own, &ada, true);
    }
    network.settle();
    assert_eq!((share(&network, 0), share(&network, 2), held.share(rate).per_second), (10, 10, 10));
}
