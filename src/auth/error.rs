//! What is wrong with a file that should hold keys.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::MIN_SECRET;

/// A file of keys that cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file holds something else.
    Flawed {
        /// The file.
        path: PathBuf,
        /// What it holds, and what to do.
        flaw: KeyFlaw,
    },
    /// The key signs nothing.
    Sign(String),
}

/// What a file holds instead of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFlaw {
    /// A private key where a public one is needed.
    PrivateKey,
    /// A public key where a private one is needed.
    PublicKey,
    /// A certificate.
    Certificate,
    /// PEM, but no public key of RSA or Ed25519.
    NoPublicKey,
    /// PEM, but no private key of RSA or Ed25519.
    NoPrivateKey,
    /// No set of keys (RFC 7517); where it goes wrong.
    NoSet(String),
    /// A set without a key for HS256, RS256 or `EdDSA`.
    NoUsableKey,
    /// A secret of so few octets.
    ShortSecret(usize),
    /// Something that others know, or that is no secret for another reason; a sentence that says which.
    NoSecret(&'static str),
}

impl KeyFlaw {
    pub(super) fn of(self, path: &Path) -> KeyError {
        KeyError::Flawed { path: path.to_owned(), flaw: self }
    }
}

impl fmt::Display for KeyFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PrivateKey => {
                "this is a private key; the server needs the public one: openssl pkey -in FILE -pubout"
            }
            Self::PublicKey => "this is a public key; a token is signed with the private one",
            Self::Certificate => {
                "this is a certificate; the server needs its public key: openssl x509 -in FILE -pubkey -noout"
            }
            Self::NoPublicKey => "this is no public key of RSA or Ed25519 in PEM",
            Self::NoPrivateKey => "this is no private key of RSA or Ed25519 in PEM",
            Self::NoSet(why) => return write!(f, "no set of keys{why}"),
            Self::NoUsableKey => "none of the keys is for HS256, RS256 or EdDSA",
            Self::ShortSecret(len) => {
                return write!(
                    f,
                    "a secret for HS256 has at least {MIN_SECRET} bytes, this one has {len}; make one with: openssl rand -hex 32"
                );
            }
            Self::NoSecret(why) => why,
        })
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Flawed { path, flaw } => write!(f, "{}: {flaw}", path.display()),
            Self::Sign(why) => write!(f, "the token cannot be signed: {why}"),
        }
    }
}

impl Error for KeyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read { error, .. } => Some(error),
            Self::Flawed { .. } | Self::Sign(_) => None,
        }
    }
}
