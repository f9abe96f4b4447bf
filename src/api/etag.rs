//! Answers that a client has already (RFC 9110 13.1.2).

use super::tokens::Hash;
use crate::app::{Body, RequestHead, Response, list_elements};

/// Octets of `If-None-Match` that are kept while an answer is awaited; a longer one is ignored.
const MAX_KEPT_TAGS: usize = 1024;

/// The tags of the answers that a client has.
#[derive(Debug, Clone, Default)]
pub(super) struct Tags(Vec<Box<[u8]>>);

impl Tags {
    pub(super) fn of(head: &RequestHead<'_>) -> Self {
        let values: Vec<&[u8]> = head.fields.all("if-none-match").collect();
        if values.iter().map(|value| value.len()).sum::<usize>() > MAX_KEPT_TAGS {
            return Self::default();
        }
        let tags = values.into_iter().flat_map(list_elements);
        Self(tags.map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag).into()).collect())
    }

    /// Gives an answer its tag; one that the client has already becomes a 304.
    pub(super) fn apply(&self, response: Response) -> Response {
        let octets = match &response.body {
            Body::Static(octets) => octets,
            Body::Owned(octets) => &octets[..],
        };
        let hash = format!("{:x}", Hash::of(octets));
        let tag = format!("\"{}\"", &hash[..32]);
        let is_known = self.0.iter().any(|known| **known == *b"*" || **known == *tag.as_bytes());
        let mut fields = response.fields;
        fields.retain(|(name, _)| *name != "Cache-Control");
        let response = if is_known {
            fields.retain(|(name, _)| *name != "Content-Type");
            Response { status: 304, fields, body: Body::default() }
        } else {
            Response { fields, ..response }
        };
        // It is the token's alone, and asked about each time.
        response.field("ETag", tag).field("Cache-Control", "private, no-cache")
    }
}
