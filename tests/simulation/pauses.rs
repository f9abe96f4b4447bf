//! A connection is not read while much waits for it, and is read again however that ends.

use std::convert::Infallible;

use switchboard::app::{
    Acceptance, Application, ConnId, Context, Message, Outgoing, Request, SlowPolicy, TopicId, TopicOptions,
    Verdict,
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
