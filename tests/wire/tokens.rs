//! `switchboard token`: what it makes, it takes, and nothing else.

use std::process::Command;

use crate::ops::{Scratch, run};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef\n";

fn openssl(args: &[&str]) -> Vec<u8> {
    let output =
        Command::new("openssl").args(args).output().expect("openssl is needed: apt-get install openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A private key and its public one, in PEM.
fn pair(algorithm: &[&str]) -> (Scratch, Scratch) {
    let private = Scratch::new("private.pem", &openssl(&[&["genpkey"], algorithm].concat()));
    let public = Scratch::new("public.pem", &openssl(&["pkey", "-in", private.path(), "-pubout"]));
    (private, public)
}

fn mint(key: &Scratch, args: &[&str]) -> String {
    let (code, token, said) =
        run(&[&["token", "mint", "--key", key.path(), "--user", "Ada"], args].concat(), "");
    assert_eq!(code, 0, "{said}");
    token
}

#[track_caller]
fn refused(key: &Scratch, args: &[&str], token: &str, why: &str) {
    let (code, out, said) = run(&[&["token", "check", "--token-key", key.path()], args].concat(), token);
    assert_eq!((code, out.as_str()), (2, ""), "{said}");
    assert!(said.contains(why), "{why:?} is not in {said}");
    for part in token.trim().split('.').filter(|part| part.len() > 8) {
        assert!(!said.contains(part), "the token is in {said}");
    }
}

#[test]
fn a_token_of_each_kind_is_made_and_taken() {
    let secret = Scratch::new("secret", SECRET);
    let ed = pair(&["-algorithm", "ed25519"]);
    let rsa = pair(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    for (sign, check) in [(&secret, &secret), (&ed.0, &ed.1), (&rsa.0, &rsa.1)] {
        let token = mint(sign, &["--room", "team-*:join,post", "--room", "*:moderate", "--expires", "90s"]);
        let (code, out, said) = run(&["token", "check", "--token-key", check.path()], &token);
        assert_eq!(code, 0, "{said}");
        assert!(out.contains("user     Ada"), "{out}");
        assert!(out.contains("room     team-*: join, post") && out.contains("room     *: moderate"), "{out}");
    }
}

#[test]
fn ch_17_every_other_token_is_refused() {
    let secret = Scratch::new("secret", SECRET);
    let other = Scratch::new("other", b"another secret, as long as the first one");
    let ed = pair(&["-algorithm", "ed25519"]);
    let token = mint(&secret, &[]);
    refused(&other, &[], &token, "signature is wrong");
    refused(&ed.1, &[], &token, "algorithm is not that of the key");
    refused(&secret, &[], &mint(&ed.0, &[]), "algorithm is not that of the key");
    refused(&secret, &["--token-leeway", "0"], &mint(&secret, &["--expires", "0s"]), "has expired");
    refused(&secret, &["--token-audience", "chat"], &token, "is for nobody");
    refused(
        &secret,
        &["--token-audience", "chat"],
        &mint(&secret, &["--audience", "mail"]),
        "for somebody else",
    );
    refused(
        &secret,
        &["--token-issuer", "us"],
        &mint(&secret, &["--issuer", "them"]),
        "issued by somebody else",
    );
    let (head, rest) = token.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    refused(&secret, &[], &format!("{head}.{body}."), "signature is wrong");
    refused(&secret, &[], &format!("{head}.{}.{signature}", body.to_uppercase()), "");
    // {"alg":"none"} and its like.
    for alg_none in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOb25lIiwidHlwIjoiSldUIn0"] {
        refused(&secret, &[], &format!("{alg_none}.{body}."), "");
        refused(&secret, &[], &format!("{alg_none}.{body}.{signature}"), "");
    }
    for nonsense in ["", "x", "a.b.c", "....", &"x".repeat(10_000)] {
        refused(&secret, &[], nonsense, "token");
    }
}

#[test]
fn ch_17_a_public_key_is_never_a_secret() {
    let (private, public) = pair(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    // Whoever knows the public key signs with it as if it were a secret.
    let pem = std::fs::read(public.path()).unwrap();
    let header = base64(br#"{"alg":"HS256","typ":"JWT"}"#);
    let body = base64(br#"{"sub":"Ada","exp":9999999999}"#);
    let signed = format!("{header}.{body}");
    let message = Scratch::new("message", signed.as_bytes());
    let key = pem.iter().fold(String::new(), |hex, octet| format!("{hex}{octet:02x}"));
    let mac = openssl(&[
        "dgst",
        "-sha256",
        "-mac",
        "HMAC",
        "-macopt",
        &format!("hexkey:{key}"),
        "-binary",
        message.path(),
    ]);
    refused(&public, &[], &format!("{signed}.{}", base64(&mac)), "algorithm is not that of the key");
    let (code, _, said) = run(&["token", "check", "--token-key", private.path()], "x");
    assert!(code == 2 && said.contains("needs the public one"), "{said}");
    let (code, _, said) = run(&["token", "mint", "--user", "Ada", "--key", public.path()], "");
    assert!(code == 2 && said.contains("signed with the private one"), "{said}");
}

#[test]
fn a_key_that_is_no_good_is_refused_by_name() {
    let short = Scratch::new("short", b"hunter2");
    let pem = Scratch::new("broken.pem", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    for (key, why) in
        [(&short, "at least 32 bytes, this one has 7"), (&pem, "no public key of RSA or Ed25519")]
    {
        let (code, _, said) =
            run(&["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--token-key", key.path()], "");
        assert!(code == 2 && said.contains(why) && said.contains(key.path()), "{said}");
    }
}

#[test]
fn keys_of_a_set_are_found_by_name_and_for_one_algorithm_only() {
    let secret = base64(&SECRET[..32]);
    let set = format!(
        r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"e"}},
            {{"kty":"oct","k":"{secret}","kid":"one","alg":"HS256"}},
            {{"kty":"oct","k":"c2hvcnQ","kid":"short","alg":"HS256"}}]}}"#
    );
    let set = Scratch::new("jwks.json", set.as_bytes());
    let key = Scratch::new("secret", SECRET);
    let check = |token: &str| run(&["token", "check", "--token-jwks", set.path()], token);
    assert_eq!(check(&mint(&key, &["--key-id", "one"])).0, 0);
    assert_eq!(check(&mint(&key, &[])).0, 0, "without a name each key is tried");
    let (code, _, said) = check(&mint(&key, &["--key-id", "two"]));
    assert!(code == 2 && said.contains("no key of this server"), "{said}");
    let broken = Scratch::new("jwks.json", b"{\"keys\":[]}");
    let (code, _, said) = run(&["token", "check", "--token-jwks", broken.path()], "x");
    assert!(code == 2 && said.contains("none of the keys"), "{said}");
}

/// Unpadded base64 for URLs.
fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in octets.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, &octet| bits << 8 | u32::from(octet)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]));
        }
    }
    text
}
