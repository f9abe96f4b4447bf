//! Messages with placeholders: `{{seq}}`, `{{conn}}`, `{{random:8}}`, `{{now}}`, and variables.

use std::collections::BTreeMap;

use crate::run::arrivals::next_random;

/// Variables by name.
pub(super) type Variables = BTreeMap<String, String>;

/// Limit on the characters of one `{{random:N}}`.
const MAX_RANDOM: usize = 1 << 20;

/// A text with places for values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    /// The number of the message on its connection, plus a constant.
    Seq(u64),
    /// The number of the connection.
    Conn,
    /// Letters and digits.
    Random(usize),
    /// Milliseconds since 1970.
    Now,
    /// A variable that an answer during the opening set.
    Variable(String),
}

/// A place in a message whose value differs from that in the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// A number of decimal digits that grows by one.
    Seq { start: usize, end: usize },
    /// Letters and digits.
    Random { start: usize, end: usize },
    /// Milliseconds since 1970.
    Now { start: usize, end: usize },
    /// The identifier of an MQTT packet, two octets.
    Identifier { start: usize },
}

impl Mark {
    /// Moves the place.
    pub(super) fn shift(&mut self, by: usize) {
        match self {
            Self::Seq { start, end } | Self::Random { start, end } | Self::Now { start, end } => {
                *start += by;
                *end += by;
            }
            Self::Identifier { start } => *start += by,
        }
    }
}

/// The values of one message.
#[derive(Debug)]
pub(super) struct Values<'v> {
    pub(super) seq: u64,
    pub(super) conn: u32,
    pub(super) now_ms: u64,
    pub(super) random: &'v mut u64,
    pub(super) variables: Option<&'v Variables>,
}

impl Template {
    /// Reads a text. `known`: variables with their values; `later`: names that have a value when the text is rendered.
    ///
    /// # Errors
    /// A sentence that names the unknown placeholder.
    pub(super) fn parse(text: &str, known: &Variables, later: &[String]) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, behind) =
                after.split_once("}}").ok_or_else(|| format!("{text:?} has a placeholder without an end"))?;
            push_text(&mut parts, before);
            match (name.trim(), known.get(name.trim())) {
                (_, Some(value)) => push_text(&mut parts, value),
                (name, None) => match Part::parse(name, later)? {
                    Part::Text(text) => push_text(&mut parts, &text),
                    part => parts.push(part),
                },
            }
            rest = behind;
        }
        push_text(&mut parts, rest);
        Ok(Self(parts))
    }

    /// Appends the text with its values. Adds to `marks` where those are that differ from message to message.
    pub(super) fn render(&self, values: &mut Values<'_>, out: &mut Vec<u8>, marks: &mut Vec<Mark>) {
        let mut digits = itoa::Buffer::new();
        for part in &self.0 {
            let start = out.len();
            let text = match part {
                Part::Text(text) => text,
                Part::Seq(plus) => digits.format(values.seq + plus),
                Part::Conn => digits.format(values.conn),
                Part::Now => digits.format(values.now_ms),
                Part::Variable(name) => {
                    values.variables.and_then(|known| known.get(name)).map_or("", String::as_str)
                }
                Part::Random(count) => {
                    out.resize(start + count, 0);
                    fill_random(&mut out[start..], values.random);
                    ""
                }
            };
            out.extend_from_slice(text.as_bytes());
            let end = out.len();
            marks.extend(match part {
                Part::Seq(_) => Some(Mark::Seq { start, end }),
                Part::Random(_) => Some(Mark::Random { start, end }),
                Part::Now => Some(Mark::Now { start, end }),
                Part::Text(_) | Part::Conn | Part::Variable(_) => None,
            });
        }
    }

    /// What is added to the sequence number in the text; `None`: it has none.
    pub(super) fn seq_plus(&self) -> Option<u64> {
        self.0.iter().find_map(|part| if let Part::Seq(plus) = part { Some(*plus) } else { None })
    }

    /// Whether the text is the same in all messages, and without a digit.
    pub(super) fn has_no_digits(&self) -> bool {
        self.0
            .iter()
            .all(|part| matches!(part, Part::Text(text) if !text.bytes().any(|octet| octet.is_ascii_digit())))
    }

    /// Whether the text has `{{seq}}`, so that an answer can name its message.
    pub(super) fn has_seq(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Seq(_)))
    }

    /// The sequence number that a rendered text holds; `None`: the text is not a rendering for this connection.
    pub(super) fn read_seq(&self, text: &str, conn: u32) -> Option<u64> {
        let at = self.0.iter().position(|part| matches!(part, Part::Seq(_)))?;
        let (before, after) = (fixed(&self.0[..at], conn)?, fixed(&self.0[at + 1..], conn)?);
        let Part::Seq(plus) = self.0[at] else { return None };
        let digits = text.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
        // Digits only: a number has one form.
        let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        if is_number { digits.parse::<u64>().ok()?.checked_sub(plus) } else { None }
    }

    /// Whether a text is a rendering of a template without a sequence number.
    pub(super) fn is_fixed_to(&self, text: &str, conn: u32) -> bool {
        fixed(&self.0, conn).is_some_and(|fixed| fixed == text)
    }
}

/// Two of the 64 letters and digits for each of the numbers of twelve bits.
static LETTERS: [[u8; 2]; 4096] = {
    const ONE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789AB";
    let mut two = [[0; 2]; 4096];
    let mut i = 0;
    while i < 4096 {
        two[i] = [ONE[i & 63], ONE[i >> 6]];
        i += 1;
    }
    two
};

/// Fills the place with letters and digits.
#[inline]
pub(super) fn fill_random(place: &mut [u8], random: &mut u64) {
    // A random number has twelve bits for each of five pairs.
    let (tens, rest) = place.as_chunks_mut::<10>();
    for ten in tens {
        let bits = next_random(random);
        let (pairs, _) = ten.as_chunks_mut::<2>();
        for (i, pair) in pairs.iter_mut().enumerate() {
            *pair = LETTERS[(bits >> (12 * i)) as usize & 4095];
        }
    }
    if !rest.is_empty() {
        let bits = next_random(random);
        for (i, letter) in rest.iter_mut().enumerate() {
            *letter = LETTERS[(bits >> (6 * i)) as usize & 63][0];
        }
    }
}

/// The text of parts that are the same in every message of a connection.
fn fixed(parts: &[Part], conn: u32) -> Option<String> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(part) => text.push_str(part),
            Part::Conn => text.push_str(&conn.to_string()),
            Part::Seq(_) | Part::Random(_) | Part::Now | Part::Variable(_) => return None,
        }
    }
    Some(text)
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Text(last)) => last.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

impl Part {
    fn parse(name: &str, later: &[String]) -> Result<Self, String> {
        let plus = name.strip_prefix("seq+").and_then(|plus| plus.trim().parse::<u32>().ok());
        let count = name.strip_prefix("random:").and_then(|count| count.trim().parse().ok());
        match (name, plus, count) {
            ("seq", ..) => Ok(Self::Seq(0)),
            (_, Some(plus), _) => Ok(Self::Seq(plus.into())),
            ("conn", ..) => Ok(Self::Conn),
            ("now", ..) => Ok(Self::Now),
            ("lf", ..) => Ok(Self::Text("\n".to_owned())),
            ("nul", ..) => Ok(Self::Text("\0".to_owned())),
            (_, _, Some(count @ 1..=MAX_RANDOM)) => Ok(Self::Random(count)),
            _ if later.iter().any(|known| known == name) => Ok(Self::Variable(name.to_owned())),
            _ => Err(format!(
                "{{{{{name}}}}} is unknown: there are {{{{seq}}}}, {{{{seq+N}}}}, {{{{conn}}}}, {{{{random:N}}}}, {{{{now}}}}, \
                 {{{{lf}}}}, {{{{nul}}}}, \
                 the names of --set, and those of groups (?<name>…) of an earlier pattern"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Template, String> {
        let known = [("topic".to_owned(), "room:1".to_owned())].into();
        Template::parse(text, &known, &["sid".to_owned()])
    }

    fn render(template: &Template, seq: u64) -> String {
        let variables = [("sid".to_owned(), "S".to_owned())].into();
        let (mut out, mut marks) = (Vec::new(), Vec::new());
        let mut random = 1;
        let variables = Some(&variables);
        let values = &mut Values { seq, conn: 7, now_ms: 99, random: &mut random, variables };
        template.render(values, &mut out, &mut marks);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn placeholders_have_their_values() {
        assert_eq!(render(&parse("SEND{{lf}}{{lf}}x{{nul}}").unwrap(), 0), "SEND\n\nx\0");
        let template = parse(r#"["{{topic}}",{{seq}},{{seq+2}},"{{conn}}-{{sid}}",{{ now }}]"#).unwrap();
        assert_eq!(render(&template, 5), r#"["room:1",5,7,"7-S",99]"#);
        let random = render(&parse("{{random:8}}").unwrap(), 0);
        assert_eq!(render(&parse("{{random:23}}").unwrap(), 0).len(), 23);
        assert!(random.len() == 8 && random.bytes().all(|c| c.is_ascii_alphanumeric()), "{random}");
        for bad in ["{{seq", "{{other}}", "{{random:0}}", "{{random:x}}", "{{seq+x}}", "{{}}"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_names_its_message_and_no_other_one() {
        let template = parse("m-{{conn}}-{{seq+3}}!").unwrap();
        assert_eq!(template.read_seq(&render(&template, 41), 7), Some(41));
        for other in ["m-8-44!", "m-7-44", "m-7-2!", "m-7-+44!", "m-7-!", "", "44"] {
            assert_eq!(template.read_seq(other, 7), None, "{other}");
        }
        assert!(parse("ok {{conn}}").unwrap().is_fixed_to("ok 7", 7));
        assert!(!parse("ok {{conn}}").unwrap().is_fixed_to("ok 8", 7));
    }
}
