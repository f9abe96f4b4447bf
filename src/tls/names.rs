//! What a certificate says: for which names it is, and until when.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// A certificate of the server, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificate {
    /// The host names it is for, in lower case; `*.example.org` is one label of any kind.
    pub names: Vec<String>,
    /// From when on it is valid, in seconds since 1970-01-01 UTC.
    pub not_before: i64,
    /// Until when it is valid, in seconds since 1970-01-01 UTC.
    pub not_after: i64,
}

impl Certificate {
    /// `None`: it is not an X.509 certificate.
    pub(super) fn parse(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        let names = alternatives.iter().flat_map(|names| &names.value.general_names);
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let validity = certificate.validity();
        Some(Self {
            names: names.collect(),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }

    /// How well it fits a host name in lower case (RFC 6125 6.4.3): by itself, by a wildcard, or not at all.
    pub(super) fn fit(&self, host: &str) -> Option<Fit> {
        let parent = host.split_once('.').map(|(_, parent)| parent);
        let is_wildcard = |name: &String| name.strip_prefix("*.").is_some_and(|rest| Some(rest) == parent);
        if self.names.iter().any(|name| name == host) {
            Some(Fit::Exact)
        } else {
            self.names.iter().any(is_wildcard).then_some(Fit::Wildcard)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    Exact,
    Wildcard,
}

/// The subject of a certificate (RFC 4514); empty when it cannot be read.
pub(super) fn subject(der: &CertificateDer<'_>) -> String {
    X509Certificate::from_der(der).map(|(_, it)| it.subject().to_string()).unwrap_or_default()
}
