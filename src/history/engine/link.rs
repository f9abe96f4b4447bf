//! One connection to an engine, checked and with the functions in place.

use std::fmt;
use std::time::{Duration, Instant};

use redis::{Cmd, Connection, RedisError, Value, cmd};

use super::error::EngineError;
use super::facts::Facts;
use super::target::{Primary, Target};

/// The functions. Their name changes with what they do.
const LIBRARY: &str = include_str!("switchboard.lua");
const LIBRARY_NAME: &str = "switchboard_2";
/// How long what an engine said of itself is believed.
const FACTS_FOR: Duration = Duration::from_secs(1);

/// One connection. After an error of the connection itself it is of no use any more.
pub(super) struct Link {
    connection: Connection,
    primary: Primary,
    facts: Facts,
    checked: Instant,
    buffer: Vec<u8>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// Now; threads that wait for an engine are none of the loop.
#[expect(clippy::disallowed_methods, reason = "the threads are none of the loop")]
pub(super) fn instant() -> Instant {
    Instant::now()
}

impl Link {
    /// Connects, and has the engine checked and given the functions.
    pub(super) fn connect(target: &Target) -> Result<Self, EngineError> {
        let mut link = Self::dial(target)?;
        link.facts.check()?;
        link.load_library()?;
        Ok(link)
    }

    /// What the engine says of itself, whatever that is.
    pub(super) fn ask_facts(target: &Target) -> Result<Facts, EngineError> {
        Ok(Self::dial(target)?.facts)
    }

    fn dial(target: &Target) -> Result<Self, EngineError> {
        let (connection, primary) = target.dial()?;
        let facts = Facts::default();
        let mut link = Self { connection, primary, facts, checked: instant(), buffer: Vec::new() };
        link.read_facts()?;
        Ok(link)
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether it leads to what is the engine no more.
    pub(super) fn check_primary(&self) -> Result<(), EngineError> {
        if self.primary.has_moved() { Err(EngineError::Moved) } else { Ok(()) }
    }

    /// Reads what the engine says of itself where that is not fresh: a primary may have become a replica, and back.
    pub(super) fn refresh(&mut self) -> Result<(), EngineError> {
        self.check_primary()?;
        if self.checked.elapsed() >= FACTS_FOR {
            self.read_facts()?;
            self.facts.check()?;
        }
        Ok(())
    }

    fn read_facts(&mut self) -> Result<(), EngineError> {
        let mut config = cmd("CONFIG");
        config.arg("GET").arg("appendfsync");
        let mut info = cmd("INFO");
        info.arg("everything");
        let answers = self.call(&[info, config])?;
        let info = match answers.first() {
            Some(Value::BulkString(text)) => String::from_utf8_lossy(text).into_owned(),
            Some(Value::VerbatimString { text, .. }) => text.clone(),
            Some(Value::ServerError(error)) => return Err(EngineError::Answer(format!("{error:?}"))),
            _ => return Err(EngineError::Answer("INFO is no text".into())),
        };
        // It may be forbidden; then the lowest level is true.
        let fsync = match answers.get(1) {
            Some(Value::Array(pair)) => match pair.get(1) {
                Some(Value::BulkString(text)) => String::from_utf8_lossy(text).into_owned(),
                _ => String::new(),
            },
            _ => String::new(),
        };
        self.facts = Facts::read(&info, &fsync)?;
        self.checked = instant();
        Ok(())
    }

    fn load_library(&mut self) -> Result<(), EngineError> {
        let mut list = cmd("FUNCTION");
        list.arg("LIST").arg("LIBRARYNAME").arg(LIBRARY_NAME).arg("WITHCODE");
        let mut load = cmd("FUNCTION");
        load.arg("LOAD").arg(LIBRARY);
        let known = self.call(std::slice::from_ref(&list))?;
        if matches!(known.first(), Some(Value::Array(libraries)) if libraries.is_empty()) {
            // Another node may be faster; whose library is there is seen below.
            self.call(&[load])?;
        }
        let known = self.call(&[list])?;
        match known.first() {
            Some(Value::ServerError(error)) => {
                Err(EngineError::Answer(format!("FUNCTION LIST: {error:?}; the user needs the right to it")))
            }
            Some(list) if has_text(list, LIBRARY.as_bytes()) => Ok(()),
            Some(Value::Array(list)) if list.is_empty() => Err(EngineError::Answer(
                "the functions could not be loaded: may the user do FUNCTION LOAD?".into(),
            )),
            _ => Err(EngineError::Library),
        }
    }

    /// Sends commands at once, and waits for all answers. Errors of single commands are among the answers; after any other
    /// one nothing is known of what was done.
    pub(super) fn call(&mut self, commands: &[Cmd]) -> Result<Vec<Value>, RedisError> {
        self.buffer.clear();
        for command in commands {
            command.write_packed_command(&mut self.buffer);
        }
        self.connection.send_packed_command(&self.buffer)?;
        self.buffer.shrink_to(64 * 1024);
        commands.iter().map(|_| self.connection.recv_response()).collect()
    }
}

/// Whether a text is somewhere in an answer.
fn has_text(value: &Value, text: &[u8]) -> bool {
    match value {
        Value::BulkString(found) => found == text,
        Value::Array(list) => list.iter().any(|value| has_text(value, text)),
        Value::Map(pairs) => pairs.iter().any(|(_, value)| has_text(value, text)),
        _ => false,
    }
}

/// The first words of a call of a function.
pub(super) fn begin(call: &mut Cmd, name: &str) {
    call.arg("FCALL").arg([LIBRARY_NAME, "_", name].concat());
}

/// A call of a function.
pub(super) fn function(name: &str, keys: &[String]) -> Cmd {
    let mut call = Cmd::new();
    begin(&mut call, name);
    call.arg(keys.len());
    for key in keys {
        call.arg(key);
    }
    call
}

/// Whether an error says that another connection may do better: the engine begins, it has become a replica, or it has lost the
/// functions.
pub(super) fn is_passing(error: &redis::ServerError) -> bool {
    let words = error.details().unwrap_or_default();
    matches!(error.code(), "LOADING" | "READONLY" | "MASTERDOWN" | "BUSY" | "TRYAGAIN" | "NOREPLICAS")
        || words.contains("Function not found")
}

/// How long to wait before the next attempt to connect: from 50 ms to 2 s, with jitter, so that nodes do not come all at once.
pub(super) fn pause(attempt: u32, random: u64) -> Duration {
    let most = 50_u64 << attempt.min(6);
    let most = most.min(2000);
    Duration::from_millis(most / 2 + random % (most / 2 + 1))
}

/// A random number; without one the pauses of nodes are only less different.
pub(super) fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_differ() {
        for attempt in 0..40 {
            for random in [0, 1, 999, u64::MAX] {
                let pause = pause(attempt, random);
                assert!(pause >= Duration::from_millis(25) && pause <= Duration::from_secs(2), "{pause:?}");
            }
        }
        assert_ne!(pause(5, 0), pause(5, 700));
        assert!(pause(0, 0) < pause(9, 0));
    }
}
