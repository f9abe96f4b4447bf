//! What is found, as text, JSON and a page.

pub(crate) mod text;
