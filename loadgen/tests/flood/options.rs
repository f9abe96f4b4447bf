//! Command lines that are refused before a connection is made, and the help.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use switchboard::apps::Echo;

use crate::support::{Answers, Honest, Scratch, loadgen, start};

#[test]
fn the_help_of_every_subcommand_is_the_one_in_its_golden_file() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flood/help");
    let commands = [
        "",
        "echo",
        "fanout",
        "chat",
        "idle",
        "churn",
        "slow",
        "storm",
        "custom",
        "search",
        "compare",
        "merge",
        "agent",
        "lead",
        "completions",
        "man",
    ];
    for command in commands {
        let words: Vec<&str> = [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        let help = String::from_utf8(loadgen(&words).stdout).unwrap();
        let golden =
            directory.join(if command.is_empty() { "loadgen.txt".into() } else { format!("{command}.txt") });
        if std::env::var_os("LOADGEN_BLESS").is_some() {
            fs::create_dir_all(&directory).unwrap();
            fs::write(&golden, &help).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap();
        assert_eq!(help, expected, "{command}: run the test with LOADGEN_BLESS=1 if the change is meant");
    }
}

#[test]
fn a_run_that_cannot_start_says_why_and_exits_with_2() {
    for (options, reason) in [
        (&["ws://192.0.2.1/"][..], "--i-own-this-server"),
        (&["http://127.0.0.1/"], "use ws:// or wss://"),
        (&["ws://127.0.0.1:1/", "--assert", "p99<5"], "is a time"),
        (&["ws://127.0.0.1:1/", "--source-ip", "::1"], "family"),
        (&["ws://127.0.0.1:1/", "--pid", "4294967294"], "no such process"),
        (&["ws://127.0.0.1:1/", "--metrics", "192.0.2.1:1"], "--metrics"),
        (&["nonsense"], "not a URL"),
        (&["ws://127.0.0.1:1/", "--connections", "0"], "--connections"),
        (&["ws://127.0.0.1:1/", "--rate", "5", "--messages", "2"], "cannot be used with"),
        (&["ws://127.0.0.1:1/", "--duration", "soon"], "10s"),
        (&["ws://127.0.0.1:1/", "--header", "X-Bad"], "Name: value"),
        (&["ws://127.0.0.1:1/", "--json", "/no/such/directory/report.json"], "No such file"),
    ] {
        let output = loadgen(&[&["echo"], options].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{options:?}: {errors}");
        assert!(errors.contains(reason), "{options:?}: {errors}");
        assert_eq!(output.stdout, b"", "{options:?}");
    }
}

#[test]
fn too_few_descriptors_are_noticed_before_the_flood() {
    let command = format!("ulimit -n 50; exec {} echo ws://127.0.0.1:1/", env!("CARGO_BIN_EXE_loadgen"));
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("50 are allowed") && errors.contains("ulimit"), "{errors}");
}

#[test]
fn a_soft_limit_is_raised() {
    let server = Honest::start(Echo);
    let (binary, address) = (env!("CARGO_BIN_EXE_loadgen"), server.address);
    let command = format!(
        "ulimit -Sn 50; exec {binary} echo ws://{address}/ --connections 80 --messages 1 --duration 9s"
    );
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn an_interrupt_prints_the_report_so_far() {
    let (sender, receiver) = mpsc::channel();
    let address = start(Answers(move |seq, message, _: &mut Vec<_>| {
        if seq == 10 {
            sender.send(()).unwrap();
        }
        Some(vec![message])
    }));
    let url = format!("ws://{address}/");
    let flood = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["echo", &url, "--connections", "1", "--warmup", "0s", "--duration", "60s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    receiver.recv().unwrap();
    let is_sent = Command::new("kill").args(["-INT", &flood.id().to_string()]).status().unwrap();
    assert!(is_sent.success());
    let output = flood.wait_with_output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{report}");
    assert!(report.contains("1 opened") && report.contains("verdict       interrupted"), "{report}");
    assert!(report.contains(" 0 lost") && !report.contains(" 0 echoed"), "{report}");
}

#[test]
fn completions_and_man_pages_name_every_subcommand() {
    let help = String::from_utf8(loadgen(&["--help"]).stdout).unwrap();
    let commands = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let names: Vec<&str> = commands
        .lines()
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() > 12 && names.contains(&"echo") && names.contains(&"lead"), "{names:?}");
    for shell in ["bash", "zsh", "fish"] {
        let output = loadgen(&["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{shell}");
        let missing: Vec<_> = names.iter().filter(|name| !script.contains(**name)).collect();
        assert!(missing.is_empty() && script.contains("--connections"), "{shell}: {missing:?}");
    }
    let directory = Scratch::new("man");
    fs::create_dir_all(&directory.0).unwrap();
    assert_eq!(loadgen(&["man", "--dir", directory.path()]).status.code(), Some(0));
    for name in names.iter().filter(|name| **name != "help") {
        let page = fs::read_to_string(directory.0.join(format!("loadgen-{name}.1"))).unwrap();
        assert!(page.contains(&format!("loadgen\\-{name}")), "{name}: {page}");
    }
    let page = String::from_utf8(loadgen(&["man", "echo"]).stdout).unwrap();
    assert!(page.contains("ECHO") && page.contains("connections"), "{page}");
    let output = loadgen(&["man", "nonsense"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && errors.contains("no subcommand nonsense"), "{errors}");
    fs::remove_dir_all(&directory.0).unwrap();
}

#[test]
fn whoever_reads_a_page_may_stop_reading() {
    use std::process::{Command, Stdio};
    for args in [&["completions", "bash"][..], &["man", "echo"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}
