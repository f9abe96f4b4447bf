//! HTTP responses of the server (RFC 9112).

use std::time::{Duration, UNIX_EPOCH};

use super::handshake::write_field;

/// A response to a plain request, or the refusal of an upgrade.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Fields besides Date, Content-Length and Connection, which are written for the application.
    pub fields: Vec<(&'static str, String)>,
    /// The body; for HEAD only its length goes out.
    pub body: Body,
}

/// The body of a response.
#[derive(Debug, Clone)]
pub enum Body {
    /// Part of the binary.
    Static(&'static [u8]),
    /// Made for this response.
    Owned(Vec<u8>),
}

impl Default for Body {
    fn default() -> Self {
        Self::Static(&[])
    }
}

impl Body {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Response {
    /// A response whose body is a short text for people.
    #[must_use]
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        let mut body = text.into();
        body.push('\n');
        Self { status, fields: Vec::new(), body: Body::Owned(body.into_bytes()) }
            .field("Content-Type", "text/plain; charset=utf-8")
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Appends the response to `out`. `head_only`: it answers a HEAD; `close`: the connection ends after it; `unix_ms`:
    /// milliseconds since 1970, for Date.
    pub fn write(&self, head_only: bool, close: bool, unix_ms: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(
            format!("HTTP/1.1 {} {}\r\n", self.status, reason_phrase(self.status)).as_bytes(),
        );
        // RFC 9110 6.6.1: a server with a clock sends Date.
        write_field(out, "Date", &http_date(unix_ms));
        for (name, value) in &self.fields {
            write_field(out, name, value);
        }
        let body = self.body.as_bytes();
        // RFC 9110 8.6: no Content-Length in a 204, and none in a 304 whose length would not be that of a 200.
        if !matches!(self.status, 204 | 304) {
            write_field(out, "Content-Length", &body.len().to_string());
        }
        if close {
            write_field(out, "Connection", "close");
        }
        out.extend_from_slice(b"\r\n");
        if !head_only {
            out.extend_from_slice(body);
        }
    }
}

/// IMF-fixdate (RFC 9110 5.6.7); it has four digits for the year.
fn http_date(unix_ms: u64) -> String {
    let last_second = 253_402_300_799;
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs((unix_ms / 1000).min(last_second)))
}

/// RFC 9110 15; an unknown status gets an empty phrase.
fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_says_when_and_how_long_it_is() {
        let mut out = Vec::new();
        Response::text(404, "not found").write(false, true, 784_111_777_999, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 10\r\nConnection: close\r\n\r\nnot found\n"
        );
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
