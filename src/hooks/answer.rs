//! What the backend answers to a question, read without believing it anything.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::client::Reply;
use crate::app::Rate;
use crate::chat::decisions::{Allowed, Answer, AskKind, Speaker};
use crate::chat::identity::{Claims, Grant};
use crate::chat::{compact_json, strict};

/// Octets of a reason.
const MAX_REASON: usize = 256;
/// Octets of a subject, and of a name.
const MAX_NAME: usize = 255;
/// Grants of one user.
const MAX_GRANTS: usize = 256;
/// Posts in a second that may be given to somebody.
const MAX_POSTS: u32 = 100_000;
/// Seconds since 1970 that stand for no end: the last that every reader of JSON can hold.
const NEVER: u64 = (1 << 53) - 1;

/// The fields of an answer. Those that a question does not have are not looked at.
#[derive(Deserialize)]
struct Body {
    allow: bool,
    reason: Option<String>,
    user: Option<String>,
    #[serde(default)]
    verified: bool,
    subject: Option<String>,
    expires: Option<u64>,
    #[serde(default)]
    rooms: BTreeMap<String, Vec<Permission>>,
    posts_per_second: Option<u32>,
    text: Option<String>,
    data: Option<serde_json::Value>,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Permission {
    Join,
    Post,
    Moderate,
}

/// The answer; whatever is wrong with it makes it none.
pub(super) fn of(kind: AskKind, reply: Result<Reply, String>) -> Answer {
    read(kind, reply).unwrap_or_else(|why| Answer::Away(why.into()))
}

fn read(kind: AskKind, reply: Result<Reply, String>) -> Result<Answer, String> {
    let Reply { status, body, .. } = reply?;
    if status != 200 {
        return Err(format!("the backend answered with status {status}"));
    }
    let body = body.map_err(|why| format!("the backend's answer cannot be read: {why}"))?;
    let value = strict::from_slice(&body).map_err(|error| match error {
        strict::Error::Duplicate(name) => format!("the backend's answer has `{name}` twice"),
        strict::Error::Json(error) => format!("the backend's answer is no JSON: {error}"),
    })?;
    let body: Body = serde_json::from_value(value)
        .map_err(|error| format!("the backend's answer is not of the right form: {error}"))?;
    if !body.allow {
        let reason = body.reason.filter(|reason| !reason.trim().is_empty());
        let reason = reason.unwrap_or_else(|| "the backend refuses it".to_owned());
        if reason.len() > MAX_REASON {
            return Err(format!("the backend's `reason` is longer than {MAX_REASON} bytes"));
        }
        return Ok(Answer::Refuse(reason.into()));
    }
    Ok(Answer::Allow(match kind {
        AskKind::Join => Allowed::default(),
        AskKind::Post => {
            let data = body.data.map(|data| compact_json(&data.to_string()));
            let data = data.transpose().map_err(|error| format!("the backend's `data`: {error}"))?;
            Allowed::default().with(|it| (it.text, it.data) = (body.text.map(Into::into), data))
        }
        AskKind::Connect => connected(body)?,
    }))
}

fn connected(body: Body) -> Result<Allowed, String> {
    let Body { user, verified, subject, expires, rooms, posts_per_second, .. } = body;
    let posts = posts_per_second.map(|per_second| match per_second {
        1..=MAX_POSTS => Ok(Rate { per_second, burst: per_second.saturating_mul(2) }),
        _ => Err(format!("the backend's `posts_per_second` is not a number from 1 to {MAX_POSTS}")),
    });
    if rooms.len() > MAX_GRANTS {
        return Err(format!("the backend's `rooms` has more than {MAX_GRANTS} patterns"));
    }
    let speaker = match user {
        None if verified || subject.is_some() || expires.is_some() || !rooms.is_empty() => {
            return Err("the backend's answer says what somebody may do, and no `user`".to_owned());
        }
        None => None,
        Some(user) if user.len() > MAX_NAME => return Err("the backend's `user` is too long".to_owned()),
        Some(user) if verified => {
            let subject = subject.unwrap_or_else(|| user.clone());
            if subject.len() > MAX_NAME {
                return Err("the backend's `subject` is too long".to_owned());
            }
            let grants = rooms.into_iter().map(|(pattern, may)| Grant {
                pattern,
                join: may.contains(&Permission::Join),
                post: may.contains(&Permission::Post),
                moderate: may.contains(&Permission::Moderate),
            });
            let expires_unix_s = expires.unwrap_or(NEVER).min(NEVER);
            Some(Speaker::Verified(Box::new(Claims {
                subject,
                user,
                expires_unix_s,
                rooms: grants.collect(),
            })))
        }
        Some(_) if subject.is_some() || expires.is_some() || !rooms.is_empty() => {
            return Err("the backend's answer gives a guest what only a verified user has".to_owned());
        }
        Some(user) => Some(Speaker::Guest(user.into())),
    };
    let posts = posts.transpose()?;
    Ok(Allowed::default().with(|it| (it.speaker, it.posts) = (speaker, posts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: AskKind, body: &str) -> Answer {
        of(kind, Ok(Reply { status: 200, retry_after_s: None, body: Ok(body.as_bytes().to_vec()) }))
    }

    #[test]
    fn good_answers_are_understood() {
        assert_eq!(answer(AskKind::Join, r#"{"allow":true}"#), Answer::allow());
        assert_eq!(answer(AskKind::Join, r#"{"allow":true,"text":"x"}"#), Answer::allow());
        assert_eq!(answer(AskKind::Post, r#"{"allow":false,"reason":"no"}"#), Answer::Refuse("no".into()));
        let text = Allowed::default().with(|it| it.text = Some("x".into()));
        assert_eq!(answer(AskKind::Post, r#"{"allow":true,"text":"x","data":null}"#), Answer::Allow(text));
        let data = Allowed::default().with(|it| it.data = Some(compact_json("[1]").unwrap()));
        assert_eq!(answer(AskKind::Post, r#"{"allow":true,"data":[ 1 ]}"#), Answer::Allow(data));
        let body = r#"{"allow":true,"user":"Ada","verified":true,"subject":"u1","rooms":{"a*":["join","post"]},
                       "posts_per_second":5}"#;
        let Answer::Allow(allowed) = answer(AskKind::Connect, body) else { panic!("refused") };
        let grant = Grant { pattern: "a*".into(), join: true, post: true, moderate: false };
        let claims =
            Claims { subject: "u1".into(), user: "Ada".into(), expires_unix_s: NEVER, rooms: vec![grant] };
        assert_eq!(allowed.speaker, Some(Speaker::Verified(Box::new(claims))));
        assert_eq!(allowed.posts, Some(Rate { per_second: 5, burst: 10 }));
        let Answer::Allow(allowed) = answer(AskKind::Connect, r#"{"allow":true,"user":"Bob"}"#) else {
            panic!("refused")
        };
        assert_eq!(allowed.speaker, Some(Speaker::Guest("Bob".into())));
    }

    #[test]
    fn bad_answers_are_none() {
        let long = format!(r#"{{"allow":false,"reason":"{}"}}"#, "x".repeat(MAX_REASON + 1));
        for (body, why) in [
            ("", "no JSON"),
            ("[]", "form"),
            ("{}", "`allow`"),
            (r#"{"allow":"yes"}"#, "form"),
            (r#"{"allow":1}"#, "form"),
            (r#"{"allow":true,"allow":false}"#, "twice"),
            (r#"{"allow":true} x"#, "no JSON"),
            (r#"{"allow":true,"text":7}"#, "form"),
            (r#"{"allow":true,"verified":true}"#, "no `user`"),
            (r#"{"allow":true,"user":"a","rooms":{"*":["join"]}}"#, "guest"),
            (r#"{"allow":true,"user":"a","verified":true,"rooms":{"*":["rule"]}}"#, "form"),
            (r#"{"allow":true,"posts_per_second":0}"#, "posts_per_second"),
            (r#"{"allow":true,"posts_per_second":-1}"#, "form"),
            (&long, "longer than"),
        ] {
            match answer(AskKind::Connect, body) {
                Answer::Away(said) => assert!(said.contains(why), "{body}: {said}"),
                other => panic!("{body}: {other:?}"),
            }
        }
        for status in [204, 302, 404, 500] {
            let reply = Reply { status, retry_after_s: None, body: Ok(br#"{"allow":true}"#.to_vec()) };
            assert!(matches!(of(AskKind::Post, Ok(reply)), Answer::Away(why) if why.contains("status")));
        }
    }
}
