//! Where settings come from: flags, the environment and a file, for every command.

use crate::ops::{fresh, get, run_with};
use crate::support::tls::Identity;
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

#[test]
fn config_check_names_file_line_and_key_of_every_mistake() {
    for (text, expected) in [
        (
            "listen = \":1\"\nmax-conections = 3\nephemeral = 3\nhistory = [true]\n",
            &[
                ":2: unknown key `max-conections`; did you mean `max-connections`?",
                ":3: `ephemeral` is true or false",
                ":4: `history` cannot be of type boolean",
            ][..],
        ),
        (
            "\nmax-connections = \"many\"\nping-interval = -1\nlog-format = \"jsn\"\n",
            &[
                ":2: invalid value 'many' for `max-connections`",
                ":3: invalid value '-1' for `ping-interval`",
                ":4: invalid value 'jsn' for `log-format`",
            ],
        ),
        ("history = 3\ndata = \n", &[":2: "]),
        ("config = \"other.toml\"\n", &[":1: unknown key `config`"]),
        // Names as other programs and other places write them.
        (
            "max_queued = 3\nHistory = 3\nSWITCHBOARD_KEEP_POSTS = 3\n",
            &[
                ":1: unknown key `max_queued`; did you mean `max-queued`?",
                ":2: unknown key `History`; did you mean `history`?",
                ":3: unknown key `SWITCHBOARD_KEEP_POSTS`; did you mean `keep-posts`?",
            ],
        ),
        (
            "[server]\nhistory = 3\n",
            &[":1: there are no tables: keys are written without `[server]` above them"],
        ),
        // What a setting needs is said where the setting is.
        ("\ndeflate-window = 9\n", &[":2: `deflate-window` needs `deflate`"]),
        ("history = 3\ntls-listen = \":0\"\n", &[":2: `tls-listen` needs `tls-cert` and `tls-key`"]),
        ("tls-cert = \"/x\"\n", &[":1: `tls-cert` needs `tls-key`"]),
        ("hook-ask = \"join\"\n", &[":1: `hook-ask` needs `hook-url`"]),
        ("token-key = \"/nowhere/key\"\n", &["/nowhere/key"]),
        ("require-token = true\n", &["--require-token needs"]),
        ("allow-origin = [\"https://a.example/path\"]\n", &["--allow-origin: "]),
    ] {
        let file = Scratch::new("wrong.toml", text.as_bytes());
        let (code, _, said) = run_with(&["config", "check", file.path()], &[], "");
        let (_, _, by_flag) = run_with(&["config", "check", "--config", file.path()], &[], "");
        assert!(code == 2, "{text}: {said}");
        for part in expected {
            let part =
                if part.starts_with(':') { format!("{}{part}", file.path()) } else { (*part).to_owned() };
            assert!(said.contains(&part) && by_flag.contains(&part), "{part}: {said}");
        }
    }
    let file = Scratch::new("right.toml", b"listen = [\":0\"]\nhistory = 3\n");
    let (code, said, _) = run_with(&["config", "check", file.path()], &[], "");
    assert!(code == 0 && said == format!("{} is valid\n", file.path()), "{said}");
    let (code, _, said) = run_with(&["config", "check"], &[("SWITCHBOARD_TLS_LISTEN", ":0")], "");
    assert!(code == 2 && said.contains("SWITCHBOARD_TLS_LISTEN: `tls-listen` needs `tls-cert`"), "{said}");
    let (code, _, said) = run_with(&["config", "check", "nowhere.toml"], &[], "");
    assert!(code == 2 && said.contains("nowhere.toml: there is no such file; `switchboard config"), "{said}");
    let utf16: Vec<u8> = "history = 3\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (text, part) in
        [(&b"\xff\xfe"[..], "not in UTF-8"), (&utf16, ":1: "), (b"\xef\xbb\xbfhistory = 3\r\n", "")]
    {
        let file = Scratch::new("encoded.toml", text);
        let (code, _, said) = run_with(&["config", "check", file.path()], &[], "");
        assert!((code == 2) != part.is_empty() && said.contains(part), "{said}");
    }
    let (code, _, said) = run_with(&["config", "check"], &[("SWITCHBOARD_HISTORY", "x")], "");
    assert!(code == 2 && said.contains("SWITCHBOARD_HISTORY: "), "{said}");
}

#[test]
fn config_show_says_where_each_value_comes_from_and_hides_secrets() {
    let text = "history = 3\nkeep-posts = 4\nmax-data = 5\nallow-host = [\"a.example\", \"b.example\"]\n\
                sign-in-url = \"https://a.example/in?key=canary\"\nno-room-list = true\n";
    let file = Scratch::new("show.toml", text.as_bytes());
    let variables = [("SWITCHBOARD_KEEP_POSTS", "44"), ("SWITCHBOARD_BUSY_POLL", "0")];
    let args = ["config", "show", "--config", file.path(), "--max-data", "55"];
    let (code, shown, said) = run_with(&args, &variables, "");
    assert_eq!(code, 0, "{said}");
    let path = file.path();
    let lines: Vec<String> =
        shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        format!("history = 3 # {path}:1"),
        "keep-posts = 44 # SWITCHBOARD_KEEP_POSTS".to_owned(),
        "max-data = 55 # flag".to_owned(),
        format!("allow-host = [\"a.example\", \"b.example\"] # {path}:4"),
        format!("sign-in-url = \"https://a.example/in?…\" # {path}:5"),
        format!("no-room-list = true # {path}:6"),
        "busy-poll = false # SWITCHBOARD_BUSY_POLL".to_owned(),
        "#port = 8080 # default".to_owned(),
        "#max-connections = # not set".to_owned(),
    ] {
        assert!(lines.contains(&line), "{line}: {shown}");
    }
    assert!(!shown.contains("canary"), "{shown}");
    // What it prints is a file with the same meaning.
    let again = Scratch::new("again.toml", shown.replace("?…", "").as_bytes());
    let (code, shown, said) = run_with(&["config", "show", "--config", again.path()], &[], "");
    assert!(code == 0 && shown.contains("max-data = 55"), "{shown}{said}");
    let variables = [("SWITCHBOARD_ENGINE", "rediss://chat:canary@db.example:6379/0")];
    let (code, shown, said) = run_with(&["config", "show"], &variables, "");
    assert!(code == 0 && shown.contains("engine = [\"rediss://…@db.example:6379/0\"]"), "{shown}{said}");
    assert!(!shown.contains("canary") && !said.contains("canary"), "{shown}{said}");
    let watched = "redis+sentinel://chat:canary@a.example,b.example/main?sentinel_password=canary";
    let (code, shown, said) = run_with(&["config", "show"], &[("SWITCHBOARD_ENGINE", watched)], "");
    assert!(code == 0 && shown.contains("sentinel://…@a.example,b.example/main?…"), "{shown}{said}");
    assert!(!shown.contains("canary") && !said.contains("canary"), "{shown}{said}");
    // A password in an address of HTTP is refused, and not repeated.
    for args in
        [&["config", "show", "--hook-url", "https://u:canary@a.example"][..], &["serve", "--ephemeral"]]
    {
        let variables = [("SWITCHBOARD_HOOK_URL", "https://u:canary@a.example")];
        let (code, shown, said) = run_with(args, &variables, "");
        assert!(code == 2 && said.contains("must not hold a password"), "{said}");
        assert!(!said.contains("canary") && !shown.contains("canary"), "{shown}{said}");
    }
}

/// The servers for benchmarks have settings of their own, and the same mistakes are made there.
#[test]
fn config_check_and_show_know_the_settings_of_echo_and_fanout() {
    for server in ["echo", "fanout"] {
        let text = "max-mesage = 5\nhistory = 3\nmax-connections = \"many\"\n";
        let file = Scratch::new("wrong.toml", text.as_bytes());
        let (code, _, said) = run_with(&["config", "check", "--for", server, file.path()], &[], "");
        assert_eq!(code, 2, "{said}");
        let (_, _, started) = run_with(&[server, "--config", file.path()], &[], "");
        for part in [
            ":1: unknown key `max-mesage`; did you mean `max-message`?".to_owned(),
            format!(":2: `history` is a setting of `serve`, and not of `{server}`"),
        ] {
            let part = format!("{}{part}", file.path());
            assert!(said.contains(&part) && started.contains(&part), "{part}: {said}{started}");
        }
        let file = Scratch::new("value.toml", b"max-message = \"big\"\n");
        let (code, _, said) = run_with(&["config", "check", "--for", server, file.path()], &[], "");
        assert!(code == 2 && said.contains(&format!("{}:1: invalid value 'big'", file.path())), "{said}");
        let file = Scratch::new("key.toml", b"qqqq = 1\n");
        let (code, _, said) = run_with(&["config", "check", "--for", server, file.path()], &[], "");
        let hint = format!("`switchboard config generate --for {server}` lists all keys");
        assert!(code == 2 && said.contains(&hint), "{said}");
        let (code, _, said) = run_with(&["config", "check", "--for", server, "--history", "5"], &[], "");
        assert!(code == 2 && said.contains("--history") && said.contains("`serve`"), "{said}");
        let (code, _, said) =
            run_with(&["config", "check", "--for", server, "--listen", "no.such.invalid:1"], &[], "");
        assert!(code == 2 && said.contains("--listen: "), "{said}");

        let file = Scratch::new("right.toml", b"max-message = 4096\nlisten = [\":0\"]\n");
        let (code, said, why) = run_with(&["config", "check", file.path(), "--for", server], &[], "");
        assert!(code == 0 && said == format!("{} is valid\n", file.path()), "{said}{why}");
        let args = ["config", "show", "--config", file.path(), "--max-queued", "7", "--for", server];
        let variables = [("SWITCHBOARD_PING_INTERVAL", "9"), ("SWITCHBOARD_MAX_MESSAGE", "8192")];
        let (code, shown, said) = run_with(&args, &variables, "");
        assert_eq!(code, 0, "{said}");
        let lines: Vec<String> =
            shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in [
            "max-message = 8192 # SWITCHBOARD_MAX_MESSAGE".to_owned(),
            format!("listen = [\":0\"] # {}:2", file.path()),
            "max-queued = 7 # flag".to_owned(),
            "ping-interval = 9 # SWITCHBOARD_PING_INTERVAL".to_owned(),
            "#threads = 1 # default".to_owned(),
        ] {
            assert!(lines.contains(&line), "{line}: {shown}");
        }
        let (_, sample, _) = run_with(&["config", "generate", "--for", server], &[], "");
        let keys = |text: &str| {
            let entry = |line: &str| Some(line.trim_start_matches('#').split_once(" =")?.0.to_owned());
            let entries = text.lines().filter(|line| !line.starts_with("# ")).filter_map(entry);
            entries.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(keys(&shown), keys(&sample), "{server}");
        // What it prints is a file with the same meaning.
        let again = Scratch::new("again.toml", shown.as_bytes());
        let (code, _, said) = run_with(&["config", "check", "--for", server, again.path()], &[], "");
        assert_eq!(code, 0, "{said}");
    }
    let file = Scratch::new("bench.toml", b"max-message = 5\n");
    let (code, _, said) = run_with(&["config", "check", file.path()], &[], "");
    let part = ":1: `max-message` is a setting of `echo` and `fanout`, and not of `serve`";
    assert!(code == 2 && said.contains(part), "{said}");
    let (code, _, said) = run_with(&["config", "show", "--max-message", "5"], &[], "");
    assert!(code == 2 && said.contains("--max-message") && said.contains("`echo`"), "{said}");
}

/// A sentence about an address or a file that cannot be had says what to do.
#[test]
fn what_a_server_cannot_have_is_said_with_a_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (place, advice) in [
        (&*taken, "stop the process that listens there, or choose another address"),
        // An address for documents (RFC 5737), which no machine has.
        ("192.0.2.1:8080", "no network interface of this machine has that address"),
        ("unix:/nowhere/chat.sock", "its directory must exist"),
    ] {
        let (code, _, said) = run_with(&["serve", "--ephemeral", "--listen", place], &[], "");
        assert!(code == 2 && said.contains("cannot listen on ") && said.contains(advice), "{place}: {said}");
    }
    // Root reads everything, so the server runs as somebody else.
    let secret = Scratch::new("secret", &[b'x'; 40]);
    std::fs::set_permissions(secret.path(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    if !rustix::process::geteuid().is_root() {
        std::fs::set_permissions(secret.path(), std::os::unix::fs::PermissionsExt::from_mode(0o0)).unwrap();
    }
    for flags in [
        &["--token-key", secret.path()][..],
        &["--api-token-file", secret.path()],
        &["--hook-url", "http://localhost/", "--hook-tell", "posted", "--hook-secret-file", secret.path()],
        &["--tls-listen", "127.0.0.1:0", "--tls-cert", secret.path(), "--tls-key", secret.path()],
    ] {
        let args = [&["serve", "--ephemeral", "--listen", "127.0.0.1:0"], flags].concat();
        let said = run_as_nobody(&args);
        assert!(
            said.contains("Permission denied") && said.contains("needs access to it"),
            "{flags:?}: {said}"
        );
    }
}

/// What a command says to a user who may do nothing. The program is where everybody can reach it.
fn run_as_nobody(args: &[&str]) -> String {
    use std::os::unix::process::CommandExt as _;
    let program = Scratch::new("switchboard", b"");
    std::fs::remove_file(program.path()).unwrap();
    let built = env!("CARGO_BIN_EXE_switchboard");
    std::fs::hard_link(built, program.path())
        .or_else(|_| std::fs::copy(built, program.path()).map(|_| ()))
        .unwrap();
    let mut command = std::process::Command::new(program.path());
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let output = command.args(args).current_dir("/").output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn completions_and_man_pages_are_printed_and_written() {
    for (shell, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef switchboard"),
        ("fish", "complete -c switchboard"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "set edit:completion"),
    ] {
        let (code, script, said) = run_with(&["completions", shell], &[], "");
        assert!(code == 0 && script.contains(part) && script.contains("max-connections"), "{shell}: {said}");
    }
    let (code, page, _) = run_with(&["man", "token", "mint"], &[], "");
    assert!(code == 0 && page.contains(".TH SWITCHBOARD-TOKEN-MINT 1 "), "{page}");
    let (_, page, _) = run_with(&["man"], &[], "");
    for section in ["EXAMPLES", "SETTINGS", "EXIT STATUS", "VERSION"] {
        assert!(page.contains(&format!("\n.SH {section}\n")), "{section}: {page}");
    }
    let version = concat!("\"Switchboard ", env!("CARGO_PKG_VERSION"), "\" Switchboard");
    assert!(
        page.lines().any(|line| line.starts_with(".TH SWITCHBOARD 1 ") && line.contains(version)),
        "{page}"
    );
    let (code, _, said) = run_with(&["man", "nothing"], &[], "");
    assert!(code == 2 && said.contains("nothing"), "{said}");
    let (_scratch, dir) = fresh();
    std::fs::create_dir(&dir).unwrap();
    let (code, printed, said) = run_with(&["man", "--dir", &dir], &[], "");
    assert!(code == 0 && printed.is_empty(), "{printed}{said}");
    let pages: Vec<String> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for page in
        ["switchboard.1", "switchboard-serve.1", "switchboard-token-mint.1", "switchboard-config-check.1"]
    {
        assert!(pages.iter().any(|found| found == page), "{page}: {pages:?}");
    }
}

#[test]
fn the_version_names_commit_target_and_features() {
    let (_, long, _) = run_with(&["--version"], &[], "");
    let names: Vec<&str> = long.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["switchboard", "commit", "target", "features"], "{long}");
    assert!(
        long.contains(", hooks,") && long.lines().all(|line| line.split_whitespace().count() > 1),
        "{long}"
    );
    let (_, short, _) = run_with(&["-V"], &[], "");
    assert_eq!(short.lines().count(), 1, "{short}");
}

/// `script` (of bsdutils) gives the server a terminal.
#[test]
fn there_is_a_banner_on_a_terminal_only() {
    let server = Launch::serve().start();
    assert!(!server.log().iter().any(|line| line.contains("Ctrl+C")), "{:?}", server.log());
    let program = env!("CARGO_BIN_EXE_switchboard");
    let identity = Identity::new(&["chat.example"]);
    let tls = format!("--tls-listen 127.0.0.1:0 {}", identity.flags().join(" "));
    for (flags, has_banner) in [(&*tls, true), ("--log-format json", false)] {
        let command = format!("exec {program} serve --listen 127.0.0.1:0 --ephemeral {flags}");
        let given = format!("exec script -qefc {command:?} /dev/null");
        let mut server = Launch::switchboard(&[]).with_descriptors_of(&given, Vec::new()).start_as_it_is();
        wait_until(SOON, "the server listens", || get(server.addr, "/healthz").0 == 200);
        if has_banner {
            server.wait_for_log("Ctrl+C");
        }
        let log = server.log().join("\n");
        // `script` does not take its child along, so the server is ended itself.
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.id())).unwrap();
        let ended = std::process::Command::new("kill").args(children.split_whitespace()).status().unwrap();
        assert!(ended.success() && server.wait(SOON).success(), "{children}");
        let page = format!("page       http://localhost:{}/", server.port());
        for part in
            [&*page, "in memory only", "anybody, under any free name", "TLS        until ", "(chat.example)"]
        {
            assert_eq!(log.contains(part), has_banner, "{part}: {log}");
        }
    }
}

#[test]
fn whoever_reads_what_a_command_prints_may_stop_reading() {
    use std::process::{Command, Stdio};
    for args in [&["config", "generate"][..], &["completions", "bash"], &["man"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        // It would say that this is no setting.
        command.env_remove("SWITCHBOARD_TEST_THREADS");
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named_with_its_flag() {
    let (identity, scratch) = (Identity::new(&["localhost"]), Scratch::new("empty", b""));
    let [_, cert, _, key] = identity.flags();
    let serve =
        |words: &[&'static str]| [&["serve", "--ephemeral", "--listen", "127.0.0.1:0"], words].concat();
    let hooks = ["--hook-url", "http://127.0.0.1:9", "--hook-ask", "join"];
    for (flag, args) in [
        ("--token-key", serve(&[])),
        ("--token-jwks", serve(&[])),
        ("--api-token-file", serve(&[])),
        ("--hook-secret-file", serve(&hooks)),
        ("--page", serve(&[])),
        ("--token-key", vec!["token", "check"]),
        ("--key", vec!["token", "mint", "--user", "Ada"]),
    ] {
        let (code, _, said) = run_with(&[&args[..], &[flag, "no-such-file"]].concat(), &[], "");
        assert!(code == 2 && said.contains(&format!("{flag} no-such-file: No such file")), "{flag}: {said}");
    }
    for (flag, cert, key) in [("--tls-cert", "no-such-file", key), ("--tls-key", cert, "no-such-file")] {
        let args =
            ["serve", "--ephemeral", "--tls-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key];
        let (code, _, said) = run_with(&args, &[], "");
        assert!(code == 2 && said.contains(&format!("{flag} no-such-file: No such file")), "{flag}: {said}");
    }
    // The file is there and holds no key.
    let (code, _, said) = run_with(&["token", "mint", "--user", "Ada", "--key", scratch.path()], &[], "");
    assert!(code == 2 && said.contains(&format!("--key {}: ", scratch.path())), "{said}");
    let (code, _, said) = run_with(&["engine", "check", "redis://127.0.0.1:9"], &[], "");
    assert!(code == 2 && said.contains("127.0.0.1:9: the engine cannot be reached"), "{said}");
}
