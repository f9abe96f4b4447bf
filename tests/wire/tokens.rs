//! Tokens: what `switchboard token` makes, it takes, and nothing else; and what the chat makes of them.

use std::process::Command;

use serde_json::{Value, json};

use crate::ops::run;
use crate::support::{CLOSE, Client, Launch, Scratch, Server, secs, text, wait_until};

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
fn au_04_a_public_key_is_never_a_secret() {
    let (private, public) = pair(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    // Somebody who knows the public key signs with it as if it were a secret.
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
fn au_04_nothing_that_others_know_is_ever_a_secret() {
    let (private, public) = pair(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let (ed_private, ed_public) = pair(&["-algorithm", "ed25519"]);
    let ec = pair(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let certificate = openssl(&["req", "-x509", "-key", private.path(), "-subj", "/CN=x", "-outform", "PEM"]);
    let read = |file: &Scratch| std::fs::read(file.path()).unwrap();
    let der = openssl(&["pkey", "-pubin", "-in", public.path(), "-outform", "DER"]);
    let ed_der = openssl(&["pkey", "-pubin", "-in", ed_public.path(), "-outform", "DER"]);
    let pkcs1 = openssl(&["rsa", "-pubin", "-in", public.path(), "-RSAPublicKey_out", "-outform", "DER"]);
    let body: String =
        String::from_utf8(read(&public)).unwrap().lines().filter(|line| !line.starts_with('-')).collect();
    let utf16: Vec<u8> = read(&public).iter().flat_map(|octet| [*octet, 0]).collect();
    let jwk = r#"{"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}"#;
    let ssh = "AAAAC3NzaC1lZDI1NTE5AAAAIJ8bVvVwXqN2hVh0tPYjJxSxUqkUCvJqAY5vWW3hrxVZ";
    let hex = der.iter().fold(String::new(), |hex, octet| format!("{hex}{octet:02X}"));
    let pem_in_base64 = base64(&read(&public));
    let escaped = String::from_utf8(read(&public)).unwrap().replace('\n', "\\n");
    let token = mint(&Scratch::new("secret", SECRET), &[]);
    let jwks = format!("\u{feff} {{\"keys\":[{jwk}]}}");
    let (open_ssh, authorized) =
        (format!("ssh-ed25519 {ssh} ada@example"), format!("no-pty ssh-ed25519 {ssh}"));
    let refused: &[(&str, &[u8])] = &[
        ("DER", &der),
        ("DER of Ed25519", &ed_der),
        ("PKCS#1", &pkcs1),
        ("DER and a line end", &[&der[..], b"\n"].concat()),
        ("base64", body.as_bytes()),
        ("hexadecimal digits", hex.as_bytes()),
        ("PEM in base64", pem_in_base64.as_bytes()),
        ("PEM on one line", escaped.as_bytes()),
        ("UTF-16", &[b"\xFF\xFE", &utf16[..]].concat()),
        ("UTF-16 without a mark", &utf16),
        ("JWK", jwk.as_bytes()),
        ("JWKS", jwks.as_bytes()),
        ("OpenSSH", open_ssh.as_bytes()),
        ("a line of authorized_keys", authorized.as_bytes()),
        ("OpenSSH without its type", ssh.as_bytes()),
        ("SSH2", b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n"),
        ("a certificate", &certificate),
        ("a certificate behind a comment", &[b"subject=x\n\n", &certificate[..]].concat()),
        ("an elliptic curve", &read(&ec.1)),
        ("a private key", &read(&private)),
        ("a private key of Ed25519 with a mark", &[b"\xEF\xBB\xBF", &read(&ed_private)[..]].concat()),
        ("DER of a private key", &openssl(&["pkey", "-in", private.path(), "-outform", "DER"])),
        ("XML", b"<RSAKeyValue><Modulus>AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA</Modulus></RSAKeyValue>"),
        ("a token", token.as_bytes()),
        ("several lines", b"untrusted comment: minisign public key\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n"),
        ("a secret with a mark", &[b"\xEF\xBB\xBF", SECRET].concat()),
    ];
    for (what, content) in refused {
        let key = Scratch::new("key", content);
        let (code, out, said) = run(&["token", "check", "--token-key", key.path()], &token);
        assert_eq!((code, &*out), (2, ""), "{what}: {said}");
        assert!(said.contains(key.path()) && said.contains("this "), "{what}: {said}");
        let (code, ..) =
            run(&["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--api-token-file", key.path()], "");
        assert_eq!(code, 2, "{what} is no secret of the API either");
    }
    // The same public keys in PEM are taken as what they are, whatever stands before them.
    let (rsa_token, ed_token) = (mint(&private, &[]), mint(&ed_private, &[]));
    for (public, token) in [(&public, &rsa_token), (&ed_public, &ed_token)] {
        for before in
            [&b""[..], b"\xEF\xBB\xBF", b"# our key\n", b"\n\n", b"Bag Attributes\n    localKeyID: 01\n"]
        {
            let key = Scratch::new("key", &[before, &read(public)[..]].concat());
            let (code, _, said) = run(&["token", "check", "--token-key", key.path()], token);
            assert_eq!(code, 0, "{}: {said}", before.escape_ascii());
        }
    }
}

#[test]
fn au_04_a_public_key_in_a_set_is_no_secret_either() {
    let (_, public) = pair(&["-algorithm", "ed25519"]);
    let pem = std::fs::read(public.path()).unwrap();
    let set = format!(r#"{{"keys":[{{"kty":"oct","k":"{}"}}]}}"#, base64(&pem));
    let set = Scratch::new("jwks.json", set.as_bytes());
    let (code, _, said) = run(&["token", "check", "--token-jwks", set.path()], "x");
    assert!(code == 2 && said.contains("none of the keys"), "{said}");
    // What is not known, or for another purpose, is passed over.
    let secret = base64(&SECRET[..32]);
    let set = format!(
        r#"{{"keys":[{{"kty":"AKP","pub":"AA"}},{{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}},{{"kty":"oct"}},
            {{"kty":"oct","k":"{secret}","use":"enc","kid":"a"}},{{"kty":"oct","k":"{secret}","key_ops":["sign"],"kid":"b"}},
            {{"kty":"oct","k":"{secret}","kid":"c"}}]}}"#
    );
    let set = Scratch::new("jwks.json", set.as_bytes());
    let key = Scratch::new("secret", SECRET);
    for (kid, status) in [("a", 2), ("b", 2), ("c", 0)] {
        let (code, _, said) =
            run(&["token", "check", "--token-jwks", set.path()], &mint(&key, &["--key-id", kid]));
        assert_eq!(code, status, "{kid}: {said}");
    }
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

/// A client that says hello with this token, and what it is answered.
fn hello(server: &Server, fields: &Value) -> (Client, Value) {
    let (mut client, _) = Client::upgrade(server.addr, "/ws", "Sec-WebSocket-Protocol: chat.v1.json\r\n");
    let mut hello = json!({ "type": "hello", "id": 1 });
    hello.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    client.send(&text(&hello.to_string()));
    let answer = answer(&mut client);
    (client, answer)
}

#[track_caller]
fn answer(client: &mut Client) -> Value {
    serde_json::from_slice(&client.message().payload).unwrap()
}

#[track_caller]
fn said(client: &mut Client, command: &Value) -> Value {
    client.send(&text(&command.to_string()));
    loop {
        let answer = answer(client);
        if answer["id"] == command["id"] {
            return answer;
        }
    }
}

#[test]
fn a_token_says_who_somebody_is_and_what_they_may_do() {
    let key = Scratch::new("secret", SECRET);
    let server = Launch::serve().args(&["--token-key", key.path()]).start();
    let token = mint(&key, &["--room", "team-*:join,post", "--room", "lobby:join"]);
    let (mut ada, welcome) = hello(&server, &json!({ "token": token.trim() }));
    assert_eq!((&welcome["user"], &welcome["verified"]), (&json!("Ada"), &json!(true)), "{welcome}");
    for (room, joins, posts) in [("team-a", true, true), ("lobby", true, false), ("secret", false, false)] {
        let joined = said(&mut ada, &json!({ "type": "join", "room": room, "id": 2 }));
        assert_eq!(joined["type"] == "joined", joins, "{room}: {joined}");
        if joins {
            let acked = said(&mut ada, &json!({ "type": "post", "room": room, "text": "x", "id": 3 }));
            assert_eq!(acked["type"] == "ack", posts, "{room}: {acked}");
            assert!(posts || acked["code"] == "forbidden", "{acked}");
        }
    }
    // The name is theirs while they are here.
    let (_, refused) = hello(&server, &json!({ "user": "ada" }));
    assert_eq!(refused["code"], "forbidden", "{refused}");
    let (_, refused) = hello(&server, &json!({ "token": format!("{}x", token.trim()) }));
    assert_eq!((&refused["code"], &refused["field"]), (&json!("forbidden"), &json!("token")), "{refused}");
    // In the request it does the same, and a bad one is told in HTTP.
    let target = format!("/ws?token={}", token.trim());
    let (mut again, _) = Client::upgrade(server.addr, &target, "Sec-WebSocket-Protocol: chat.v1.json\r\n");
    let joined = said(&mut again, &json!({ "type": "join", "room": "lobby", "id": 2 }));
    assert_eq!(joined["type"], "joined", "{joined}");
    for line in server.log() {
        assert!(!line.contains(token.trim()), "{line}");
    }
}

#[test]
fn who_has_no_token_stays_outside_where_one_is_asked_for() {
    let key = Scratch::new("secret", SECRET);
    let server = Launch::serve().args(&["--token-key", key.path(), "--require-token"]).start();
    let (_, refused) = hello(&server, &json!({ "user": "Eve" }));
    assert_eq!((&refused["code"], &refused["field"]), (&json!("forbidden"), &json!("token")), "{refused}");
    let (_, welcome) = hello(&server, &json!({ "token": mint(&key, &[]).trim() }));
    assert_eq!(welcome["type"], "welcome", "{welcome}");
    let (code, _, said) = run(&["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--require-token"], "");
    assert!(code == 2 && said.contains("--require-token needs"), "{said}");
}

#[test]
fn a_session_ends_politely_with_its_token() {
    let key = Scratch::new("secret", SECRET);
    let server = Launch::serve().args(&["--token-key", key.path(), "--token-leeway", "0"]).start();
    let (mut ada, welcome) = hello(&server, &json!({ "token": mint(&key, &["--expires", "2s"]).trim() }));
    assert_eq!(welcome["type"], "welcome");
    let frame = ada.try_frame(secs(6)).expect("a word before the end");
    let bye: Value = serde_json::from_slice(&frame.payload).unwrap();
    assert_eq!((&bye["type"], &bye["reason"]), (&json!("bye"), &json!("token_expired")));
    assert_eq!(ada.frame().opcode, CLOSE);
}

#[test]
fn pr_10_sighup_reads_the_keys_again_and_keeps_them_when_it_cannot() {
    let (old, new) =
        (Scratch::new("old", SECRET), Scratch::new("new", b"quite another secret of 32 bytes or so"));
    let key = Scratch::new("key", SECRET);
    let mut server = Launch::serve().args(&["--token-key", key.path()]).start();
    let is_taken = |token: &str| hello(&server, &json!({ "token": token.trim() })).1["type"] == "welcome";
    let (by_old, by_new) = (mint(&old, &[]), mint(&new, &[]));
    assert!(is_taken(&by_old) && !is_taken(&by_new));
    std::fs::copy(new.path(), key.path()).unwrap();
    assert!(is_taken(&by_old), "not before it is told");
    server.signal("HUP");
    wait_until(secs(5), "the new key", || is_taken(&by_new));
    assert!(!is_taken(&by_old));
    std::fs::write(key.path(), "short").unwrap();
    server.signal("HUP");
    wait_until(secs(5), "a word about it", || {
        assert!(is_taken(&by_new), "the keys stay");
        server
            .log()
            .iter()
            .any(|line| line.contains("stay as they were") && line.contains("at least 32 bytes"))
    });
    server.assert_alive();
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

#[test]
fn au_05_a_person_is_their_subject_and_shown_by_their_name() {
    let key = Scratch::new("secret", SECRET);
    let data = Scratch::new("data", b"");
    std::fs::remove_file(data.path()).unwrap();
    let start = || {
        let args = ["serve", "--listen", "127.0.0.1:0", "--data", data.path(), "--token-key", key.path()];
        Launch::switchboard(&args).start()
    };
    let token = |subject: &str, name: &str| {
        let args = [
            "token",
            "mint",
            "--key",
            key.path(),
            "--user",
            subject,
            "--name",
            name,
            "--room",
            "*:join,post,moderate",
        ];
        run(&args, "").1.trim().to_owned()
    };
    let (long, other) = (format!("auth0|{}", "5".repeat(249)), "google-oauth2|103698120938");
    let mut server = start();
    let (mut first, welcome) = hello(&server, &json!({ "token": token(&long, "Ada") }));
    assert_eq!((&welcome["user"], &welcome["verified"]), (&json!("Ada"), &json!(true)), "{welcome}");
    said(&mut first, &json!({ "type": "join", "room": "lobby", "id": 2 }));
    let acked = said(&mut first, &json!({ "type": "post", "room": "lobby", "text": "mine", "id": 3 }));
    assert_eq!(acked["type"], "ack", "{acked}");
    // Nobody else is Ada, in any spelling, while she is here, when she is gone, and after a restart.
    let mut first = Some(first);
    for round in 0..3 {
        let (_, refused) = hello(&server, &json!({ "token": token(other, "ADA") }));
        assert_eq!(
            (&refused["code"], &refused["field"]),
            (&json!("forbidden"), &json!("token")),
            "{refused}"
        );
        if round == 0 {
            drop(first.take());
        } else if round == 1 {
            server.signal("TERM");
            server.wait(secs(10));
            server = start();
        }
    }
    let (_, welcome) = hello(&server, &json!({ "token": token(&long, "Ada") }));
    assert_eq!(welcome["user"], "Ada", "{welcome}");
    let (_, welcome) = hello(&server, &json!({ "token": token(other, "Ada B") }));
    assert_eq!(welcome["user"], "Ada B", "{welcome}");
    // Who takes another name leaves none behind, and a ban goes with the person.
    let (_, welcome) = hello(&server, &json!({ "token": token(&long, "Lovelace") }));
    assert_eq!(welcome["user"], "Lovelace", "{welcome}");
    let (mut moderator, _) = hello(&server, &json!({ "token": token("boss", "Boss") }));
    let (mut live, welcome) = hello(&server, &json!({ "token": token(&long, "Lovelace") }));
    assert_eq!(welcome["user"], "Lovelace", "{welcome}");
    let banned = said(&mut moderator, &json!({ "type": "ban", "user": "Ada", "id": 9 }));
    assert_eq!(banned["type"], "ack", "{banned}");
    let bye: Value = answer(&mut live);
    assert_eq!((&bye["type"], &bye["reason"]), (&json!("bye"), &json!("banned")), "{bye}");
    for name in ["Ada", "Lovelace", "Yet another"] {
        let (_, refused) = hello(&server, &json!({ "token": token(&long, name) }));
        assert_ne!(refused["type"], "welcome", "{name}: {refused}");
    }
    // The copy of the history knows them, too.
    let copy = format!("{}.copy", data.path());
    assert_eq!(run(&["backup", "--data", data.path(), &copy], "").0, 0);
    let args = ["serve", "--listen", "127.0.0.1:0", "--data", &copy, "--token-key", key.path()];
    let server = Launch::switchboard(&args).start();
    let (_, refused) = hello(&server, &json!({ "token": token(other, "Ada") }));
    assert_eq!(refused["code"], "forbidden", "{refused}");
    std::fs::remove_dir_all(copy).unwrap();
}

#[test]
fn the_claim_with_the_name_is_chosen_by_a_flag_and_named_where_it_is_too_long() {
    let key = Scratch::new("secret", SECRET);
    let long = "x".repeat(33);
    let token = mint(&key, &["--name", &long]);
    refused(&key, &[], &token, "`name` is longer than");
    let token = mint(&key, &["--name", "Countess"]);
    for (args, user) in [
        (&[][..], "Countess"),
        (&["--token-name-claim", "sub"], "Ada"),
        (&["--token-name-claim", "nick"], "Ada"),
    ] {
        let (code, out, said) = run(&[&["token", "check", "--token-key", key.path()], args].concat(), &token);
        assert!(code == 0 && out.contains(&format!("user     {user}\n")), "{out}{said}");
    }
    let (code, token, _) = run(&["token", "mint", "--key", key.path(), "--user", &"s".repeat(256)], "");
    assert_eq!(code, 0);
    refused(&key, &[], &token, "`sub` is longer than 255");
}
