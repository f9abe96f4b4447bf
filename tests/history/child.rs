//! A process that keeps a history, so that it may be killed. It is this test binary, called with a directory in the
//! environment.
//!
//! It does what a chat would: posts into its rooms, takes note of what is committed, refused and found, and says so on
//! stdout, a line for each message: `acked|refused|landed ROOM SEQ NONCE`.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use switchboard::history::sqlite::Options;
use switchboard::history::{Action, BanChange, Change, Event, History as _, Keep, Query};

use crate::support::{Dice, History, ban, keyed, wait_until};

const ROOMS: usize = 6;

/// Not a test by itself: what the child does.
#[test]
fn child() {
    let Ok(dir) = std::env::var("STORE_CHILD") else { return };
    let seed = std::env::var("STORE_SEED").unwrap().parse().unwrap();
    let is_stopped = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&is_stopped);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        stop.store(true, Ordering::Relaxed);
    });
    // Retention makes rows go, too, where the test wants it.
    let keep_posts = std::env::var("STORE_KEEP").map_or(0, |keep| keep.parse().unwrap());
    let options = Options::default().with(|it| it.keep_posts = keep_posts);
    match History::try_open(Path::new(&dir), options) {
        Ok(history) if std::env::var("STORE_SLOW").is_ok() => slow(history),
        Ok(mut history) if std::env::var("STORE_CHURN").is_ok() => {
            // So many at once that it is over before anything is erased.
            for changes in crate::erasing::churn().0.chunks(50) {
                history.commit(changes.to_vec());
            }
            say("\nchurned\n");
            while !is_stopped.load(Ordering::Relaxed) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            history.close();
        }
        Ok(history) => Chat::new(history, seed).run(&is_stopped),
        Err(error) => say(&format!("unusable {error}\n")),
    }
}

/// Tells in which order things come while a commit is under way.
fn slow(mut history: History) {
    history.hand_over(vec![keyed("a", 1, "slow", None, 1)], Vec::new());
    let ask = Query::Page { ask: 1, room: "a".into(), before: 9, limit: 9, keep: Keep::Newest };
    history.client.query(ask).unwrap();
    history.client.query(Query::Open { room: "b".into(), recent: 9, changes: 9 }).unwrap();
    say("\nslow handed over\n");
    for _ in 0..3 {
        say(match history.event() {
            Event::Settled { .. } => "slow committed\n",
            Event::Page { .. } => "slow page\n",
            Event::Opened { .. } => "slow opened\n",
            _ => "slow other\n",
        });
    }
    history.close();
    say("slow done\n");
}

fn say(lines: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody listens any more when the test has ended.
    let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
}

struct Chat {
    history: History,
    dice: Dice,
    seed: u64,
    /// What was handed over last and what is committed, for each room.
    ahead: Vec<u64>,
    committed: Vec<u64>,
    pending: VecDeque<(u64, Vec<Change>)>,
    is_down: bool,
    posted: u64,
}

impl Chat {
    fn new(mut history: History, seed: u64) -> Self {
        let committed: Vec<u64> = (0..ROOMS).map(|room| history.room(&name(room), 1).seq).collect();
        say(&format!("open {committed:?}\n"));
        let ahead = committed.clone();
        let dice = Dice::new(seed);
        Self { history, dice, seed, ahead, committed, pending: VecDeque::new(), is_down: false, posted: 0 }
    }

    fn run(mut self, is_stopped: &AtomicBool) {
        while !is_stopped.load(Ordering::Relaxed) {
            while !self.is_down && self.pending.len() < 4 {
                self.hand_over();
            }
            if let Ok(event) = self.history.events.recv_timeout(std::time::Duration::from_millis(20)) {
                self.take(event);
            } else if self.is_down {
                let ask = Query::Page {
                    ask: 0,
                    room: name(0).into(),
                    before: u64::MAX,
                    limit: 1,
                    keep: Keep::Newest,
                };
                self.history.client.query(ask).unwrap();
            }
        }
        while !self.pending.is_empty() {
            let event = self.history.event();
            self.take(event);
        }
        self.history.close();
        say("closed\n");
    }

    fn hand_over(&mut self) {
        let mut changes = Vec::new();
        for _ in 0..=self.dice.below(12) {
            let room = self.dice.below(ROOMS);
            self.ahead[room] += 1;
            self.posted += 1;
            let nonce = format!("{}-{}", self.seed, self.posted);
            let padding = "p".repeat(1 << self.dice.below(13));
            let text = format!("{nonce} {padding}");
            let time = switchboard::history::sqlite::now_ms();
            changes.push(keyed(&name(room), self.ahead[room], &text, Some(&nonce), time));
        }
        let ban = BanChange::Set(ban(&format!("{}-{}", self.seed, self.posted), "spam"));
        let ticket = self.history.hand_over(changes.clone(), vec![ban]);
        self.pending.push_back((ticket, changes));
    }

    fn take(&mut self, event: Event) {
        let mut lines = String::new();
        match event {
            Event::Settled { ticket, .. } => {
                while self.pending.front().is_some_and(|batch| batch.0 <= ticket) {
                    let (_, changes) = self.pending.pop_front().unwrap();
                    self.tell("acked", &changes, &mut lines);
                    if let Some(Change { action: Action::Post(post), .. }) = changes.last() {
                        writeln!(lines, "banned {}", post.key.as_deref().unwrap()).unwrap();
                    }
                }
            }
            Event::Failed { term, ticket, reason } => {
                writeln!(lines, "failed {reason}").unwrap();
                for (refused, changes) in std::mem::take(&mut self.pending) {
                    assert!(refused >= ticket, "{refused} was neither committed nor refused");
                    self.tell("refused", &changes, &mut lines);
                }
                self.history.term = term;
                self.is_down = true;
            }
            Event::Recovered { landed } => {
                let landed: Vec<Change> = landed.iter().map(|change| (**change).clone()).collect();
                self.tell("landed", &landed, &mut lines);
                lines.push_str("recovered\n");
                self.ahead = self.committed.clone();
                self.is_down = false;
            }
            Event::Page { records, .. } => match records {
                Ok(records) => {
                    let newest = records.first().map_or(0, |record| record.post.seq);
                    // An answer that was under way when it recovered may be of before or after.
                    let is_true = !self.is_down || newest == self.committed[0];
                    assert!(is_true, "what may be lost is shown, or what is there is not");
                    lines.push_str("read\n");
                }
                Err(error) => writeln!(lines, "unread {error}").unwrap(),
            },
            other => panic!("{other:?}"),
        }
        say(&lines);
    }

    fn tell(&mut self, what: &str, changes: &[Change], lines: &mut String) {
        for change in changes {
            let Action::Post(post) = &change.action else { continue };
            let room: usize = change.room[5..].parse().unwrap();
            if what != "refused" {
                assert_eq!(post.seq, self.committed[room] + 1);
                self.committed[room] = post.seq;
            }
            writeln!(lines, "{what} {room} {} {}", post.seq, post.key.as_deref().unwrap()).unwrap();
        }
    }
}

pub(crate) fn name(room: usize) -> String {
    format!("room-{room}")
}

/// The child as the test sees it; killed with the value.
pub(crate) struct Keeper {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Keeper {
    /// Starts it, with `wrapper` before its own command line.
    pub(crate) fn start(dir: &Path, seed: u64, wrapper: &[&str], env: &[(&str, &str)]) -> Self {
        let own = std::env::current_exe().unwrap();
        let mut words: Vec<&str> = wrapper.to_vec();
        words.push(own.to_str().unwrap());
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .args(["--exact", "child::child", "--nocapture"])
            .env("STORE_CHILD", dir)
            .env("STORE_SEED", seed.to_string())
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&lines);
        let stdout = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                theirs.lock().unwrap().push(line);
            }
        });
        let stdin = child.stdin.take();
        Self { child, stdin, lines, reader: Some(reader) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.starts_with(what)).count()
    }

    pub(crate) fn wait_for(&self, what: &str, times: usize) {
        wait_until(&format!("{times} times {what:?}"), || {
            let lines = self.lines.lock().unwrap();
            let unusable = lines.iter().find(|line| line.starts_with("unusable"));
            assert_eq!(unusable, None);
            lines.iter().filter(|line| line.starts_with(what)).count() >= times
        });
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// SIGKILL; returns everything that it said.
    pub(crate) fn kill(mut self) -> Vec<String> {
        let _ = self.child.kill();
        self.end()
    }

    pub(crate) fn stop_when(self, said: &str) -> Vec<String> {
        self.wait_for(said, 1);
        self.stop()
    }

    /// Ends it in order.
    pub(crate) fn stop(mut self) -> Vec<String> {
        self.stdin = None;
        wait_until("the child ends", || self.has_ended());
        self.end()
    }

    fn end(&mut self) -> Vec<String> {
        self.child.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        let lines = self.lines.lock().unwrap().clone();
        // A line that was cut is none.
        lines.into_iter().filter(|line| !line.is_empty()).collect()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What all children of one directory have said, and whether the history agrees.
#[derive(Default)]
pub(crate) struct Ledger {
    /// What must be there: (room, seq) -> nonce.
    known: BTreeMap<(usize, u64), String>,
    /// What was refused and did not turn up.
    refused: BTreeSet<String>,
    /// Each batch bans somebody; a refused one does not.
    banned: BTreeSet<String>,
    pub(crate) acked: usize,
    pub(crate) landed: usize,
}

impl Ledger {
    pub(crate) fn enter(&mut self, lines: &[String]) {
        for line in lines {
            self.banned.extend(line.strip_prefix("banned ").map(Into::into));
            let words: Vec<&str> = line.split(' ').collect();
            let [what @ ("acked" | "landed" | "refused"), room, seq, nonce] = words[..] else { continue };
            let (room, seq) = (room.parse().unwrap(), seq.parse().unwrap());
            if what == "refused" {
                self.refused.insert(nonce.into());
                continue;
            }
            *(if what == "acked" { &mut self.acked } else { &mut self.landed }) += 1;
            self.refused.remove(nonce);
            let before = self.known.insert((room, seq), nonce.into());
            assert_eq!(before, None, "number {seq} of room {room} was given twice");
        }
    }

    /// `is_settled`: nothing was left in doubt when the child ended.
    pub(crate) fn check(&self, history: &mut History, is_settled: bool) {
        let mut seen = HashMap::new();
        let mut there = BTreeMap::new();
        for room in 0..ROOMS {
            let state = history.room(&name(room), 0);
            let mut before = u64::MAX;
            let mut expected = state.seq;
            loop {
                let page = history.page(&name(room), before, 500);
                for record in page.iter().rev() {
                    let post = &record.post;
                    assert_eq!(post.seq, expected, "a gap in room {room}");
                    expected -= 1;
                    let nonce = post.key.as_deref().unwrap();
                    assert!(post.text.starts_with(&format!("{nonce} p")), "the text is another one");
                    let twice = seen.insert(nonce.to_owned(), (room, post.seq));
                    assert_eq!(twice, None, "{nonce} is there twice");
                    there.insert((room, post.seq), nonce.to_owned());
                }
                let Some(first) = page.first() else { break };
                before = first.post.seq;
            }
            assert_eq!(expected, state.oldest.saturating_sub(1), "the oldest of room {room}");
        }
        for ((room, seq), nonce) in &self.known {
            assert_eq!(there.get(&(*room, *seq)), Some(nonce), "{seq} of room {room} was lost");
        }
        if is_settled {
            let banned: BTreeSet<String> =
                history.start.bans.iter().map(|ban| ban.user.to_string()).collect();
            assert_eq!(banned, self.banned, "a ban that was refused, or one is lost");
            for nonce in &self.refused {
                assert_eq!(seen.get(nonce), None, "{nonce} was refused and is there");
            }
        }
    }

    pub(crate) fn check_dir(&self, dir: &Path, is_settled: bool) {
        let mut history = History::open(dir);
        self.check(&mut history, is_settled);
        history.close();
    }
}

/// Faults are injected by strace; a machine without it must not pass by accident.
pub(crate) fn faults(faults: &[&str]) -> Vec<String> {
    let works = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    assert!(works.is_ok_and(|status| status.success()), "strace is missing: apt-get install strace");
    let mut wrapper = ["strace", "-f", "-D", "-qq", "-o", "/dev/null"].map(String::from).to_vec();
    for fault in faults {
        wrapper.push("-e".into());
        wrapper.push(format!("inject={fault}"));
    }
    wrapper
}

pub(crate) fn as_words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}
