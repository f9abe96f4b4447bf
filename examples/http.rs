//! Plain HTTP beside WebSocket on one port: `cargo run --example http [ADDR:PORT]`.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | a greeting |
//! | `POST /shout` | the body in capitals |
//! | `GET /slow` | an answer from another thread, which the loop does not wait for |
//! | an upgrade | an echo |

use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use switchboard::app::{
    Acceptance, Application, ConnId, Context, Message, Request, RequestHead, Response, Verdict,
};
use switchboard::net::{Options, Server};

struct Site {
    /// Connections that ask for something slow.
    slow: Sender<ConnId>,
}

impl Application for Site {
    /// A connection, and the text of the answer.
    type Mail = (ConnId, String);

    fn wants_body(&mut self, head: &RequestHead<'_>) -> bool {
        head.path() == "/shout"
    }

    fn on_request<C: Context>(&mut self, _ctx: &mut C, request: &Request<'_>) -> Verdict {
        if request.upgrade.is_some() {
            return Verdict::Accept(Acceptance::default());
        }
        match (request.head.method, request.head.path()) {
            ("GET", "/") => Verdict::Respond(Response::text(200, "hello")),
            ("POST", "/shout") => match std::str::from_utf8(request.body) {
                Ok(text) => Verdict::Respond(Response::text(200, text.to_uppercase())),
                Err(_) => Verdict::Respond(Response::text(400, "the body is not UTF-8")),
            },
            ("GET", "/slow") => match self.slow.send(request.conn) {
                Ok(()) => Verdict::Later,
                Err(_) => Verdict::Respond(Response::text(503, "nobody works on it any more")),
            },
            _ => Verdict::Respond(Response::text(404, "not found")),
        }
    }

    fn on_message<C: Context>(&mut self, ctx: &mut C, conn: ConnId, message: Message<'_>) {
        let _ = ctx.send(conn, message.as_outgoing());
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, (conn, text): Self::Mail) {
        // Nothing happens when the connection is gone.
        ctx.respond(conn, Response::text(200, text));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let options = Options::listen(address.parse()?).with(|it| it.stop_on_signals = true);
    let (slow, requests) = channel();
    let server = Server::bind(options, Site { slow })?;
    println!("site on http://{}", server.local_addrs()?[0]);
    let handle = server.handle();
    thread::spawn(move || {
        for conn in requests {
            #[expect(clippy::disallowed_methods, reason = "this thread is not the loop's")]
            thread::sleep(Duration::from_millis(100));
            if handle.send_blocking((conn, "done".to_owned())).is_err() {
                return;
            }
        }
    });
    server.run()?;
    Ok(())
}
