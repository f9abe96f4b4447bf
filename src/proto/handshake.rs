//! The server's side of the opening handshake (RFC 6455 4.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::error::HandshakeError;
use super::extension::{Extension, Extensions};
use super::head::{BodyLength, Fields, RequestHead, is_token, list_elements};

/// RFC 6455 1.3: appended to the key before it is hashed.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Length of the base64 of a 16-byte key.
pub const KEY_LEN: usize = 24;

/// The value of Sec-WebSocket-Accept for a key: base64(sha1(key + GUID)) (RFC 6455 4.2.2).
#[must_use]
pub fn accept_key(key: &[u8]) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    // 20 bytes make 28 characters, always.
    let written = STANDARD.encode_slice(digest, &mut accept);
    debug_assert_eq!(written.ok(), Some(28));
    accept
}

/// A checked upgrade request.
#[derive(Debug, Clone, Copy)]
pub struct Upgrade<'h> {
    /// Sec-WebSocket-Key, the base64 of 16 bytes.
    pub key: &'h [u8],
    fields: Fields<'h>,
}

impl<'h> Upgrade<'h> {
    /// The subprotocols that the client offers, in its order of preference.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'h [u8]> {
        self.fields.all("sec-websocket-protocol").flat_map(list_elements)
    }

    /// The extensions that the client offers, in its order of preference (RFC 6455 9.1).
    pub fn extensions(&self) -> impl Iterator<Item = Extension<'h>> {
        // They are well-formed: `check_upgrade` has seen to it.
        self.fields.all("sec-websocket-extensions").flat_map(Extensions::new).flatten()
    }

    /// The first of `supported` that the client offers: the server's preference decides.
    #[must_use]
    pub fn choose_subprotocol(&self, supported: &[&'static str]) -> Option<&'static str> {
        supported.iter().copied().find(|name| self.subprotocols().any(|offered| offered == name.as_bytes()))
    }
}

/// Whether a request wants to be an upgrade to WebSocket, well-formed or not: its Upgrade field names `websocket`, or it has a
/// field of RFC 6455. Other requests are plain HTTP; an Upgrade to another protocol, such as `h2c`, is ignored (RFC 9110 7.8).
#[must_use]
pub fn wants_upgrade(head: &RequestHead<'_>) -> bool {
    head.fields.names_token("upgrade", "websocket") || head.fields.has_prefix("sec-websocket-")
}

/// Checks an upgrade request by RFC 6455 4.2.1.
///
/// # Errors
/// The first requirement that the request does not meet.
pub fn check_upgrade<'h>(head: &RequestHead<'h>) -> Result<Upgrade<'h>, HandshakeError> {
    let fields = head.fields;
    // RFC 6455 3: a WebSocket URI has a path.
    if head.target == "*" {
        return Err(HandshakeError::Target);
    }
    if head.method != "GET" {
        return Err(HandshakeError::Method);
    }
    if head.minor_version != 1 {
        return Err(HandshakeError::HttpVersion);
    }
    if !fields.names_token("upgrade", "websocket") {
        return Err(HandshakeError::Upgrade);
    }
    if !fields.names_token("connection", "upgrade") {
        return Err(HandshakeError::Connection);
    }
    // RFC 9112 6.3: a Content-Length of 0 is no body.
    if head.body != BodyLength::None {
        return Err(HandshakeError::Body);
    }
    if fields.single("origin").is_err() {
        return Err(HandshakeError::DuplicateOrigin);
    }
    match fields.single("sec-websocket-version") {
        Ok(Some(b"13")) => {}
        Ok(_) => return Err(HandshakeError::Version),
        Err(_) => return Err(HandshakeError::DuplicateVersion),
    }
    let key = fields.single("sec-websocket-key")?.filter(|key| is_key(key)).ok_or(HandshakeError::Key)?;
    // RFC 6455 9.1: a field that does not conform to the grammar MUST fail the connection.
    if fields.all("sec-websocket-extensions").flat_map(Extensions::new).any(|element| element.is_err()) {
        return Err(HandshakeError::Extensions);
    }
    let upgrade = Upgrade { key, fields };
    if upgrade.subprotocols().all(is_token) { Ok(upgrade) } else { Err(HandshakeError::Subprotocol) }
}

/// RFC 6455 4.2.1: a base64-encoded value that, when decoded, is 16 bytes in length.
fn is_key(key: &[u8]) -> bool {
    let mut nonce = [0; 18];
    key.len() == KEY_LEN && STANDARD.decode_slice(key, &mut nonce) == Ok(16)
}

/// Appends the 101 response. `fields` are further fields of the application's, already valid.
pub fn write_accept(key: &[u8], subprotocol: Option<&str>, fields: &[(&str, &str)], out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(&accept_key(key));
    out.extend_from_slice(b"\r\n");
    if let Some(subprotocol) = subprotocol {
        write_field(out, "Sec-WebSocket-Protocol", subprotocol);
    }
    for (name, value) in fields {
        write_field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one field; a name or value that would break out of its line is left out.
pub(super) fn write_field(out: &mut Vec<u8>, name: &str, value: &str) {
    let is_safe = is_token(name.as_bytes()) && !value.bytes().any(|octet| octet < b' ' && octet != b'\t');
    debug_assert!(is_safe, "field {name} would split the response");
    if is_safe {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_the_accept_key_is_that_of_rfc_6455_1_3() {
        assert_eq!(&accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_the_base64_of_sixteen_bytes() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for bad in ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZTE=", "dGhlIHNhbXBsZSBub25j!Q=="] {
            assert!(!is_key(bad.as_bytes()), "{bad}");
        }
    }
}
