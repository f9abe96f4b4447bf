//! Where settings come from: flags, the environment and a file, for every command.

use crate::ops::{fresh, get, run_with};
use crate::support::{Launch, SOON, Scratch, head_of, upgrade_request, wait_until};

const MESSAGE: &str = r#"{"room":"general","seq":1,"time":5,"user":"Ada","text":"hello"}"#;

#[test]
fn every_command_takes_its_settings_from_the_environment_and_the_file() {
    let (_scratch, data) = fresh();
    let (_other, elsewhere) = fresh();
    let variables: &[(&str, &str)] = &[("SWITCHBOARD_DATA", &data)];
    let (code, _, said) = run_with(&["import"], variables, MESSAGE);
    assert!(code == 0 && said.contains("1 messages imported"), "{said}");
    assert!(std::path::Path::new(&data).join("switchboard.db").is_file());
    let (code, lines, said) = run_with(&["export", "--all"], variables, "");
    assert!(code == 0 && lines.contains("\"hello\""), "{said}");
    // The file of a server does for the other commands, too.
    let config = format!("listen = [\"127.0.0.1:0\"]\nkeep-posts = 3\ndata = {data:?}\n");
    let file = Scratch::new("switchboard.toml", config.as_bytes());
    for (args, variables) in [
        (vec!["export", "--all", "--config", file.path()], vec![]),
        (vec!["export", "--all"], vec![("SWITCHBOARD_CONFIG", file.path())]),
        // An empty variable is none.
        (vec!["export", "--all"], vec![("SWITCHBOARD_CONFIG", file.path()), ("SWITCHBOARD_DATA", "")]),
        // The flag takes precedence, and the variable over the file.
        (vec!["export", "--all", "--data", &data], vec![("SWITCHBOARD_DATA", &*elsewhere)]),
        (vec!["export", "--room", "general"], vec![("SWITCHBOARD_DATA", &*data), ("SWITCHBOARD_ALL", "1")]),
        (vec!["export"], vec![("SWITCHBOARD_DATA", &*data), ("SWITCHBOARD_ROOM", "general")]),
    ] {
        let (code, lines, said) = run_with(&args, &variables, "");
        assert!(code == 0 && lines.contains("\"hello\""), "{args:?} {variables:?}: {said}");
    }
    let (code, _, said) = run_with(&["backup", &elsewhere], variables, "");
    assert!(code == 0 && std::path::Path::new(&elsewhere).is_dir(), "{said}");
    let secret = Scratch::new("secret", &[b'x'; 40]);
    let variables: &[(&str, &str)] = &[
        ("SWITCHBOARD_KEY", secret.path()),
        ("SWITCHBOARD_USER", "Ada"),
        ("SWITCHBOARD_ROOM", "a:join,post"),
    ];
    let (code, token, said) = run_with(&["token", "mint"], variables, "");
    assert_eq!(code, 0, "{said}");
    let variables: &[(&str, &str)] = &[("SWITCHBOARD_TOKEN_KEY", secret.path())];
    let (code, claims, said) = run_with(&["token", "check"], variables, &token);
    assert!(code == 0 && claims.contains("room     a: join, post"), "{claims}{said}");
}

#[test]
fn a_variable_may_hold_a_list_with_commas() {
    let hosts = [
        ("SWITCHBOARD_ALLOW_HOST", "a.example, b.example,,"),
        ("SWITCHBOARD_LISTEN", "127.0.0.1:0,127.0.0.1:0"),
    ];
    let mut launch = Launch::switchboard(&["serve", "--ephemeral"]);
    for (name, value) in hosts {
        launch = launch.env(name, value);
    }
    let server = launch.start();
    wait_until(SOON, "two addresses", || {
        server.log().iter().filter(|line| line.contains("Server running at")).count() == 2
    });
    for (host, status) in
        [("a.example", 200), ("b.example", 200), ("c.example", 421), ("a.example,b.example", 400)]
    {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let found = head_of(server.addr, request.as_bytes()).1.unwrap().status;
        assert!(found == status || (found != 200 && status != 200), "{host}: {found}");
    }
}

#[test]
fn a_variable_switches_a_flag_on_or_off() {
    let file = Scratch::new("on.toml", b"strict-subprotocol = true\n");
    let is_strict = |variable: Option<&str>, file: Option<&Scratch>| {
        let mut launch = Launch::serve();
        if let Some(value) = variable {
            launch = launch.env("SWITCHBOARD_STRICT_SUBPROTOCOL", value);
        }
        if let Some(file) = file {
            launch = launch.args(&["--config", file.path()]);
        }
        let server = launch.start();
        let request = upgrade_request("/ws", "Sec-WebSocket-Protocol: unknown\r\n");
        head_of(server.addr, request.as_bytes()).1.unwrap().status != 101
    };
    for value in ["1", "true", "TRUE", "yes", "on"] {
        assert!(is_strict(Some(value), None), "{value}");
    }
    for value in ["0", "false", "No", "off", ""] {
        assert!(!is_strict(Some(value), None), "{value}");
    }
    assert!(is_strict(None, Some(&file)) && is_strict(Some(""), Some(&file)));
    assert!(!is_strict(Some("0"), Some(&file)), "the variable takes precedence");
    let variables: &[(&str, &str)] = &[("SWITCHBOARD_BUSY_POLL", "maybe")];
    let (code, _, said) = run_with(&["echo", "--listen", "127.0.0.1:0"], variables, "");
    assert!(code == 2 && said.contains("SWITCHBOARD_BUSY_POLL") && said.contains("maybe"), "{said}");
}

#[test]
fn what_is_wrong_with_a_variable_is_said_by_its_name() {
    for (name, value) in
        [("SWITCHBOARD_MAX_CONNECTIONS", "many"), ("SWITCHBOARD_LISTEN", "nowhere"), ("PORT", "http")]
    {
        let (code, _, said) = run_with(&["serve", "--ephemeral"], &[(name, value)], "");
        assert!(code == 2 && said.contains(&format!("{name}: ")) && said.contains(value), "{said}");
    }
    // A flag on the command line excludes what contradicts it elsewhere.
    let server = Launch::serve().env("SWITCHBOARD_DATA", "/nowhere/at/all").start();
    assert_eq!(get(server.addr, "/healthz").0, 200);
}

#[test]
fn a_variable_that_is_no_setting_is_warned_of() {
    let server = Launch::serve()
        .env("SWITCHBOARD_LISTN", "127.0.0.1:1")
        .env("SWITCHBOARD_QQQQ", "1")
        .env("SWITCHBOARD_MAX_MESSAGE", "1000")
        .env("SWITCHBOARD_SERVICE_HOST", "10.0.0.1")
        .env("SWITCHBOARD_PORT", "tcp://10.0.0.1:8080")
        .env("SWITCHBOARD_PORT_8080_TCP_ADDR", "10.0.0.1")
        .start();
    let line = server.wait_for_log("SWITCHBOARD_LISTN");
    assert!(line.contains("WARN") && line.contains("did you mean SWITCHBOARD_LISTEN?"), "{line}");
    assert!(server.wait_for_log("SWITCHBOARD_QQQQ").contains("WARN"));
    let warned = server.log().iter().filter(|line| line.contains("is no setting")).count();
    assert_eq!(warned, 2, "{:?}", server.log());
}
