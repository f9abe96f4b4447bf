//! Who somebody is and what they may do, as a token says it. Pure types: what checks signatures implements [`Verify`].

use std::fmt;

/// What a valid token says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// Who it is, whatever they are called (`sub`).
    pub subject: String,
    /// The name that is shown; it obeys the rules for names of users and is theirs alone.
    pub user: String,
    /// Seconds since 1970; the session ends then.
    pub expires_unix_s: u64,
    /// What is permitted where. Without any grant: to join and to post everywhere, to moderate nowhere.
    pub rooms: Vec<Grant>,
}

/// Permissions in the rooms that a pattern covers; of several grants that cover a room each adds its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// A room's name in any spelling, or the beginning of names followed by `*`. `*` covers every room.
    pub pattern: String,
    /// To enter the room and read it.
    pub join: bool,
    /// To post, edit, delete and react.
    pub post: bool,
    /// To change what others wrote, and to kick; with the pattern `*`: to ban.
    pub moderate: bool,
}

/// Checks tokens.
pub trait Verify: fmt::Debug {
    /// What the token says, if it is valid at this time (seconds since 1970).
    ///
    /// # Errors
    /// A sentence for the client that says what is wrong and betrays nothing of the token or the keys.
    fn verify(&self, token: &str, now_unix_s: u64) -> Result<Claims, String>;
}
