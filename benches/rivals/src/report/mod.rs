//! What is found, as text, JSON and a page.

pub(crate) mod html;
pub(crate) mod model;
pub(crate) mod text;
