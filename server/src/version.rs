//! What `--version` says.

/// For `-V`, and in the head of each man page.
pub(crate) const SHORT: &str = env!("CARGO_PKG_VERSION");

/// For `--version`: what somebody who looks for a fault has to know of the binary.
pub(crate) fn long() -> String {
    format!(
        "{SHORT}\ncommit    {}\ntarget    {}\nfeatures  {}",
        env!("BUILD_COMMIT"),
        env!("BUILD_TARGET"),
        switchboard::FEATURES.join(", ")
    )
}
