//! The file of `--config`: TOML with flags as keys, each with the line that it is on.

use std::fs;
use std::io;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What a file says of one key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// From 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

/// A value as the flag would have it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    Switch(bool),
    /// One value, or those of a list.
    Texts(Vec<String>),
    /// A type of TOML that no flag has.
    Other(&'static str),
}

/// Reads a file; the entries are in the order of their lines.
///
/// # Errors
/// A sentence that names the file, and the line that is no TOML.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{shown}: there is no such file; `switchboard config generate` prints a sample of one")
        }
        io::ErrorKind::InvalidData => format!("{shown}: the file is not in UTF-8; save it in that encoding"),
        io::ErrorKind::PermissionDenied => format!("{shown}: {error}; this user must be allowed to read it"),
        _ => format!("{shown}: {error}"),
    })?;
    parse(&text).map_err(|(line, why)| format!("{shown}:{line}: {why}"))
}

fn parse(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let line_of = |at: usize| 1 + text.get(..at).unwrap_or(text).matches('\n').count();
    let table = DeTable::parse(text)
        .map_err(|error| (error.span().map_or(1, |span| line_of(span.start)), error.message().to_owned()))?;
    let entry = |(key, value): (Spanned<std::borrow::Cow<'_, str>>, Spanned<DeValue<'_>>)| Entry {
        line: line_of(key.span().start),
        key: key.into_inner().into_owned(),
        value: value_of(value.get_ref()),
    };
    let mut entries: Vec<Entry> = table.into_inner().into_iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

fn value_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::Boolean(is_on) => Value::Switch(*is_on),
        DeValue::Array(values) => {
            let texts: Result<Vec<String>, _> = values.iter().map(|value| text_of(value.get_ref())).collect();
            texts.map_or_else(Value::Other, Value::Texts)
        }
        value => text_of(value).map_or_else(Value::Other, |text| Value::Texts(vec![text])),
    }
}

/// A text or a number as text, or the name of another type.
fn text_of(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.as_ref().to_owned()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_| "a number that is too large"),
        other => Err(other.type_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_their_lines_and_types() {
        let text = "# a sample\nlisten = [\"a:1\",\n  \":2\"]\n\nunix-mode = 0x10\nephemeral = true\nx = 1.5\ny = [1, {}]\n[z]\n";
        let entries = parse(text).unwrap();
        let texts = |texts: &[&str]| Value::Texts(texts.iter().map(ToString::to_string).collect());
        let expected = [
            ("listen", 2, texts(&["a:1", ":2"])),
            ("unix-mode", 5, texts(&["16"])),
            ("ephemeral", 6, Value::Switch(true)),
            ("x", 7, Value::Other("float")),
            ("y", 8, Value::Other("table")),
            ("z", 9, Value::Other("table")),
        ];
        let expected = expected.map(|(key, line, value)| Entry { key: key.into(), line, value });
        assert_eq!(entries, expected);
    }

    #[test]
    fn a_line_that_is_no_toml_is_named() {
        for (text, line) in [("a = 1\nb = \n", 2), ("a = 1\nc\n", 2), ("a = 1\n\na = 2\n", 3), ("x = \"", 1)]
        {
            let (at, why) = parse(text).unwrap_err();
            assert!(at == line && !why.is_empty(), "{text:?}: {at}: {why}");
        }
    }
}
