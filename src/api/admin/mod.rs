//! The operator's page under `/admin`. It has no rights of its own: what it shows and does it asks of the API, with the token
//! that the operator types in.

use std::sync::OnceLock;

use crate::app::{RequestHead, Response};
use crate::chat::Page;

/// Where the page is.
const ROOT: &str = "/admin";
/// Nothing from elsewhere, nothing inline, and no text becomes a script or a document.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// The files of the page, by name.
macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        [$(($name, { let body: &[u8] = include_bytes!($name); body })),*]
    };
}

const FILES: &[(&str, &[u8])] = &embedded![
    "admin.css",
    "admin.js",
    "api.js",
    "connections.js",
    "dom.js",
    "figures.js",
    "icon.svg",
    "index.html",
    "moderation.js",
    "plot.js",
    "rooms.js",
    "table.js",
];

/// What is served of them, hashed and compressed once in a process.
static PAGE: OnceLock<Page> = OnceLock::new();

/// What of a request's path is behind `/admin`; `None`: it is for something else.
pub(super) fn path<'a>(head: &RequestHead<'a>) -> Option<&'a str> {
    head.path().strip_prefix(ROOT).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The answer to a request for the page; `None`: there is no such file.
pub(super) fn respond(path: &str, head: &RequestHead<'_>) -> Option<Response> {
    if path.is_empty() {
        // The addresses of the page are relative to it, so that it works behind a proxy under any path.
        return Some(Response::text(308, "the page is at admin/").field("Location", "admin/"));
    }
    PAGE.get_or_init(|| Page::of_files(FILES, CONTENT_SECURITY_POLICY)).respond(path, head)
}
