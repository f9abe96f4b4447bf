//! `switchboard doctor`, on this machine as it is.

use serde_json::Value;

use crate::ops::{fresh, run_with};
use crate::support::tls::Identity;
use crate::support::{Launch, Scratch};

/// What it finds, by check, and its exit code.
#[track_caller]
fn doctor(args: &[&str]) -> (i32, Value) {
    let args = [&["doctor", "--json"][..], args].concat();
    let (code, printed, said) = run_with(&args, &[], "");
    let found: Value =
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}{said}"));
    (code, found)
}

fn of<'f>(found: &'f Value, check: &str) -> Vec<&'f Value> {
    let findings = found["findings"].as_array().unwrap();
    findings.iter().filter(|finding| finding["check"] == check).collect()
}

#[test]
fn everything_is_looked_at_and_nothing_is_left_behind() {
    let (_scratch, data) = fresh();
    let identity = Identity::new(&["chat.example"]);
    let args = ["--data", &data, "--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0"];
    let args: Vec<&str> = args.into_iter().chain(identity.flags()).collect();
    let (code, found) = doctor(&args);
    for check in ["settings", "descriptors", "backlog", "clock", "memory", "cores", "disk", "fsync", "tls"] {
        assert_eq!(of(&found, check).len(), 1, "{check}: {found}");
    }
    assert_eq!(of(&found, "port").len(), 2, "{found}");
    assert!(of(&found, "tls")[0]["found"].as_str().unwrap().contains("chat.example"), "{found}");
    for finding in found["findings"].as_array().unwrap() {
        assert_eq!(finding["advice"].is_null(), finding["grade"] == "good", "{finding}");
    }
    assert_eq!(code, i32::from(found["grade"] == "failure"), "{found}");
    let parent = std::path::Path::new(&data).parent().unwrap();
    let left: Vec<_> = std::fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("doctor")), "{left:?}");
    assert!(!std::path::Path::new(&data).exists());
}

#[test]
fn what_keeps_a_server_from_working_is_exit_code_1() {
    let server = Launch::echo().start_as_it_is();
    let taken = format!("127.0.0.1:{}", server.port());
    let key = Scratch::new("key", b"short");
    for (args, check, part) in [
        (&["--ephemeral", "--listen", &taken][..], "port", "another program listens there"),
        (&["--data", "/nowhere/at/all", "--listen", "127.0.0.1:0"], "disk", "see --data"),
        (&["--ephemeral", "--listen", "127.0.0.1:0", "--token-key", key.path()], "settings", "config check"),
    ] {
        let (code, found) = doctor(args);
        let bad: Vec<&Value> = of(&found, check).into_iter().filter(|it| it["grade"] == "failure").collect();
        assert!(code == 1 && found["grade"] == "failure", "{check}: {found}");
        assert!(bad.len() == 1 && bad[0]["advice"].as_str().unwrap().contains(part), "{check}: {found}");
        let (code, text, _) = run_with(&[&["doctor"], args].concat(), &[], "");
        assert!(code == 1 && text.contains(part) && text.contains("does not work here"), "{text}");
    }
    // What is wrong with the command line itself is said as it is elsewhere.
    let (code, _, said) = run_with(&["doctor", "--threads", "many"], &[], "");
    assert!(code == 2 && said.contains("--threads"), "{said}");
}
