//! The WebSocket 101 tutorial: `cargo run --example demo_101 [PORT]`, then open `examples/demo_101.html` through any
//! file server on this machine.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;

use switchboard::app::{
    Acceptance, Application, Closed, ConnId, Context, Escaped, Message, Outgoing, Request, Response, Verdict,
};
use switchboard::net::{Options, Server};

#[derive(Default)]
struct Demo {
    peers: HashMap<ConnId, SocketAddr>,
}

/// Pages of this machine, on any port.
fn is_allowed(origin: &str) -> bool {
    let Some(authority) = origin.strip_prefix("http://") else { return false };
    let host = authority.split_once(':').map_or(authority, |(host, _)| host);
    matches!(host, "localhost" | "127.0.0.1")
}

fn reply(text: &str) -> String {
    match text {
        "hi" => "Hey there".to_owned(),
        "hello" => "Heya!".to_owned(),
        "xyzzy" => "Nothing happens.".to_owned(),
        "desu" => "Keep typing, man. Keep typing.".to_owned(),
        _ => format!("Hello. Uh... what am I supposed to do with '{text}'?"),
    }
}

impl Application for Demo {
    type Mail = Infallible;

    fn on_request<C: Context>(&mut self, _ctx: &mut C, request: &Request<'_>) -> Verdict {
        let Some(upgrade) = request.upgrade else {
            println!("Received request from {}", Escaped(request.head.target));
            return Verdict::Respond(Response::text(404, "not found"));
        };
        let origin = request.head.fields.text("origin").unwrap_or_default();
        if !is_allowed(origin) {
            println!("Connection from origin {} rejected.", Escaped(origin));
            return Verdict::Respond(Response::text(403, "this origin may not connect"));
        }
        println!("Connection accepted from origin {}", Escaped(origin));
        self.peers.insert(request.conn, request.peer);
        let subprotocol = upgrade.choose_subprotocol(&["echo-protocol"]);
        Verdict::Accept(Acceptance::default().with(|it| it.subprotocol = subprotocol))
    }

    fn on_open<C: Context>(&mut self, _ctx: &mut C, _conn: ConnId) {
        println!("Connection started.");
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        if let Some(text) = message.text() {
            println!("Received Message: {}", Escaped(text));
            // Fails only when the connection has begun to close.
            let _ = ctx.send(conn, Outgoing::text(&reply(text)));
        }
    }

    fn on_close<C: Context>(&mut self, _ctx: &mut C, conn: ConnId, _closed: &Closed) {
        if let Some(peer) = self.peers.remove(&conn) {
            println!("{peer} has been disconnected.");
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).map_or(Ok(1337), |port| port.parse())?;
    let options = Options::listen(([127, 0, 0, 1], port).into()).with(|it| it.stop_on_signals = true);
    let server = Server::bind(options, Demo::default())?;
    println!("Server is listening on port {}.", server.local_addrs()?[0].port());
    server.run()?;
    Ok(())
}
