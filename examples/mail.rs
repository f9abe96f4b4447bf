//! Mail from another thread: `cargo run --example mail [ADDR:PORT]`. Each line of the standard input goes to every connection; the
//! end of the input stops the server.

use std::io::BufRead;
use std::thread;

use switchboard::app::{Application, ConnId, Context, Message, Outgoing, TopicId, TopicOptions};
use switchboard::net::{Options, Server};

#[derive(Default)]
struct Announcements {
    everybody: Option<TopicId>,
}

impl Application for Announcements {
    /// A line for everybody.
    type Mail = String;

    fn on_start<C: Context>(&mut self, ctx: &mut C) {
        self.everybody = Some(ctx.create_topic(TopicOptions::default()));
    }

    fn on_open<C: Context>(&mut self, ctx: &mut C, conn: ConnId) {
        if let Some(topic) = self.everybody {
            let _ = ctx.subscribe(conn, topic);
        }
    }

    fn on_message<C: Context>(&mut self, _ctx: &mut C, _conn: ConnId, _message: Message<'_>) {}

    fn on_mail<C: Context>(&mut self, ctx: &mut C, line: String) {
        if let Some(topic) = self.everybody {
            ctx.publish(topic, Outgoing::text(&line), None);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let options = Options::listen(address.parse()?).with(|it| it.stop_on_signals = true);
    let server = Server::bind(options, Announcements::default())?;
    println!("announcements on ws://{}", server.local_addrs()?[0]);
    let handle = server.handle();
    // A thread of its own: reading would block the loop.
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            // The mailbox is bounded: while it is full this thread waits, and nobody else.
            if handle.send_blocking(line).is_err() {
                return;
            }
        }
        let _ = handle.shutdown();
    });
    server.run()?;
    Ok(())
}
