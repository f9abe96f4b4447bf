//! Who somebody is and what they may do, as a token says it. Pure types: what checks signatures implements [`Verify`].

use std::fmt;
use std::sync::Arc;

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
    /// What is wrong with it.
    fn verify(&self, token: &str, now_unix_s: u64) -> Result<Claims, TokenError>;
}

impl<V: Verify + Sync + ?Sized> Verify for Arc<V> {
    fn verify(&self, token: &str, now_unix_s: u64) -> Result<Claims, TokenError> {
        (**self).verify(token, now_unix_s)
    }
}

/// Why a token is refused. The sentence is for the client: it repeats nothing of the token and says nothing of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// The server takes no tokens.
    NotTaken,
    /// Longer than any token may be.
    TooLong,
    /// No JSON Web Token in compact form (RFC 7519).
    Malformed,
    /// A claim of another type than it should have.
    Form,
    /// A field of the header or a claim that is repeated.
    Duplicate,
    /// A number above those that JSON may hold.
    NumberTooLarge,
    /// The time in this claim is above 2^53.
    TimeTooLarge(&'static str),
    /// No key of the server is for the token.
    NoKey,
    /// The algorithm is not that of the key.
    Algorithm,
    /// The signature is wrong.
    Signature,
    /// There is no `aud`, and one is asked for.
    NoAudience,
    /// `aud` names others.
    OtherAudience,
    /// There is no `iss`, and one is asked for.
    NoIssuer,
    /// `iss` names another.
    OtherIssuer,
    /// There is no `exp`.
    NoExpiry,
    /// `exp` has passed.
    Expired,
    /// `nbf` is still to come.
    NotYetValid,
    /// There is no `sub`.
    NoSubject,
    /// `sub` has more characters than this.
    SubjectTooLong(usize),
    /// The name cannot be shown; the sentence names the claim.
    Name(String),
    /// The header demands an extension (`crit`, RFC 7515 4.1.11).
    Extension,
    /// The content is not encoded (`b64`, RFC 7797).
    Unencoded,
    /// The token is for another purpose (`typ`, RFC 8725 3.11).
    Purpose,
    /// The keys cannot be used now.
    Unavailable,
    /// What another implementation of [`Verify`] says.
    Other(String),
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTaken => "this server takes no tokens",
            Self::TooLong => "the token is too long",
            Self::Malformed => "this is no token",
            Self::Form => "the token does not say what it should in the form that it should",
            Self::Duplicate => "the token says something twice",
            Self::NumberTooLarge => "a number in the token is too large",
            Self::TimeTooLarge(claim) => {
                return write!(f, "the time in `{claim}` is too large: it is in seconds since 1970");
            }
            Self::NoKey => "no key of this server is for the token",
            Self::Algorithm => "the token's algorithm is not that of the key",
            Self::Signature => "the token's signature is wrong",
            Self::NoAudience => "the token is for nobody (`aud`)",
            Self::OtherAudience => "the token is for somebody else (`aud`)",
            Self::NoIssuer => "the token does not say who issued it (`iss`)",
            Self::OtherIssuer => "the token was issued by somebody else (`iss`)",
            Self::NoExpiry => "the token has no expiry (`exp`)",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::NoSubject => "the token names no user (`sub`)",
            Self::SubjectTooLong(most) => {
                return write!(f, "the token's `sub` is longer than {most} characters");
            }
            Self::Name(why) => return write!(f, "the name in the token cannot be shown: {why}"),
            Self::Extension => "the token demands an extension (`crit`) that this server does not know",
            Self::Unencoded => "the token's content is not encoded (`b64`), which this server does not know",
            Self::Purpose => "the token is for another purpose (`typ`)",
            Self::Unavailable => "the keys cannot be used",
            Self::Other(why) => why,
        })
    }
}

impl std::error::Error for TokenError {}
