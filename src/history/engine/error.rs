//! Why an engine cannot be used.

use std::error::Error;
use std::fmt;

use redis::RedisError;

/// Why an engine cannot be used; says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum EngineError {
    /// The address is none of an engine.
    Address(String),
    /// Nothing can be read from it or written to it.
    Unreachable(RedisError),
    /// It does not answer as an engine does.
    Answer(String),
    /// It is too old.
    Version(String),
    /// It would remove keys where memory is short.
    Evicts(String),
    /// It is a part of a cluster.
    Cluster,
    /// It only follows another engine.
    Replica,
    /// Fewer replicas than are needed have what was written.
    Replicas {
        /// How many have it.
        have: u64,
        /// How many must have it.
        need: usize,
    },
    /// Another engine has taken its place.
    Moved,
    /// Its Sentinels do not say where it is.
    Sentinel(String),
    /// The engines are not those of the chat.
    Engines(String),
    /// Its library of this name is another one.
    Library,
    /// The system has no random numbers, or no more threads.
    System(String),
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(why) => write!(
                f,
                "{why}; an engine is redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss:// with TLS, unix://PATH, or \
                 redis+sentinel://HOST[:PORT],HOST[:PORT]/NAME[/DB]"
            ),
            Self::Unreachable(error) => write!(f, "the engine cannot be reached: {error}"),
            Self::Answer(what) => write!(f, "the engine does not answer as Redis does: {what}"),
            Self::Version(version) => write!(
                f,
                "the engine is {version}; it must be Redis 7.0 or later, or Valkey 7.2 or later: upgrade it"
            ),
            Self::Evicts(policy) => write!(
                f,
                "the engine's maxmemory-policy is {policy}: where memory is short it would remove parts of the history; \
                 set it to noeviction"
            ),
            Self::Cluster => f.write_str(
                "the engine is part of a Redis Cluster, which is not supported; use an engine without cluster-enabled",
            ),
            Self::Replica => {
                f.write_str("the engine is a replica and takes no messages: use the address of its primary")
            }
            Self::Replicas { have, need } => write!(
                f,
                "{have} replicas of the engine have what was written, and an ack waits for {need} (--engine-replicas); start \
                 replicas, or let an ack wait for fewer"
            ),
            Self::Engines(why) => write!(
                f,
                "these are not the engines of the chat: {why}; give all engines that it began with and no other, or begin \
                 anew on empty ones"
            ),
            Self::Moved => f.write_str("another engine is the primary now"),
            Self::Sentinel(why) => {
                write!(f, "the Sentinels do not say where the engine is: {why}; is it what SENTINEL MASTERS shows?")
            }
            Self::Library => f.write_str(
                "the engine has another library switchboard_2 than this server: another build has loaded it; stop all \
                 servers that use it and run FUNCTION DELETE switchboard_2",
            ),
            Self::System(why) => f.write_str(why),
        }
    }
}

impl Error for EngineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreachable(error) => Some(error),
            _ => None,
        }
    }
}

impl From<RedisError> for EngineError {
    fn from(error: RedisError) -> Self {
        Self::Unreachable(error)
    }
}
