//! Timers: `cargo run --example timers [ADDR:PORT]`. Every connection is told the time each second, and closed after a minute
//! without a word.

use std::collections::HashMap;
use std::convert::Infallible;

use switchboard::app::{
    Application, CloseCode, Closed, ConnId, Context, Message, Millis, Outgoing, TopicId, TopicOptions,
};
use switchboard::net::{Options, Server};

const TICK_MS: Millis = 1_000;
const IDLE_MS: Millis = 60_000;
/// The token of the timer of the clock. The others are those of connections.
const CLOCK: u64 = u64::MAX;

#[derive(Default)]
struct Clock {
    topic: Option<TopicId>,
    /// When each connection spoke last.
    heard: HashMap<ConnId, Millis>,
}

impl Application for Clock {
    type Mail = Infallible;

    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        self.topic = Some(ctx.create_topic(TopicOptions::default()));
        ctx.set_timer(ctx.now().monotonic_ms + TICK_MS, CLOCK);
    }

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        if let Some(topic) = self.topic {
            let _ = ctx.subscribe(conn, topic);
        }
        let now = ctx.now().monotonic_ms;
        self.heard.insert(conn, now);
        ctx.set_timer(now + IDLE_MS, conn.to_bits());
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, _: Message<'_>) {
        self.heard.insert(conn, ctx.now().monotonic_ms);
    }

    fn on_timer<C: Context>(&mut self, ctx: &mut C, token: u64) {
        let now = ctx.now();
        if token == CLOCK {
            if let Some(topic) = self.topic {
                ctx.publish(topic, Outgoing::text(&now.unix_ms.to_string()), None);
            }
            return ctx.set_timer(now.monotonic_ms + TICK_MS, CLOCK);
        }
        // A connection that is gone is not in the table: its handle is never used again.
        let conn = ConnId::from_bits(token);
        match self.heard.get(&conn) {
            Some(heard) if heard + IDLE_MS <= now.monotonic_ms => ctx.close(conn, CloseCode::NORMAL, "idle"),
            Some(heard) => ctx.set_timer(heard + IDLE_MS, token),
            None => {}
        }
    }

    fn on_close<C: Context>(&mut self, _ctx: &mut C, conn: ConnId, _: &Closed) {
        self.heard.remove(&conn);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let options = Options::listen(address.parse()?).with(|it| it.stop_on_signals = true);
    let server = Server::bind(options, Clock::default())?;
    println!("clock on ws://{}", server.local_addrs()?[0]);
    server.run()?;
    Ok(())
}
