//! The replacement of permessage-deflate in a build without the feature `deflate`: types of which there is no value, so
//! that nothing is ever agreed and the compiler leaves all of it out.

use super::ProtocolError;
use super::extension::Extension;
use super::limits::ProtoConfig;
use super::message::Outgoing;

/// Cannot be made: this build has no feature `deflate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeflateConfig {}

impl DeflateConfig {
    /// The server's choice.
    #[must_use]
    pub fn agree<'h>(
        &self,
        _offers: impl Iterator<Item = Extension<'h>>,
    ) -> Option<(DeflateAgreement, String)> {
        match *self {}
    }

    pub(super) fn offer(&self) -> String {
        match *self {}
    }

    pub(super) fn check_answer(&self, _answer: &Extension<'_>) -> Option<DeflateAgreement> {
        match *self {}
    }
}

/// Cannot be made: this build has no feature `deflate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeflateAgreement {}

/// Cannot be made: this build has no feature `deflate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowBits {}

/// How the messages to one peer are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Uncompressed.
    Plain,
    /// Compressed, each message for itself.
    Shared(WindowBits),
    /// Compressed with the context of the connection's earlier messages.
    Own,
}

/// Holds nothing in this build.
#[derive(Debug, Clone)]
pub struct DeflatePool;

impl DeflatePool {
    /// Holds nothing in this build.
    #[must_use]
    pub fn new(_config: &ProtoConfig) -> Self {
        Self
    }

    /// Never called: there are no window bits.
    pub fn write_message(&self, window_bits: WindowBits, _message: Outgoing<'_>, _out: &mut Vec<u8>) {
        match window_bits {}
    }
}

#[derive(Debug)]
pub(super) enum Deflate {}

impl Deflate {
    pub(super) fn new(agreement: DeflateAgreement, _is_client: bool, _pool: &DeflatePool) -> Self {
        match agreement {}
    }

    pub(super) fn encoding(&self) -> Encoding {
        match *self {}
    }

    pub(super) fn pause_after(&mut self, _bytes: usize) {
        match *self {}
    }

    pub(super) fn is_counting(&self) -> bool {
        match *self {}
    }

    pub(super) fn is_to_pause(&mut self) -> bool {
        match *self {}
    }

    pub(super) fn end_turn(&mut self) {
        match *self {}
    }

    pub(super) fn write_message(
        &mut self,
        _message: Outgoing<'_>,
        _key: Option<[u8; 4]>,
        _out: &mut Vec<u8>,
    ) {
        match *self {}
    }

    pub(super) fn inflate(
        &mut self,
        _piece: &[u8],
        _data: &mut Vec<u8>,
        _limit: u64,
    ) -> Result<(), ProtocolError> {
        match *self {}
    }

    pub(super) fn finish_message(&mut self, _data: &[u8]) -> Result<(), ProtocolError> {
        match *self {}
    }

    pub(super) fn rest(&mut self) {
        match *self {}
    }
}

/// Without the extension no frame is compressed.
pub(super) fn max_compressed_len(len: u64) -> u64 {
    len
}
