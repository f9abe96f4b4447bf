//! The JSON of the subprotocols `chat.v1.json` and `json`, from the client's side.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A command of a client. The protocol defines which fields each `type` has.
#[derive(Debug, Default, Serialize)]
pub(super) struct Command<'a> {
    pub(super) r#type: &'a str,
    pub(super) id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) room: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Since<'a>>,
}

/// The newest message of a room that the client knows.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Since<'a> {
    pub(super) epoch: &'a Value,
    pub(super) seq: u64,
}

/// A notice of a server: the fields that the generator reads, of all types.
#[derive(Debug, Deserialize)]
pub(super) struct Notice<'a> {
    #[serde(borrow)]
    pub(super) r#type: Cow<'a, str>,
    pub(super) id: Option<u64>,
    #[serde(borrow)]
    pub(super) room: Option<Cow<'a, str>>,
    pub(super) seq: Option<u64>,
    pub(super) prev: Option<u64>,
    #[serde(borrow)]
    pub(super) text: Option<Cow<'a, str>>,
    pub(super) epoch: Option<Value>,
    pub(super) recovered: Option<bool>,
    #[serde(borrow, default)]
    pub(super) messages: Vec<Past<'a>>,
    #[serde(borrow)]
    pub(super) code: Option<Cow<'a, str>>,
    pub(super) retry_after_ms: Option<u64>,
}

/// A message of a history.
#[derive(Debug, Deserialize)]
pub(super) struct Past<'a> {
    pub(super) seq: u64,
    #[serde(borrow)]
    pub(super) text: Option<Cow<'a, str>>,
}

/// A post of the subprotocol `json`.
#[derive(Debug, Serialize)]
pub(super) struct Post<'a> {
    pub(super) user: &'a str,
    pub(super) text: &'a str,
}

/// A list or an error of a server with the subprotocol `json`.
#[derive(Debug, Deserialize)]
pub(super) struct Listing<'a> {
    #[serde(borrow)]
    pub(super) msg: Option<Vec<Listed<'a>>>,
    #[serde(borrow)]
    pub(super) error: Option<Cow<'a, str>>,
}

/// A message of the list; the newest is first.
#[derive(Debug, Deserialize)]
pub(super) struct Listed<'a> {
    #[serde(borrow)]
    pub(super) user: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) text: Cow<'a, str>,
    pub(super) time: u64,
}
