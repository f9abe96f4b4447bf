//! What the log says of the whole life of each connection, where it is asked to.

use crate::app::{ConnId, Request};
use crate::proto::Millis;

/// Octets of a path that are kept for the end of the connection; the rest is cut.
pub(super) const MAX_PATH: usize = 256;
/// Octets of a request id; a longer one is none.
pub(super) const MAX_REQUEST_ID: usize = 128;

/// How a connection began.
#[derive(Debug)]
pub(super) struct Life {
    generation: u32,
    pub(super) since: Millis,
    pub(super) path: Box<str>,
    pub(super) request: Box<str>,
}

/// The upgrades of connections, at most one for each slot of the loop.
#[derive(Debug, Default)]
pub(super) struct Lives {
    slots: Vec<Option<Life>>,
}

impl Lives {
    /// An upgrade is answered now, or later. `id`: what the request is called.
    pub(super) fn begin(&mut self, now: Millis, request: &Request<'_>, id: String) {
        let ConnId { index, generation } = request.conn;
        let index = index as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        let path = request.head.path();
        self.slots[index] = Some(Life {
            generation,
            since: now,
            path: path[..path.floor_char_boundary(MAX_PATH)].into(),
            request: id.into(),
        });
    }

    /// The connection has ended.
    pub(super) fn end(&mut self, conn: ConnId) -> Option<Life> {
        self.slots.get_mut(conn.index as usize)?.take_if(|life| life.generation == conn.generation)
    }
}

/// What the log calls a request: the id that a trusted proxy gave it, else one of its own.
pub(super) fn name_of(request: &Request<'_>, random: u64) -> String {
    request_id(request).map_or_else(|| format!("{random:016x}"), str::to_owned)
}

/// The id that a trusted proxy gave to a request (`X-Request-Id`). Anybody else could write what confuses the log.
fn request_id<'a>(request: &Request<'a>) -> Option<&'a str> {
    if request.forwarded.is_none() && !request.entrance.is_trusted {
        return None;
    }
    let id = request.head.fields.first("x-request-id").and_then(|id| std::str::from_utf8(id).ok())?;
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.:/+=".contains(&octet);
    (!id.is_empty() && id.len() <= MAX_REQUEST_ID && id.bytes().all(is_plain)).then_some(id)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::app::Entrance;
    use crate::proto::Limits;
    use crate::proto::head::with_request as parse;

    fn with_request<R>(
        line: &str,
        fields: &str,
        conn: (u32, u32),
        is_trusted: bool,
        look: impl FnOnce(&Request<'_>) -> R,
    ) -> R {
        let text = format!("GET {line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        parse(text.as_bytes(), &Limits::default(), |head| {
            look(&Request {
                head: &head.unwrap(),
                upgrade: None,
                body: &[],
                peer: SocketAddr::from(([127, 0, 0, 1], 1)),
                forwarded: None,
                conn: ConnId { index: conn.0, generation: conn.1 },
                entrance: Entrance { is_trusted, ..Entrance::default() },
                security: None,
            })
        })
    }

    #[test]
    fn a_slot_has_one_life_and_a_long_path_is_cut() {
        let mut lives = Lives::default();
        let long = format!("/{}", "é".repeat(MAX_PATH));
        for (path, conn) in [("/a", (3, 1)), (&*long, (3, 2)), ("/b", (0, 9))] {
            with_request(path, "", conn, false, |request| lives.begin(7, request, "id".into()));
        }
        assert_eq!(lives.slots.len(), 4);
        assert!(lives.end(ConnId { index: 3, generation: 1 }).is_none(), "another connection has the slot");
        let life = lives.end(ConnId { index: 3, generation: 2 }).unwrap();
        assert!(life.since == 7 && life.path.len() <= MAX_PATH && long.starts_with(&*life.path));
        assert!(lives.end(ConnId { index: 3, generation: 2 }).is_none(), "a life ends once");
        assert!(lives.end(ConnId { index: 77, generation: 0 }).is_none());
    }

    #[test]
    fn only_a_trusted_proxy_names_a_request() {
        let found = |value: &str, is_trusted| {
            let field = format!("X-Request-Id: {value}\r\n");
            with_request("/", &field, (0, 0), is_trusted, |request| request_id(request).map(str::to_owned))
        };
        assert_eq!(found("1b9d-6bcd", true).as_deref(), Some("1b9d-6bcd"));
        assert_eq!(found("1b9d-6bcd", false), None);
        let long = "x".repeat(MAX_REQUEST_ID + 1);
        for bad in ["", "two words", "a\"b", "ä", &long] {
            assert_eq!(found(bad, true), None, "{bad}");
        }
        assert_eq!(found(&long[1..], true).as_deref(), Some(&long[1..]));
        let named = |is_trusted| {
            with_request("/", "X-Request-Id: a7\r\n", (0, 0), is_trusted, |request| name_of(request, 0xc0de))
        };
        assert_eq!((&*named(true), &*named(false)), ("a7", "000000000000c0de"));
    }
}
