//! Tokens that say who somebody is (RFC 7519): HS256, RS256 and `EdDSA`, by keys from files. Implements the chat's [`Verify`].
//!
//! Each key is for one algorithm, and a token that names another is refused: neither `none` nor a public key taken for a
//! secret gets anybody in. What is said about a token that is refused never repeats any of it.

mod claims;
mod error;
mod file;
mod mint;
mod secret;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::claims::{check_header, person, time};
pub use self::error::{KeyError, KeyFlaw};
pub use self::mint::Mint;
pub use self::secret::{check_secret, warn_of_others};
use crate::chat::identity::{Claims, Grant, TokenError, Verify};
use crate::chat::strict::Strict;

/// Longest token in bytes.
pub const MAX_TOKEN: usize = 8 * 1024;
/// Shortest secret for HS256 in bytes (RFC 7518 3.2).
pub const MIN_SECRET: usize = 32;

/// What a valid token must say besides who.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// One of the audiences (`aud`) is this; `None`: any or none.
    pub audience: Option<String>,
    /// The issuer (`iss`) is this; `None`: any or none.
    pub issuer: Option<String>,
    /// Seconds by which the clocks may differ.
    pub leeway_s: u64,
    /// The claim with the name that is shown; `None`: `name` or `preferred_username`.
    pub name_claim: Option<String>,
}

changeable!(Rules);

/// Where keys come from. At least one is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sources {
    /// A secret for HS256, or a public key in PEM: RSA for RS256, Ed25519 for `EdDSA`.
    pub key: Option<PathBuf>,
    /// A set of keys (RFC 7517).
    pub key_set: Option<PathBuf>,
}

changeable!(Sources);

/// A key and what it is for.
#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    material: DecodingKey,
}

/// Checks tokens.
#[derive(Debug)]
pub struct Keyring {
    sources: Sources,
    rules: Rules,
    /// Set by a signal: the files are to be read again.
    is_stale: Arc<AtomicBool>,
    keys: Mutex<Vec<Key>>,
}

/// A permission as a token has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// To enter and read.
    Join,
    /// To post, edit, delete and react.
    Post,
    /// To change what others wrote, to kick, and with `*` to ban.
    Moderate,
}

/// The claims of a token that we make.
#[derive(Debug, Serialize)]
struct Body {
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    exp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rooms: BTreeMap<String, Vec<Permission>>,
}

impl Keyring {
    /// Reads the keys. When `is_stale` is set, they are read again before the next token is checked.
    ///
    /// # Errors
    /// A sentence that names the file and says what is wrong with it.
    pub fn read(sources: Sources, rules: Rules, is_stale: Arc<AtomicBool>) -> Result<Self, KeyError> {
        let keys = Mutex::new(file::read_all(&sources)?);
        Ok(Self { sources, rules, is_stale, keys })
    }

    /// PR-10: a file that cannot be read leaves the keys as they are.
    fn reload(&self) {
        match file::read_all(&self.sources) {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "the keys for tokens were read again");
                if let Ok(mut current) = self.keys.lock() {
                    *current = keys;
                }
            }
            Err(error) => tracing::error!(%error, "the keys for tokens stay as they were"),
        }
    }

    fn claims(&self, token: &str, now_unix_s: u64) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let header = decode_header(token).map_err(|error| complaint(error.kind()))?;
        check_header(token)?;
        let keys = self.keys.lock().map_err(|_| TokenError::Unavailable)?;
        let is_meant = |key: &&Key| match (&key.id, &header.kid) {
            (Some(id), Some(wanted)) => id == wanted,
            _ => true,
        };
        let mut error = TokenError::NoKey;
        for key in keys.iter().filter(is_meant) {
            if key.algorithm != header.alg {
                error = TokenError::Algorithm;
                continue;
            }
            match decode::<Strict>(token, &key.material, &self.validation(key.algorithm)) {
                Ok(data) => {
                    let Value::Object(body) = data.claims.0 else { return Err(TokenError::Form) };
                    return self.check_claims(&body, now_unix_s);
                }
                Err(found) => error = complaint(found.kind()),
            }
        }
        Err(error)
    }

    /// What the library checks; the times are checked here, with a clock that is an argument.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = self.rules.audience.is_some();
        let mut required = Vec::new();
        if let Some(audience) = &self.rules.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        if let Some(issuer) = &self.rules.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    fn check_claims(&self, body: &Map<String, Value>, now: u64) -> Result<Claims, TokenError> {
        let leeway = self.rules.leeway_s;
        let (expires, from) = (time(body, "exp")?, time(body, "nbf")?);
        time(body, "iat")?;
        let Some(expires) = expires else { return Err(TokenError::NoExpiry) };
        if expires.saturating_add(leeway) <= now {
            return Err(TokenError::Expired);
        }
        if from.is_some_and(|from| from > now.saturating_add(leeway)) {
            return Err(TokenError::NotYetValid);
        }
        let (subject, user) = person(body, self.rules.name_claim.as_deref())?;
        let rooms: BTreeMap<String, Vec<Permission>> = match body.get("rooms") {
            None => BTreeMap::new(),
            Some(rooms) => Deserialize::deserialize(rooms).map_err(|_| TokenError::Form)?,
        };
        let rooms = rooms.into_iter().map(|(pattern, may)| Grant {
            pattern,
            join: may.contains(&Permission::Join),
            post: may.contains(&Permission::Post),
            moderate: may.contains(&Permission::Moderate),
        });
        let expires_unix_s = expires.saturating_add(leeway);
        Ok(Claims { subject, user, expires_unix_s, rooms: rooms.collect() })
    }
}

impl Verify for Keyring {
    fn verify(&self, token: &str, now_unix_s: u64) -> Result<Claims, TokenError> {
        if self.is_stale.swap(false, Ordering::Relaxed) {
            self.reload();
        }
        self.claims(token, now_unix_s)
    }
}

/// What is wrong, without a word of the token.
fn complaint(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::MissingRequiredClaim(name) if name == "aud" => TokenError::NoAudience,
        ErrorKind::MissingRequiredClaim(_) => TokenError::NoIssuer,
        ErrorKind::InvalidAudience => TokenError::OtherAudience,
        ErrorKind::InvalidIssuer => TokenError::OtherIssuer,
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm | ErrorKind::InvalidAlgorithmName => {
            TokenError::Algorithm
        }
        ErrorKind::Json(error) if error.to_string().starts_with("number out of range") => {
            TokenError::NumberTooLarge
        }
        ErrorKind::Json(error) if error.to_string().starts_with("a field stands twice") => {
            TokenError::Duplicate
        }
        ErrorKind::Json(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Utf8(_) => TokenError::Form,
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "the times are small")]
mod tests {
    use super::*;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const NOW: u64 = 1_000_000;

    fn keyring(leeway_s: u64) -> Keyring {
        let material = DecodingKey::from_secret(SECRET);
        Keyring {
            sources: Sources::default(),
            rules: Rules { leeway_s, ..Rules::default() },
            is_stale: Arc::default(),
            keys: Mutex::new(vec![Key { id: None, algorithm: Algorithm::HS256, material }]),
        }
    }

    fn verify(body: &serde_json::Value, leeway_s: u64) -> Result<Claims, TokenError> {
        let token = encode(&Header::default(), body, &EncodingKey::from_secret(SECRET)).unwrap();
        keyring(leeway_s).verify(&token, NOW)
    }

    #[test]
    fn ch_17_times_and_names_are_checked() {
        let refused = [
            (json!({ "sub": "Ada" }), "no expiry"),
            (json!({ "exp": NOW + 9 }), "names no user"),
            (json!({ "sub": " ", "exp": NOW + 9 }), "names no user"),
            (json!({ "sub": "Ada", "exp": NOW }), "has expired"),
            (json!({ "sub": "Ada", "exp": 0 }), "has expired"),
            (json!({ "sub": "Ada", "exp": NOW + 9, "nbf": NOW + 1 }), "not valid yet"),
            (json!({ "sub": "Ada", "exp": -1 }), "has expired"),
            (json!({ "sub": "Ada", "exp": NOW as f64 - 0.5 }), "has expired"),
            (json!({ "sub": "Ada", "exp": 1e300 }), "`exp` is too large"),
            (json!({ "sub": "Ada", "exp": NOW + 9, "nbf": u64::MAX }), "`nbf` is too large"),
            (json!({ "sub": "Ada", "exp": NOW + 9, "nbf": NOW as f64 + 0.5 }), "not valid yet"),
            (json!({ "sub": "Ada", "exp": NOW + 9, "iat": "now" }), "form"),
            (json!({ "sub": "Ada", "exp": "soon" }), "form"),
            (json!({ "sub": ["Ada"], "exp": NOW + 9 }), "form"),
            (json!({ "sub": "Ada", "exp": NOW + 9, "rooms": { "*": ["rule"] } }), "form"),
            (json!({ "sub": "Ada", "exp": NOW + 9, "rooms": "*" }), "form"),
            (json!([]), "form"),
        ];
        for (body, why) in refused {
            let error = verify(&body, 0).expect_err("refused").to_string();
            assert!(error.contains(why), "{body}: {error}");
        }
    }

    #[test]
    fn times_may_have_fractions_exponents_and_signs() {
        for body in [
            json!({ "sub": "Ada", "exp": NOW as f64 + 0.5, "nbf": NOW as f64 - 0.5, "iat": NOW as f64 - 0.25 }),
            json!({ "sub": "Ada", "exp": 2.5e9, "nbf": -1, "iat": -1.5 }),
        ] {
            assert!(verify(&body, 0).is_ok(), "{body}");
        }
    }

    /// A token with this header and this body, signed.
    fn signed(header: &str, body: &str) -> String {
        use base64::Engine as _;
        let encoded = |text: &str| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", encoded(header), encoded(body));
        let key = EncodingKey::from_secret(SECRET);
        let mac = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{mac}")
    }

    #[test]
    fn what_a_header_demands_must_be_understood() {
        let body = r#"{"sub":"Ada","exp":2000000}"#;
        let refused = |header: &str, why: &str| {
            let error = keyring(0).verify(&signed(header, body), NOW).expect_err(header).to_string();
            assert!(error.contains(why), "{header}: {error}");
        };
        refused(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, "`crit`");
        refused(r#"{"alg":"HS256","crit":["b64"],"b64":true}"#, "`crit`");
        refused(r#"{"alg":"HS256","crit":[]}"#, "`crit`");
        refused(r#"{"alg":"HS256","b64":false}"#, "`b64`");
        refused(r#"{"alg":"HS256","typ":"logout+jwt"}"#, "`typ`");
        refused(r#"{"alg":"HS256","kid":"a","kid":"b"}"#, "");
        refused(r#"{"alg":"none"}"#, "");
        for header in [
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"HS256","typ":"JWT","cty":"json","x-ours":1,"b64":true}"#,
            r#"{"alg":"HS256","typ":"application/at+jwt"}"#,
        ] {
            assert!(keyring(0).verify(&signed(header, body), NOW).is_ok(), "{header}");
        }
    }

    #[test]
    fn no_claim_stands_twice() {
        for body in [
            r#"{"sub":"Eve","sub":"Ada","exp":2000000}"#,
            r#"{"sub":"Ada","exp":1,"exp":2000000}"#,
            r#"{"sub":"Ada","exp":2000000,"rooms":{"*":[],"*":["moderate"]}}"#,
        ] {
            let error = keyring(0).verify(&signed(r#"{"alg":"HS256"}"#, body), NOW).expect_err(body);
            assert_eq!(error, TokenError::Duplicate, "{body}");
        }
        let endless = keyring(0).verify(&signed(r#"{"alg":"HS256"}"#, r#"{"sub":"Ada","exp":1e999}"#), NOW);
        assert_eq!(endless, Err(TokenError::NumberTooLarge));
    }

    #[test]
    fn the_audience_may_be_a_list() {
        let mut keyring = keyring(0);
        keyring.rules.audience = Some("chat".to_owned());
        let check =
            |body: &str| keyring.verify(&signed(r#"{"alg":"HS256"}"#, body), NOW).map(|claims| claims.user);
        assert_eq!(check(r#"{"sub":"Ada","exp":2000000,"aud":["mail","chat"]}"#), Ok("Ada".to_owned()));
        assert_eq!(check(r#"{"sub":"Ada","exp":2000000,"aud":"chat"}"#), Ok("Ada".to_owned()));
        for aud in [r#"["mail"]"#, "[]", "\"mail\"", "null", "1", "{}"] {
            let body = format!(r#"{{"sub":"Ada","exp":2000000,"aud":{aud}}}"#);
            assert!(check(&body).is_err(), "{body}");
        }
    }

    #[test]
    fn clocks_may_differ_by_the_leeway() {
        let body = json!({ "sub": "Ada", "exp": NOW - 29, "nbf": NOW + 30 });
        assert_eq!(verify(&body, 30).map(|claims| claims.expires_unix_s), Ok(NOW + 1));
        assert!(verify(&body, 29).is_err());
    }

    #[test]
    fn permissions_are_those_of_the_token() {
        let rooms = json!({ "team-*": ["join", "post"], "*": ["moderate"] });
        let claims = verify(&json!({ "sub": "Ada", "exp": NOW + 9, "rooms": rooms, "more": 1 }), 0).unwrap();
        assert_eq!(
            claims.rooms,
            [
                Grant { pattern: "*".into(), join: false, post: false, moderate: true },
                Grant { pattern: "team-*".into(), join: true, post: true, moderate: false },
            ]
        );
    }
}
