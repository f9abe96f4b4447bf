//! Asks the history.

use crate::chat::ids::RoomId;
use crate::chat::pending::queries::{PendingQuery, Purpose};
use crate::chat::wire::reply_to::ReplyTo;
use crate::chat::{Chat, Refusal};
use crate::history::Query;

/// Asks the history on behalf of somebody, who waits for a bounded number of answers.
pub(in crate::chat) fn ask_for(
    chat: &mut Chat,
    reply_to: &ReplyTo,
    room: Option<RoomId>,
    purpose: Purpose,
    request: impl FnOnce(u64) -> Query,
) -> Result<(), Refusal> {
    chat.people.may_query(reply_to.conn(), &chat.options.limits)?;
    let hold = room.map(|room| chat.rooms.hold(room));
    let query = PendingQuery { reply_to: reply_to.clone(), hold, purpose };
    match chat.pending.ask(query, request) {
        Ok(()) => {
            chat.people.begin_query(reply_to.conn());
            Ok(())
        }
        Err(refused) => {
            let (refusal, query) = *refused;
            // Anyone who does the command lets the room rest.
            if let Some(hold) = query.hold {
                chat.rooms.unhold(hold);
            }
            Err(refusal)
        }
    }
}
