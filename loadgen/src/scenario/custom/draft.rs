//! The next message of a connection. Most messages differ from the one before in a few octets, which are changed in place.

use super::mqtt;
use super::script::Script;
use super::template::{Mark, Values, fill_random};

/// More messages than any run has.
const ALWAYS: u64 = u64::MAX / 2;

/// A message as it goes out, and where its values are.
#[derive(Debug, Default)]
pub(super) struct Draft {
    octets: Vec<u8>,
    marks: Vec<Mark>,
    /// The number of the message.
    seq: u64,
    /// Milliseconds since 1970 in the message.
    now_ms: u64,
    /// Messages after this one that have the same length.
    alike: u64,
}

impl Draft {
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Makes the message with the number of `values`. Returns how many messages, this one included, [`Self::advance`] makes
    /// of it.
    #[inline]
    pub(super) fn begin(&mut self, script: &Script, values: &mut Values<'_>) -> u64 {
        if self.alike > 0 && self.seq + 1 == values.seq {
            self.advance(values);
        } else {
            self.render(script, values);
        }
        self.alike + 1
    }

    #[cold]
    fn render(&mut self, script: &Script, values: &mut Values<'_>) {
        let Self { octets, marks, .. } = self;
        octets.clear();
        marks.clear();
        let template = script.payload(values.seq);
        template.render(values, octets, marks);
        if script.is_mqtt {
            let head = mqtt::publish_head(&script.topic, mqtt::identifier(values.seq), octets.len());
            for mark in &mut *marks {
                mark.shift(head.len());
            }
            marks.push(Mark::Identifier { start: head.len() - 2 });
            octets.splice(..0, head);
        }
        (self.seq, self.now_ms) = (values.seq, values.now_ms);
        self.alike = if script.payloads.len() == 1 { self.same_length() } else { 0 };
    }

    /// Messages after this one in which no value has more digits.
    fn same_length(&self) -> u64 {
        let numbers = self.marks.iter().filter_map(|mark| match mark {
            Mark::Seq { start, end } => {
                let limit = 10_u64.checked_pow((end - start) as u32)?;
                let number = std::str::from_utf8(&self.octets[*start..*end]).ok()?.parse::<u64>().ok()?;
                Some(limit - 1 - number)
            }
            // Its length is fixed until the year 2286.
            Mark::Random { .. } | Mark::Now { .. } | Mark::Identifier { .. } => None,
        });
        numbers.min().unwrap_or(ALWAYS)
    }

    /// Makes the next message of this one.
    #[inline]
    pub(super) fn advance(&mut self, values: &mut Values<'_>) {
        self.seq += 1;
        self.alike -= 1;
        for mark in &self.marks {
            match *mark {
                Mark::Seq { start, end } => increment(&mut self.octets[start..end]),
                Mark::Random { start, end } => fill_random(&mut self.octets[start..end], values.random),
                Mark::Now { start, end } => {
                    if self.now_ms != values.now_ms {
                        let mut digits = itoa::Buffer::new();
                        self.octets[start..end].copy_from_slice(digits.format(values.now_ms).as_bytes());
                    }
                }
                Mark::Identifier { start } => {
                    let identifier = mqtt::identifier(self.seq).to_be_bytes();
                    self.octets[start..start + 2].copy_from_slice(&identifier);
                }
            }
        }
        self.now_ms = values.now_ms;
    }
}

/// Adds one to a number of decimal digits that are not all nines.
#[inline]
fn increment(digits: &mut [u8]) {
    let mut left = digits;
    while let [rest @ .., digit] = left {
        if *digit != b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::custom::options::CustomOptions;
    use crate::scenario::custom::profile::Profile;

    /// The messages from `first` on as one draft makes them, and as they are made one by one.
    fn both(script: &Script, first: u64, count: u64) -> [Vec<Vec<u8>>; 2] {
        let (mut one, mut other) = (7, 7);
        let (mut draft, mut at_once, mut singly) = (Draft::default(), Vec::new(), Vec::new());
        let mut left = 0;
        for seq in first..first + count {
            let now_ms = 1_700_000_000_000 + seq / 3;
            let mut values = Values { seq, conn: 12, now_ms, random: &mut one, variables: None };
            if left == 0 {
                left = draft.begin(script, &mut values).min(5);
            } else {
                draft.advance(&mut values);
            }
            left -= 1;
            at_once.push(draft.octets().to_vec());
            let mut values = Values { seq, conn: 12, now_ms, random: &mut other, variables: None };
            let mut fresh = Draft::default();
            fresh.render(script, &mut values);
            singly.push(fresh.octets);
        }
        [at_once, singly]
    }

    #[test]
    fn a_message_that_is_changed_in_place_is_the_one_that_is_made_anew() {
        let file = std::env::temp_dir().join(format!("loadgen-draft-{}.txt", std::process::id()));
        for text in [
            "{{seq}}",
            "a{{seq+95}}b{{seq}}c{{conn}}d{{random:23}}e{{now}}f{{random:8}}",
            "fixed",
            "first {{seq}}\nsecond {{seq+2}}",
        ] {
            std::fs::write(&file, text).unwrap();
            for profile in [None, Some(Profile::Mqtt)] {
                let options =
                    CustomOptions { payload: Some(file.clone()), profile, ..CustomOptions::default() };
                let script = Script::read(&options).unwrap();
                for first in [0, 95, 9_990, 65_530] {
                    let [at_once, singly] = both(&script, first, 120);
                    assert_eq!(at_once, singly, "{text} {first}");
                }
            }
        }
        std::fs::remove_file(&file).unwrap();
    }
}
