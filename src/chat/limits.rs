//! What anybody may make the chat do or keep; everything has a bound.

use crate::app::Rate;

/// The limits of the chat. What is above one is refused with the error that is behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a message's text: `too_long`.
    pub max_text: usize,
    /// Bytes of a message's `data`, without whitespace between its tokens: `too_long`. 0: messages have a text alone.
    pub max_data: usize,
    /// Bytes of a `key`: `too_long`.
    pub max_key: usize,
    /// Bytes of an `id` that is a string: `too_long`.
    pub max_id: usize,
    /// Bytes of an emoji: `too_long`.
    pub max_emoji: usize,
    /// Bytes of a search's query: `too_long`.
    pub max_query: usize,
    /// Bytes of the reason of a kick or ban: `too_long`.
    pub max_reason: usize,
    /// Bytes of a token: `too_long`.
    pub max_token: usize,
    /// Fields of a command, those that are ignored included: `bad_json`.
    pub max_fields: usize,
    /// Reactions that a message bears, each user's counted: `too_long`.
    pub max_reactions: usize,
    /// Rooms that a connection is in at a time: `too_many_rooms`.
    pub max_rooms_per_connection: usize,
    /// Rooms that are open at a time. Rooms that nobody is in make place; else `too_many_rooms`.
    pub max_rooms: usize,
    /// Connections in a room: `room_full`.
    pub max_members: usize,
    /// Members that a list names; `count` says how many there are.
    pub max_listed: usize,
    /// Rooms that one answer to `rooms` lists; more cannot be asked for at a time.
    pub max_rooms_listed: usize,
    /// Rooms that a user has subscribed to at a time: `too_many_rooms`.
    pub max_subscriptions: usize,
    /// Rooms of one answer to `mine`; more cannot be asked for at a time.
    pub max_mine: usize,
    /// Rooms in memory that one `rooms` looks at; where others may follow, the answer says where to go on.
    pub max_rooms_looked: usize,
    /// Messages that one answer holds; more cannot be asked for at a time.
    pub max_history: usize,
    /// Messages, and changes, that a member may have missed to be told all of them; else `recovered: false`.
    pub max_recovery: usize,
    /// Messages, and changes, of a room kept in memory.
    pub recent_messages: usize,
    /// Bytes of the messages and changes of a room kept in memory, about.
    pub recent_bytes: usize,
    /// Bytes of the messages and changes of all rooms kept in memory, about. Above it rooms that nobody is in are put
    /// away, the longest forgotten first; then each room keeps the newest message only.
    pub all_recent_bytes: usize,
    /// Messages and changes that are read when a room is opened.
    pub opened_messages: usize,
    /// Commands of a connection that wait, for a room that is being opened or joined: `rate_limited`.
    pub max_waiting: usize,
    /// Questions to the store that a connection waits for: `rate_limited`.
    pub max_asks: usize,
    /// Questions to the backend that are not answered, of all connections: `unavailable`.
    pub max_hook_asks: usize,
    /// Changes that are not durable yet, of all rooms: `unavailable`.
    pub max_pending: usize,
    /// Milliseconds for which a `key` is remembered.
    pub key_window_ms: u64,
    /// Keys remembered; the oldest are forgotten first.
    pub max_keys: usize,
    /// Users banned at a time: `unavailable`.
    pub max_bans: usize,
    /// Users of a room whose read positions are kept in memory; above it the one that was not moved for the longest is forgotten.
    pub max_read_positions: usize,
    /// Octets of one answer, about: `joined`, `history`, `found`, and the list of `json`. What does not fit is left out, and the
    /// answer says `more`; one message is always in it.
    pub max_answer: usize,
    /// Octets that wait for a connection, above which it is given no further answer of these.
    pub answer_queue: usize,
    /// Octets of messages that the store has answered with and slow readers have no room for yet, of all connections, about:
    /// `rate_limited`.
    pub max_held_answers: usize,
    /// Octets of answers above 16 KiB in one turn of the loop, of all connections, about; what is left waits for the next.
    pub turn_answers: usize,
    /// Octets of messages that searches in memory look through in one turn of the loop; what is left waits for the next.
    pub turn_scan: usize,
    /// Sessions of expired tokens that are ended in one turn of the loop; the others, which may do nothing, in the next.
    pub turn_expiries: usize,
    /// Users who have left whose rates are remembered until they are rested; the longest gone are forgotten first.
    pub max_resting: usize,
    /// Names of verified users that the server remembers to tell others of that look alike; the longest known are forgotten
    /// first.
    pub max_known_names: usize,
    /// Milliseconds between two `unread` notices to a connection.
    pub unread_ms: u64,
    /// Users who are told `unread` in one turn of the loop; the others in the next.
    pub turn_unread: usize,
    /// Milliseconds between two `presence` notices of a room, once more for each [`Self::presence_members`] members.
    pub presence_ms: u64,
    /// Members of a room from which on, and at every multiple of which, its `presence` comes less often.
    pub presence_members: usize,
    /// Milliseconds between two `typing` notices for one user in a room.
    pub typing_ms: u64,
    /// Milliseconds between two `reads` notices of a room.
    pub reads_ms: u64,
    /// Posts, edits, reactions and the like of one connection, and of one user: `rate_limited`.
    pub posts: Rate,
    /// The same for all connections from one address (of IPv6: one /64).
    pub address_posts: Rate,
    /// Other commands of a connection, and what is no command: `rate_limited`.
    pub commands: Rate,
    /// Refusals for commands that came too fast; anyone who gets more is closed with 1008.
    pub refusals: Rate,
}

changeable!(Limits);

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_text: 4096,
            max_data: 4096,
            max_key: 64,
            max_id: 64,
            max_emoji: 64,
            max_query: 256,
            max_reason: 256,
            max_token: 8192,
            max_fields: 32,
            max_reactions: 256,
            max_rooms_per_connection: 128,
            max_rooms: 100_000,
            max_members: 100_000,
            max_listed: 100,
            max_rooms_listed: 100,
            max_subscriptions: 1000,
            max_mine: 50,
            max_rooms_looked: 1000,
            max_history: 100,
            max_recovery: 1000,
            recent_messages: 1000,
            recent_bytes: 1 << 20,
            all_recent_bytes: 256 << 20,
            opened_messages: 100,
            max_waiting: 64,
            max_asks: 8,
            max_hook_asks: 4096,
            max_pending: 100_000,
            key_window_ms: 10 * 60 * 1000,
            max_keys: 500_000,
            max_bans: 100_000,
            max_read_positions: 10_000,
            max_answer: 512 * 1024,
            answer_queue: 64 * 1024,
            max_held_answers: 64 << 20,
            turn_answers: 4 << 20,
            turn_scan: 256 * 1024,
            turn_expiries: 512,
            max_resting: 65_536,
            max_known_names: 65_536,
            unread_ms: 1000,
            turn_unread: 512,
            presence_ms: 100,
            presence_members: 500,
            typing_ms: 1000,
            reads_ms: 1000,
            posts: Rate { per_second: 20, burst: 40 },
            address_posts: Rate { per_second: 200, burst: 400 },
            commands: Rate { per_second: 200, burst: 400 },
            refusals: Rate { per_second: 10, burst: 100 },
        }
    }
}

impl Limits {
    /// The limits of each of several loops, so that all together take no more memory than one with these.
    #[must_use]
    pub fn of_each(mut self, loops: usize) -> Self {
        for limit in [
            &mut self.all_recent_bytes,
            &mut self.max_hook_asks,
            &mut self.max_pending,
            &mut self.max_held_answers,
            &mut self.max_resting,
        ] {
            *limit = limit.div_ceil(loops.max(1));
        }
        self
    }

    /// The same limits, with this many posts a second for each connection and user, twice as many at once, and ten times as
    /// many for each address. 0: no limit, for any command.
    #[must_use]
    pub fn with_posts_per_second(mut self, per_second: u32) -> Self {
        self.posts = Rate { per_second, burst: per_second.saturating_mul(2) };
        self.address_posts =
            Rate { per_second: per_second.saturating_mul(10), burst: per_second.saturating_mul(20) };
        if per_second == 0 {
            self.commands = Rate::default();
        }
        self
    }
}
