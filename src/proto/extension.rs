//! The Sec-WebSocket-Extensions field (RFC 6455 9.1): its grammar, read in one pass.
//!
//! ```text
//! extension-list  = 1#extension
//! extension       = extension-token *( ";" extension-param )
//! extension-param = token [ "=" ( token | quoted-string ) ]
//! ```
//! A quoted value must be a token once its quotes and backslashes are gone. White space may stand around every
//! separator and empty list elements are passed over, as in other fields that are lists (RFC 9110 5.6.1.2).

use super::head::is_token_octet;

/// The field does not follow its grammar: RFC 6455 9.1 has the receiver fail the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// The extensions that one field value lists, in the order of preference.
///
/// After an `Err` nothing more comes.
#[derive(Debug, Clone)]
pub struct Extensions<'h> {
    rest: &'h [u8],
}

/// One extension with its parameters, well-formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<'h> {
    /// Such as `permessage-deflate`.
    pub name: &'h [u8],
    parameters: &'h [u8],
}

/// One parameter of an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'h> {
    /// Its name.
    pub name: &'h [u8],
    /// Its value, when it has one.
    pub value: Option<Value<'h>>,
}

/// A value as it came, quoted or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'h> {
    raw: &'h [u8],
}

impl<'h> Extensions<'h> {
    /// Reads a field value.
    #[must_use]
    pub fn new(value: &'h [u8]) -> Self {
        Self { rest: value }
    }

    fn element(&mut self) -> Result<Extension<'h>, Malformed> {
        let name = take_token(&mut self.rest).ok_or(Malformed)?;
        let start = self.rest;
        while take_parameter(&mut self.rest)?.is_some() {}
        let parameters = &start[..start.len() - self.rest.len()];
        skip_blanks(&mut self.rest);
        if self.rest.is_empty() || take(&mut self.rest, b',') {
            Ok(Extension { name, parameters })
        } else {
            Err(Malformed)
        }
    }
}

impl<'h> Iterator for Extensions<'h> {
    type Item = Result<Extension<'h>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        skip_blanks(&mut self.rest);
        while take(&mut self.rest, b',') {
            skip_blanks(&mut self.rest);
        }
        if self.rest.is_empty() {
            return None;
        }
        let element = self.element();
        if element.is_err() {
            self.rest = &[];
        }
        Some(element)
    }
}

impl<'h> Extension<'h> {
    /// The parameters, in the order in which they came.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'h>> {
        let mut rest = self.parameters;
        std::iter::from_fn(move || take_parameter(&mut rest).ok().flatten())
    }
}

impl Value<'_> {
    /// The octets of the token, without the backslashes that a quoted string may hold.
    pub fn octets(self) -> impl Iterator<Item = u8> {
        self.raw.iter().copied().filter(|&octet| octet != b'\\')
    }
}

/// `";" token [ "=" value ]`; `None` where no semicolon stands.
fn take_parameter<'h>(rest: &mut &'h [u8]) -> Result<Option<Parameter<'h>>, Malformed> {
    skip_blanks(rest);
    if !take(rest, b';') {
        return Ok(None);
    }
    skip_blanks(rest);
    let name = take_token(rest).ok_or(Malformed)?;
    skip_blanks(rest);
    if !take(rest, b'=') {
        return Ok(Some(Parameter { name, value: None }));
    }
    skip_blanks(rest);
    let raw = if take(rest, b'"') { take_quoted(rest) } else { take_token(rest) };
    let value = Some(Value { raw: raw.ok_or(Malformed)? });
    Ok(Some(Parameter { name, value }))
}

/// The inside of a quoted string, of which the opening quote is taken. No backslash is part of a token, so each one
/// there is that of a quoted pair.
fn take_quoted<'h>(rest: &mut &'h [u8]) -> Option<&'h [u8]> {
    let mut at = 0;
    loop {
        match rest.get(at..)? {
            [b'"', ..] if at > 0 => break,
            [b'\\', octet, ..] if is_token_octet(*octet) => at += 2,
            [octet, ..] if is_token_octet(*octet) => at += 1,
            _ => return None,
        }
    }
    let inside = &rest[..at];
    *rest = &rest[at + 1..];
    Some(inside)
}

fn take_token<'h>(rest: &mut &'h [u8]) -> Option<&'h [u8]> {
    let len = rest.iter().position(|&octet| !is_token_octet(octet)).unwrap_or(rest.len());
    let (token, behind) = rest.split_at(len);
    *rest = behind;
    (len > 0).then_some(token)
}

fn take(rest: &mut &[u8], octet: u8) -> bool {
    let found = rest.first() == Some(&octet);
    *rest = &rest[usize::from(found)..];
    found
}

fn skip_blanks(rest: &mut &[u8]) {
    let blanks = rest.iter().position(|octet| !b" \t".contains(octet)).unwrap_or(rest.len());
    *rest = &rest[blanks..];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written back in one form: `name;parameter=value`, a bar between extensions.
    fn read(value: &str) -> Result<String, Malformed> {
        let mut shown = Vec::new();
        for extension in Extensions::new(value.as_bytes()) {
            let extension = extension?;
            let mut text = String::from_utf8_lossy(extension.name).into_owned();
            for parameter in extension.parameters() {
                text.push(';');
                text.push_str(&String::from_utf8_lossy(parameter.name));
                if let Some(value) = parameter.value {
                    text.push('=');
                    text.extend(value.octets().map(char::from));
                }
            }
            shown.push(text);
        }
        Ok(shown.join("|"))
    }

    #[test]
    fn what_the_grammar_allows_is_read() {
        for (value, expected) in [
            ("", ""),
            (" , ,\t", ""),
            ("foo", "foo"),
            ("foo, bar; baz=2", "foo|bar;baz=2"),
            ("foo;a;b=1;c=\"x\"", "foo;a;b=1;c=x"),
            ("foo ; a = 1 , bar", "foo;a=1|bar"),
            ("foo; a=\"1\\0\"", "foo;a=10"),
            ("foo,,bar,", "foo|bar"),
            ("foo;a;a", "foo;a;a"),
            ("permessage-deflate; client_max_window_bits", "permessage-deflate;client_max_window_bits"),
        ] {
            assert_eq!(read(value).as_deref(), Ok(expected), "{value:?}");
        }
    }

    #[test]
    fn what_the_grammar_forbids_is_malformed() {
        for value in [
            ";",
            "=",
            "foo bar",
            "foo;",
            "foo;;a",
            "foo; a=",
            "foo; =1",
            "foo; a=1 2",
            "foo; a=\"",
            "foo; a=\"1",
            "foo; a=\"\"",
            "foo; a=\"1 2\"",
            "foo; a=\"1\\\"",
            "foo; a=\"1,2\"",
            "foo; a='1\"",
            "foo; a=\"1\"2",
            "f\u{f6}o",
            "foo/1",
            "foo, ;a",
            "foo; a=1; , bar",
            "\"foo\"",
            "foo\u{0}",
            "a, b;",
            "foo; a==1",
        ] {
            assert_eq!(read(value), Err(Malformed), "{value:?}");
        }
    }

    #[test]
    fn long_values_take_linear_time() {
        // A quadratic reader would need minutes for each of these.
        for unit in ["a;", "a,", "a; b=\"", "\\\"", "\t ", ", ", "x=", "a;b=\"c\\d\","] {
            let long = unit.repeat(1 << 17);
            let _ = read(&long);
            let _ = read(&format!("a;b=\"{long}"));
        }
    }
}
