//! Answers about health: a word for people, or JSON for those who ask for it.

use mediatype::{MediaType, MediaTypeList};
use serde_json::json;

use super::NotReady;
use super::metrics::weight;
use crate::app::{Body, Response};

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

/// Why a server is not well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    NotReady(NotReady),
    /// A loop has not answered for so many milliseconds.
    Stuck {
        at: usize,
        for_ms: u64,
    },
}

impl Form {
    /// What a client prefers, by the values of its `Accept` fields (RFC 9110 12.5.1). JSON only when it is named.
    pub(super) fn preferred<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let ranges: Vec<MediaType<'_>> =
            accept.flat_map(|field| MediaTypeList::new(field).filter_map(Result::ok)).collect();
        let (json, is_named) = weight(&ranges, "application", "json", "");
        let (plain, _) = weight(&ranges, "text", "plain", "");
        if is_named && json > 0.0 && json >= plain { Self::Json } else { Self::Text }
    }

    /// 200 and `good` without a reason, else 503 and all reasons.
    pub(super) fn answer(self, good: &str, reasons: &[Reason]) -> Response {
        let status = if reasons.is_empty() { 200 } else { 503 };
        let response = match self {
            Self::Text => {
                let sentences: Vec<String> = reasons.iter().map(|reason| reason.sentence()).collect();
                let text = if reasons.is_empty() { good.to_owned() } else { sentences.join("\n") };
                Response::text(status, text)
            }
            Self::Json => {
                let state = if reasons.is_empty() { good } else { "unavailable" };
                let reasons: Vec<_> = reasons
                    .iter()
                    .map(|reason| json!({ "code": reason.code(), "text": reason.sentence() }))
                    .collect();
                let body = json!({ "status": state, "reasons": reasons }).to_string();
                Response { status, fields: Vec::new(), body: Body::Owned(body.into_bytes()) }
                    .field("Content-Type", "application/json")
            }
        };
        response.field("Vary", "Accept")
    }
}

impl Reason {
    fn code(self) -> &'static str {
        match self {
            Self::NotReady(NotReady::Draining) => "draining",
            Self::NotReady(NotReady::HistoryUnavailable) => "history_unavailable",
            Self::Stuck { .. } => "loop_stuck",
        }
    }

    fn sentence(self) -> String {
        match self {
            Self::NotReady(why) => why.to_string(),
            Self::Stuck { at, for_ms } => format!("loop {at} has not answered for {for_ms} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_for_those_who_name_it() {
        for (accept, form) in [
            (&[][..], Form::Text),
            (&["*/*"], Form::Text),
            (&["application/*"], Form::Text),
            (&["application/json"], Form::Json),
            (&["text/html", "Application/JSON;q=0.5"], Form::Json),
            (&["application/json;q=0.5, text/plain"], Form::Text),
            (&["application/json, text/plain, */*"], Form::Json),
            (&["application/json;q=0"], Form::Text),
        ] {
            assert_eq!(Form::preferred(accept.iter().copied()), form, "{accept:?}");
        }
    }

    #[test]
    fn an_answer_has_all_reasons() {
        let reasons = [Reason::NotReady(NotReady::HistoryUnavailable), Reason::Stuck { at: 2, for_ms: 1000 }];
        let body = |form: Form, reasons: &[Reason]| {
            let response = form.answer("ready", reasons);
            let Body::Owned(body) = response.body else { panic!("a body of its own") };
            (response.status, String::from_utf8(body).unwrap())
        };
        assert_eq!(body(Form::Text, &[]), (200, "ready\n".to_owned()));
        assert_eq!(body(Form::Json, &[]), (200, r#"{"reasons":[],"status":"ready"}"#.to_owned()));
        let (status, text) = body(Form::Text, &reasons);
        assert!(status == 503 && text.lines().count() == 2 && text.contains("loop 2"), "{text}");
        let (status, text) = body(Form::Json, &reasons);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &read["status"]), (503, &"unavailable".into()));
        assert_eq!(read["reasons"][0]["code"], "history_unavailable");
        assert_eq!(read["reasons"][1]["code"], "loop_stuck");
    }
}
