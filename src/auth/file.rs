//! Keys from files.

use std::fs;
use std::path::Path;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize as _;
use serde_json::Value;

use super::secret::{secret, warn_of_others, without_mark};
use super::{Key, KeyError, KeyFlaw, Sources};
use crate::chat::strict;

/// Reads all keys of all sources, and warns of secrets that are open to others.
pub(super) fn read_all(sources: &Sources) -> Result<Vec<Key>, KeyError> {
    let mut keys = Vec::new();
    for (path, parse) in [(&sources.key, one_key as fn(&[u8]) -> _), (&sources.key_set, key_set)] {
        let Some(path) = path else { continue };
        let read: Vec<Key> = in_file(path, parse)?;
        if read.iter().any(|key| key.algorithm == Algorithm::HS256) {
            warn_of_others(path);
        }
        keys.extend(read);
    }
    Ok(keys)
}

/// Reads a file; what is wrong with it is said with its name.
pub(super) fn in_file<T>(path: &Path, parse: fn(&[u8]) -> Result<T, KeyFlaw>) -> Result<T, KeyError> {
    let content = fs::read(path).map_err(|error| KeyError::Read { path: path.to_owned(), error })?;
    parse(&content).map_err(|flaw| flaw.of(path))
}

/// A public key in PEM, or a secret.
fn one_key(content: &[u8]) -> Result<Vec<Key>, KeyFlaw> {
    let Some(pem) = pem(content) else {
        let material = DecodingKey::from_secret(secret(content)?);
        return Ok(vec![Key { id: None, algorithm: Algorithm::HS256, material }]);
    };
    let names = |what: &[u8]| pem.windows(what.len()).any(|octets| octets == what);
    if names(b"PRIVATE KEY") {
        return Err(KeyFlaw::PrivateKey);
    }
    if names(b"BEGIN CERTIFICATE") || names(b"BEGIN TRUSTED CERTIFICATE") {
        return Err(KeyFlaw::Certificate);
    }
    for (algorithm, parse) in [
        (Algorithm::EdDSA, DecodingKey::from_ed_pem as fn(&[u8]) -> _),
        (Algorithm::RS256, DecodingKey::from_rsa_pem as fn(&[u8]) -> _),
    ] {
        if let Ok(material) = parse(pem) {
            return Ok(vec![Key { id: None, algorithm, material }]);
        }
    }
    Err(KeyFlaw::NoPublicKey)
}

/// The content as PEM, whatever is before the first block; `None` when there is no block.
pub(super) fn pem(content: &[u8]) -> Option<&[u8]> {
    let content = without_mark(content);
    let begin = b"-----BEGIN";
    content.windows(begin.len()).any(|octets| octets == begin).then_some(content)
}

/// RFC 7517 5: keys that one does not understand are passed over. A single key counts as a set of one.
fn key_set(content: &[u8]) -> Result<Vec<Key>, KeyFlaw> {
    let set = strict::from_slice(without_mark(content)).map_err(|error| match error {
        strict::Error::Duplicate(field) => KeyFlaw::NoSet(format!(": the field `{field}` stands twice")),
        strict::Error::Json(error) => {
            KeyFlaw::NoSet(format!(" (RFC 7517), line {}, column {}", error.line(), error.column()))
        }
    })?;
    let keys = match &set["keys"] {
        Value::Array(keys) => &keys[..],
        _ if set.get("kty").is_some() => std::slice::from_ref(&set),
        _ => return Err(KeyFlaw::NoSet(" (RFC 7517): it has no list `keys`".to_owned())),
    };
    let known = keys.iter().filter_map(|key| Jwk::deserialize(key).ok());
    let keys: Vec<Key> = known.filter_map(|key| from_set(&key)).collect();
    if keys.is_empty() {
        return Err(KeyFlaw::NoUsableKey);
    }
    Ok(keys)
}

fn from_set(jwk: &Jwk) -> Option<Key> {
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::OctetKey(_) => (Algorithm::HS256, KeyAlgorithm::HS256),
        _ => return None,
    };
    let common = &jwk.common;
    let is_for_signatures =
        common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|list| list.contains(&KeyOperations::Verify));
    let is_ours = common.key_algorithm.is_none_or(|algorithm| algorithm == named);
    let material = DecodingKey::from_jwk(jwk).ok().filter(|_| is_for_signatures && is_ours)?;
    // A secret that is a public key in disguise is none.
    if algorithm == Algorithm::HS256
        && material.try_get_as_bytes().ok().and_then(|octets| secret(octets).ok()).is_none()
    {
        return None;
    }
    Some(Key { id: common.key_id.clone(), algorithm, material })
}
