//! `loadgen agent` and `loadgen lead` as processes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;

use serde_json::Value;
use switchboard::apps::{Echo, Fanout};

use crate::chat::chat;
use crate::fanout::Relay;
use crate::hub::hub;
use crate::support::{Answers, Honest, Scratch, start};

const TOKEN: &str = "a token of the tests";

/// An agent that is ended when it is dropped.
struct Agent {
    process: Child,
    address: String,
}

impl Agent {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["agent", "--listen", "127.0.0.1:0"])
            .env("LOADGEN_TOKEN", TOKEN)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("loadgen runs");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let address = line.trim().rsplit(' ').next().expect("an address").to_owned();
        Self { process, address }
    }

    fn kill(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

fn lead(agents: &[&Agent], token: &str, words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.arg("lead").env("LOADGEN_TOKEN", token).stdout(Stdio::piped()).stderr(Stdio::piped());
    for agent in agents {
        command.args(["--agent", &agent.address]);
    }
    command.args(words.split_whitespace());
    command
}

fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_lead_divides_a_flood_among_its_agents_and_writes_one_report() {
    let (one, two, server) = (Agent::start(), Agent::start(), Honest::start(Echo));
    let json = Scratch::new("json");
    let words = format!(
        "echo ws://{}/?token=a-secret --connections 9 --rate 900 --warmup 0s --duration 500ms --seed 5 --json {} \
         --assert lost==0",
        server.address,
        json.path()
    );
    for _ in 0..2 {
        let (status, text, errors) = texts(&lead(&[&one, &two], TOKEN, &words).output().unwrap());
        assert_eq!(status, Some(0), "{text}{errors}");
        assert!(text.contains("2 processes") && text.contains("open loop of 900 msgs/s"), "{text}");
        assert!(text.contains(&format!("agent         {}: 5 connections, clock ", one.address)), "{text}");
        assert!(text.contains(&format!("agent         {}: 4 connections, clock ", two.address)), "{text}");
        assert!(text.contains("assert        ✓ lost==0 holds"), "{text}");
        let report: Value = serde_json::from_str(&json.read()).unwrap();
        assert_eq!(
            (&report["answered"], &report["planned_in_window"]),
            (&450.into(), &450.into()),
            "{report}"
        );
        assert_eq!((&report["asked"]["connections"], &report["asked"]["rate"]), (&9.into(), &900.0.into()));
        let command: Vec<&str> =
            report["command"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(command.contains(&"lead") && command.contains(&"--agent"), "{command:?}");
        assert!(!report.to_string().contains("a-secret"), "{report}");
    }
}

#[test]
fn a_wrong_token_and_other_mistakes_are_refused() {
    let (agent, server) = (Agent::start(), Honest::start(Echo));
    let words = format!("echo ws://{}/ --connections 2 --messages 1", server.address);
    let short = Scratch::new("token");
    std::fs::write(&short.0, "short").unwrap();
    for (token, words, reason) in [
        ("quite another token", words.clone(), "it has another token"),
        ("short", words.clone(), "the token has 5 bytes"),
        (TOKEN, format!("--token-file {} {words}", short.path()), "the token has 5 bytes"),
        (TOKEN, format!("--token-file /no/such/file {words}"), "--token-file /no/such/file"),
        (TOKEN, format!("--agent {} {words}", agent.address), "is given twice"),
        (TOKEN, format!("{words} --start-at 2099-01-01T00:00:00Z"), "no --start-at"),
        (TOKEN, format!("{words} --tui"), "--tui watch one process"),
        (TOKEN, words.replace("--connections 2", "--connections 0"), "--connections"),
    ] {
        let (status, text, errors) = texts(&lead(&[&agent], token, &words).output().unwrap());
        assert_eq!((status, text.as_str()), (Some(2), ""), "{errors}");
        assert!(errors.contains(reason), "{reason}: {errors}");
    }
    let output =
        Command::new(env!("CARGO_BIN_EXE_loadgen")).arg("agent").env_remove("LOADGEN_TOKEN").output();
    let (status, _, errors) = texts(&output.unwrap());
    assert!(status == Some(2) && errors.contains("set LOADGEN_TOKEN"), "{errors}");
}

/// An echo server, and a channel that hears of the tenth message of a connection.
fn watched() -> (String, mpsc::Receiver<()>) {
    let (sender, receiver) = mpsc::channel();
    let address = start(Answers(move |seq, message, _: &mut Vec<_>| {
        if seq == 10 {
            sender.send(()).expect("the test waits");
        }
        Some(vec![message])
    }));
    (format!("ws://{address}/"), receiver)
}

/// Runs words on agents; the report and its text.
fn conduct(agents: &[&Agent], words: &str) -> (Option<i32>, Value, String) {
    let json = Scratch::new("json");
    let words = format!("{words} --json {}", json.path());
    let (status, text, errors) = texts(&lead(agents, TOKEN, &words).output().expect("loadgen runs"));
    (status, serde_json::from_str(&json.read()).unwrap_or_default(), text + &errors)
}

fn counts(report: &Value) -> [u64; 4] {
    ["sent", "answered", "lost", "corrupted"].map(|name| report[name].as_u64().unwrap_or(u64::MAX))
}

#[test]
fn agents_share_a_fanout_and_each_checks_the_messages_of_all() {
    let agents = [Agent::start(), Agent::start(), Agent::start()];
    let agents: Vec<&Agent> = agents.iter().collect();
    let server = Honest::start(Fanout::default());
    let url = format!("ws://{}/", server.address);
    // Publishers on every agent, and twice in an open loop.
    for words in ["--rate 400", "--rate 400 --arrivals poisson --threads 2"] {
        let words = format!(
            "fanout {url} --connections 10 --publishers 4 {words} --warmup 100ms --duration 400ms --size 32"
        );
        let (status, report, text) = conduct(&agents, &words);
        let planned = report["planned_in_window"].as_u64().unwrap();
        let [sent, answered, lost, corrupted] = counts(&report);
        assert_eq!((status, lost, corrupted, answered), (Some(0), 0, 0, sent * 10), "{text}");
        assert!((100..=250).contains(&planned) && sent >= planned, "{text}");
        assert_eq!(report["latency_from_plan_ns"]["count"], planned * 10, "{text}");
        assert_eq!((&report["asked"]["rate"], &report["asked"]["publishers"]), (&400.0.into(), &4.into()));
        assert_eq!(report["agents"].as_array().unwrap().len(), 3);
    }
    // A publisher on one of them, and a number of messages that ends the run.
    let words = format!("fanout {url} --connections 7 --publishers 1 --messages 20 --pipeline 4");
    let (status, report, text) = conduct(&agents, &words);
    assert_eq!((status, counts(&report)), (Some(0), [20, 140, 0, 0]), "{text}");
    let (status, _, text) = conduct(&agents, &format!("fanout {url} --connections 7"));
    assert!(status == Some(2) && text.contains("give --rate, --stages or --messages"), "{text}");
}

#[test]
fn what_a_relay_keeps_from_a_receiver_is_lost_whichever_agent_sent_it() {
    let (one, two) = (Agent::start(), Agent::start());
    for skips_sender in [false, true] {
        // The first member connects first, to whichever agent it belongs; it misses every fifth message.
        let address = hub(Relay::new(skips_sender, |receiver: usize, told: usize, message: &[u8]| {
            if receiver == 0 && told % 5 == 3 { vec![] } else { vec![message.to_vec()] }
        }));
        let option = if skips_sender { "--exclude-self" } else { "" };
        let words = format!(
            "fanout ws://{address}/ --connections 6 --publishers 2 --rate 100 --warmup 0s --duration 400ms {option}"
        );
        let (status, report, text) = conduct(&[&one, &two], &words);
        let [sent, answered, lost, corrupted] = counts(&report);
        let receivers = if skips_sender { 5 } else { 6 };
        assert_eq!((status, sent, corrupted, answered + lost), (Some(1), 40, 0, 40 * receivers), "{text}");
        assert!(if skips_sender { (1..=8).contains(&lost) } else { lost == 8 }, "{text}");
    }
}

#[test]
fn agents_share_a_chat() {
    let (one, two, server) = (Agent::start(), Agent::start(), Honest::start(chat()));
    let words = format!(
        "chat ws://{}/ --connections 8 --rooms 2 --rate 200 --warmup 0s --duration 500ms",
        server.address
    );
    let (status, report, text) = conduct(&[&one, &two], &words);
    let [sent, _, lost, corrupted] = counts(&report);
    assert_eq!((status, sent, lost, corrupted), (Some(0), 100, 0, 0), "{text}");
    // Of the four users of a room, two are on the agent that posts and times the deliveries.
    assert_eq!(report["latency_of_delivery_ns"]["count"], 100 * 2, "{text}");
}

#[test]
fn a_lost_agent_makes_the_report_incomplete() {
    let (one, mut two) = (Agent::start(), Agent::start());
    let (url, under_way) = watched();
    let words = format!("echo {url} --connections 2 --warmup 0s --duration 2s");
    let lead = lead(&[&one, &two], TOKEN, &words).spawn().unwrap();
    for _ in 0..2 {
        under_way.recv().unwrap();
    }
    two.kill();
    let (status, text, errors) = texts(&lead.wait_with_output().unwrap());
    assert_eq!(status, Some(1), "{text}{errors}");
    assert!(text.contains("the report is incomplete: 1 of 2 agents were lost"), "{text}");
    assert!(text.contains(&format!("agent         {}: lost, ", two.address)), "{text}");
    assert!(text.contains(" 1 opened, 1 closed cleanly") && !text.contains(" 0 echoed"), "{text}");
}

#[test]
fn a_fanout_goes_on_without_an_agent_that_is_lost() {
    let (one, mut two) = (Agent::start(), Agent::start());
    let (sender, told) = mpsc::channel();
    let address = hub(Relay::new(false, move |_, number, message: &[u8]| {
        if number == 20 {
            // Only the first of the receivers is waited for.
            let _ = sender.send(());
        }
        vec![message.to_vec()]
    }));
    let json = Scratch::new("json");
    let words = format!(
        "fanout ws://{address}/ --connections 6 --publishers 2 --rate 100 --warmup 0s --duration 2s --json {}",
        json.path()
    );
    let lead = lead(&[&one, &two], TOKEN, &words).spawn().unwrap();
    told.recv().unwrap();
    two.kill();
    let (status, text, errors) = texts(&lead.wait_with_output().unwrap());
    let report: Value = serde_json::from_str(&json.read()).unwrap();
    let [sent, answered, _, corrupted] = counts(&report);
    assert_eq!((status, sent, corrupted), (Some(1), 100, 0), "{text}{errors}");
    // What the other agent sent is checked by its messages, and what it would have told of its own receivers is missing.
    assert!(answered >= 300, "{text}");
    assert!(text.contains("the report is incomplete: 1 of 2 agents were lost"), "{text}");
}

#[test]
fn an_interrupted_lead_interrupts_its_agents_and_prints_what_they_have() {
    let (one, two) = (Agent::start(), Agent::start());
    let (url, under_way) = watched();
    let words = format!("echo {url} --connections 2 --warmup 0s --duration 60s");
    let flood = lead(&[&one, &two], TOKEN, &words).spawn().unwrap();
    for _ in 0..2 {
        under_way.recv().unwrap();
    }
    let busy = lead(&[&one], TOKEN, &words).output().unwrap();
    let (status, _, errors) = texts(&busy);
    assert!(status == Some(2) && errors.contains("it is busy with another run"), "{errors}");
    let is_sent = Command::new("kill").args(["-INT", &flood.id().to_string()]).status().unwrap();
    assert!(is_sent.success());
    let (status, text, errors) = texts(&flood.wait_with_output().unwrap());
    assert_eq!(status, Some(130), "{text}{errors}");
    assert!(text.contains("verdict       interrupted") && text.contains("2 opened"), "{text}");
}
