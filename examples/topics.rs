//! Topics: `cargo run --example topics [ADDR:PORT]`. The path of the request is a topic; what somebody sends reaches everybody else
//! who is connected to the same path.

use std::collections::HashMap;
use std::convert::Infallible;

use switchboard::app::{
    Acceptance, Application, Closed, ConnId, Context, Message, Request, Response, TopicId, TopicOptions,
    Verdict,
};
use switchboard::net::{Options, Server};

/// A path is at most this long, in octets: a client must not make the server remember more.
const MAX_PATH: usize = 64;

#[derive(Default)]
struct Rooms {
    /// By path: the topic, and how many are in it.
    topics: HashMap<String, (TopicId, usize)>,
    /// The path of each connection, from its request on.
    paths: HashMap<ConnId, String>,
}

impl Application for Rooms {
    type Mail = Infallible;

    fn on_request<C: Context>(&mut self, _ctx: &mut C, request: &Request<'_>) -> Verdict {
        let path = request.head.path();
        if request.upgrade.is_none() || path.len() > MAX_PATH {
            return Verdict::Respond(Response::text(404, "connect to ws://HOST/ROOM"));
        }
        self.paths.insert(request.conn, path.to_owned());
        Verdict::Accept(Acceptance::default())
    }

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        let path = self.paths[&conn].clone();
        let entry = self.topics.entry(path);
        let (topic, members) = entry.or_insert_with(|| (ctx.create_topic(TopicOptions::default()), 0));
        // Fails only when the connection has begun to close.
        let _ = ctx.subscribe(conn, *topic);
        *members += 1;
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        let (topic, _) = self.topics[&self.paths[&conn]];
        ctx.publish(topic, message.as_outgoing(), Some(conn));
    }

    fn on_close<C: Context>(&mut self, ctx: &mut C, conn: ConnId, _: &Closed) {
        let Some(path) = self.paths.remove(&conn) else { return };
        let Some((topic, members)) = self.topics.get_mut(&path) else { return };
        *members -= 1;
        if *members == 0 {
            ctx.remove_topic(*topic);
            self.topics.remove(&path);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let options = Options::listen(address.parse()?).with(|it| it.stop_on_signals = true);
    let server = Server::bind(options, Rooms::default())?;
    println!("rooms on ws://{}", server.local_addrs()?[0]);
    server.run()?;
    Ok(())
}
