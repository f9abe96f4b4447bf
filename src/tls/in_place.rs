//! Plaintext where it was decrypted. rustls decrypts records in place, then copies the plaintext to a vector for each record.
//! Here the cipher notes where the plaintext is, and passes on its first octet alone, so that there is nothing to copy.

use std::cell::Cell;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, Tls12AeadAlgorithm, Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ServerConnectionData;
use rustls::unbuffered::ReadTraffic;
use rustls::{
    CipherSuite, ConnectionTrafficSecrets, ContentType, Error, SupportedCipherSuite, Tls12CipherSuite,
    Tls13CipherSuite,
};

/// The provider of aws-lc-rs with ciphers that note where plaintext is, those of AES-128 first.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let mut provider = aws_lc_rs::default_provider();
    for suite in &mut provider.cipher_suites {
        *suite = noting(*suite);
    }
    provider.cipher_suites.sort_by_key(|suite| (suite.tls13().is_none(), !is_aes_128(*suite)));
    Arc::new(provider)
});

/// The suites with which octets and handshakes cost least on processors with instructions for AES and SHA-256.
fn is_aes_128(suite: SupportedCipherSuite) -> bool {
    matches!(
        suite.suite(),
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

thread_local! {
    /// Address and length of the plaintext of the record that was decrypted last. An address only: nothing is read through it.
    static NOTE: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
}

/// The cryptography of [`Tls::read`](super::Tls::read): aws-lc-rs, with ciphers that leave plaintext where it was decrypted. A
/// configuration of one's own ([`Tls::new`](super::Tls::new)) may have another provider, at the price of a copy. Nothing but a
/// [`TlsStream`](super::TlsStream) may use it: elsewhere plaintext would be missing.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// The plaintext of a record.
pub(super) enum Opened {
    /// Where it is in the buffer that was processed.
    At(Range<usize>),
    /// Of a configuration with ciphers of its own, or a record of one octet.
    Copied(Vec<u8>),
}

impl Opened {
    /// The next record, which was decrypted in a buffer of `len` octets at the address `base`.
    pub(super) fn next(
        traffic: &mut ReadTraffic<'_, '_, ServerConnectionData>,
        base: usize,
        len: usize,
    ) -> Result<Option<Self>, Error> {
        let noted = NOTE.take();
        let Some(record) = traffic.next_record().transpose()? else { return Ok(None) };
        debug_assert_eq!(record.discard, 0, "all octets of a record are discarded with the state");
        let Some((address, count)) = noted else { return Ok(Some(Self::Copied(record.payload.to_vec()))) };
        let start = address.wrapping_sub(base);
        match start.checked_add(count) {
            Some(end) if end <= len => Ok(Some(Self::At(start..end))),
            _ => Err(Error::General("a record was not decrypted in place".into())),
        }
    }

    /// Before records are processed: what was noted of another connection, whose record was not wanted, is no longer true.
    pub(super) fn forget() {
        NOTE.set(None);
    }
}

/// A suite whose decrypters note where plaintext is.
fn noting(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    match suite {
        SupportedCipherSuite::Tls13(suite) => {
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: common(&suite.common),
                hkdf_provider: suite.hkdf_provider,
                aead_alg: Box::leak(Box::new(Noting(suite.aead_alg))),
                quic: suite.quic,
            })))
        }
        SupportedCipherSuite::Tls12(suite) => {
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: common(&suite.common),
                prf_provider: suite.prf_provider,
                kx: suite.kx,
                sign: suite.sign,
                aead_alg: Box::leak(Box::new(Noting(suite.aead_alg))),
            })))
        }
    }
}

fn common(common: &rustls::crypto::CipherSuiteCommon) -> rustls::crypto::CipherSuiteCommon {
    rustls::crypto::CipherSuiteCommon {
        suite: common.suite,
        hash_provider: common.hash_provider,
        confidentiality_limit: common.confidentiality_limit,
    }
}

/// An algorithm whose decrypters note where plaintext is. Everything else is that of the algorithm itself.
struct Noting<A: ?Sized + 'static>(&'static A);

impl Tls13AeadAlgorithm for Noting<dyn Tls13AeadAlgorithm> {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        self.0.encrypter(key, iv)
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Decrypter(self.0.decrypter(key, iv)))
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

impl Tls12AeadAlgorithm for Noting<dyn Tls12AeadAlgorithm> {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        self.0.encrypter(key, iv, extra)
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        Box::new(Decrypter(self.0.decrypter(key, iv)))
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        self.0.key_block_shape()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv, explicit)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

struct Decrypter(Box<dyn MessageDecrypter>);

impl MessageDecrypter for Decrypter {
    fn decrypt<'a>(
        &mut self,
        record: InboundOpaqueMessage<'a>,
        seq: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let mut plain = self.0.decrypt(record, seq)?;
        // An empty record stays empty: rustls counts these.
        if plain.typ == ContentType::ApplicationData && plain.payload.len() > 1 {
            NOTE.set(Some((plain.payload.as_ptr().addr(), plain.payload.len())));
            plain.payload = &plain.payload[..1];
        }
        Ok(plain)
    }
}
