//! The chat inside a program with routes of its own: `cargo run --example embedded_chat --features chat [ADDR:PORT]`. `GET /about` is
//! answered by this program, everything else by the chat, whose history is in memory here.

use std::time::{SystemTime, UNIX_EPOCH};

use switchboard::app::{Application, Context, Layer, Request, Response, Verdict};
use switchboard::chat::{self, Chat};
use switchboard::history::Start;
use switchboard::net::{Options, Server};

struct Site {
    chat: Chat,
}

/// A layer says what it changes; every other callback goes to the chat.
impl Layer for Site {
    type Inner = Chat;
    type Mail = <Chat as Application>::Mail;

    fn inner(&mut self) -> &mut Chat {
        &mut self.chat
    }

    fn on_mail<C: Context>(&mut self, ctx: &mut C, mail: Self::Mail) {
        self.chat.on_mail(ctx, mail);
    }

    fn on_request<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>) -> Verdict {
        if request.upgrade.is_none() && (request.head.method, request.head.path()) == ("GET", "/about") {
            return Verdict::Respond(Response::text(200, "a chat in another program"));
        }
        self.chat.on_request(ctx, request)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let options = Options::listen(address.parse()?).with(|it| it.stop_on_signals = true);
    #[expect(clippy::disallowed_methods, reason = "the loop does not run yet")]
    let started = SystemTime::now();
    // A history in memory has another name in each run, so that clients of an earlier run load it again.
    let epoch = format!("{:x}", started.duration_since(UNIX_EPOCH)?.as_nanos());
    let chat = Chat::new(chat::Options::default(), None, Start { epoch, ..Start::default() });
    let server = Server::bind(options, Site { chat })?;
    println!("chat on http://{}", server.local_addrs()?[0]);
    server.run()?;
    Ok(())
}
