//! Keys from files.

use std::fs;
use std::path::Path;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::{Key, MIN_SECRET, Sources};

/// Reads all keys of all sources.
pub(super) fn read_all(sources: &Sources) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    if let Some(path) = &sources.key {
        keys.push(in_file(path, key)?);
    }
    if let Some(path) = &sources.key_set {
        keys.extend(in_file(path, key_set)?);
    }
    Ok(keys)
}

/// Reads a file; what is wrong with it is said with its name.
pub(super) fn in_file<T>(path: &Path, parse: fn(&[u8]) -> Result<T, String>) -> Result<T, String> {
    let name = |error: String| format!("{}: {error}", path.display());
    let content = fs::read(path).map_err(|error| name(error.to_string()))?;
    parse(&content).map_err(name)
}

/// A public key in PEM, or a secret. What looks like PEM is never a secret: a public key is known to everybody.
fn key(content: &[u8]) -> Result<Key, String> {
    if !is_pem(content) {
        let material = DecodingKey::from_secret(secret(content)?);
        return Ok(Key { id: None, algorithm: Algorithm::HS256, material });
    }
    if content.windows(11).any(|octets| octets == b"PRIVATE KEY") {
        return Err("this is a private key; the server needs the public one".to_owned());
    }
    for (algorithm, parse) in [
        (Algorithm::EdDSA, DecodingKey::from_ed_pem as fn(&[u8]) -> _),
        (Algorithm::RS256, DecodingKey::from_rsa_pem as fn(&[u8]) -> _),
    ] {
        if let Ok(material) = parse(content) {
            return Ok(Key { id: None, algorithm, material });
        }
    }
    Err("this is no public key of RSA or Ed25519 in PEM".to_owned())
}

pub(super) fn is_pem(content: &[u8]) -> bool {
    content.trim_ascii_start().starts_with(b"-----BEGIN")
}

/// A secret, without the line end that editors put behind it.
pub(super) fn secret(content: &[u8]) -> Result<&[u8], String> {
    let secret = content.strip_suffix(b"\n").unwrap_or(content);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.len() < MIN_SECRET {
        return Err(format!(
            "a secret for HS256 has at least {MIN_SECRET} bytes, this one has {}; make one with: openssl rand -hex 32",
            secret.len()
        ));
    }
    Ok(secret)
}

/// RFC 7517 5: keys that one does not understand are passed over.
fn key_set(content: &[u8]) -> Result<Vec<Key>, String> {
    let set: JwkSet = serde_json::from_slice(content).map_err(|error| {
        format!("no set of keys (RFC 7517), line {}, column {}", error.line(), error.column())
    })?;
    let keys: Vec<Key> = set.keys.iter().filter_map(from_set).collect();
    if keys.is_empty() {
        return Err("none of the keys is for HS256, RS256 or EdDSA".to_owned());
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
        common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let is_ours = common.key_algorithm.is_none_or(|algorithm| algorithm == named);
    let material = DecodingKey::from_jwk(jwk).ok().filter(|_| is_for_signatures && is_ours)?;
    if algorithm == Algorithm::HS256 && material.try_get_as_bytes().map_or(0, <[u8]>::len) < MIN_SECRET {
        return None;
    }
    Some(Key { id: common.key_id.clone(), algorithm, material })
}
