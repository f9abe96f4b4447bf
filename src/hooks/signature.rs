//! The signature of a request: HMAC-SHA256 (RFC 2104) of its time and its body.

use std::fmt::Write as _;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};

/// A secret, ready to sign.
#[derive(Clone)]
pub(super) struct Signer(Key);

impl Signer {
    pub(super) fn new(secret: &[u8]) -> Self {
        Self(Key::new(HMAC_SHA256, secret))
    }

    /// The value of the field `Switchboard-Signature`.
    pub(super) fn sign(&self, unix_s: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{unix_s}.").as_bytes());
        context.update(body);
        let mut signature = format!("t={unix_s},v1=");
        for octet in context.sign().as_ref() {
            // A string takes everything.
            let _ = write!(signature, "{octet:02x}");
        }
        signature
    }
}

/// The value of the field `Switchboard-Signature` of a request: `t=` and the time in seconds since 1970, `v1=` and the HMAC-SHA256
/// of `<time>.<body>` in hexadecimal digits.
#[must_use]
pub fn signature(secret: &[u8], unix_s: u64, body: &[u8]) -> String {
    Signer::new(secret).sign(unix_s, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_other_implementations() {
        // printf '%s' '1700000000.{"ask":"post"}' | openssl dgst -sha256 -hmac 'a secret of some length'
        let expected = include_str!("signature.txt").trim();
        assert_eq!(signature(b"a secret of some length", 1_700_000_000, br#"{"ask":"post"}"#), expected);
    }
}
