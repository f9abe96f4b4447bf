//! What may be a secret: nothing that looks like a key, a certificate or a token, which others may know. Who signs with a
//! public key as if it were a secret would be let in by it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{KeyFlaw, MIN_SECRET};

/// The byte order mark of UTF-8.
const BOM: &[u8] = b"\xEF\xBB\xBF";
/// Encodings within encodings that are looked into: PEM in base64 in hexadecimal digits.
const DEPTH: u32 = 3;
/// DER of object identifiers: rsaEncryption and its like, Ed25519 and its like, keys on elliptic curves.
const IDENTIFIERS: &[&[u8]] =
    &[b"\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x01", b"\x06\x03\x2B\x65", b"\x06\x07\x2A\x86\x48\xCE\x3D"];

const DER: &str = "this is a key or a certificate in DER and no secret; the server takes public keys in PEM: openssl pkey -pubin -inform DER -in FILE";
const PEM: &str =
    "this holds a key or a certificate and no secret; the server takes public keys in PEM, as plain text";
const SSH: &str = "this is an OpenSSH key and no secret; the server takes public keys in PEM: ssh-keygen -e -m PKCS8 -f FILE";

/// Without the byte order mark that some editors put before a text.
pub(super) fn without_mark(content: &[u8]) -> &[u8] {
    content.strip_prefix(BOM).unwrap_or(content)
}

/// A secret for HS256, without the line end that editors put behind it.
pub(super) fn secret(content: &[u8]) -> Result<&[u8], KeyFlaw> {
    check_secret(content)?;
    let secret = content.strip_suffix(b"\n").unwrap_or(content);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.len() < MIN_SECRET {
        return Err(KeyFlaw::ShortSecret(secret.len()));
    }
    Ok(secret)
}

/// Refuses what is no secret.
///
/// # Errors
/// A sentence that says what it is, and what to do.
pub fn check_secret(content: &[u8]) -> Result<(), KeyFlaw> {
    if content.starts_with(BOM) {
        return Err(KeyFlaw::NoSecret(
            "this begins with a byte order mark, which would be a part of the secret; save it without one",
        ));
    }
    if let Ok(text) = std::str::from_utf8(content) {
        if text.lines().filter(|line| !line.trim().is_empty()).count() > 1 {
            return Err(KeyFlaw::NoSecret(
                "this has several lines, and a secret is one; make one with: openssl rand -hex 32",
            ));
        }
        if let [header, _, _] = text.trim().split('.').collect::<Vec<_>>()[..]
            && decoded(header.as_bytes()).any(|octets| octets.starts_with(b"{"))
        {
            return Err(KeyFlaw::NoSecret(
                "this is a token and no secret; make a secret with: openssl rand -hex 32",
            ));
        }
    }
    flaw(content, DEPTH).map_or(Ok(()), |why| Err(KeyFlaw::NoSecret(why)))
}

/// What the content is instead of a secret.
fn flaw(content: &[u8], depth: u32) -> Option<&'static str> {
    let is_marked = content.starts_with(b"\xFF\xFE") || content.starts_with(b"\xFE\xFF");
    if is_marked && content.chunks(2).all(|unit| unit.contains(&0) || unit == &content[..2]) {
        return Some("this is text in UTF-16; save it as plain text (UTF-8, without a byte order mark)");
    }
    let has = |part: &[u8]| content.windows(part.len()).any(|octets| octets == part);
    // Between the letters of UTF-16 are zeros.
    if has(b"-- BEGIN") || has(b"--BEGIN") || has(b"B\0E\0G\0I\0N") || has(b"BEGIN PUBLIC") {
        return Some(PEM);
    }
    if [&b"ssh-rsa"[..], b"ssh-dss", b"ssh-ed25519", b"ecdsa-sha2-"].into_iter().any(has) {
        return Some(SSH);
    }
    let trimmed = without_mark(content).trim_ascii();
    // Random octets begin with anything, but are no text.
    match std::str::from_utf8(trimmed).ok().and_then(|_| trimmed.first()) {
        Some(b'{' | b'[' | b'"') => {
            return Some("this is JSON and no secret; keys in JSON (JWK, JWKS) are for --token-jwks");
        }
        Some(b'<') => return Some(PEM),
        _ if has(b"\"kty\"") => {
            return Some(
                "this holds a key in JSON and no secret; keys in JSON (JWK, JWKS) are for --token-jwks",
            );
        }
        _ => {}
    }
    if is_der(content) || IDENTIFIERS.iter().any(|identifier| has(identifier)) {
        return Some(DER);
    }
    if depth == 0 {
        return None;
    }
    decoded(trimmed).find_map(|octets| flaw(&octets, depth - 1))
}

/// The content read as base64, with either alphabet, and as hexadecimal digits.
fn decoded(content: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let digits: Vec<u8> = content.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
    let base64 = |alphabet: &Alphabet| {
        let config = GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true);
        GeneralPurpose::new(alphabet, config).decode(&digits).ok()
    };
    let hex: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok()
        })
        .collect();
    [base64(&STANDARD), base64(&URL_SAFE), hex].into_iter().flatten().filter(|octets| !octets.is_empty())
}

/// Whether it is a SEQUENCE that ends where the content does, but for a line end.
fn is_der(content: &[u8]) -> bool {
    let Some((&0x30, rest)) = content.split_first() else { return false };
    let Some((&first, rest)) = rest.split_first() else { return false };
    let (len, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81..=0x84 => {
            let Some((octets, rest)) = rest.split_at_checked(usize::from(first & 0x7F)) else { return false };
            (octets.iter().fold(0, |len, octet| len << 8 | usize::from(*octet)), rest)
        }
        _ => return false,
    };
    rest.split_at_checked(len).is_some_and(|(_, behind)| behind.trim_ascii().is_empty())
}

/// Warns of a file with a secret that every user of the machine may read or write.
pub fn warn_of_others(path: &Path) {
    let mode = path.metadata().map_or(0, |found| found.mode());
    if mode & 0o007 != 0 {
        let file = path.display();
        tracing::warn!(
            %file,
            mode = format_args!("{:03o}", mode & 0o777),
            "this key is open to every user of the machine; run: chmod o-rwx {file}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_secrets() {
        for good in [
            &b"0123456789abcdef0123456789abcdef\n"[..],
            b"another secret, as long as the first one",
            b"c3VwZXIgc2VjcmV0IGtleSB0aGF0IG5vYm9keSBrbm93cw==\r\n",
            b"correct.horse.battery.staple.and.more",
            b"one.two.three-and-thirty-two-characters",
            b"\x01\xFF\x02\xFE0123456789\n0123456789012345678\x80\x81\x82",
            b"Gr\xC3\xBC\xC3\x9Fe-Gr\xC3\xBC\xC3\x9Fe-Gr\xC3\xBC\xC3\x9Fe-Gr\xC3\xBC\xC3\x9Fe-Gr\xC3\xBC\xC3\x9Fe",
        ] {
            assert!(secret(good).is_ok(), "{}: {:?}", good.escape_ascii(), secret(good));
        }
    }

    #[test]
    fn random_octets_and_digits_are_secrets() {
        use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        for _ in 0..2000 {
            let mut octets = [0; 32];
            random.fill_bytes(&mut octets);
            octets[0] |= 0x40; // One in 65,536 would look like DER.
            let hex = octets.iter().fold(String::new(), |hex, octet| format!("{hex}{octet:02x}"));
            let base64 = base64::prelude::BASE64_STANDARD.encode(octets);
            for content in [&octets[..], hex.as_bytes(), base64.as_bytes()] {
                assert_eq!(check_secret(content), Ok(()), "{}", content.escape_ascii());
            }
        }
    }
}
