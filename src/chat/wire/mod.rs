//! What goes over the wire in `chat.v1.json`: commands in, answers and notices out.

pub mod command;
pub(in crate::chat) mod data;
pub(in crate::chat) mod json;
pub(in crate::chat) mod notices;
pub(in crate::chat) mod refusal;
pub(in crate::chat) mod reply_to;
pub(in crate::chat) mod responder;
