//! The smallest server on the library: `cargo run --example echo [ADDR:PORT]`.

use std::convert::Infallible;

use switchboard::app::{Application, ConnId, Context, Message};
use switchboard::net::{Options, Server};

struct Echo;

impl Application for Echo {
    type Mail = Infallible;

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        // Fails only when the connection has begun to close; then nobody waits for the echo.
        let _ = ctx.send(conn, message.as_outgoing());
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let options = Options::listen(address.parse()?).with(|it| it.stop_on_signals = true);
    let server = Server::bind(options, Echo)?;
    println!("echo on ws://{}", server.local_addrs()?[0]);
    server.run()?;
    Ok(())
}
