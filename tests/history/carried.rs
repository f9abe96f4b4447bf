//! What messages carry besides their text: kept, changed, gone, and unknown to older files.

use switchboard::history::{Action, Change, Data, Post, sqlite};

use crate::erasing::files_with;
use crate::support::{Dir, History, change, delete, edit, make_older, post, wait_until};

fn data(json: &str) -> Data {
    Data::of_compact(json)
}

fn carrying(seq: u64, json: &str, reply_to: Option<u64>) -> Change {
    let Action::Post(said) = post("r", seq, "said").action else { unreachable!("a post is a post") };
    change("r", Action::Post(Post { data: Some(data(json)), reply_to, ..said }))
}

fn edit_with(rev: u64, seq: u64, json: &str) -> Change {
    let Action::Edit { text, time, .. } = edit("r", rev, seq, "edited").action else {
        unreachable!("an edit is an edit")
    };
    change("r", Action::Edit { rev, seq, text, data: Some(data(json)), time })
}

/// What each message of the room carries, and what it replies to.
fn carried(history: &mut History) -> Vec<(Option<String>, Option<u64>)> {
    let records = history.page("r", u64::MAX, 50);
    let carried = records.into_iter().map(|record| record.post);
    carried.map(|post| (post.data.map(|data| data.as_str().to_owned()), post.reply_to)).collect()
}

fn row(json: &str, reply_to: Option<u64>) -> (Option<String>, Option<u64>) {
    (Some(json.to_owned()).filter(|json| !json.is_empty()), reply_to)
}

#[test]
fn what_a_message_carries_is_kept_and_changed_and_goes_with_it() {
    let dir = Dir::new("carried");
    let mut history = History::open(&dir.data());
    history.commit(vec![
        carrying(1, r#"{"n":0.10}"#, None),
        carrying(2, "[\"qvzxjk\"]", Some(1)),
        post("r", 3, "plain"),
        carrying(4, "4", Some(2)),
    ]);
    history.commit(vec![
        edit_with(1, 1, "[\"wqxzvk\"]"),
        edit("r", 2, 1, "only the text"),
        edit_with(3, 1, r#"{"n":1.00}"#),
        edit("r", 4, 3, "still plain"),
        delete("r", 5, 2),
    ]);
    let expected = [row(r#"{"n":1.00}"#, None), row("", Some(1)), row("", None), row("4", Some(2))];
    assert_eq!(carried(&mut history), expected);
    // What was changed and deleted is in no file any more.
    wait_until("it is gone", || {
        ["qvzxjk", "wqxzvk"].iter().all(|word| files_with(&dir.data(), word).is_empty())
    });
    history.close();
    let mut history = History::open(&dir.data());
    assert_eq!(carried(&mut history), expected);
    history.close();

    let copy = dir.path().join("copy");
    sqlite::backup(&dir.data(), &copy).unwrap();
    let mut history = History::open(&copy);
    assert_eq!(carried(&mut history), expected, "a backup has it, too");
    history.close();
    let mut exported = Vec::new();
    sqlite::export(&dir.data(), None, |room, record| {
        exported.push(Ok::<_, std::io::Error>((room.into(), record.clone())));
        Ok(())
    })
    .unwrap();
    let other = dir.path().join("other");
    sqlite::import(&other, exported).unwrap();
    let mut history = History::open(&other);
    assert_eq!(carried(&mut history), expected, "and so has an import");
    history.close();
}

#[test]
fn a_file_from_before_messages_carried_anything_is_opened_and_exported() {
    let dir = Dir::new("carried-older");
    let mut history = History::open(&dir.data());
    history.commit(vec![post("r", 1, "one"), post("r", 2, "two")]);
    history.commit(vec![edit("r", 1, 1, "one, edited"), delete("r", 2, 2)]);
    history.close();
    make_older(&dir, 4);

    let exported = |dir: &Dir| {
        let mut texts = Vec::new();
        sqlite::export(&dir.data(), Some("r"), |_, record| {
            texts.push(record.post.text.to_string());
            Ok(())
        })
        .unwrap();
        texts
    };
    assert_eq!(exported(&dir), ["one, edited", ""], "as it is");
    let copy = dir.path().join("copy");
    sqlite::backup(&dir.data(), &copy).unwrap();
    let mut history = History::open(&copy);
    assert_eq!(history.room("r", 9).seq, 2);
    history.close();

    let mut history = History::open(&dir.data());
    let state = history.room("r", 9);
    assert_eq!((state.seq, state.rev, state.changes.len()), (2, 2, 2));
    history.commit(vec![carrying(3, "{}", Some(1))]);
    assert_eq!(carried(&mut history), [row("", None), row("", None), row("{}", Some(1))]);
    history.close();
    let history = History::open(&dir.data());
    history.close();
    assert_eq!(exported(&dir), ["one, edited", "", "said"]);
}
