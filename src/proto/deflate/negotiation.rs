//! What both ends agree on in the opening handshake (RFC 7692 5 and 7.1).

use super::{DeflateConfig, MAX_WINDOW_BITS, MIN_WINDOW_BITS};
use crate::proto::extension::{Extension, Value};

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The agreed parameters (RFC 7692 7.1). Window bits are 8 to 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeflateAgreement {
    /// The server compresses each message for itself (7.1.1.1).
    pub server_no_context_takeover: bool,
    /// The client compresses each message for itself (7.1.1.2).
    pub client_no_context_takeover: bool,
    /// The server's LZ77 window is at most 2 to this power (7.1.2.1).
    pub server_max_window_bits: u8,
    /// The client's LZ77 window is at most 2 to this power (7.1.2.2).
    pub client_max_window_bits: u8,
}

/// The parameters of one offer or answer as they were written.
#[derive(Debug, Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: ClientBits,
}

/// `client_max_window_bits`, which may stand without a value in an offer (RFC 7692 7.1.2.2).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ClientBits {
    #[default]
    Absent,
    WithoutValue,
    AtMost(u8),
}

impl Parameters {
    /// `None` when a parameter is unknown, occurs twice, or has a value that it must not have (RFC 7692 7.1).
    fn read(extension: &Extension<'_>) -> Option<Self> {
        let mut read = Self::default();
        for parameter in extension.parameters() {
            let bits = parameter.value.map(|value| window_bits(value).ok_or(()));
            let is_new = match (std::str::from_utf8(parameter.name).ok()?, bits) {
                (SERVER_NO_CONTEXT_TAKEOVER, None) => {
                    !std::mem::replace(&mut read.server_no_context_takeover, true)
                }
                (CLIENT_NO_CONTEXT_TAKEOVER, None) => {
                    !std::mem::replace(&mut read.client_no_context_takeover, true)
                }
                (SERVER_MAX_WINDOW_BITS, Some(Ok(bits))) => {
                    read.server_max_window_bits.replace(bits).is_none()
                }
                (CLIENT_MAX_WINDOW_BITS, None | Some(Ok(_))) => {
                    let bits = bits.and_then(Result::ok).map_or(ClientBits::WithoutValue, ClientBits::AtMost);
                    std::mem::replace(&mut read.client_max_window_bits, bits) == ClientBits::Absent
                }
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(read)
    }
}

/// RFC 7692 7.1.2: a decimal integer without leading zeroes between 8 and 15.
fn window_bits(value: Value<'_>) -> Option<u8> {
    let mut octets = value.octets();
    match (octets.next()?, octets.next(), octets.next()) {
        (digit @ b'8'..=b'9', None, None) => Some(digit - b'0'),
        (b'1', Some(digit @ b'0'..=b'5'), None) => Some(10 + digit - b'0'),
        _ => None,
    }
}

impl DeflateConfig {
    /// The server's choice: the first offer that it can keep, and the value of the field that says so.
    ///
    /// An offer is declined, and the next one looked at, when a parameter in it is unknown, occurs twice or is not
    /// valid, and when it asks for a server window of 256 bytes, which zlib cannot keep to. Where the client does not
    /// offer `client_max_window_bits`, the server has no way to ask for a smaller window than 32 KiB (7.1.2.2).
    #[must_use]
    pub fn agree<'h>(
        &self,
        offers: impl Iterator<Item = Extension<'h>>,
    ) -> Option<(DeflateAgreement, String)> {
        offers.filter(|offer| offer.name == NAME.as_bytes()).find_map(|offer| self.answer(&offer))
    }

    fn answer(&self, offer: &Extension<'_>) -> Option<(DeflateAgreement, String)> {
        let offer = Parameters::read(offer)?;
        let offered_bits = offer.server_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
        if offered_bits < MIN_WINDOW_BITS {
            return None;
        }
        let client_max_window_bits = match offer.client_max_window_bits {
            ClientBits::Absent => MAX_WINDOW_BITS,
            ClientBits::WithoutValue => self.client_bits(),
            ClientBits::AtMost(bits) => bits.min(self.client_bits()),
        };
        let agreement = DeflateAgreement {
            server_no_context_takeover: offer.server_no_context_takeover || self.server_no_context_takeover,
            client_no_context_takeover: offer.client_no_context_takeover || self.client_no_context_takeover,
            server_max_window_bits: offered_bits.min(self.server_bits()),
            client_max_window_bits,
        };
        let mut field = String::from(NAME);
        push_flag(&mut field, SERVER_NO_CONTEXT_TAKEOVER, agreement.server_no_context_takeover);
        push_flag(&mut field, CLIENT_NO_CONTEXT_TAKEOVER, agreement.client_no_context_takeover);
        // RFC 7692 7.1.2.1: the offer is accepted by including the parameter with the same or a smaller value.
        if offer.server_max_window_bits.is_some() || agreement.server_max_window_bits < MAX_WINDOW_BITS {
            push_bits(&mut field, SERVER_MAX_WINDOW_BITS, agreement.server_max_window_bits);
        }
        if agreement.client_max_window_bits < MAX_WINDOW_BITS {
            push_bits(&mut field, CLIENT_MAX_WINDOW_BITS, agreement.client_max_window_bits);
        }
        Some((agreement, field))
    }

    /// The client's offer, as the value of the field.
    pub(in crate::proto) fn offer(&self) -> String {
        let mut field = String::from(NAME);
        push_flag(&mut field, SERVER_NO_CONTEXT_TAKEOVER, self.server_no_context_takeover);
        push_flag(&mut field, CLIENT_NO_CONTEXT_TAKEOVER, self.client_no_context_takeover);
        if self.server_bits() < MAX_WINDOW_BITS {
            push_bits(&mut field, SERVER_MAX_WINDOW_BITS, self.server_bits());
        }
        match self.client_bits() {
            MAX_WINDOW_BITS => push_flag(&mut field, CLIENT_MAX_WINDOW_BITS, true),
            bits => push_bits(&mut field, CLIENT_MAX_WINDOW_BITS, bits),
        }
        field
    }

    /// What the server's answer to [`Self::offer`] means; `None` when it is not an answer to that.
    pub(in crate::proto) fn check_answer(&self, answer: &Extension<'_>) -> Option<DeflateAgreement> {
        if answer.name != NAME.as_bytes() {
            return None;
        }
        let answer = Parameters::read(answer)?;
        let server_bits = answer.server_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
        let client_bits = match answer.client_max_window_bits {
            ClientBits::Absent => self.client_bits(),
            // RFC 7692 7.1.2.2: in an answer the parameter MUST have a value, and not one above that of the offer.
            ClientBits::AtMost(bits) if bits <= self.client_bits() => bits,
            _ => return None,
        };
        // RFC 7692 7.1.1.1 and 7.1.2.1: what the client asked of the server must be in the answer.
        let lacks_flag = self.server_no_context_takeover && !answer.server_no_context_takeover;
        if server_bits > self.server_bits() || lacks_flag {
            return None;
        }
        Some(DeflateAgreement {
            server_no_context_takeover: answer.server_no_context_takeover,
            client_no_context_takeover: answer.client_no_context_takeover || self.client_no_context_takeover,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
        })
    }

    fn server_bits(&self) -> u8 {
        self.server_max_window_bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS)
    }

    fn client_bits(&self) -> u8 {
        self.client_max_window_bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS)
    }
}

fn push_flag(field: &mut String, name: &str, is_set: bool) {
    if is_set {
        field.push_str("; ");
        field.push_str(name);
    }
}

fn push_bits(field: &mut String, name: &str, bits: u8) {
    push_flag(field, name, true);
    field.push('=');
    field.push_str(&bits.to_string());
}
