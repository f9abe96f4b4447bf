//! People who have had several names: what was kept under each of them comes under the first one.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, Result, params};

use super::data_dir::{forget_holder, load_holders, store_holder};
use super::rows::signed;
use super::schema::checksum;
use crate::history::Holder;

/// Of each person with several names in a file of the third format makes one the first, within a transaction: read positions
/// and conversations come under it. The third format does not say which name was the first; the one with the most
/// conversations is taken. Where two names of a person have conversations with the same user, those of the other name stay
/// where they are, for `export` only.
pub(super) fn unite(conn: &Connection) -> Result<()> {
    let mut names: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
    for Holder { name, subject, .. } in load_holders(conn)? {
        names.entry(subject).or_default().push(name);
    }
    for (subject, names) in names {
        let mut counted = Vec::new();
        for name in names {
            counted.push((conversations(conn, &name)?.len(), name));
        }
        counted.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let mut names = counted.into_iter().map(|(_, name)| name);
        let Some(first) = names.next() else { continue };
        for name in names {
            let holder =
                |is_first| Holder { name: Arc::clone(&name), subject: Arc::clone(&subject), is_first };
            forget_holder(conn, &holder(true))?;
            store_holder(conn, &holder(false))?;
            move_reads(conn, &name, &first)?;
            move_conversations(conn, &name, &first)?;
        }
    }
    Ok(())
}

/// The rooms of the conversations of a user: their numbers, and the other user's name.
fn conversations(conn: &Connection, user: &str) -> Result<Vec<(i64, String)>> {
    let mut select = conn.prepare_cached(
        "SELECT id, name FROM rooms WHERE name >= ?1 AND name < ?2
         UNION SELECT id, name FROM rooms
         WHERE substr(name, 1, 1) = '@' AND substr(name, instr(name, char(10)) + 1) = ?3",
    )?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?));
    let rooms = select.query_map((format!("@{user}\n"), format!("@{user}\x0b"), user), read)?;
    let mut found = Vec::new();
    for room in rooms {
        let (id, name) = room?;
        if let Some((a, b)) = name.strip_prefix('@').and_then(|pair| pair.split_once('\n')) {
            found.push((id, if a == user { b } else { a }.to_owned()));
        }
    }
    Ok(found)
}

fn move_conversations(conn: &Connection, from: &str, to: &str) -> Result<()> {
    for (id, other) in conversations(conn, from)? {
        let other = if other == from { to } else { &other };
        let (a, b) = if to <= other { (to, other) } else { (other, to) };
        let name = format!("@{a}\n{b}");
        let crc = checksum(&[id], &[name.as_bytes()]);
        conn.prepare_cached("UPDATE OR IGNORE rooms SET name = ?2, crc = ?3 WHERE id = ?1")?
            .execute((id, name, crc))?;
    }
    Ok(())
}

fn move_reads(conn: &Connection, from: &str, to: &str) -> Result<()> {
    let mut select = conn.prepare_cached("SELECT room, seq, crc FROM reads WHERE user = ?1")?;
    let read =
        |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned(), row.get(2)?));
    let rows: Vec<(i64, u64, i64)> = select.query_map([from], read)?.collect::<Result<_>>()?;
    for (room, seq, crc) in rows {
        if crc == checksum(&[room, signed(seq)], &[from.as_bytes()]) {
            let crc = checksum(&[room, signed(seq)], &[to.as_bytes()]);
            conn.prepare_cached(
                "INSERT INTO reads(room, user, seq, crc) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(room, user)
                 DO UPDATE SET seq = excluded.seq, crc = excluded.crc WHERE excluded.seq > seq",
            )?
            .execute(params![room, to, signed(seq), crc])?;
        }
    }
    conn.execute("DELETE FROM reads WHERE user = ?1", [from])?;
    Ok(())
}
