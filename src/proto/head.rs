//! HTTP/1.1 heads (RFC 9112): where one ends, what it says, how long its body is.
//!
//! The grammar is read by `httparse`; here stand the rules around it that keep a request from being read in two ways.

use std::mem::MaybeUninit;

use super::authority::Authority;
use super::error::{HandshakeError, HeadError, ResponseError};
use super::limits::Limits;

/// Fields that fit on the stack; [`Limits::max_fields`] is capped at it.
pub const MAX_FIELDS: usize = 128;

/// Finds the end of a head in a buffer that grows, looking at each octet once.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadScanner {
    /// Octets already looked at.
    scanned: usize,
    /// Where the line in progress begins.
    line_start: usize,
    /// Whether the request line is complete.
    past_first_line: bool,
}

impl HeadScanner {
    /// The length of the head, empty line included; `None` while it is incomplete.
    ///
    /// # Errors
    /// A bare line feed, a first line that cannot be HTTP, or a head above its limit.
    pub fn find_end(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<usize>, HeadError> {
        let window = &buffer[..buffer.len().min(limits.max_head)];
        while let Some(offset) = memchr::memchr(b'\n', &window[self.scanned..]) {
            let line_feed = self.scanned + offset;
            // RFC 9112 2.2: a recipient may accept a bare LF; we refuse it, since two recipients that differ make
            // request smuggling.
            if line_feed == 0 || window[line_feed - 1] != b'\r' {
                return Err(if is_tls(buffer) { HeadError::Tls } else { HeadError::BareLineFeed });
            }
            let is_empty_line = line_feed - 1 == self.line_start;
            self.scanned = line_feed + 1;
            self.line_start = self.scanned;
            if !is_empty_line {
                self.past_first_line = true;
            } else if self.past_first_line {
                return Ok(Some(self.scanned));
            }
        }
        let is_first_look = self.scanned == 0;
        self.scanned = window.len();
        if buffer.len() >= limits.max_head {
            return Err(if self.past_first_line { HeadError::TooLarge } else { HeadError::TargetTooLong });
        }
        if is_first_look && !window.is_empty() {
            check_beginning(window)?;
        }
        Ok(None)
    }
}

/// Whether it is the beginning of a TLS record with a handshake message (RFC 8446 5.1).
fn is_tls(beginning: &[u8]) -> bool {
    beginning.starts_with(&[22, 3])
}

/// Octets that cannot begin HTTP/1.1, such as a TLS `ClientHello`, are refused at once and not at the deadline.
fn check_beginning(beginning: &[u8]) -> Result<(), HeadError> {
    let is_control = |octet: &u8| octet.is_ascii_control() && !b"\r\n\t".contains(octet);
    let begins_line = beginning[0] == b'\r' || is_token(&beginning[..1]);
    if is_tls(beginning) {
        return Err(HeadError::Tls);
    }
    if !begins_line || beginning.iter().any(is_control) {
        return Err(HeadError::Malformed(httparse::Error::Token));
    }
    Ok(())
}

/// RFC 9110 2.5, 15.6.6: a request line with a well-formed version that is not ours is 505; anything else is no HTTP.
fn version_error(head: &[u8]) -> HeadError {
    let line =
        head.split(|&octet| octet == b'\r').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    match line.trim_ascii().split(|&octet| octet == b' ').collect::<Vec<_>>()[..] {
        [_, _, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            HeadError::UnsupportedVersion
        }
        _ => HeadError::Malformed(httparse::Error::Version),
    }
}

/// The fields of a header section, in the order in which they came.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'h> {
    list: &'h [httparse::Header<'h>],
}

impl<'h> Fields<'h> {
    /// Every value of a field; names compare in any case.
    pub fn all(self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        self.list.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// The first value of a field.
    #[must_use]
    pub fn first(self, name: &str) -> Option<&'h [u8]> {
        self.all(name).next()
    }

    /// The value of a field that occurs exactly once; `Err` when it occurs more often.
    pub fn single(self, name: &str) -> Result<Option<&'h [u8]>, Duplicate> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() { Err(Duplicate) } else { Ok(first) }
    }

    /// The value of a field as text, when it is ASCII or UTF-8.
    #[must_use]
    pub fn text(self, name: &str) -> Option<&'h str> {
        self.first(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Whether a field is here whose name begins with `prefix`, in any case.
    #[must_use]
    pub fn has_prefix(self, prefix: &str) -> bool {
        let begins =
            |name: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        self.list.iter().any(|field| begins(field.name))
    }

    /// Whether a comma-separated field names `token`, in any case (RFC 9110 5.6.1).
    #[must_use]
    pub fn names_token(self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(list_elements).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// A field that may occur once occurs more often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplicate;

/// The elements of a comma-separated list, trimmed, empty ones passed over (RFC 9110 5.6.1.2).
pub fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&octet| octet == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Whether the octets are a token (RFC 9110 5.6.2).
#[must_use]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_octet)
}

/// RFC 9110 5.6.2: tchar.
pub(super) fn is_token_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

/// How long the body of a request is (RFC 9112 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// No body.
    None,
    /// This many octets, at least one.
    Bytes(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// A request without its body.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'h> {
    /// Such as `GET`.
    pub method: &'h str,
    /// The request-target as it came.
    pub target: &'h str,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor_version: u8,
    /// The header section.
    pub fields: Fields<'h>,
    /// What follows the head.
    pub body: BodyLength,
}

impl<'h> RequestHead<'h> {
    /// The path of the request-target, in origin-form or absolute-form, without the query (RFC 9112 3.2).
    #[must_use]
    pub fn path(&self) -> &'h str {
        match self.path_and_query().split('?').next() {
            Some("") | None => "/",
            Some(path) => path,
        }
    }

    /// The request-target, in origin-form or absolute-form, without scheme and authority.
    #[must_use]
    pub fn path_and_query(&self) -> &'h str {
        match self.target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '?']) => match rest.find(['/', '?']) {
                Some(start) => &rest[start..],
                None => "/",
            },
            _ => self.target,
        }
    }

    /// The authority that the request is for: that of an absolute-form target, else Host (RFC 9112 3.2.2).
    #[must_use]
    pub fn authority(&self) -> &'h str {
        match self.target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
                rest.split(['/', '?']).next().unwrap_or_default()
            }
            _ => self.fields.text("host").unwrap_or_default(),
        }
    }

    /// Whether the connection may carry another request after this one (RFC 9112 9.3).
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        self.minor_version == 1 && !self.fields.names_token("connection", "close")
    }
}

/// Parses a complete head and lends it to `then`.
pub fn with_request<R>(
    head: &[u8],
    limits: &Limits,
    then: impl FnOnce(Result<RequestHead<'_>, HeadError>) -> R,
) -> R {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let fields = &mut fields[..limits.max_fields.min(MAX_FIELDS)];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, fields) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => {
            return then(Err(HeadError::Malformed(httparse::Error::NewLine)));
        }
        Err(httparse::Error::TooManyHeaders) => return then(Err(HeadError::TooManyFields)),
        Err(httparse::Error::Version) => return then(Err(version_error(head))),
        Err(error) => return then(Err(HeadError::Malformed(error))),
    }
    then(check_request(&request))
}

fn check_request<'h>(request: &'h httparse::Request<'_, 'h>) -> Result<RequestHead<'h>, HeadError> {
    let fields = Fields { list: request.headers };
    let minor_version = request.version.unwrap_or_default();
    // RFC 9112 3.2: a request without Host, or with more than one, gets a 400.
    match fields.single("host") {
        Ok(Some(host)) if is_host(host) => {}
        Ok(None) if minor_version == 0 => {}
        _ => return Err(HeadError::Host),
    }
    let method = request.method.unwrap_or_default();
    if !is_request_target(method, request.path.unwrap_or_default()) {
        return Err(HeadError::Target);
    }
    Ok(RequestHead {
        method,
        target: request.path.unwrap_or_default(),
        minor_version,
        body: body_length(fields, minor_version)?,
        fields,
    })
}

/// RFC 9112 3.2: origin-form, absolute-form or, for OPTIONS alone, asterisk-form; authority-form belongs to CONNECT, which we do
/// not do.
fn is_request_target(method: &str, target: &str) -> bool {
    if target.starts_with('/') || target == "*" && method == "OPTIONS" {
        return true;
    }
    let Some((scheme, rest)) = target.split_once("://") else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    // RFC 9110 4.2.1 and 4.2.4: no empty host, no userinfo.
    is_scheme(scheme.as_bytes()) && !authority.is_empty() && Authority::parse(authority).is_some()
}

/// RFC 3986 3.1.
fn is_scheme(scheme: &[u8]) -> bool {
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(octet))
}

/// Host is `uri-host [":" port]` (RFC 9110 7.2); it may be empty where the target has no authority (RFC 9112 3.2).
fn is_host(host: &[u8]) -> bool {
    std::str::from_utf8(host).is_ok_and(|host| Authority::parse(host).is_some())
}

/// RFC 9112 6.1 to 6.3: anything that two recipients could read differently is refused.
fn body_length(fields: Fields<'_>, minor_version: u8) -> Result<BodyLength, HeadError> {
    let mut length = None;
    for value in fields.all("content-length") {
        let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let parsed: u64 = digits.and_then(|text| text.parse().ok()).ok_or(HeadError::BodyLength)?;
        if length.is_some_and(|earlier| earlier != parsed) {
            return Err(HeadError::BodyLength);
        }
        length = Some(parsed);
    }
    if fields.first("transfer-encoding").is_none() {
        return Ok(length.filter(|&length| length > 0).map_or(BodyLength::None, BodyLength::Bytes));
    }
    let mut codings = fields.all("transfer-encoding").flat_map(list_elements);
    match (codings.next(), codings.next(), length) {
        (Some(coding), None, None) if minor_version == 1 && coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(BodyLength::Chunked)
        }
        _ => Err(HeadError::BodyLength),
    }
}

/// A response without its body, as a client sees it.
#[derive(Debug, Clone, Copy)]
pub struct ResponseHead<'h> {
    /// The three-digit status.
    pub status: u16,
    /// The header section.
    pub fields: Fields<'h>,
}

/// Parses a complete response head and lends it to `then`; any reason phrase will do (RFC 9112 4).
pub fn with_response<R>(
    head: &[u8],
    limits: &Limits,
    then: impl FnOnce(Result<ResponseHead<'_>, ResponseError>) -> R,
) -> R {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let fields = &mut fields[..limits.max_fields.min(MAX_FIELDS)];
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, head, fields);
    then(match parsed {
        Ok(httparse::Status::Complete(_)) => Ok(ResponseHead {
            status: response.code.unwrap_or_default(),
            fields: Fields { list: response.headers },
        }),
        Ok(httparse::Status::Partial) => {
            Err(ResponseError::Head(HeadError::Malformed(httparse::Error::NewLine)))
        }
        Err(httparse::Error::TooManyHeaders) => Err(ResponseError::Head(HeadError::TooManyFields)),
        Err(error) => Err(ResponseError::Head(HeadError::Malformed(error))),
    })
}

impl From<Duplicate> for HandshakeError {
    fn from(_: Duplicate) -> Self {
        Self::Key
    }
}
