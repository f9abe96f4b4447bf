//! Why a history could not do what it was asked.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why something could not be read or committed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum HistoryError {
    /// The last changes of the room could not be written, and it is not known yet whether they are on the disk.
    Uncertain,
    /// The storage behind the history failed.
    Storage(Arc<dyn Error + Send + Sync>),
}

impl HistoryError {
    /// The storage failed with this error.
    #[must_use]
    pub fn storage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Storage(error.into().into())
    }
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uncertain => {
                f.write_str("the last changes of this room could not be written; they are being looked after")
            }
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl Error for HistoryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Uncertain => None,
            // Its text is told above.
            Self::Storage(error) => error.source(),
        }
    }
}
