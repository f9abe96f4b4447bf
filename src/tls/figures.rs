//! What is counted of handshakes and of the certificates.

use std::sync::atomic::{AtomicU64, Ordering};

use rustls::{AlertDescription, Error};

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The peer ended the connection in the middle of it.
    Aborted,
    /// The client's certificate is missing or not valid.
    Certificate,
    /// A request came without TLS.
    Plain,
    /// What the peer sent breaks the protocol, or client and server have no version, cipher suite or group in common.
    Protocol,
}

impl Failure {
    /// All reasons, in order.
    pub const ALL: [Self; 4] = [Self::Aborted, Self::Certificate, Self::Plain, Self::Protocol];

    /// The reason in one word, as metrics have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::Certificate => "certificate",
            Self::Plain => "plain",
            Self::Protocol => "protocol",
        }
    }

    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::NoCertificatesPresented
            | Error::InvalidCertificate(_)
            | Error::InvalidCertRevocationList(_)
            | Error::AlertReceived(
                AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired
                | AlertDescription::UnknownCA,
            ) => Self::Certificate,
            _ => Self::Protocol,
        }
    }
}

/// Handshakes that were completed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completed {
    /// TLS 1.3, with a certificate.
    pub full_13: u64,
    /// TLS 1.3, by a ticket.
    pub resumed_13: u64,
    /// TLS 1.2, with a certificate.
    pub full_12: u64,
    /// TLS 1.2, by a ticket.
    pub resumed_12: u64,
}

/// The counters: the loop writes them, the metrics read them.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// By version and by whether it was resumed, in the order of [`Completed`].
    completed: [AtomicU64; 4],
    failed: [AtomicU64; Failure::ALL.len()],
    pub(super) reload_failures: AtomicU64,
    pub(super) reloads: AtomicU64,
}

impl Figures {
    pub(super) fn completed(&self, is_13: bool, is_resumed: bool) {
        let at = 2 * usize::from(!is_13) + usize::from(is_resumed);
        self.completed[at].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, why: Failure) {
        self.failed[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn all_completed(&self) -> Completed {
        let [full_13, resumed_13, full_12, resumed_12] =
            [0, 1, 2, 3].map(|at| self.completed[at].load(Ordering::Relaxed));
        Completed { full_13, resumed_13, full_12, resumed_12 }
    }

    pub(super) fn all_failed(&self, why: Failure) -> u64 {
        self.failed[why as usize].load(Ordering::Relaxed)
    }
}
