//! Every form of a report, byte for byte: `merge` of one stored report writes them all.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Scratch, promtool_accepts};

/// Runs `merge` on the stored report with a terminal's environment variables unset.
fn merge(words: &[&str]) -> (Option<i32>, String) {
    let stored = golden("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args([&["merge", stored.as_str()], words].concat())
        .env_remove("CLICOLOR_FORCE")
        .output()
        .expect("loadgen runs");
    (output.status.code(), String::from_utf8(output.stdout).expect("text"))
}

fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flood/golden").join(name);
    path.to_str().expect("a path").to_owned()
}

#[track_caller]
fn is_golden(name: &str, text: &str) {
    let path = golden(name);
    if std::env::var_os("LOADGEN_BLESS").is_some() {
        fs::write(&path, text).expect("a golden file");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name}: run the test with LOADGEN_BLESS=1 if the change is meant");
}

#[test]
fn every_form_of_a_report_is_the_one_in_its_golden_file() {
    let (junit, markdown, textfile) = (Scratch::new("xml"), Scratch::new("md"), Scratch::new("prom"));
    let conditions =
        ["--assert", "p99<5ms", "--assert", "lost==0", "--assert", "last.p99<1s", "--bars", "always"];
    let files =
        ["--junit", junit.path(), "--markdown", markdown.path(), "--prometheus-file", textfile.path()];
    let (status, text) = merge(&[&conditions[..], &files].concat());
    assert_eq!(status, Some(1), "{text}");
    is_golden("report.txt", &text);
    is_golden("junit.xml", &junit.read());
    is_golden("summary.md", &markdown.read());
    is_golden("run.prom", &textfile.read());
    assert!(textfile.read().contains("le=\"+Inf\""));
    promtool_accepts(&textfile.read());
    // Nothing is left of the file that was renamed.
    let directory = textfile.0.parent().unwrap();
    let name = textfile.0.file_name().unwrap().to_str().unwrap().to_owned();
    let left =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(left.filter(|other| other.starts_with(&name)).collect::<Vec<_>>(), [name]);
}

#[test]
fn a_pipe_gets_neither_charts_nor_colours() {
    let (_, plain) = merge(&[]);
    assert!(!plain.contains('█') && !plain.contains('\u{1b}'), "{plain}");
    let (_, never) = merge(&["--bars", "never"]);
    assert_eq!(plain, never);
}

#[test]
fn a_run_names_its_start_its_machine_and_its_command_without_secrets() {
    let server = crate::support::Honest::start(switchboard::apps::Echo);
    let url = format!("ws://{}/?token=a-secret", server.address);
    let run =
        crate::support::run("echo", &url, "--connections 1 --messages 1 --header Authorization:a-secret");
    assert_eq!(run.status, 0, "{run:?}");
    assert!(!run.json.to_string().contains("a-secret"), "{run:?}");
    let command: Vec<&str> =
        run.json["command"].as_array().unwrap().iter().filter_map(|word| word.as_str()).collect();
    assert!(command.contains(&"echo") && command.contains(&"Authorization: …"), "{command:?}");
    let started = run.json["started_at"].as_str().unwrap();
    assert!(started.starts_with("20") && started.ends_with('Z'), "{started}");
    assert!(run.json["generator"]["host"].is_string() && run.json["generator"]["kernel"].is_string());
}
