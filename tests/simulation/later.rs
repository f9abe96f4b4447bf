//! Answers that come later: one request at a time, in order, exactly once, and not without an end.

use std::convert::Infallible;

use switchboard::app::{Application, ConnId, Context, Entrance, Message, Request, Response, Verdict};
use switchboard::reactor::Config;

use crate::few::Few;

/// Keeps requests until a timer comes: the token is the number of the request, and its answer comes twice.
#[derive(Default)]
struct Slow {
    asked: Vec<(ConnId, String)>,
    hasty: bool,
}

impl Application for Slow {
    type Mail = Infallible;

    fn on_request<C: Context>(&mut self, ctx: &mut C, request: &Request<'_>) -> Verdict {
        let target = request.head.target.to_owned();
        if target == "/now" {
            return Verdict::Respond(Response::text(200, target));
        }
        if target == "/never" {
            return Verdict::Later;
        }
        if self.hasty {
            // The answer may be there before the request is put off.
            ctx.respond(request.conn, Response::text(200, target));
            return Verdict::Later;
        }
        ctx.set_timer(ctx.now().monotonic_ms + 100, self.asked.len() as u64);
        self.asked.push((request.conn, target));
        Verdict::Later
    }

    fn on_timer<C: Context>(&mut self, ctx: &mut C, token: u64) {
        let (conn, target) = self.asked[token as usize].clone();
        ctx.respond(conn, Response::text(200, format!("first {target}")));
        ctx.respond(conn, Response::text(200, format!("second {target}")));
    }

    fn on_message<C: Context>(&mut self, _: &mut C, _: ConnId, _: Message<'_>) {}
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: sim\r\n\r\n").into_bytes()
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

fn few() -> (Few<Slow>, ConnId) {
    let mut few = Few::new(Slow::default(), Config::default());
    let conn = few.accept([127, 0, 0, 1], Entrance::default());
    (few, conn)
}

#[test]
fn what_follows_a_request_waits_for_its_answer() {
    let (mut few, conn) = few();
    few.send(conn, &[get("/a"), get("/now"), get("/b")].concat());
    few.tick();
    assert_eq!(few.read(conn), "");
    assert_eq!(few.reactor.app().asked.len(), 1, "one at a time");
    // More may come meanwhile, and is not read.
    few.send(conn, &get("/c"));
    few.tick_after(50);
    assert_eq!(few.reactor.app().asked.len(), 1);
    for _ in 0..10 {
        few.tick_after(60);
    }
    let answers = few.read(conn);
    let bodies: Vec<&str> =
        answers.split("\r\n\r\n").skip(1).filter_map(|behind| behind.lines().next()).collect();
    assert_eq!(bodies, ["first /a", "/now", "first /b", "first /c"], "{answers}");
    assert!(!few.is_ended(conn), "the connection is kept");
}

#[test]
fn an_answer_may_come_at_once() {
    let mut few = Few::new(Slow { hasty: true, ..Slow::default() }, Config::default());
    let conn = few.accept([127, 0, 0, 1], Entrance::default());
    few.send(conn, &[get("/a"), get("/b")].concat());
    for _ in 0..5 {
        few.tick();
    }
    let answers = few.read(conn);
    assert_eq!(statuses(&answers), ["200", "200"], "{answers}");
}

#[test]
fn an_answer_that_never_comes_is_504() {
    let (mut few, conn) = few();
    few.send(conn, &[get("/never"), get("/now")].concat());
    few.tick();
    few.tick_after(9_900);
    assert_eq!(few.read(conn), "");
    few.tick_after(200);
    few.tick();
    let answers = few.read(conn);
    assert_eq!(statuses(&answers), ["504"], "{answers}");
    assert!(answers.contains("Connection: close"));
    assert!(few.is_ended(conn));
    assert_eq!(few.reactor.stats().requests.unanswered, 1);
}

#[test]
fn an_answer_to_somebody_who_is_gone_is_ignored() {
    let (mut few, conn) = few();
    few.send(conn, &get("/a"));
    few.tick();
    few.wires[&conn].borrow_mut().client_resets();
    few.tick_after(1);
    few.tick_after(150);
    few.tick_after(150);
    // The slot may belong to somebody else by now.
    let next = few.accept([127, 0, 0, 1], Entrance::default());
    few.tick_after(150);
    assert_eq!(few.read(next), "");
    assert_eq!(few.reactor.connections(), 1);
}

#[test]
fn what_was_sent_before_the_fin_is_answered() {
    let (mut few, conn) = few();
    few.send(conn, &get("/a"));
    few.wires[&conn].borrow_mut().client_ends();
    few.tick();
    few.tick_after(150);
    few.tick();
    assert!(few.read(conn).contains("first /a"));
    few.tick();
    few.tick();
    assert!(few.is_ended(conn));
}

#[test]
fn a_request_under_way_is_answered_when_the_server_stops() {
    let (mut few, conn) = few();
    let idle = few.accept([127, 0, 0, 1], Entrance::default());
    let late = few.accept([127, 0, 0, 1], Entrance::default());
    few.send(conn, &get("/a"));
    few.tick();
    // This one has come and is not read yet.
    few.send(late, &get("/now"));
    few.reactor.begin_shutdown();
    few.tick();
    assert!(few.is_ended(idle));
    let answer = few.read(late);
    assert!(answer.contains("/now") && answer.contains("Connection: close"), "{answer}");
    assert!(!few.reactor.is_drained());
    few.tick_after(150);
    few.tick();
    let answer = few.read(conn);
    assert!(answer.contains("first /a") && answer.contains("Connection: close"), "{answer}");
    for conn in [conn, idle, late] {
        few.wires[&conn].borrow_mut().client_ends();
    }
    few.tick();
    few.tick();
    assert!(few.reactor.is_drained());
}
