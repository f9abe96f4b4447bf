//! The chat inside a program with routes of its own: `cargo run --example embedded_chat --features chat [ADDR:PORT]`. `GET /about` is
//! answered by this program, everything else by the chat, whose history is in memory here. The program decides what may be said,
//! and says a line of its own when somebody comes into a room.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use switchboard::app::{Application, Context, Layer, Request, Response, Verdict};
use switchboard::chat::command::Command;
use switchboard::chat::decisions::{Allowed, Answer, AskKind, AskNumber, ChatEvents, EventOptions, Question};
use switchboard::chat::{self, CallId, Chat, Happening};
use switchboard::history::{EventKind, Start};
use switchboard::net::{Options, Server};

struct Site {
    chat: Chat,
    /// Lines to be posted, and what was begun already.
    lines: Arrivals,
    begun: Vec<CallId>,
}

/// Rooms into which somebody came, and who.
type Arrivals = Arc<Mutex<Vec<(String, String)>>>;

/// What this program thinks of what happens. The chat calls it on its loop.
#[derive(Debug)]
struct Rules {
    lines: Arrivals,
}

impl ChatEvents for Rules {
    fn ask(&mut self, _: AskNumber, question: &Question<'_>) -> Option<Answer> {
        let Question::Post { text, .. } = question else { return Some(Answer::allow()) };
        if text.contains("spam") {
            return Some(Answer::Refuse("no spam here".into()));
        }
        // Anything that takes time comes later, as `Mail::Decision`; then this is `None`.
        let milder = text.replace("damn", "d***");
        Some(Answer::Allow(Allowed::default().with(|it| it.text = Some(milder.into()))))
    }

    fn tell(&mut self, happening: &Happening<'_>) {
        if let Happening::Joined { room, user, .. } = happening
            && let Ok(mut lines) = self.lines.lock()
        {
            lines.push(((*room).to_owned(), (*user).to_owned()));
        }
    }
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

    fn on_tick_end<C: Context>(&mut self, ctx: &mut C) {
        let lines = self.lines.lock().map(|mut lines| std::mem::take(&mut *lines)).unwrap_or_default();
        for (room, user) in lines {
            let text = format!("{user}, welcome!").into();
            let post = Command::Post { room: room.into(), text, key: None, data: None, reply_to: None };
            self.begun.push(self.chat.start(ctx, Some("Host"), post));
        }
        self.chat.on_tick_end(ctx);
        for answered in self.chat.take_answered() {
            self.begun.retain(|call| !answered.is_for(*call));
            if let Some(code) = answered.refused {
                println!("a welcome was refused: {code:?}");
            }
        }
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
    let lines = Arrivals::default();
    let wanted = EventOptions::default().with(|it| {
        it.asks = [AskKind::Post].into_iter().collect();
        it.tells = [EventKind::Joined].into_iter().collect();
    });
    let chat = chat.with_events(Box::new(Rules { lines: Arc::clone(&lines) }), wanted);
    let server = Server::bind(options, Site { chat, lines, begun: Vec::new() })?;
    println!("chat on http://{}", server.local_addrs()?[0]);
    server.run()?;
    Ok(())
}
