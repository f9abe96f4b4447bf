//! Files that only the user who runs the server can read.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;

/// Opens such files.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}
