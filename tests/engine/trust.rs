//! Who may speak to the engine: TLS, with certificates of both sides, and users with the rights that they need.

use std::process::Command;

use switchboard::history::Outcome;
use switchboard::history::engine::{self, Certificates, EngineError, Options, Target};

use crate::node::{Node, TIMEOUT};
use crate::nodes::node_with;
use crate::person::Person;
use crate::redis_server::{Engine, free_port};
use crate::support::tls::Identity;

fn check(args: &[&str]) -> (Option<i32>, String) {
    let args = [&["engine", "check"], args].concat();
    let out = Command::new(env!("CARGO_BIN_EXE_switchboard")).args(args).output().unwrap();
    (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

#[test]
fn an_engine_with_tls_is_believed_by_its_authority_and_believes_a_certificate() {
    let (engine_is, node_is) = (Identity::new(&["localhost"]), Identity::new(&["node"]));
    let port = free_port();
    let engine = Engine::with_tls(&[
        "--save",
        "",
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        engine_is.certificate.path(),
        "--tls-key-file",
        engine_is.key.path(),
        "--tls-ca-cert-file",
        node_is.certificate.path(),
        "--tls-auth-clients",
        "yes",
    ]);
    let url = format!("rediss://localhost:{port}/0");
    let ca = ["--engine-ca", engine_is.certificate.path()];
    let own = ["--engine-cert", node_is.certificate.path(), "--engine-key", node_is.key.path()];
    let (code, said) = check(&[&[&*url], &ca[..], &own].concat());
    assert!(code == Some(0) && said.contains("It can be the engine."), "{said}");
    // Without one of the two nobody speaks.
    let (code, said) = check(&[&[&*url], &ca[..]].concat());
    assert!(code == Some(2) && said.contains("cannot be reached"), "{said}");
    let (code, said) = check(&[&[&*url], &own[..]].concat());
    assert!(code == Some(2) && said.contains("cannot be reached"), "{said}");
    let (code, said) = check(&[&[&*url.replace("localhost", "127.0.0.1")], &ca[..], &own].concat());
    assert!(
        code == Some(2) && said.contains("cannot be reached"),
        "the certificate has another name: {said}"
    );
    let (code, said) = check(&[&[&*engine.url()], &ca[..]].concat());
    assert!(code == Some(2) && said.contains("rediss://"), "{said}");
    let (code, said) = check(&[&*url, "--engine-ca", "/nowhere.pem"]);
    assert!(code == Some(2) && said.contains("--engine-ca /nowhere.pem: "), "{said}");
    let (code, said) = check(&[&*url, "--engine-cert", node_is.certificate.path()]);
    assert!(code == Some(2) && said.contains("--engine-key"), "{said}");
    let node = node_with(&url, &[&ca[..], &own].concat());
    let mut ada = Person::hello(node.addr, "Ada");
    ada.join("tea", None);
    assert_eq!(ada.say("tea", "sealed"), 1);
    assert_eq!(ada.messages(1), [(1, "sealed".to_owned())]);
    let clients: String = engine.run(&["CLIENT", "LIST", "TYPE", "normal"]);
    assert!(clients.contains(&format!("laddr=127.0.0.1:{port}")), "it speaks TLS: {clients}");
}

#[test]
fn certificates_that_are_none_are_refused() {
    let certificates = Certificates { authorities: None, own: Some((b"x".to_vec(), b"y".to_vec())) };
    let why = Target::with_certificates("rediss://localhost:1", TIMEOUT, &certificates).unwrap_err();
    assert!(matches!(why, EngineError::Address(_)), "{why}");
}

/// The commands that the page on scaling names, with the rights that it gives.
fn rule() -> Vec<String> {
    let page = include_str!("../../docs/scaling.md");
    let rule = page.split("```").find_map(|it| it.strip_prefix("text\nACL SETUSER chat ")).unwrap();
    rule.split_whitespace().map(|word| word.replace(">PASSWORD", ">secret")).collect()
}

#[test]
fn a_user_with_the_rights_of_the_page_on_scaling_is_enough_and_has_no_others() {
    let engine = Engine::start();
    let rule = rule();
    let words: Vec<&str> =
        ["ACL", "SETUSER", "chat"].into_iter().chain(rule.iter().map(String::as_str)).collect();
    engine.run::<()>(&words);
    let url = format!("redis://chat:secret@127.0.0.1:{}/0", engine.port());
    let mut node = Node::start(&url, Options::default(), 1);
    node.open(0, "r");
    for nth in 1..=70 {
        let text = nth.to_string();
        assert!(matches!(node.post(0, "r", &text, Some(&text)), Some(Outcome::Posted { .. })));
        assert!(matches!(node.post(0, "@ada\nbob", &text, Some(&text)), Some(Outcome::Posted { .. })));
    }
    node.wait_for(0, "r", 70);
    node.end();
    let refused: Vec<redis::Value> = engine.run(&["ACL", "LOG"]);
    assert!(refused.is_empty(), "{refused:?}");
    for words in [&["FLUSHALL"][..], &["KEYS", "*"], &["GET", "other"], &["CONFIG", "SET", "maxmemory", "1"]]
    {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        let client = redis::Client::open(&*url).unwrap();
        let why = command.query::<redis::Value>(&mut client.get_connection().unwrap()).unwrap_err();
        assert_eq!(why.code(), Some("NOPERM"), "{words:?}");
    }
    let wrong = Target::new(&url.replace("secret", "wrong"), TIMEOUT).unwrap();
    assert!(matches!(engine::open(wrong, Options::default(), 1), Err(EngineError::Unreachable(_))));
}
