//! What a message carries besides its text. What that is only its reader knows.

/// A value of JSON without whitespace between its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data(Box<str>);

impl Data {
    /// A value that is JSON, without whitespace between its tokens: nothing is looked at. The chat makes such values of what
    /// others write.
    #[must_use]
    pub fn of_compact(json: &str) -> Self {
        Self(json.into())
    }

    /// The value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Bytes of the value; 0 where there is none.
    pub(crate) fn len_of(data: Option<&Self>) -> usize {
        data.map_or(0, |data| data.0.len())
    }
}
