//! What the feed has of an engine: a connection that is told, and one that reads.

use std::collections::VecDeque;
use std::time::Duration;

use redis::{Connection, Value, cmd};

use super::error::EngineError;
use super::link::{Link, is_passing};
use super::target::Target;

/// Channels of one SUBSCRIBE.
const CHANNELS: usize = 512;

/// The two connections of the thread: one is told, the other one reads.
pub(super) struct Session {
    told: Connection,
    pub(super) reads: Link,
    /// What was told while a confirmation was waited for.
    waiting: VecDeque<Vec<u8>>,
}

impl Session {
    /// Connects twice; no word for `dead`, and the connection that is told has failed.
    pub(super) fn connect(target: &Target, dead: Duration) -> Result<Self, EngineError> {
        let reads = Link::connect(target)?;
        let (told, _) = target.dial()?;
        told.set_read_timeout(Some(dead))?;
        Ok(Self { told, reads, waiting: VecDeque::new() })
    }

    /// Subscribes to channels, or does so no more; when this returns, it is so.
    pub(super) fn follow(&mut self, verb: &str, channels: &[String]) -> Result<(), EngineError> {
        for part in channels.chunks(CHANNELS) {
            self.told.send_packed_command(&cmd(verb).arg(part).get_packed_command())?;
            let mut missing = part.len();
            while missing > 0 {
                match message(self.told.recv_response()?) {
                    Ok(payload) => self.waiting.push_back(payload),
                    Err(Value::ServerError(error)) => {
                        return Err(EngineError::Answer(format!(
                            "{verb}: {error:?}; the user needs the channels sb:*"
                        )));
                    }
                    Err(_) => missing -= 1,
                }
            }
        }
        Ok(())
    }

    /// The next word.
    pub(super) fn next(&mut self) -> Result<Vec<u8>, EngineError> {
        if let Some(payload) = self.waiting.pop_front() {
            return Ok(payload);
        }
        loop {
            if let Ok(payload) = message(self.told.recv_response()?) {
                return Ok(payload);
            }
        }
    }
}

/// An error that another connection may not have ends this one.
pub(super) fn check_passing(answer: &Value) -> Result<(), EngineError> {
    match answer {
        Value::ServerError(error) if is_passing(error) => Err(EngineError::Answer(format!("{error:?}"))),
        _ => Ok(()),
    }
}

/// What was told; anything else is given back.
fn message(value: Value) -> Result<Vec<u8>, Value> {
    match value {
        Value::Array(mut parts) if parts.len() == 3 && parts[0] == Value::BulkString(b"message".to_vec()) => {
            match parts.pop() {
                Some(Value::BulkString(payload)) => Ok(payload),
                _ => Err(Value::Nil),
            }
        }
        other => Err(other),
    }
}
