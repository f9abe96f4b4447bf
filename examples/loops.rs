//! Several loops: `cargo run --example loops [ADDR:PORT]`. What somebody sends reaches everybody, on whichever loop they are.

use std::sync::Arc;

use switchboard::app::{
    Application, ConnId, Context, Message, Outgoing, Peers, TopicId, TopicOptions, Undelivered,
};
use switchboard::net::{Options, Server};

/// As many loops as there are cores are best; a few show how they work together.
const LOOPS: usize = 4;

/// The application of one loop. It shares nothing with those of the others but mail.
struct Loudspeaker {
    own: usize,
    peers: Peers<Arc<str>>,
    everybody: Option<TopicId>,
}

impl Loudspeaker {
    fn publish<C: Context>(&self, ctx: &mut C, text: &str) {
        if let Some(topic) = self.everybody {
            ctx.publish(topic, Outgoing::text(text), None);
        }
    }
}

impl Application for Loudspeaker {
    /// What was said on another loop.
    type Mail = Arc<str>;

    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        self.everybody = Some(ctx.create_topic(TopicOptions::default()));
    }

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        if let Some(topic) = self.everybody {
            let _ = ctx.subscribe(conn, topic);
        }
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, _: ConnId, message: Message<'_>) {
        let Some(text) = message.text() else { return };
        let text: Arc<str> = format!("loop {}: {text}", self.own).into();
        self.publish(ctx, &text);
        for (at, mailbox) in self.peers.others(self.own) {
            // A loop never waits for another one, so a mailbox may be full. `switchboard::apps::SharedFanout` keeps what it did not
            // take, pauses its input until there is room, and sends one mail for all that came in a tick.
            if let Err(Undelivered::Full(_)) = mailbox.try_send(Arc::clone(&text)) {
                eprintln!("loop {at} does not keep up");
            }
        }
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, text: Arc<str>) {
        self.publish(ctx, &text);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let options = Options::listen(address.parse()?).with(|it| it.stop_on_signals = true);
    let loops = Server::bind_many(options, LOOPS, |own, peers| {
        let peers = peers.clone();
        Loudspeaker { own, peers, everybody: None }
    })?;
    println!("{LOOPS} loops on ws://{}", loops.local_addrs()[0]);
    loops.run()?;
    Ok(())
}
