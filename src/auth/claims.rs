//! What a token says, read by the rules of RFC 7519 and with nothing said twice.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::chat::strict;

/// What is said of a claim of another type than it should have.
pub(super) const FORM: &str = "the token does not say what it should in the form that it should";
/// What is said of a claim or a field of the header that stands twice.
pub(super) const TWICE: &str = "the token says something twice";
/// Seconds from which on a time is no time: above it not every whole number is one of JSON.
const MAX_TIME: f64 = 9_007_199_254_740_992.0;

/// A time (`NumericDate`, RFC 7519 2): seconds since 1970, with a fraction or an exponent maybe, rounded up. What lies
/// before 1970 is 0.
pub(super) fn time(body: &Map<String, Value>, name: &str) -> Result<Option<u64>, String> {
    let number = match body.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number,
        Some(_) => return Err(FORM.to_owned()),
    };
    let seconds = number.as_f64().unwrap_or(f64::INFINITY).ceil();
    if seconds >= MAX_TIME {
        return Err(format!("the time in `{name}` is too large: it is in seconds since 1970"));
    }
    #[expect(clippy::cast_sign_loss, reason = "below 0 it is 0")]
    Ok(Some(seconds as u64))
}

/// RFC 7515 4.1.11: a token that asks for what is not understood is refused.
pub(super) fn check_header(token: &str) -> Result<(), &'static str> {
    let header = token.split('.').next().unwrap_or_default();
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).map_err(|_| "this is no token")?;
    let header = strict::from_slice(&header).map_err(|error| match error {
        strict::Error::Duplicate(_) => TWICE,
        strict::Error::Json(_) => "this is no token",
    })?;
    if header.get("crit").is_some() {
        return Err("the token demands an extension (`crit`) that this server does not know");
    }
    // RFC 7797 6: only with `crit`, but not everybody keeps to it.
    if header.get("b64").is_some_and(|b64| *b64 != Value::Bool(true)) {
        return Err("the token's content is not encoded (`b64`), which this server does not know");
    }
    // RFC 8725 3.11: what an issuer signs for another purpose lets nobody in.
    let typ = header.get("typ").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    if typ.ends_with("+jwt") && !typ.ends_with("at+jwt") {
        return Err("the token is for another purpose (`typ`)");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
            let why = time(body.as_object().unwrap(), "nbf").unwrap_err();
            assert!(why.contains("`nbf` is too large"), "{why}");
        }
        for other in [json!("1000000"), json!([1]), json!(true), json!({})] {
            let body = json!({ "exp": other });
            assert_eq!(time(body.as_object().unwrap(), "exp"), Err(FORM.to_owned()), "{body}");
        }
        assert_eq!(time(&Map::new(), "exp"), Ok(None));
    }
}
