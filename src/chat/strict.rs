//! JSON in which no field of an object may occur twice: readers that disagree about which one counts can be played off
//! against each other (RFC 8259 4).

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Number, Value};

/// Why a text is no such JSON.
#[derive(Debug)]
pub enum Error {
    /// This field is repeated; `a.b` is the field `b` in the object `a`.
    Duplicate(String),
    /// It is no JSON.
    Json(serde_json::Error),
}

/// Reads one value.
///
/// # Errors
/// A field is repeated, or the text is no JSON.
pub fn from_slice(text: &[u8]) -> Result<Value, Error> {
    let duplicate = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Seed { path: String::new(), duplicate: &duplicate }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| match duplicate.take() {
        Some(path) => Error::Duplicate(path),
        None => Error::Json(error),
    })
}

/// A value that was read by these rules.
#[derive(Debug)]
pub struct Strict(pub Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Seed { path: String::new(), duplicate: &RefCell::new(None) }.deserialize(deserializer).map(Strict)
    }
}

struct Seed<'a> {
    /// The object or list that is read.
    path: String,
    /// The first field that is repeated.
    duplicate: &'a RefCell<Option<String>>,
}

impl Seed<'_> {
    fn within(&self, name: &str) -> Self {
        let separator = if self.path.is_empty() { "" } else { "." };
        Self { path: format!("{}{separator}{name}", self.path), duplicate: self.duplicate }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self.within(&values.len().to_string()))? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let field = self.within(&name);
            if fields.contains_key(&name) {
                let error = A::Error::custom("a field stands twice");
                self.duplicate.borrow_mut().get_or_insert(field.path);
                return Err(error);
            }
            let value = map.next_value_seed(field)?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_twice_is_named_wherever_it_stands() {
        for (text, path) in [
            (r#"{"a":1,"b":2,"a":1}"#, "a"),
            (r#"{"a":{"b":1,"c":[],"b":2}}"#, "a.b"),
            (r#"{"a":[{},{"b":1,"b":1}]}"#, "a.1.b"),
            (r#"{"a":null,"\u0061":1}"#, "a"),
            (r#"[{"":1,"":2}]"#, "0."),
        ] {
            let error = from_slice(text.as_bytes()).expect_err(text);
            assert!(matches!(&error, Error::Duplicate(found) if found == path), "{text}: {error:?}");
            assert!(serde_json::from_str::<Strict>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn everything_else_is_read_as_ever() {
        for text in [
            r#"{"a":[1,-2,3.5,1e9,18446744073709551615],"b":{"a":"\ud83d\ude42","c":true},"d":null}"#,
            "[]",
            "\"x\"",
        ] {
            let expected: Value = serde_json::from_str(text).unwrap();
            assert_eq!(from_slice(text.as_bytes()).unwrap(), expected);
        }
        for text in ["", "{", "{}{}", "{\"a\":1,}", "1e999"] {
            assert!(matches!(from_slice(text.as_bytes()), Err(Error::Json(_))), "{text}");
        }
    }
}
