//! Makes tokens: for tests, and for those who have no other service that does.

use std::collections::BTreeMap;
use std::path::Path;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use super::file::{in_file, pem};
use super::secret::{secret, warn_of_others};
use super::{Body, KeyError, KeyFlaw, Permission};

/// What a token is to say.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Mint {
    /// Who (`sub`).
    pub user: String,
    /// The name that is shown (`name`).
    pub name: Option<String>,
    /// Seconds since 1970 (`exp`).
    pub expires_unix_s: u64,
    /// For whom (`aud`).
    pub audience: Option<String>,
    /// By whom (`iss`).
    pub issuer: Option<String>,
    /// Which key of a set (`kid`).
    pub key_id: Option<String>,
    /// What is permitted where (`rooms`).
    pub rooms: BTreeMap<String, Vec<Permission>>,
}

changeable!(Mint);

impl Mint {
    /// Signs it with the key in a file: a secret (HS256), or a private key in PEM (RS256, `EdDSA`).
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file.
    pub fn sign(self, key: &Path) -> Result<String, KeyError> {
        warn_of_others(key);
        let (algorithm, key) = in_file(key, signing_key)?;
        let header = Header { kid: self.key_id, ..Header::new(algorithm) };
        let body = Body {
            sub: Some(self.user),
            name: self.name,
            exp: Some(self.expires_unix_s),
            aud: self.audience.map(serde_json::Value::String),
            iss: self.issuer,
            rooms: self.rooms,
        };
        encode(&header, &body, &key).map_err(|error| KeyError::Sign(error.to_string()))
    }
}

fn signing_key(content: &[u8]) -> Result<(Algorithm, EncodingKey), KeyFlaw> {
    let Some(pem) = pem(content) else {
        return Ok((Algorithm::HS256, EncodingKey::from_secret(secret(content)?)));
    };
    if pem.windows(10).any(|octets| octets == b"PUBLIC KEY") {
        return Err(KeyFlaw::PublicKey);
    }
    let ed = EncodingKey::from_ed_pem(pem).map(|key| (Algorithm::EdDSA, key));
    let rsa = || EncodingKey::from_rsa_pem(pem).map(|key| (Algorithm::RS256, key));
    ed.or_else(|_| rsa()).map_err(|_| KeyFlaw::NoPrivateKey)
}
