//! The client's side of the opening handshake (RFC 6455 4.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::deflate::{DeflateAgreement, DeflateConfig};
use super::error::{HeadError, ResponseError};
use super::extension::Extensions;
use super::handshake::{KEY_LEN, accept_key, write_field};
use super::head::{Fields, HeadScanner, ResponseHead, with_response};
use super::limits::Limits;

/// What a client asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientRequest<'a> {
    /// The Host field: `host[:port]`.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The Origin field, which browsers send.
    pub origin: Option<&'a str>,
    /// Subprotocols in order of preference.
    pub subprotocols: &'a [&'a str],
    /// permessage-deflate, to be offered with these parameters.
    pub deflate: Option<&'a DeflateConfig>,
    /// Further fields.
    pub fields: &'a [(&'a str, &'a str)],
}

/// What both ends agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// The subprotocol that the server chose.
    pub subprotocol: Option<String>,
    /// permessage-deflate, for [`super::Connection::with_deflate`].
    pub deflate: Option<DeflateAgreement>,
    /// Length of the response head; frames may follow it in the same read.
    pub head_len: usize,
}

/// An opening handshake under way, from the request to the checked response.
#[derive(Debug)]
pub struct ClientHandshake {
    key: [u8; KEY_LEN],
    scanner: HeadScanner,
    /// Octets of interim responses, which come before the response.
    interim_len: usize,
}

impl ClientHandshake {
    /// Appends the request to `out`. `nonce`: 16 random bytes, new for each connection.
    pub fn start(request: &ClientRequest<'_>, nonce: [u8; 16], out: &mut Vec<u8>) -> Self {
        let mut key = [0; KEY_LEN];
        let written = STANDARD.encode_slice(nonce, &mut key);
        debug_assert_eq!(written.ok(), Some(KEY_LEN));
        out.extend_from_slice(format!("GET {} HTTP/1.1\r\n", request.target).as_bytes());
        write_field(out, "Host", request.host);
        out.extend_from_slice(
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ",
        );
        out.extend_from_slice(&key);
        out.extend_from_slice(b"\r\n");
        if let Some(origin) = request.origin {
            write_field(out, "Origin", origin);
        }
        if !request.subprotocols.is_empty() {
            write_field(out, "Sec-WebSocket-Protocol", &request.subprotocols.join(", "));
        }
        if let Some(deflate) = request.deflate {
            write_field(out, "Sec-WebSocket-Extensions", &deflate.offer());
        }
        for (name, value) in request.fields {
            write_field(out, name, value);
        }
        out.extend_from_slice(b"\r\n");
        Self { key, scanner: HeadScanner::default(), interim_len: 0 }
    }

    /// Looks at all octets received so far; `None` while the response head is incomplete. Interim responses, such as
    /// 100 Continue and 103 Early Hints, are passed over (RFC 9110 15.2), up to [`Limits::max_head`] octets of them.
    ///
    /// # Errors
    /// The first requirement of RFC 6455 4.1 that the response does not meet.
    pub fn receive(
        &mut self,
        received: &[u8],
        request: &ClientRequest<'_>,
        limits: &Limits,
    ) -> Result<Option<Agreement>, ResponseError> {
        loop {
            let behind = &received[self.interim_len..];
            let Some(len) = self.scanner.find_end(behind, limits).map_err(ResponseError::Head)? else {
                return Ok(None);
            };
            let head_len = self.interim_len + len;
            let agreement = with_response(&behind[..len], limits, |head| {
                let head = head?;
                if is_interim(head.status) {
                    return Ok(None);
                }
                let subprotocol = self.check(&head, request)?;
                let deflate = check_extensions(head.fields, request.deflate)?;
                Ok(Some(Agreement { subprotocol, deflate, head_len }))
            })?;
            if agreement.is_some() {
                return Ok(agreement);
            }
            if head_len > limits.max_head {
                return Err(ResponseError::Head(HeadError::TooLarge));
            }
            (self.interim_len, self.scanner) = (head_len, HeadScanner::default());
        }
    }

    fn check(
        &self,
        head: &ResponseHead<'_>,
        request: &ClientRequest<'_>,
    ) -> Result<Option<String>, ResponseError> {
        let fields = head.fields;
        if head.status != 101 {
            return Err(ResponseError::Status(head.status));
        }
        if !matches!(fields.single("upgrade"), Ok(Some(value)) if value.eq_ignore_ascii_case(b"websocket")) {
            return Err(ResponseError::Upgrade);
        }
        if !fields.names_token("connection", "upgrade") {
            return Err(ResponseError::Connection);
        }
        let accept = accept_key(&self.key);
        if !matches!(fields.single("sec-websocket-accept"), Ok(Some(value)) if value == accept) {
            return Err(ResponseError::Accept);
        }
        match fields.single("sec-websocket-protocol") {
            Ok(None | Some(b"")) => Ok(None),
            Ok(Some(chosen)) => request
                .subprotocols
                .iter()
                .find(|offered| offered.as_bytes() == chosen)
                .map(|&offered| Some(offered.to_owned()))
                .ok_or(ResponseError::Subprotocol),
            Err(_) => Err(ResponseError::Subprotocol),
        }
    }
}

/// RFC 9110 15.2: a response of class 1xx other than 101 is not the last one.
fn is_interim(status: u16) -> bool {
    matches!(status, 100..=199) && status != 101
}

/// RFC 6455 4.1: an extension that the client did not request fails the connection; so does, by RFC 7692 5.1 and 7.1,
/// an answer with parameters that are not valid or do not go with the offer.
fn check_extensions(
    fields: Fields<'_>,
    offered: Option<&DeflateConfig>,
) -> Result<Option<DeflateAgreement>, ResponseError> {
    let mut answers = fields.all("sec-websocket-extensions").flat_map(Extensions::new);
    match (answers.next(), answers.next(), offered) {
        (None, ..) => Ok(None),
        (Some(Ok(answer)), None, Some(offered)) => {
            offered.check_answer(&answer).map(Some).ok_or(ResponseError::Extension)
        }
        _ => Err(ResponseError::Extension),
    }
}
