//! docs/configuration.md is made of the table of settings, and everything that lists settings agrees with it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::table::{self, Kind, SERVERS, Setting};
use super::{Cli, Command, config};

const HEAD: &str = "\
# Settings

`switchboard serve`, `echo` and `fanout` have these settings. Each setting has one name in three forms:

| form | example | precedence |
|---|---|---|
| flag | `--max-connections 1000` | first |
| variable | `SWITCHBOARD_MAX_CONNECTIONS=1000` | second |
| key of the file of `--config` | `max-connections = 1000` | third |

- A switch has no value as a flag. In a variable it is on with `1`, `true`, `yes` or `on`, and off with `0`, `false`,
  `no` or `off`. In the file it is `true` or `false`.
- A list is a repeated flag, or one value with commas. In the file it is an array: `listen = [\":8080\", \":8081\"]`.
- An empty variable counts as not set. An unknown variable `SWITCHBOARD_…` is ignored with a warning. An unknown key of
  the file is an error.
- `switchboard config generate` prints a sample of the file with all keys. `switchboard config check FILE` names each
  mistake with its line. `switchboard config show` prints the settings that a server would have, and where each comes
  from. `--for echo` and `--for fanout` do the same for the other servers.

Without another note a setting belongs to all three commands. The other commands have few settings; `--help` lists them.
They read the file of a server and ignore the keys that only `serve` has.
";

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// All settings of servers in the order of `serve`, each with the commands that have it.
fn settings() -> Vec<(Setting, Vec<&'static str>)> {
    let all = Cli::command();
    let mut found: Vec<(Setting, Vec<&str>)> = Vec::new();
    for server in SERVERS {
        for setting in table::of(all.find_subcommand(server).unwrap()) {
            // `listen` has a default of its own for each of them.
            match found.iter_mut().find(|(known, _)| known.key == setting.key) {
                Some((_, servers)) => servers.push(server),
                None => found.push((setting, vec![server])),
            }
        }
    }
    let mut groups: Vec<String> = Vec::new();
    for (setting, _) in &found {
        if !groups.contains(&setting.group) {
            groups.push(setting.group.clone());
        }
    }
    found.sort_by_key(|(setting, _)| groups.iter().position(|group| *group == setting.group));
    found
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    let mut group = String::new();
    for (setting, servers) in settings() {
        if setting.group != group {
            group.clone_from(&setting.group);
            let _ = write!(page, "\n## {group}\n");
        }
        let value =
            if setting.kind == Kind::Switch { String::new() } else { format!(" {}", setting.value_name) };
        let kind = match setting.kind {
            Kind::Switch => ". A switch",
            Kind::One => "",
            Kind::List => ". A list",
        };
        let default = match (&setting.default, &setting.default_in_words) {
            (Some(default), _) => format!(". Default: `{default}`"),
            (None, Some(words)) => format!(". Default: {words}"),
            (None, None) => String::new(),
        };
        let choices = if setting.choices.is_empty() {
            String::new()
        } else {
            format!(". One of `{}`", setting.choices.join("`, `"))
        };
        let of = if servers.len() == SERVERS.len() {
            String::new()
        } else {
            format!(". Only {}", servers.join(" and "))
        };
        let (key, variable) = (&setting.key, table::variable(&setting.key));
        let facts = format!("`--{key}{value}`, `{variable}`{kind}{default}{choices}{of}.");
        let _ = write!(page, "\n### `{key}`\n\n{}\n\n", table::wrapped(&facts, 118).join("\n"));
        let text = format!("{}. {}", setting.about, setting.details);
        for line in table::wrapped(&text, 118) {
            let _ = writeln!(page, "{line}");
        }
    }
    page
}

#[test]
fn the_page_of_settings_is_made_of_the_table() {
    let path = root().join("docs/configuration.md");
    let page = page();
    if std::env::var("SWITCHBOARD_SNAPSHOTS").is_ok_and(|what| what == "update") {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = page.lines().zip(found.lines()).find(|(made, found)| made != found);
    assert!(
        found == page,
        "docs/configuration.md is not what the flags say; SWITCHBOARD_SNAPSHOTS=update writes it again: {differs:?}"
    );
}

#[test]
fn every_setting_is_in_help_sample_man_page_and_completions() {
    let mut all = Cli::concise_command();
    all.build();
    let shells = [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish];
    let scripts = shells.map(|shell| {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "switchboard", &mut script);
        String::from_utf8(script).unwrap()
    });
    for server in SERVERS {
        let command = all.find_subcommand(server).unwrap();
        let (short, long) =
            (command.clone().render_help().to_string(), command.clone().render_long_help().to_string());
        let mut man = Vec::new();
        clap_mangen::Man::new(command.clone()).render(&mut man).unwrap();
        let man = String::from_utf8(man).unwrap().replace('\\', "");
        let sample = config::sample(server);
        let settings = table::of(command);
        assert!(settings.len() > 30, "{server}: {}", settings.len());
        for Setting { key, about, group, kind, value_name, .. } in &settings {
            let line = about.chars().count();
            assert!((10..=90).contains(&line) && !about.ends_with('.'), "{key}: {about}");
            assert!(*group != "Options" && (*kind == Kind::Switch || !value_name.is_empty()), "{key}");
            let flag = format!("--{key}");
            assert!(short.contains(&flag) && long.contains(&flag) && man.contains(&flag), "{server} {flag}");
            for (shell, script) in shells.iter().zip(&scripts) {
                // Fish has `-l` and the name; a shell that quotes has it with its dashes.
                let is_there = script.contains(&flag) || script.contains(&format!("-l {key}"));
                assert!(is_there, "{shell}: {flag}");
            }
            let in_sample = sample.lines().filter(|line| line.starts_with(&format!("#{key} = "))).count();
            assert_eq!(in_sample, usize::from(key != "config"), "{server} {key}");
        }
        let keys: BTreeSet<String> = settings.iter().map(|setting| table::variable(&setting.key)).collect();
        assert_eq!(keys.len(), settings.len(), "{server}: two settings share a variable");
    }
}

#[test]
fn a_sample_with_all_defaults_changes_nothing() {
    for server in SERVERS {
        let all = Cli::command();
        let settings = table::of(all.find_subcommand(server).unwrap());
        let mut text = String::new();
        for line in config::sample(server).lines() {
            let entry = line.strip_prefix('#').filter(|line| !line.starts_with(' '));
            let Some((key, _)) = entry.and_then(|entry| entry.split_once(" = ")) else { continue };
            let setting = settings.iter().find(|setting| setting.key == key).unwrap();
            // What has no default is an example; a switch may contradict another one only where it is on.
            if setting.default.is_some() || setting.kind == Kind::Switch {
                let _ = writeln!(text, "{}", entry.unwrap());
            }
        }
        assert!(text.lines().count() > 10, "{text}");
        let path =
            std::env::temp_dir().join(format!("switchboard-sample-{server}-{}.toml", std::process::id()));
        // `deflate-window` needs `deflate`.
        fs::write(&path, text.replace("deflate = false", "deflate = true")).unwrap();
        let words = ["switchboard", server, "--config", path.to_str().unwrap()].map(OsString::from);
        let read = Cli::from_all(words.to_vec(), &[]);
        let plain = Cli::from_all(["switchboard", server, "--deflate"].map(OsString::from).to_vec(), &[]);
        fs::remove_file(&path).unwrap();
        let shown = |cli: Cli| format!("{:?}", cli.command).replace(&format!("Some({path:?})"), "None");
        assert_eq!(shown(read.unwrap().0), shown(plain.unwrap().0));
    }
}

/// The commands of a text: lines that begin with `switchboard`, joined where they go on, up to a redirection or a comment.
fn commands(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split("\\\n").collect();
    let joined = parts.iter().map(|part| part.trim_matches(' ')).collect::<Vec<_>>().join(" ");
    let lines = joined.lines().map(str::trim).filter(|line| {
        line.strip_prefix("switchboard").is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            && !line.contains(['[', '|', '`', '…'])
    });
    // What it does stands behind two spaces.
    let ends = [" <", " >", " #", " &", "  "];
    let cut = |line: &str| {
        let end = ends.iter().filter_map(|end| line.find(end)).min().unwrap_or(line.len());
        line[..end].to_owned()
    };
    lines.map(cut).collect()
}

#[test]
fn every_example_is_a_command_that_is_understood() {
    let mut examples: Vec<(String, String)> = Vec::new();
    let mut all = Cli::command();
    for command in all.get_subcommands_mut() {
        let help = command.render_help().to_string();
        let (_, after) = help.split_once("Examples:").unwrap_or_else(|| panic!("{}", command.get_name()));
        examples.extend(commands(after).into_iter().map(|example| (command.get_name().to_owned(), example)));
    }
    let long = all.render_long_help().to_string();
    examples.extend(commands(&long).into_iter().map(|example| ("--help".to_owned(), example)));
    let mut pages = vec![root().join("README.md")];
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    pages.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        examples.extend(commands(&text).into_iter().map(|example| (page.display().to_string(), example)));
    }
    assert!(examples.len() > 40, "{}", examples.len());
    for (place, example) in examples {
        let words = example.split_whitespace().map(|word| word.trim_matches('\''));
        if let Err(error) = Cli::concise_command().try_get_matches_from(words)
            && error.use_stderr()
        {
            panic!("{place}: {example}\n{error}");
        }
    }
}

#[test]
fn the_flags_of_serve_are_understood_where_a_server_is_talked_about() {
    for command in ["check", "show"] {
        let words = ["switchboard", "config", command, "--max-connections", "7"].map(OsString::from);
        let variables = [("SWITCHBOARD_HISTORY".into(), "9".into())];
        let (mut cli, _) = Cli::from_all(words.to_vec(), &variables).unwrap();
        let serve = cli.serve_args();
        assert_eq!((serve.common.max_connections, serve.history), (7, 9));
        assert!(matches!(cli.command, Some(Command::Config(_))));
    }
}
