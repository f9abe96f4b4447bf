//! What comes of a proposal: the same as [`Order`](crate::history::Order) says, out of the tables.

use std::sync::Arc;

use rusqlite::params;

use super::rows::{Stored, find_post, rev_of};
use super::transaction::{Done, Result, Transactions};
use crate::history::keys::{Keys, Scope, Used};
use crate::history::stamp::stamp;
use crate::history::{Act, Action, Change, Outcome, Post, Proposal, Record};

impl Transactions<'_> {
    /// Does what is proposed, if it can be done: the same as [`Order`](crate::history::Order) does.
    pub(super) fn apply(
        &mut self,
        proposal: Proposal,
        (keys, now_ms): (&mut Keys, u64),
        done: &mut Done,
    ) -> Result<Option<Outcome>> {
        let Proposal { room, time, act } = proposal;
        if let Act::Note(body) = act {
            return self.note(&body).map(|()| None);
        }
        let at = self.room(&room)?;
        let head = *self.head(at);
        let time_of_change = stamp(head.time, time);
        let rev = head.rev + 1;
        let (action, outcome) = match act {
            Act::Post(draft) => {
                let scope = Scope::of(&draft, &room);
                if let Some(Used { seq, time }) = scope.as_ref().and_then(|scope| keys.find(scope, now_ms)) {
                    return Ok(Some(Outcome::Repeated { seq, time }));
                }
                if !draft.has_target(head.seq) {
                    return Ok(Some(Outcome::NoTarget));
                }
                let (seq, time) = (head.seq + 1, time_of_change);
                if let Some(scope) = scope {
                    done.keys.push(keys.insert(&scope, Used { seq, time }, now_ms));
                }
                let post = draft.numbered(seq, time);
                self.append(at, &post, (false, None))?;
                (Action::Post(post), Outcome::Posted { seq, time })
            }
            Act::Import(record) => return self.take_in((at, room), *record, (keys, now_ms), done),
            Act::Subscribe { user, is_on, most } => {
                return self.subscribe(at, &user, (is_on, most)).map(Some);
            }
            Act::Note(_) => return Ok(None),
            Act::Read { user, seq } => {
                self.read(at, &user, seq)?;
                return Ok(None);
            }
            Act::Edit { seq, text, data } => {
                let time = time_of_change;
                let Some(stored) = self.live_post(at, seq)? else { return Ok(Some(Outcome::Gone)) };
                self.blank_last_edit(stored.room, seq, data.is_some())?;
                let carried = data.clone().or_else(|| stored.record.post.data.clone());
                self.rewrite(&stored, (text.clone(), carried), false, Some(time))?;
                (Action::Edit { rev, seq, text, data, time }, Outcome::Changed { seq, rev, time: Some(time) })
            }
            Act::Delete { seq } => {
                let time = time_of_change;
                let Some(stored) = self.live_post(at, seq)? else { return Ok(Some(Outcome::Gone)) };
                self.rewrite(&stored, ("".into(), None), true, stored.record.edited)?;
                self.blank_edits(stored.room, seq)?;
                self.forget_reactions(stored.id)?;
                (Action::Delete { rev, seq, time }, Outcome::Changed { seq, rev, time: Some(time) })
            }
            Act::React { seq, user, emoji, is_removed, most } => {
                let Some(stored) = self.live_post(at, seq)? else { return Ok(Some(Outcome::Gone)) };
                let has_reacted = self.has_reacted(stored.id, (&user.label(), &emoji))?;
                if has_reacted != is_removed {
                    return Ok(Some(Outcome::Same { seq, rev: head.rev }));
                }
                if !is_removed && self.reactions(stored.id)? >= most {
                    return Ok(Some(Outcome::TooMany));
                }
                self.react((stored.id, rev), (&user.label(), &emoji), is_removed)?;
                let action = Action::React { rev, seq, user, emoji, is_removed };
                (action, Outcome::Changed { seq, rev, time: None })
            }
        };
        if rev_of(&action) > 0 {
            self.note_change(at, &action)?;
        }
        self.note_happened(at, Change { room, action }, done)?;
        Ok(Some(outcome))
    }

    /// What is told of a change, once it is on the disk.
    fn note_happened(&mut self, at: usize, change: Change, done: &mut Done) -> Result<()> {
        let change = Arc::new(change);
        self.note_for_outbox(at, &change)?;
        done.changes.push(change);
        Ok(())
    }

    /// Takes a message of an archive in, if it is the next one of its room. Those who have the room open are told each step of
    /// what was done with it: in the end they know what the tables have.
    fn take_in(
        &mut self,
        (at, room): (usize, Arc<str>),
        record: Record,
        (keys, now_ms): (&mut Keys, u64),
        done: &mut Done,
    ) -> Result<Option<Outcome>> {
        let head = *self.head(at);
        let Record { post, edited, is_deleted, reactions } = record;
        let (seq, time) = (post.seq, post.time);
        if (1..=head.seq).contains(&seq) {
            let known = find_post(self.conn, self.id(at), &head, seq)?.map(|stored| stored.record.post);
            let is_same = |known: Post| {
                known.user == post.user && known.time == post.time && known.client == post.client
            };
            // One that is kept no more was there.
            let is_known = known.is_none_or(is_same);
            return Ok(Some(if is_known { Outcome::Repeated { seq, time } } else { Outcome::Taken }));
        }
        if seq != head.seq + 1 {
            return Ok(Some(Outcome::Gap { next: head.seq + 1 }));
        }
        let post = Post { time: stamp(head.time, time), ..post };
        let mut later: Vec<(u64, Act)> = Vec::new();
        later.extend(edited.map(|edited| (edited, Act::Edit { seq, text: post.text.clone(), data: None })));
        for (emoji, users) in reactions {
            later.extend(users.into_iter().map(|user| {
                let emoji = emoji.clone();
                (time, Act::React { seq, user, emoji, is_removed: false, most: usize::MAX })
            }));
        }
        later.extend(is_deleted.then_some((time, Act::Delete { seq })));
        self.append(at, &post, (false, None))?;
        self.note_happened(at, Change { room: Arc::clone(&room), action: Action::Post(post) }, done)?;
        for (time, act) in later {
            let room = Arc::clone(&room);
            self.apply(Proposal { room, time, act }, (&mut *keys, now_ms), done)?;
        }
        Ok(Some(Outcome::Posted { seq, time }))
    }

    /// A post that is there and not deleted.
    fn live_post(&self, at: usize, seq: u64) -> Result<Option<Stored>> {
        let found = find_post(self.conn, self.id(at), self.head(at), seq)?;
        Ok(found.filter(|stored| !stored.record.is_deleted))
    }

    fn forget_reactions(&self, post: i64) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM reactions WHERE post = ?1")?.execute([post])?;
        Ok(())
    }

    fn has_reacted(&self, post: i64, (user, emoji): (&str, &str)) -> Result<bool> {
        let sql = "SELECT 1 FROM reactions WHERE post = ?1 AND emoji = ?2 AND user = ?3";
        Ok(self.conn.prepare_cached(sql)?.exists(params![post, emoji, user])?)
    }

    fn reactions(&self, post: i64) -> Result<usize> {
        let mut count = self.conn.prepare_cached("SELECT count(*) FROM reactions WHERE post = ?1")?;
        Ok(count.query_row([post], |row| row.get::<_, i64>(0)).map(|count| count.cast_unsigned() as usize)?)
    }
}
