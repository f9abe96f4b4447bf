//! The last messages of a room, in memory.

use std::collections::VecDeque;

use super::json::{self, Post};

/// A ring of messages, each already in the form in which it goes out.
#[derive(Debug)]
pub(super) struct History {
    capacity: usize,
    /// Newest first.
    messages: VecDeque<String>,
}

impl History {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, messages: VecDeque::new() }
    }

    pub(super) fn push(&mut self, post: &Post<'_>, unix_ms: u64) {
        self.messages.push_front(json::message(post, unix_ms));
        self.messages.truncate(self.capacity);
    }

    /// `{"msg":[…]}`, newest first (S9, S13).
    pub(super) fn snapshot(&self) -> String {
        let len: usize = self.messages.iter().map(|message| message.len() + 1).sum();
        let mut list = String::with_capacity(len + 10);
        list.push_str(r#"{"msg":["#);
        for (at, message) in self.messages.iter().enumerate() {
            if at > 0 {
                list.push(',');
            }
            list.push_str(message);
        }
        list.push_str("]}");
        list
    }
}
