//! What connections of the scenario `custom` say and expect, from a profile, files and options.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::expect::Expectations;
use super::options::CustomOptions;
use super::pattern::Pattern;
use super::profile::{Parts, Profile};
use super::template::{Template, Values, Variables};
use crate::input::error::PlanError;
use crate::input::plan::MAX_SIZE;
use crate::input::values::Sizes;

/// Limit on the bytes of `--payload` and `--on-open`.
const MAX_FILE: u64 = 64 << 20;

/// A step between the opening handshake and the first message.
#[derive(Debug)]
pub(super) enum Opening {
    Send(Template),
    /// Waits for a message that matches. Its named groups become variables.
    Await(Pattern),
}

/// A message that is answered at once, and the answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) pattern: Pattern,
    pub(super) answer: Template,
}

/// Everything that the connections of a run share.
#[expect(clippy::struct_excessive_bools, reason = "each of them is a fact of its own")]
#[derive(Debug)]
pub(super) struct Script {
    pub(super) opening: Vec<Opening>,
    /// Sent in turn.
    pub(super) payloads: Vec<Template>,
    pub(super) expectations: Expectations,
    pub(super) replies: Vec<Reply>,
    pub(super) fail_on: Option<Pattern>,
    /// Whether a message is replied to, or is an error, depends on no number in it.
    pub(super) ignores_numbers: bool,
    /// [`Self::number`] is worth a try: what it recognises is neither to be replied to nor an error.
    has_numbers: bool,
    pub(super) is_mqtt: bool,
    /// Each line of what the server sends is a message.
    pub(super) has_lines: bool,
    /// The topic of MQTT.
    pub(super) topic: String,
}

impl Script {
    /// The number of the message that a text answers, where it can be read without a search.
    #[inline]
    pub(super) fn number(&self, text: &[u8]) -> Option<u64> {
        if self.has_numbers { self.expectations.number(text) } else { None }
    }

    /// The patterns that recognise replies to the server, and its errors.
    pub(super) fn other_patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.replies.iter().map(|reply| &reply.pattern).chain(&self.fail_on)
    }

    /// Reads the files and checks every part.
    pub(super) fn read(options: &CustomOptions) -> Result<Self, PlanError> {
        Self::try_read(options).map_err(PlanError)
    }

    fn try_read(options: &CustomOptions) -> Result<Self, String> {
        let parts = options.profile.map(Profile::parts);
        let mut known: Variables = parts
            .iter()
            .flat_map(|parts| parts.variables)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        for setting in &options.set {
            let (name, value) =
                setting.split_once('=').ok_or(format!("--set {setting:?} is not NAME=VALUE"))?;
            known.insert(name.trim().to_owned(), value.to_owned());
        }
        let on_open = match &options.on_open {
            Some(path) => read(path)?,
            None => parts.map_or(String::new(), |parts| parts.on_open.to_owned()),
        };
        let mut captured = Vec::new();
        let opening = opening(&on_open, &known, &mut captured)?;
        let texts = match &options.payload {
            Some(path) => {
                messages(&read(path)?, path.extension().is_some_and(|extension| extension == "json"))
            }
            None => parts.iter().map(|parts| parts.payload.to_owned()).collect(),
        };
        if texts.is_empty() {
            return Err("name the messages with --payload FILE, or a --profile; the file must not be empty"
                .to_owned());
        }
        let payloads = texts
            .iter()
            .map(|text| Template::parse(text, &known, &captured))
            .collect::<Result<Vec<_>, _>>()?;
        let own = |texts: &[String], of: fn(&Parts) -> &'static [&'static str]| {
            let default = || parts.iter().flat_map(of).map(|text| (*text).to_owned()).collect();
            if texts.is_empty() { default() } else { texts.to_vec() }
        };
        let replies = own(&options.reply, |parts| parts.reply);
        let fail_on = options.fail_on.as_deref().or(parts.and_then(|parts| parts.fail_on));
        let mut script = Self {
            opening,
            payloads,
            expectations: Expectations::parse(&own(&options.expect, |parts| parts.expect), &known)?,
            replies: replies.iter().map(|text| reply(text, &known, &captured)).collect::<Result<_, _>>()?,
            fail_on: fail_on.map(Pattern::parse).transpose()?,
            ignores_numbers: false,
            has_numbers: false,
            is_mqtt: options.profile == Some(Profile::Mqtt),
            has_lines: options.lines || parts.is_some_and(|parts| parts.lines),
            topic: known.get("topic").cloned().unwrap_or_default(),
        };
        let ignores_numbers = script.other_patterns().all(Pattern::ignores_numbers);
        script.ignores_numbers = ignores_numbers;
        let has_numbers = script.expectations.numbered().is_some_and(|before| {
            !script.other_patterns().any(|pattern| pattern.may_match_more_than(before))
        });
        script.has_numbers = has_numbers;
        if script.expectations.names_message() && script.payloads.iter().any(|payload| !payload.has_seq()) {
            return Err("--expect asks for {{seq}}, and a message of --payload does not have it".to_owned());
        }
        Ok(script)
    }

    /// The message of this number.
    pub(super) fn payload(&self, seq: u64) -> &Template {
        &self.payloads[(seq % self.payloads.len() as u64) as usize]
    }

    /// The sizes of the first messages.
    pub(super) fn sizes(&self) -> Result<Sizes, PlanError> {
        let mut sizes = Sizes { min: usize::MAX, max: 0 };
        let mut random = 1;
        for payload in &self.payloads {
            let (mut text, mut marks) = (Vec::new(), Vec::new());
            let values = &mut Values { seq: 0, conn: 0, now_ms: 0, random: &mut random, variables: None };
            payload.render(values, &mut text, &mut marks);
            sizes = Sizes { min: sizes.min.min(text.len()), max: sizes.max.max(text.len()) };
        }
        if sizes.max > MAX_SIZE {
            return Err(PlanError(format!("a message of --payload is longer than {MAX_SIZE} bytes")));
        }
        Ok(sizes)
    }
}

fn read(path: &Path) -> Result<String, String> {
    let name = path.display();
    let mut octets = Vec::new();
    // A pipe has no length before its end.
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut octets));
    read.map_err(|error| format!("{name}: {error}"))?;
    if octets.len() as u64 > MAX_FILE {
        return Err(format!("{name} is longer than {MAX_FILE} bytes"));
    }
    String::from_utf8(octets).map_err(|_| format!("{name} is no UTF-8"))
}

/// The messages of a file: the elements of a JSON array, one JSON value, or lines.
fn messages(text: &str, is_json: bool) -> Vec<String> {
    let shown = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if is_json {
        return match serde_json::from_str::<serde_json::Value>(text) {
            Ok(serde_json::Value::Array(values)) => values.iter().map(shown).collect(),
            Ok(value) => vec![shown(&value)],
            // Placeholders outside strings are not JSON: one message over several lines.
            Err(_) => vec![text.lines().map(str::trim).collect()],
        };
    }
    text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

/// Lines that are sent, and lines `< PATTERN` that are awaited.
fn opening(text: &str, known: &Variables, captured: &mut Vec<String>) -> Result<Vec<Opening>, String> {
    let mut steps = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        steps.push(match line.strip_prefix("< ") {
            Some(awaited) => {
                let awaited = Pattern::parse(awaited)?;
                captured.extend(awaited.names().map(str::to_owned));
                Opening::Await(awaited)
            }
            None => Opening::Send(Template::parse(line, known, captured)?),
        });
    }
    Ok(steps)
}

/// `PATTERN=>TEXT`.
fn reply(text: &str, known: &Variables, captured: &[String]) -> Result<Reply, String> {
    let (awaited, answer) =
        text.split_once("=>").ok_or_else(|| format!("--reply {text:?} is not PATTERN=>TEXT"))?;
    Ok(Reply { pattern: Pattern::parse(awaited)?, answer: Template::parse(answer, known, captured)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_complete() {
        for profile in <Profile as clap::ValueEnum>::value_variants() {
            let options = CustomOptions { profile: Some(*profile), ..CustomOptions::default() };
            let script = Script::read(&options).unwrap();
            assert!(script.sizes().unwrap().max > 10, "{profile:?}");
            let errors = CustomOptions { expect: vec!["(".to_owned()], ..options };
            assert!(Script::read(&errors).is_err());
        }
    }

    #[test]
    fn a_file_has_lines_or_json() {
        assert_eq!(messages("a\n\n b \r\n", false), ["a", " b "]);
        assert_eq!(messages(r#"[{"a": "{{seq}}"}, "text", 3]"#, true), [r#"{"a":"{{seq}}"}"#, "text", "3"]);
        assert_eq!(messages("{\n  \"a\": 1\n}", true), [r#"{"a":1}"#]);
        assert_eq!(messages("{\n  \"id\": {{seq}}\n}", true), [r#"{"id": {{seq}}}"#]);
    }

    #[test]
    fn an_opening_sends_and_awaits() {
        let mut captured = Vec::new();
        let steps = opening(
            "< \"sid\":\"(?<sid>\\w+)\"\n\nhello {{sid}}\n<not awaited",
            &Variables::new(),
            &mut captured,
        )
        .unwrap();
        assert!(matches!(steps[..], [Opening::Await(_), Opening::Send(_), Opening::Send(_)]));
        assert_eq!(captured, ["sid"]);
        assert!(opening("hello {{sid}}\n< (?<sid>x)", &Variables::new(), &mut Vec::new()).is_err());
    }
}
