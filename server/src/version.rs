//! What `--version` says.

/// For `-V`, and in the head of each man page.
pub(crate) const SHORT: &str = env!("CARGO_PKG_VERSION");

/// For the man pages: the day of the commit.
pub(crate) const DATE: &str = env!("BUILD_DATE");

/// For `--version`: what somebody who looks for a fault has to know of the binary.
pub(crate) fn long() -> String {
    format!(
        "{SHORT}\ncommit    {}\ntarget    {}\nfeatures  {}",
        env!("BUILD_COMMIT"),
        env!("BUILD_TARGET"),
        switchboard::FEATURES.join(", ")
    )
}
