//! A lead and its agents in one process: clocks that differ, agents that break off, and many of them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use switchboard::proto::handshake::{check_upgrade, write_accept};
use switchboard::proto::head::{HeadScanner, with_request};
use switchboard::proto::{Connection, Event, Input, ProtoConfig, write_frame};
use switchboard::proto::{Limits, Opcode};

use super::auth::{Side, Token, nonce};
use super::lead::Job;
use super::wire::{Answer, Lines, MAX_ORDER, Order, PROTOCOL, Sender, split};
use super::{WallClock, agent};
use crate::input::plan::Primary;
use crate::output::record::Record;
use crate::output::report::{Machine, Outcome, Report, Verdict};
use crate::scenario::tests::plan_of;

const TOKEN: &str = "a token of the tests";

fn token() -> Token {
    Token::parse(TOKEN).unwrap()
}

/// An echo server on threads that end with their connections and with the process.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve_echo(stream.unwrap()));
        }
    });
    address
}

fn serve_echo(mut stream: TcpStream) {
    let (mut buffer, mut out, mut len) = (vec![0; 65536], Vec::new(), 0);
    let (mut scanner, limits) = (HeadScanner::default(), Limits::default());
    let end = loop {
        len += stream.read(&mut buffer[len..]).unwrap();
        if let Some(end) = scanner.find_end(&buffer[..len], &limits).unwrap() {
            break end;
        }
    };
    with_request(&buffer[..end], &limits, |head| {
        write_accept(check_upgrade(&head.unwrap()).unwrap().key, None, &[], &mut out);
    });
    stream.write_all(&out).unwrap();
    let mut connection = Connection::server(&Arc::new(ProtoConfig::default()), 0);
    loop {
        let count = stream.read(&mut buffer).unwrap_or(0);
        let (mut input, mut answers, mut out) = (Input::new(&mut buffer[..count]), Vec::new(), Vec::new());
        let mut is_over = count == 0;
        while let Some(event) = connection.next_event(&mut input, &mut out).unwrap() {
            match event {
                Event::Message(message) => {
                    write_frame(&mut answers, true, Opcode::Binary, message.payload, None);
                }
                Event::Close(_) => is_over = true,
                Event::Ping(_) | Event::Pong(_) | Event::Chunk(_) => {}
            }
        }
        answers.extend(out);
        if stream.write_all(&answers).is_err() || is_over {
            return;
        }
    }
}

/// Listens, and serves each lead on a thread that ends with the process.
fn listen(serve: impl Fn(&TcpListener) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || serve(&listener));
    address.to_string()
}

/// A real agent whose clock is ahead by `skew_ns`.
fn skewed(skew_ns: i64) -> String {
    listen(move |listener| agent::serve(listener, token(), WallClock { skew_ns }))
}

/// An agent that follows a script instead of running anything.
fn scripted(script: impl Fn(&mut Lines, &Sender) + Send + Sync + 'static) -> String {
    listen(move |listener| {
        for stream in listener.incoming() {
            let (mut lines, sender) = split(stream.unwrap(), MAX_ORDER).unwrap();
            script(&mut lines, &sender);
        }
    })
}

/// Proves the token and tells the time until the lead sends something else.
fn greet(lines: &mut Lines, sender: &Sender) -> Order {
    let mine = nonce().unwrap();
    sender.send(&Answer::Challenge { protocol: PROTOCOL.to_owned(), nonce: mine.clone() }).unwrap();
    let Order::Prove { nonce: theirs, .. } = lines.next(None).unwrap() else { unreachable!() };
    sender.send(&Answer::Proof { mac: token().prove(Side::Agent, &mine, &theirs) }).unwrap();
    loop {
        match lines.next(None).unwrap() {
            Order::Clock => sender.send(&Answer::Clock { now_ns: WallClock::default().now() }).unwrap(),
            other => return other,
        }
    }
}

fn conduct(agents: &[String], words: &str) -> Result<Report, String> {
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    let (token, stop) = (token(), AtomicBool::new(false));
    let clock = WallClock::default();
    let job = Job { agents, token: &token, words: &words, clock, stop: &stop };
    job.conduct().map_err(|error| error.to_string())
}

#[test]
fn agents_whose_clocks_differ_begin_together() {
    let skews = [3_000_000_000, -2_000_000_000, 0];
    let agents = skews.map(skewed);
    let words = format!("echo ws://{}/ --connections 10 --messages 20 --threads 2", echo());
    let report = conduct(&agents, &words).unwrap();
    assert_eq!((report.verdict, report.processes, report.answered), (Verdict::Ok, 3, 200), "{report:?}");
    assert_eq!((report.asked.connections, report.opened, report.urls[0].opened), (10, 10, 10));
    let connections: Vec<u32> = report.agents.iter().map(|agent| agent.connections).collect();
    assert_eq!(connections, [4, 3, 3]);
    for (agent, skew) in report.agents.iter().zip(skews) {
        assert!(agent.clock_offset_ns.abs_diff(skew) <= agent.clock_error_ns, "{agent:?}");
        // No agent begins before the instant, as far as its clock is known.
        let earliest = -i64::try_from(agent.clock_error_ns).unwrap();
        assert!(agent.begun_after_ns.unwrap() >= earliest, "{agent:?}");
        assert!(agent.clock_drift_ns.is_some() && agent.lost.is_none(), "{agent:?}");
    }
}

#[test]
fn an_agent_that_cannot_begin_keeps_the_others_from_beginning() {
    let (good, address) = (skewed(0), echo());
    let words = format!("echo ws://{address}/ --connections 4 --messages 1");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let stranger = scripted(|lines, sender| {
        let challenge = Answer::Challenge { protocol: PROTOCOL.to_owned(), nonce: "0".to_owned() };
        sender.send(&challenge).unwrap();
        let _: Result<Order, String> = lines.next(None);
        let _ = sender.send(&Answer::Proof { mac: "00".repeat(32) });
    });
    let older = scripted(|_, sender| {
        let protocol = "loadgen-agent/0 0.0.1".to_owned();
        let _ = sender.send(&Answer::Challenge { protocol, nonce: "0".to_owned() });
    });
    let other_token = listen(|listener| {
        agent::serve(listener, Token::parse("quite another token").unwrap(), WallClock::default());
    });
    let parrot = scripted(|_, sender| drop(sender.send(&"hello")));
    for (bad, reason) in [
        (nobody, "connection refused: start `loadgen agent` there"),
        (stranger, "it does not know the token"),
        (older, "it is loadgen-agent/0 0.0.1, and the lead is"),
        (other_token, "it has another token"),
        (parrot, "does not speak the protocol"),
    ] {
        let error = conduct(&[good.clone(), bad.clone()], &words).unwrap_err();
        assert!(error.starts_with(&format!("agent {bad}: ")) && error.contains(reason), "{error}");
    }
    for (words, reason) in [
        (format!("echo ws://{address}/ --connections 1"), "2 agents need at least as many"),
        (format!("fanout ws://{address}/"), "give --rate, --stages or --messages"),
        (format!("slow ws://{address}/ --fanout 1"), "a run of one process"),
        ("echo ws://192.0.2.1/".to_owned(), "--i-own-this-server"),
        ("merge x.json".to_owned(), "an agent runs scenarios only"),
        ("echo --nonsense".to_owned(), "--nonsense"),
    ] {
        let error = conduct(&[good.clone(), skewed(0)], &words).unwrap_err();
        assert!(error.contains(reason), "{words}: {error}");
    }
    // The agent that was left each time is free again.
    assert_eq!(conduct(&[good], &words).unwrap().verdict, Verdict::Ok);
}

#[test]
fn an_agent_that_is_lost_is_named_and_the_report_is_incomplete() {
    let quitter = scripted(|lines, sender| {
        let Order::Prepare { .. } = greet(lines, sender) else { unreachable!() };
        sender.send(&Answer::Prepared { connections: 5 }).unwrap();
        sender.send(&Answer::Ready).unwrap();
        let Order::Start { .. } = lines.next(None).unwrap() else { unreachable!() };
    });
    let words = format!("echo ws://{}/ --connections 10 --messages 20", echo());
    let report = conduct(&[skewed(0), quitter.clone()], &words).unwrap();
    assert_eq!((report.verdict, report.answered, report.failed), (Verdict::Failed, 100, 1), "{report:?}");
    assert!(
        report.notes.iter().any(|note| note == "the report is incomplete: 1 of 2 agents were lost"),
        "{report:?}"
    );
    assert_eq!(report.agents[1].lost.as_deref(), Some("it closed the connection"));
    let name = format!("agent {quitter} was lost: it closed the connection");
    assert_eq!(report.failures.get(&name), Some(&1));
    // Nobody is left.
    let error = conduct(std::slice::from_ref(&quitter), &words.replace("10", "5")).unwrap_err();
    assert!(error.contains("no agent is left"), "{error}");
}

#[test]
fn two_hundred_agents_are_ten_million_connections() {
    let plan = plan_of("echo --connections 50000 --size 20", "127.0.0.1:1").unwrap();
    let mut record = Record::new(Primary::Send).unwrap();
    record.begin(0..1_000_000_000);
    record.count.opened = 50_000;
    for k in 0..50_000 {
        record.answers(k * 20_000, k * 20_000 + 100_000 + k, 1);
    }
    let started_at = crate::clock::time_of_day();
    let (process, machine, begun_at) = (None, Machine::default(), Some(started_at));
    let outcome = Outcome { record, process, machine, is_interrupted: false, started_at, begun_at };
    let json = Arc::new(Report::new(&plan, &outcome).json());
    let agents: Vec<String> = (0..200)
        .map(|_| {
            let json = Arc::clone(&json);
            scripted(move |lines, sender| {
                greet(lines, sender);
                sender.send(&Answer::Prepared { connections: 50_000 }).unwrap();
                sender.send(&Answer::Ready).unwrap();
                let Order::Start { .. } = lines.next(None).unwrap() else { unreachable!() };
                sender.send(&Answer::Report { json: String::clone(&json) }).unwrap();
                // The lead asks for the time once more.
                while let Ok(Order::Clock) = lines.next(None) {
                    sender.send(&Answer::Clock { now_ns: WallClock::default().now() }).unwrap();
                }
            })
        })
        .collect();
    let report = conduct(&agents, "echo ws://127.0.0.1:1/ --connections 10000000").unwrap();
    assert_eq!((report.verdict, report.processes, report.agents.len()), (Verdict::Ok, 200, 200));
    assert_eq!(
        (report.asked.connections, report.opened, report.answered),
        (10_000_000, 10_000_000, 10_000_000)
    );
    let latency = report.latency_from_send_ns.unwrap();
    assert_eq!(latency.count, 10_000_000);
    // All agents measured the same, so the percentiles are those of one.
    assert!((124_500..=125_500).contains(&latency.p50), "{}", latency.p50);
}
