//! `--tui` in a terminal: a pseudo-terminal whose output goes into a model of a screen.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;
use switchboard::apps::Echo;

use crate::support::{Honest, Scratch};

const ROWS: u16 = 30;
const COLUMNS: u16 = 100;

/// A flood at a terminal.
struct Session {
    flood: Child,
    /// The keyboard and, in [`Self::modes`], the modes of the terminal.
    terminal: File,
    output: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    json: Scratch,
}

impl Session {
    fn start(url: &str, options: &str) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal and a flood");
        grantpt(&terminal).expect("a terminal and a flood");
        unlockpt(&terminal).expect("a terminal and a flood");
        tcsetwinsize(&terminal, Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 })
            .expect("a terminal and a flood");
        let name = ptsname(&terminal, Vec::new())
            .expect("a terminal and a flood")
            .into_string()
            .expect("a terminal and a flood");
        let side = || {
            Stdio::from(File::options().read(true).write(true).open(&name).expect("a terminal and a flood"))
        };
        let json = Scratch::new("json");
        let flood = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["echo", url, "--tui", "--json", json.path()])
            .args(options.split_whitespace())
            .env("TERM", "xterm")
            .stdin(side())
            .stderr(side())
            .stdout(Stdio::null())
            .spawn()
            .expect("a terminal and a flood");
        let terminal = File::from(terminal);
        let mut reader = terminal.try_clone().expect("a terminal and a flood");
        let (sender, output) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            // The read fails when the flood has ended.
            while let Ok(count) = reader.read(&mut buffer) {
                if count == 0 || sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { flood, terminal, output, screen: vt100::Parser::new(ROWS, COLUMNS, 0), json }
    }

    /// Reads on until the screen satisfies the condition.
    #[track_caller]
    fn until(&mut self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        loop {
            let text = self.screen.screen().contents();
            if holds(&text) {
                return text;
            }
            match self.output.recv() {
                Ok(octets) => self.screen.process(&octets),
                Err(_) => unreachable!("{what} did not come:\n{text}"),
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).expect("a terminal and a flood");
    }

    fn has_modes_of_a_shell(&self) -> bool {
        let modes = tcgetattr(&self.terminal).expect("a terminal and a flood").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// The exit status and the report.
    fn end(&mut self) -> (Option<i32>, Value) {
        let status = self.flood.wait().expect("a terminal and a flood").code();
        while let Ok(octets) = self.output.try_recv() {
            self.screen.process(&octets);
        }
        (status, serde_json::from_str(&self.json.read()).unwrap_or_default())
    }
}

/// A figure behind a word in the text of a screen.
fn figure(text: &str, before: &str) -> u64 {
    let rest = text.split_once(before).map_or("", |(_, rest)| rest);
    rest.chars()
        .take_while(|sign| sign.is_ascii_digit() || *sign == ',')
        .filter(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap_or(0)
}

#[test]
fn an_open_loop_is_shown_paused_slowed_and_ended_by_keys() {
    let server = Honest::start(Echo);
    let url = format!("ws://{}/", server.address);
    let options =
        format!("--connections 5 --rate 400 --warmup 0s --duration 60s --pid {}", std::process::id());
    let mut session = Session::start(&url, &options);
    let text =
        session.until("a heat map", |text| text.contains("< ") && figure(text, "messages      ") > 100);
    for part in [
        format!("loadgen echo  {url}").as_str(),
        "phase         measuring, ",
        "connections   5 open, 0 failed",
        "wanted 400/s, 100 % of the plan",
        "latency now   p50 ",
        "  p99         ",
        "processor     generator ",
        "server ",
        "over time     a column is ",
        "keys          p pause   +/- rate   q quit",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    assert!(text.lines().any(|line| line.starts_with("< ") && line.contains('█')), "{text}");
    assert!(!session.has_modes_of_a_shell() && session.screen.screen().alternate_screen());

    session.press("p");
    session.until("the pause", |text| text.contains("PAUSED") && text.contains("wanted 0/s"));
    // Nothing is sent in a pause.
    let text = session.until("rest", |text| text.contains("throughput    0 msgs/s"));
    let sent = figure(&text, "messages      ");
    session.press("--");
    session.press("p");
    session.until("a slower rate", |text| {
        text.contains("wanted 256/s, 64 % of the plan") && !text.contains("PAUSED")
    });
    session.until("messages again", |text| figure(text, "messages      ") > sent);
    session.press("+");
    session.until("a faster rate", |text| text.contains("wanted 320/s, 80 % of the plan"));
    session.press("q");
    let (status, report) = session.end();
    assert_eq!(status, Some(130), "{report}");
    // The terminal is as before.
    assert!(session.has_modes_of_a_shell() && !session.screen.screen().alternate_screen());
    assert_eq!((&report["verdict"], &report["lost"]), (&"interrupted".into(), &0.into()), "{report}");
    let note = report["notes"][0].as_str().unwrap();
    assert!(note.starts_with("the rate was changed by hand, 3 times; the run was paused for "), "{note}");
}

#[test]
fn a_closed_loop_pauses_and_goes_on() {
    let server = Honest::start(Echo);
    let url = format!("ws://{}/", server.address);
    let mut session =
        Session::start(&url, "--connections 2 --threads 2 --pipeline 2 --warmup 0s --duration 60s");
    let text = session.until("messages", |text| figure(text, "messages      ") > 100);
    assert!(!text.contains("rate"), "{text}");
    session.press(" ");
    let text =
        session.until("rest", |text| text.contains("PAUSED") && text.contains("throughput    0 msgs/s"));
    let sent = figure(&text, "messages      ");
    session.press(" ");
    session.until("messages again", |text| figure(text, "messages      ") > sent + 100);
    // Ctrl-C is a key like q.
    session.press("\x03");
    let (status, report) = session.end();
    assert_eq!((status, &report["verdict"]), (Some(130), &"interrupted".into()), "{report}");
    assert!(session.has_modes_of_a_shell());
}

#[test]
fn a_flood_that_is_shown_and_left_alone_is_as_planned() {
    let server = Honest::start(Echo);
    let url = format!("ws://{}/", server.address);
    let mut session = Session::start(&url, "--connections 5 --rate 400 --warmup 0s --duration 500ms");
    let (status, report) = session.end();
    assert_eq!(
        (status, &report["answered"], &report["sent"]),
        (Some(0), &200.into(), &200.into()),
        "{report}"
    );
    assert!(report["notes"].as_array().unwrap().is_empty() && session.has_modes_of_a_shell());
}
