//! A connection is not read while much waits for it, or while the application wants no input, and is read again however that ends.

use std::convert::Infallible;

use switchboard::app::{
    Acceptance, Application, Closed, ConnId, Context, Entrance, Message, Outgoing, Request, SlowPolicy,
    TopicId, TopicOptions, Verdict,
};
use switchboard::reactor::Config;

use crate::few::{Few, masked};

/// Publishes as many octets as a message says, in a topic that drops what is oldest.
#[derive(Default)]
struct Relay {
    topic: Option<TopicId>,
    messages: Vec<ConnId>,
}

impl Application for Relay {
    type Mail = Infallible;

    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        let options = TopicOptions::default().with(|it| {
            it.slow_policy = SlowPolicy::DropOldest;
            it.max_queue = Some(1000);
        });
        self.topic = Some(ctx.create_topic(options));
    }

    fn on_request<C: Context>(&mut self, _: &mut C, _: &Request<'_>) -> Verdict {
        Verdict::Accept(Acceptance::default())
    }

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        ctx.subscribe(conn, self.topic.unwrap()).unwrap();
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        self.messages.push(conn);
        let len = message.text().unwrap().parse().unwrap();
        ctx.publish(self.topic.unwrap(), Outgoing::binary(&vec![0; len]), None);
    }
}

#[test]
fn a_pause_ends_when_the_last_of_what_waited_is_dropped() {
    let mut few = Few::new(Relay::default(), Config::default().with(|it| it.high_water = 300));
    let (sleeper, other) = (few.connect(), few.connect());
    few.read(sleeper);
    let publish = |few: &mut Few<Relay>, len: usize| {
        few.send(other, &masked(0x81, len.to_string().as_bytes()));
        few.tick();
        few.read(other);
    };
    // Frames of 1 KiB that fill the sleeper's socket to the last octet: none is begun and unfinished.
    for _ in 0..1024 {
        publish(&mut few, 1020);
    }
    for _ in 0..4 {
        publish(&mut few, 100);
    }
    // More than `high_water` waits for the sleeper: it is not read.
    few.send(sleeper, &masked(0x81, b"1"));
    few.tick();
    assert!(!few.reactor.app().messages.contains(&sleeper));
    // This one has no room at all, and those before it have made place in vain.
    publish(&mut few, 2000);
    few.tick();
    assert!(few.reactor.app().messages.contains(&sleeper), "never read again");
}

/// Pauses the input when it is told to by a client, and takes it again when it is told to by mail.
#[derive(Default)]
struct Pausing {
    said: Vec<String>,
    left: Vec<ConnId>,
    timers: usize,
}

impl Application for Pausing {
    /// Somebody to send a message to; nobody: take input again.
    type Mail = Option<ConnId>;

    fn on_message<C: Context>(&mut self, ctx: &mut C, _: ConnId, message: Message<'_>) {
        let text = message.text().unwrap();
        if text == "pause" {
            ctx.pause_input();
            ctx.set_timer(ctx.now().monotonic_ms + 1, 0);
        }
        self.said.push(text.to_owned());
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, mail: Option<ConnId>) {
        match mail {
            Some(conn) => ctx.send(conn, Outgoing::text("by mail")).unwrap(),
            None => ctx.resume_input(),
        }
    }

    fn on_timer<C: Context>(&mut self, _: &mut C, _: u64) {
        self.timers += 1;
    }

    fn on_close<C: Context>(&mut self, _: &mut C, conn: ConnId, _: &Closed) {
        self.left.push(conn);
    }
}

#[test]
fn input_that_the_application_pauses_waits_and_nothing_else_does() {
    let mut few = Few::new(Pausing::default(), Config::default());
    let (one, two, three) = (few.connect(), few.connect(), few.connect());
    few.send(one, &masked(0x81, b"pause"));
    few.tick();
    assert!(few.reactor.is_input_paused());
    few.send(two, &masked(0x81, b"fourth"));
    few.send(one, &masked(0x81, b"second"));
    few.tick();
    few.send(one, &masked(0x81, b"third"));
    few.wires[&two].borrow_mut().client_ends();
    let (before, opening) = (few.read(three), few.accept([127, 0, 0, 1], Entrance::default()));
    assert!(before.starts_with("HTTP/1.1 101 "), "{before}");
    few.send(opening, b"GET / HTTP/1.1\r\nHost: sim\r\n\r\n");
    few.reactor.mail(Some(three));
    for _ in 0..3 {
        few.tick();
    }
    let app = few.reactor.app();
    assert_eq!((app.said.as_slice(), app.left.len(), app.timers), (&["pause".to_owned()][..], 0, 1));
    assert!(few.read(opening).starts_with("HTTP/1.1 426 "));
    assert!(few.read(three).ends_with("by mail"));
    assert!(!few.reactor.has_pending_work(), "the loop must sleep");
    assert_eq!(few.reactor.stats().input_pauses, 1);

    few.reactor.mail(None);
    assert!(few.reactor.has_pending_work());
    for _ in 0..2 {
        few.tick();
    }
    let app = few.reactor.app();
    assert_eq!(app.said, ["pause", "second", "third", "fourth"]);
    assert_eq!(app.left, [two]);
}
