//! The token that a lead and its agents share: each proves that it has it, and neither sends it.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};
use aws_lc_rs::rand;

use crate::input::error::{Failure, PlanError};

/// The environment variable that holds the token, unless a file does.
const VARIABLE: &str = "LOADGEN_TOKEN";
/// Limits on the length of a token in bytes.
const MIN_TOKEN: usize = 16;
const MAX_TOKEN: usize = 1024;
/// Length of a nonce in bytes.
const NONCE: usize = 32;

/// Who proves something. A proof of one side is none of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Lead,
    Agent,
}

/// The token.
#[derive(Clone)]
pub(super) struct Token(Key);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Reads the token from a file, or else from the environment.
    pub(super) fn find(file: Option<&Path>) -> Result<Self, Failure> {
        let text = match file {
            Some(path) => fs::read_to_string(path)
                .map_err(|error| PlanError(format!("--token-file {}: {error}", path.display())))?,
            None => std::env::var(VARIABLE).map_err(|_| {
                PlanError(format!(
                    "agents and their lead share a token: write {MIN_TOKEN} characters or more to a file that only you can \
                     read and name it with --token-file, or set {VARIABLE}"
                ))
            })?,
        };
        Ok(Self::parse(text.trim())?)
    }

    pub(super) fn parse(text: &str) -> Result<Self, PlanError> {
        if !(MIN_TOKEN..=MAX_TOKEN).contains(&text.len()) {
            return Err(PlanError(format!(
                "the token has {} bytes, and must have from {MIN_TOKEN} to {MAX_TOKEN}",
                text.len()
            )));
        }
        Ok(Self(Key::new(HMAC_SHA256, text.as_bytes())))
    }

    /// What proves that `side` knows the token, for the nonces of both.
    pub(super) fn prove(&self, side: Side, agent_nonce: &str, lead_nonce: &str) -> String {
        hex(sign(&self.0, text(side, agent_nonce, lead_nonce).as_bytes()).as_ref())
    }

    /// Whether `mac` is what [`Self::prove`] returns for the other side. Takes the same time for every wrong one.
    pub(super) fn is_proof(&self, mac: &str, side: Side, agent_nonce: &str, lead_nonce: &str) -> bool {
        let text = text(side, agent_nonce, lead_nonce);
        unhex(mac).is_some_and(|mac| verify(&self.0, text.as_bytes(), &mac).is_ok())
    }
}

/// A number that is used once.
pub(super) fn nonce() -> Result<String, Failure> {
    let mut nonce = [0; NONCE];
    rand::fill(&mut nonce).map_err(|_| "the system has no random numbers")?;
    Ok(hex(&nonce))
}

fn text(side: Side, agent_nonce: &str, lead_nonce: &str) -> String {
    let side = match side {
        Side::Lead => "lead",
        Side::Agent => "agent",
    };
    // A nonce of a peer may hold anything; its length tells where it ends.
    format!("loadgen {side} {} {agent_nonce} {lead_nonce}", agent_nonce.len())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Cannot fail: a String takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_proves_itself_and_only_for_its_side_and_nonces() {
        let token = Token::parse("0123456789abcdef").unwrap();
        let (mine, yours) = (nonce().unwrap(), nonce().unwrap());
        assert!(mine != yours && mine.len() == 2 * NONCE);
        let mac = token.prove(Side::Lead, &mine, &yours);
        assert!(token.is_proof(&mac, Side::Lead, &mine, &yours));
        assert!(!token.is_proof(&mac, Side::Agent, &mine, &yours), "a lead's proof sent back");
        assert!(!token.is_proof(&mac, Side::Lead, &yours, &mine));
        assert!(!token.is_proof(&mac[2..], Side::Lead, &mine, &yours));
        assert!(
            !token.is_proof("é", Side::Lead, &mine, &yours) && !token.is_proof("", Side::Lead, &mine, &yours)
        );
        let other = Token::parse("0123456789abcdeF").unwrap();
        assert!(!other.is_proof(&mac, Side::Lead, &mine, &yours));
        // The same text in other places.
        assert_ne!(token.prove(Side::Lead, "a b", "c"), token.prove(Side::Lead, "a", "b c"));
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn a_token_that_is_too_short_is_refused() {
        assert!(Token::parse("short").is_err() && Token::parse(&"x".repeat(1025)).is_err());
        assert!(Token::parse(&"x".repeat(16)).is_ok());
    }
}
