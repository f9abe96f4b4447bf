//! What waits for a backend: committed with what caused it, told from where it was left, and never under a number twice.

use proptest::prelude::*;
use switchboard::history::outbox::{DeadLetter, Outbox as _, OutboxOptions, Page, What};
use switchboard::history::sqlite::Options;
use switchboard::history::{Act, Action, Draft, EventKind, Outcome, Proposal, Who};

use crate::support::{Dir, History};

fn options(max_events: u64) -> Options {
    Options::default().with(|it| {
        it.outbox = Some(OutboxOptions::default().with(|it| {
            it.kinds = EventKind::ALL.into_iter().collect();
            it.max_events = max_events;
        }));
    })
}

fn proposal(act: Act) -> Proposal {
    Proposal { room: "r".into(), time: 1_700_000_000_000, act }
}

fn post(text: &str) -> Proposal {
    let (user, client, text) = ("Ada".into(), "c".into(), text.into());
    proposal(Act::Post(Draft {
        user,
        is_verified: true,
        client,
        text,
        key: None,
        data: None,
        reply_to: None,
    }))
}

fn note(body: &str) -> Proposal {
    Proposal { room: "".into(), time: 0, act: Act::Note(body.into()) }
}

#[track_caller]
fn page(history: &mut History, after: u64) -> Page {
    history.outbox.as_mut().unwrap().page(after, 100, 1 << 20).expect("it can be read")
}

/// The numbers of the events, and a word about each.
fn seen(page: &Page) -> Vec<(u64, String)> {
    let word = |what: &What| match what {
        What::Post { record, .. } if record.is_deleted => format!("deleted {}", record.post.seq),
        What::Post { record, .. } => format!("{} {}", record.post.seq, record.post.text),
        What::Change(change) => match &change.action {
            Action::Post(post) => format!("{} {}", post.seq, post.text),
            action => format!("change of {}", action.target().unwrap()),
        },
        What::Expired { seq, rev, .. } => format!("expired {seq} {rev}"),
        What::Note(body) => body.to_string(),
    };
    page.events.iter().map(|event| (event.id, word(&event.what))).collect()
}

fn list(events: &[(u64, &str)]) -> Vec<(u64, String)> {
    events.iter().map(|(id, word)| (*id, (*word).to_owned())).collect()
}

#[test]
fn events_come_in_order_from_where_they_were_left_and_have_no_text_that_was_deleted() {
    let dir = Dir::new("outbox");
    let mut history = History::open_with(&dir.data(), options(1000));
    history.propose(vec![note("joined"), post("one"), note("left"), post("two")]);
    assert_eq!(seen(&page(&mut history, 0)), list(&[(1, "joined"), (2, "1 one"), (3, "left"), (4, "2 two")]));
    let user = Who { name: "Bob".into(), is_verified: false };
    let react = Act::React { seq: 2, user, emoji: "👍".into(), is_removed: false, most: 9 };
    let outcomes =
        history.propose(vec![proposal(Act::Delete { seq: 1 }), proposal(react.clone()), proposal(react)]);
    assert!(matches!(outcomes[2], Outcome::Same { .. }), "what changes nothing is no event");
    let expected = list(&[(3, "left"), (4, "2 two"), (5, "change of 1"), (6, "change of 2")]);
    assert_eq!(seen(&page(&mut history, 2)), expected);
    assert_eq!(seen(&page(&mut history, 0))[1], (2, "deleted 1".to_owned()));

    // Told up to the third; and the others by the next run.
    history.outbox.as_mut().unwrap().told(3);
    history.propose(vec![post("three")]);
    assert_eq!(page(&mut history, 0).told, 3);
    history.close();
    let mut history = History::open_with(&dir.data(), options(1000));
    let all = page(&mut history, 0);
    assert_eq!((all.told, all.len, seen(&all)[0].clone()), (3, 4, (4, "2 two".to_owned())));
    history.outbox.as_mut().unwrap().told(7);
    history.close();
    // Nothing waits, and no number is used again.
    let mut history = History::open_with(&dir.data(), options(1000));
    assert_eq!(page(&mut history, 0), Page { events: Vec::new(), told: 7, len: 0 });
    history.propose(vec![note("again")]);
    assert_eq!(seen(&page(&mut history, 0)), list(&[(8, "again")]));
    history.close();
    // Without an outbox everything is as before, and what waits goes on waiting.
    let mut history = History::open(&dir.data());
    assert!(history.outbox.is_none());
    assert_eq!(
        history.propose(vec![note("unheard"), post("four")]),
        [Outcome::Posted { seq: 4, time: 1_700_000_000_000 }]
    );
    history.close();
    let mut history = History::open_with(&dir.data(), options(1000));
    assert_eq!(seen(&page(&mut history, 0)), list(&[(8, "again")]));
    history.close();
}

#[test]
fn above_the_bound_the_oldest_note_goes_first_and_the_gap_shows() {
    let dir = Dir::new("outbox-bound");
    let mut history = History::open_with(&dir.data(), options(3));
    history.propose(vec![note("a"), post("one"), note("b"), post("two"), post("three")]);
    assert_eq!(seen(&page(&mut history, 0)), list(&[(2, "1 one"), (4, "2 two"), (5, "3 three")]));
    history.propose(vec![post("four")]);
    assert_eq!(seen(&page(&mut history, 0)), list(&[(4, "2 two"), (5, "3 three"), (6, "4 four")]));
    assert_eq!(history.outbox.as_ref().unwrap().dropped().counts(), [2, 1]);
    // A restart knows how many there are.
    history.close();
    let mut history = History::open_with(&dir.data(), options(3));
    history.propose(vec![post("five")]);
    assert_eq!(page(&mut history, 0).events.len(), 3);
    history.close();
}

#[test]
fn a_dead_letter_is_put_aside_and_told_no_more() {
    let dir = Dir::new("outbox-dead");
    let mut history = History::open_with(&dir.data(), options(9));
    history.propose(vec![post("one"), post("two")]);
    let dead = DeadLetter { id: 1, why: "status 422".into(), body: "{}".into() };
    history.outbox.as_mut().unwrap().bury(dead);
    history.propose(vec![note("later")]);
    assert_eq!(seen(&page(&mut history, 0)), list(&[(2, "2 two"), (3, "later")]));
    history.close();
    let db = rusqlite::Connection::open(dir.database()).unwrap();
    let found: (i64, String) =
        db.query_row("SELECT id, why FROM dead_letters", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(found, (1, "status 422".to_owned()));
}

/// A row that was changed by anything else is passed over, like a damaged message.
#[test]
fn a_damaged_event_is_passed_over() {
    let dir = Dir::new("outbox-damage");
    let mut history = History::open_with(&dir.data(), options(9));
    history.propose(vec![note("a"), note("b"), post("one")]);
    history.close();
    let db = rusqlite::Connection::open(dir.database()).unwrap();
    db.execute("UPDATE outbox SET body = 'c' WHERE id = 1", []).unwrap();
    drop(db);
    let mut history = History::open_with(&dir.data(), options(9));
    assert_eq!(seen(&page(&mut history, 0)), list(&[(2, "b"), (3, "1 one")]));
    history.close();
}

#[test]
fn what_retention_has_removed_is_told_without_its_text() {
    let dir = Dir::new("outbox-expired");
    let mut history = History::open_with(&dir.data(), options(99));
    history.propose(vec![post("one"), post("two")]);
    history.close();
    let db = rusqlite::Connection::open(dir.database()).unwrap();
    db.execute("DELETE FROM posts WHERE seq = 1", []).unwrap();
    drop(db);
    let mut history = History::open_with(&dir.data(), options(99));
    assert_eq!(seen(&page(&mut history, 0)), list(&[(1, "expired 1 0"), (2, "2 two")]));
    history.close();
}

/// What an outbox must hold, one event at a time.
#[derive(Debug, Default)]
struct Model {
    events: Vec<(u64, String)>,
    newest: u64,
    heads: [u64; 3],
}

#[derive(Debug, Clone)]
enum Step {
    /// In one transaction: messages to one of three rooms, and notes.
    Commit(Vec<Option<usize>>),
    /// The backend takes so many events, read so many at a time.
    Tell(usize, usize),
    Bury,
    Restart,
}

const MOST: u64 = 40;

impl Model {
    fn add(&mut self, word: String) {
        if self.events.len() as u64 >= MOST {
            let at = self.events.iter().position(|(_, word)| word == "note").unwrap_or(0);
            self.events.remove(at);
        }
        self.newest += 1;
        self.events.push((self.newest, word));
    }

    fn commit(&mut self, items: &[Option<usize>]) -> Vec<Proposal> {
        let mut proposals = Vec::new();
        for item in items {
            let Some(room) = *item else {
                self.add("note".to_owned());
                proposals.push(note("note"));
                continue;
            };
            self.heads[room] += 1;
            self.add(format!("{} {room}", self.heads[room]));
            let post = post(&room.to_string());
            proposals.push(Proposal { room: format!("room-{room}").into(), ..post });
        }
        proposals
    }
}

fn check_against_model(steps: Vec<Step>) {
    let dir = Dir::new("outbox-model");
    let mut history = History::open_with(&dir.data(), options(MOST));
    let mut model = Model::default();
    let mut told = 0;
    for step in steps {
        match step {
            Step::Commit(items) => {
                let proposals = model.commit(&items);
                history.propose(proposals);
            }
            Step::Tell(most, at_a_time) => {
                let outbox = history.outbox.as_mut().unwrap();
                for _ in 0..most.div_ceil(at_a_time) {
                    let page = outbox.page(told, at_a_time, 1 << 20).unwrap();
                    let expected: Vec<_> = model.events.iter().take(at_a_time).cloned().collect();
                    assert_eq!(seen(&page), expected);
                    told = page.events.last().map_or(told, |event| event.id);
                    model.events.drain(..expected.len());
                }
                outbox.told(told);
            }
            Step::Bury => {
                if let Some((id, _)) = model.events.first() {
                    told = *id;
                    model.events.remove(0);
                    let dead = DeadLetter { id: told, why: "status 422".into(), body: "{}".into() };
                    history.outbox.as_mut().unwrap().bury(dead);
                }
            }
            Step::Restart => {
                // What was taken is known with the next commit.
                history.propose(model.commit(&[None]));
                history.close();
                history = History::open_with(&dir.data(), options(MOST));
                told = 0;
            }
        }
        let rest = history.outbox.as_mut().unwrap().page(told, 1000, 1 << 20).unwrap();
        assert_eq!(seen(&rest), model.events);
    }
    history.close();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// However events are kept: each comes once and in its order, wherever a page ends, the server stops, or the bound is met.
    #[test]
    fn an_outbox_holds_what_a_list_would(steps in prop::collection::vec(prop_oneof![
        4 => prop::collection::vec(prop_oneof![5 => (0..3_usize).prop_map(Some), 1 => Just(None)], 1..30).prop_map(Step::Commit),
        3 => (1..30_usize, 1..12_usize).prop_map(|(most, at_a_time)| Step::Tell(most, at_a_time)),
        1 => Just(Step::Bury),
        1 => Just(Step::Restart),
    ], 1..24)) {
        check_against_model(steps);
    }
}

/// A run of messages of which retention has removed some, and of which some are told.
#[test]
fn of_a_run_each_message_is_told_or_said_to_be_gone() {
    let dir = Dir::new("outbox-run");
    let mut history = History::open_with(&dir.data(), options(1000));
    history.propose((1..=300).map(|number| post(&number.to_string())).collect());
    history.close();
    let db = rusqlite::Connection::open(dir.database()).unwrap();
    let rows: i64 = db.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).unwrap();
    assert!(rows <= 3, "300 messages are {rows} rows");
    db.execute("DELETE FROM posts WHERE seq % 3 = 1", []).unwrap();
    drop(db);
    let mut history = History::open_with(&dir.data(), options(1000));
    let mut told = 0;
    let mut events = Vec::new();
    while let page = history.outbox.as_mut().unwrap().page(told, 7, 1 << 20).unwrap()
        && let Some(newest) = page.events.last()
    {
        assert_eq!(page.len, 300 - told);
        told = newest.id;
        history.outbox.as_mut().unwrap().told(told);
        events.extend(seen(&page));
    }
    let expected = (1..=300).map(|seq| {
        let word = if seq % 3 == 1 { format!("expired {seq} 0") } else { format!("{seq} {seq}") };
        (seq, word)
    });
    assert_eq!(events, expected.collect::<Vec<_>>());
    history.close();
}
