//! A field of a JSON text, without building the rest of it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// The names of objects and the indices of arrays that lead to a field.
pub(super) type FieldPath = Vec<String>;

/// Calls `judge` with a field as a text, if the text has it and it is a string, a number or a boolean. `Err`: the text is
/// not JSON. As with other readers, the last of several fields with one name counts.
pub(super) fn judge_field<R>(
    text: &str,
    path: &FieldPath,
    judge: impl Fn(&str) -> R,
) -> Result<Option<R>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let judged = Follow { path, judge: &judge }.deserialize(&mut json)?;
    json.end()?;
    Ok(judged)
}

/// What is left of the path.
struct Follow<'p, F> {
    path: &'p [String],
    judge: &'p F,
}

impl<'de, F: Fn(&str) -> R, R> DeserializeSeed<'de> for Follow<'_, F> {
    type Value = Option<R>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<R>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<F: Fn(&str) -> R, R> Follow<'_, F> {
    /// The field, if the path ends here.
    fn end(&self, text: &str) -> Option<R> {
        self.path.is_empty().then(|| (self.judge)(text))
    }
}

impl<'de, F: Fn(&str) -> R, R> Visitor<'de> for Follow<'_, F> {
    type Value = Option<R>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<R>, E> {
        Ok(self.end(text))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Option<R>, E> {
        Ok(self.end(if value { "true" } else { "false" }))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Option<R>, E> {
        Ok(self.end(&value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Option<R>, E> {
        Ok(self.end(&value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Option<R>, E> {
        Ok(Number::from_f64(value).and_then(|number| self.end(&number.to_string())))
    }

    fn visit_unit<E>(self) -> Result<Option<R>, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<R>, A::Error> {
        let mut judged = None;
        let Some((name, path)) = self.path.split_first() else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(None);
        };
        while let Some(is_it) = map.next_key_seed(Is(name))? {
            if is_it {
                judged = map.next_value_seed(Follow { path, judge: self.judge })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(judged)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<R>, A::Error> {
        let mut judged = None;
        if let Some((name, path)) = self.path.split_first()
            && let Ok(index) = name.parse::<usize>()
        {
            for _ in 0..index {
                if items.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            judged = items.next_element_seed(Follow { path, judge: self.judge })?.flatten();
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(judged)
    }
}

/// Whether the name of a field is this one.
struct Is<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &str, path: &[&str]) -> Result<Option<String>, ()> {
        let path = path.iter().map(|name| (*name).to_owned()).collect();
        judge_field(text, &path, str::to_owned).map_err(|_| ())
    }

    #[test]
    fn a_field_is_the_one_that_a_whole_reader_finds() {
        let text = r#" {"a":{"b":[1,{"c":"x\n\u00e9"},[2]],"b2":null},"n":-7,"f":1.50,"t":true,"":{"0":"zero"},"n":8} "#;
        let whole: serde_json::Value = serde_json::from_str(text).unwrap();
        for path in [
            &["a", "b", "1", "c"][..],
            &["a", "b", "0"],
            &["a", "b", "2", "0"],
            &["a", "b", "3"],
            &["a", "b"],
            &["a", "b2"],
            &["n"],
            &["f"],
            &["t"],
            &["", "0"],
            &["none"],
            &["n", "x"],
            &[],
        ] {
            let pointer = path.iter().fold(String::new(), |pointer, name| pointer + "/" + name);
            let expected = match whole.pointer(&pointer) {
                Some(serde_json::Value::String(text)) => Some(text.clone()),
                Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
                    Some(value.to_string())
                }
                _ => None,
            };
            assert_eq!(field(text, path), Ok(expected), "{path:?}");
        }
        for cut in 0..text.trim().len() {
            assert_eq!(field(&text.trim()[..cut], &["n"]), Err(()), "half of it: {cut}");
        }
        assert_eq!(field("{} x", &["n"]), Err(()));
    }
}
