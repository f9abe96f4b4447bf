//! The hello tutorial: `cargo run --example hello [PORT]`, then open `examples/hello.html`.

use std::convert::Infallible;

use switchboard::app::{Application, ConnId, Context, Escaped, Message, Outgoing};
use switchboard::net::{Options, Server};

struct Hello;

impl Application for Hello {
    type Mail = Infallible;

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        // Cannot fail: the connection has just been opened.
        let _ = ctx.send(conn, Outgoing::text("Hello client!"));
    }

    fn on_message<C: Context>(&mut self, _ctx: &mut C, _conn: ConnId, message: Message<'_>) {
        if let Some(text) = message.text() {
            println!("Client: {}", Escaped(text));
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).map_or(Ok(1234), |port| port.parse())?;
    let options = Options::listen(([127, 0, 0, 1], port).into()).with(|it| it.stop_on_signals = true);
    let server = Server::bind(options, Hello)?;
    println!("hello on ws://{}", server.local_addrs()?[0]);
    server.run()?;
    Ok(())
}
