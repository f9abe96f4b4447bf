//! What a token says, read by the rules of RFC 7519 and with nothing said twice.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha1::{Digest as _, Sha1};

use crate::chat::identity::TokenError;
use crate::chat::{stored_user, strict};

/// Longest subject in characters (`OpenID` Connect Core 1.0, 2).
const MAX_SUBJECT: usize = 255;
/// Seconds from which on a time is no time: above it not every whole number is one of JSON.
const MAX_TIME: f64 = 9_007_199_254_740_992.0;

/// A time (`NumericDate`, RFC 7519 2): seconds since 1970, with a fraction or an exponent maybe, rounded up. What lies
/// before 1970 is 0.
pub(super) fn time(body: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, TokenError> {
    let number = match body.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number,
        Some(_) => return Err(TokenError::Form),
    };
    let seconds = number.as_f64().unwrap_or(f64::INFINITY).ceil();
    if seconds >= MAX_TIME {
        return Err(TokenError::TimeTooLarge(name));
    }
    #[expect(clippy::cast_sign_loss, reason = "below 0 it is 0")]
    Ok(Some(seconds as u64))
}

/// Who it is, and the name that is shown: the claim that is meant for it, or those of `OpenID` Connect, or the subject itself.
/// A subject that can be no name is shown as one made of its hash.
pub(super) fn person(
    body: &Map<String, Value>,
    name_claim: Option<&str>,
) -> Result<(String, String), TokenError> {
    let subject = match body.get("sub") {
        Some(Value::String(subject)) if !subject.trim().is_empty() => subject,
        None | Some(Value::Null | Value::String(_)) => {
            return Err(TokenError::NoSubject);
        }
        Some(_) => return Err(TokenError::Form),
    };
    if subject.chars().count() > MAX_SUBJECT {
        return Err(TokenError::SubjectTooLong(MAX_SUBJECT));
    }
    let standard = ["name", "preferred_username"];
    let claims = name_claim.as_ref().map_or(&standard[..], std::slice::from_ref);
    for claim in claims {
        match body.get(*claim) {
            Some(Value::String(name)) if !name.trim().is_empty() => {
                let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
                let shown = stored_user(&name).map_err(|refusal| {
                    let why = refusal.message.replacen("`user`", &format!("`{claim}`"), 1);
                    TokenError::Name(why)
                })?;
                return Ok((subject.clone(), shown.into_owned()));
            }
            None | Some(Value::Null | Value::String(_)) => {}
            Some(_) => return Err(TokenError::Form),
        }
    }
    let shown = stored_user(subject).map_or_else(|_| hashed(subject), Cow::into_owned);
    Ok((subject.clone(), shown))
}

fn hashed(subject: &str) -> String {
    let hash = Sha1::digest(subject.as_bytes());
    hash.iter().take(6).fold("user-".to_owned(), |name, octet| format!("{name}{octet:02x}"))
}

/// RFC 7515 4.1.11: a token that asks for what is not understood is refused.
pub(super) fn check_header(token: &str) -> Result<(), TokenError> {
    let header = token.split('.').next().unwrap_or_default();
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenError::Malformed)?;
    let header = strict::from_slice(&header).map_err(|error| match error {
        strict::Error::Duplicate(_) => TokenError::Duplicate,
        strict::Error::Json(_) => TokenError::Malformed,
    })?;
    if header.get("crit").is_some() {
        return Err(TokenError::Extension);
    }
    // RFC 7797 6: only with `crit`, but not everybody keeps to it.
    if header.get("b64").is_some_and(|b64| *b64 != Value::Bool(true)) {
        return Err(TokenError::Unencoded);
    }
    // RFC 8725 3.11: what an issuer signs for another purpose lets nobody in.
    let typ = header.get("typ").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    if typ.ends_with("+jwt") && !typ.ends_with("at+jwt") {
        return Err(TokenError::Purpose);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_subject_is_who_and_a_claim_is_the_name() {
        let long = format!("auth0|{}", "5".repeat(249));
        let uuid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
        for (body, claim, subject, shown) in [
            (json!({ "sub": "Ada" }), None, "Ada", "Ada"),
            (json!({ "sub": "google-oauth2|1036" }), None, "google-oauth2|1036", "google-oauth2|1036"),
            (json!({ "sub": uuid, "name": "Ada Lovelace" }), None, uuid, "Ada Lovelace"),
            (json!({ "sub": uuid, "name": " Ada  Lovelace " }), None, uuid, "Ada Lovelace"),
            (json!({ "sub": uuid, "preferred_username": "ada@example.com" }), None, uuid, "ada@example.com"),
            (json!({ "sub": uuid, "name": "", "preferred_username": "ada" }), None, uuid, "ada"),
            (json!({ "sub": &long, "name": "Ada" }), None, &long, "Ada"),
            (json!({ "sub": uuid, "name": "Ada", "nick": "al" }), Some("nick"), uuid, "al"),
            (json!({ "sub": uuid, "name": "Ada" }), Some("nick"), uuid, &hashed(uuid)),
            (json!({ "sub": uuid }), None, uuid, &hashed(uuid)),
            (json!({ "sub": "@ada" }), None, "@ada", &hashed("@ada")),
        ] {
            let found = person(body.as_object().unwrap(), claim);
            assert_eq!(found, Ok((subject.to_owned(), shown.to_owned())), "{body}");
        }
        for (body, claim, why) in [
            (json!({ "sub": format!("{long}5") }), None, "`sub` is longer than 255"),
            (json!({ "sub": "a", "name": "x".repeat(33) }), None, "`name` is longer than"),
            (
                json!({ "sub": "a", "preferred_username": "x".repeat(99) }),
                None,
                "`preferred_username` is longer than",
            ),
            (json!({ "sub": "a", "nick": "@x" }), Some("nick"), "`nick` begins with @"),
            (json!({ "sub": "a", "name": 7 }), None, "form"),
            (json!({ "name": "Ada" }), None, "names no user"),
        ] {
            let error = person(body.as_object().unwrap(), claim).expect_err("refused").to_string();
            assert!(error.contains(why), "{body}: {error}");
        }
        assert_eq!(hashed("a").len(), 17);
    }

    #[test]
    fn times_are_numeric_dates() {
        for (time_in_json, seconds) in [
            (json!(1_000_000), 1_000_000),
            (json!(1_000_000.0), 1_000_000),
            (json!(1_000_000.25), 1_000_001),
            (json!(1.5e9), 1_500_000_000),
            (json!(-1), 0),
            (json!(-0.5), 0),
            (json!(-1e300), 0),
            (json!(0), 0),
            (json!(9_007_199_254_740_991_u64), 9_007_199_254_740_991),
        ] {
            let body = json!({ "exp": time_in_json });
            assert_eq!(time(body.as_object().unwrap(), "exp"), Ok(Some(seconds)), "{body}");
        }
        for too_large in [json!(1e300), json!(u64::MAX), json!(9_007_199_254_740_992_u64)] {
            let body = json!({ "nbf": too_large });
            let why = time(body.as_object().unwrap(), "nbf").unwrap_err().to_string();
            assert!(why.contains("`nbf` is too large"), "{why}");
        }
        for other in [json!("1000000"), json!([1]), json!(true), json!({})] {
            let body = json!({ "exp": other });
            assert_eq!(time(body.as_object().unwrap(), "exp"), Err(TokenError::Form), "{body}");
        }
        assert_eq!(time(&Map::new(), "exp"), Ok(None));
    }
}
