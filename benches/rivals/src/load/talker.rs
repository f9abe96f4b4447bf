//! An answer read for what it is: frames decoded, pings answered. For loads that last longer than a server is silent.

use std::io;
use std::sync::Arc;

use switchboard::proto::{Connection, Event, Input, Limits, MaskingKeys, ProtoConfig};

/// The client's end of one connection.
#[derive(Debug)]
pub(crate) struct Talker {
    /// `None` for a server that only sends back octets.
    connection: Option<Connection>,
    raw_len: usize,
    rest: usize,
}

/// What all talkers of a load know.
#[derive(Debug)]
pub(crate) struct Talk {
    config: Arc<ProtoConfig>,
    is_raw: bool,
    raw_len: usize,
}

impl Talk {
    /// Answers are messages; or, `is_raw`, octets as many as `raw_len` for each.
    pub(crate) fn new(is_raw: bool, raw_len: usize) -> Self {
        let limits = Limits::default().with_max_message(2 << 20);
        Self { config: Arc::new(ProtoConfig::default().with(|it| it.limits = limits)), is_raw, raw_len }
    }

    pub(crate) fn talker(&self) -> Talker {
        let connection = (!self.is_raw).then(|| {
            let mut connection = Connection::client(&self.config, MaskingKeys::secure([7; 32]), 0);
            connection.stream_messages(true);
            connection
        });
        Talker { connection, raw_len: self.raw_len, rest: 0 }
    }
}

impl Talker {
    /// Takes octets; gives the messages that are whole now. What is owed for pings is appended to `out`.
    pub(crate) fn receive(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) -> io::Result<u64> {
        let Some(connection) = &mut self.connection else {
            let sum = self.rest + bytes.len();
            self.rest = sum % self.raw_len;
            return Ok((sum / self.raw_len) as u64);
        };
        let mut input = Input::new(bytes);
        let mut messages = 0;
        loop {
            match connection.next_event(&mut input, out) {
                Ok(None) => return Ok(messages),
                Ok(Some(Event::Message(_))) => messages += 1,
                Ok(Some(Event::Chunk(chunk))) => messages += u64::from(chunk.is_last),
                Ok(Some(Event::Ping(_) | Event::Pong(_))) => {}
                Ok(Some(Event::Close(frame))) => {
                    return Err(io::Error::other(format!("the server closed a connection: {frame:?}")));
                }
                Err(error) => return Err(io::Error::other(format!("protocol error: {error}"))),
            }
        }
    }
}
