//! What every command gets.

use crate::chat::people::actor::Actor;
use crate::chat::wire::reply_to::ReplyTo;

/// A command that is being done: on which loop, for whom, and in whose name.
#[derive(Debug)]
pub(in crate::chat) struct Call<'a, C> {
    pub(in crate::chat) ctx: &'a mut C,
    pub(in crate::chat) reply_to: &'a ReplyTo,
    pub(in crate::chat) actor: &'a Actor,
}
