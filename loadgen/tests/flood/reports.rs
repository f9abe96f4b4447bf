//! Reports of runs: conditions, files, comparison, merging, search, and the observers.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use serde_json::Value;
use switchboard::apps::Echo;

use crate::support::{Answers, Honest, Scratch, echo, flood, loadgen, promtool_accepts, start};

#[test]
fn a_broken_condition_has_its_own_exit_status() {
    let server = Honest::start(Echo);
    let run = |conditions: &str| echo(server.address, &format!("--connections 2 --messages 10 {conditions}"));
    let held = run("--assert lost==0 --assert p99<60s --assert handshake.max>0ns --assert busy<=100%");
    assert_eq!((held.status, held.json["assertions"].as_array().unwrap().len()), (0, 4), "{held:?}");
    let broken = run("--assert lost==0 --assert p50<1ns");
    assert_eq!((broken.status, broken.json["verdict"].as_str()), (3, Some("ok")), "{broken:?}");
    assert!(
        broken.text.contains("p50<1ns broken") && broken.text.contains("lost==0 holds"),
        "{}",
        broken.text
    );
    // A condition on a figure that was not measured does not hold.
    assert_eq!(run("--assert plan.p99<1s").status, 3);
    // A fault has precedence over a broken condition.
    let liar = start(Answers(|_, _, _: &mut Vec<_>| Some(vec![])));
    assert_eq!(echo(liar, "--connections 1 --duration 100ms --warmup 0s --assert p50<1ns").status, 1);
}

#[test]
fn a_generator_at_its_limit_says_so() {
    // On one core both are busy, and a rate that is out of reach makes the generator late by its own fault.
    let server = Honest::start(Echo);
    let options = "--connections 10 --rate 5000000 --warmup 0s --duration 300ms --size 1000";
    let run = echo(server.address, &format!("{options} --strict"));
    assert_eq!(run.json["generator"]["client_bound"], true, "{run:?}");
    assert!(run.text.contains("client-bound"), "{}", run.text);
    assert!([1, 4].contains(&run.status), "{run:?}");
    if run.json["verdict"] == "ok" {
        assert_eq!(run.status, 4);
    }
}

#[test]
fn the_page_and_the_table_hold_the_run() {
    let server = Honest::start(Echo);
    let (html, csv) = (Scratch::new("html"), Scratch::new("csv"));
    let run = echo(
        server.address,
        &format!("--connections 3 --duration 500ms --warmup 0s --html {} --csv {}", html.path(), csv.path()),
    );
    assert_eq!(run.status, 0, "{run:?}");
    let page = html.read();
    let json = page.split_once("application/json\">").unwrap().1.split_once("</script>").unwrap().0;
    assert_eq!(serde_json::from_str::<Value>(json).unwrap(), run.json);
    let table = csv.read();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "start_s,answered,per_second,p50_us,p90_us,p99_us,p99.9_us");
    assert_eq!(lines.len() - 1, run.json["intervals"].as_array().unwrap().len());
    let answered: u64 =
        lines[1..].iter().map(|line| line.split(',').nth(1).unwrap().parse::<u64>().unwrap()).sum();
    assert!(answered > 0 && answered <= run.count("answered"), "{table}");
}

/// The report of a run with `options`, in a file.
fn report(options: &str, pause: bool) -> Scratch {
    let address = start(Answers(move |_, message, _: &mut Vec<_>| {
        if pause {
            let (_sender, nothing) = mpsc::channel::<()>();
            let _ = nothing.recv_timeout(std::time::Duration::from_millis(20));
        }
        Some(vec![message])
    }));
    let file = Scratch::new("json");
    let url = format!("ws://{address}/");
    let mut words = vec!["echo", &url, "--json", file.path()];
    words.extend(options.split_whitespace());
    assert_eq!(loadgen(&words).status.code(), Some(0));
    file
}

#[test]
fn a_slower_server_fails_the_comparison_with_confidence() {
    let options = "--connections 2 --warmup 0s --duration 1s";
    let (fast, slow) = (report(options, false), report(options, true));
    let compare = |base: &Scratch, new: &Scratch, condition: &str| {
        let output = loadgen(&["compare", base.path(), new.path(), "--fail-if", condition]);
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, text) = compare(&fast, &slow, "p50>1.5x");
    assert_eq!(status, 3, "{text}");
    assert!(text.contains("p90") && text.contains("rate") && text.contains("holds: failed"), "{text}");
    assert!(!text.contains("p99.9"), "the slow one has too few samples: {text}");
    assert_eq!(compare(&slow, &fast, "p50>1.5x").0, 0);
    assert_eq!(compare(&fast, &fast, "rate<0.9x").0, 0);
    // A figure that neither report has fails.
    assert_eq!(compare(&fast, &slow, "plan.p99>1x").0, 3);
    let output = loadgen(&["compare", fast.path(), "/no/such/file"]);
    assert_eq!(output.status.code(), Some(2));
    let output = loadgen(&["compare", fast.path(), slow.path(), "--fail-if", "p99>5ms"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("1.1x"), "{output:?}");
}

#[test]
fn reports_that_cannot_be_compared_are_refused_with_the_reason() {
    let one = report("--connections 2 --warmup 0s --duration 300ms", false);
    let open = report("--connections 2 --warmup 0s --duration 300ms --rate 100", false);
    let longer = report("--connections 2 --warmup 0s --duration 300ms --size 1000", false);
    let failed = Scratch::new("json");
    let liar = format!("ws://{}/", start(Answers(|_, _, _: &mut Vec<_>| Some(vec![]))));
    let words = [
        "echo",
        &liar,
        "--connections",
        "2",
        "--warmup",
        "0s",
        "--duration",
        "300ms",
        "--json",
        failed.path(),
    ];
    assert_eq!(loadgen(&words).status.code(), Some(1));
    for (other, reason) in
        [(&open, "open loop of 100/s"), (&longer, "--size: 20 and 1000"), (&failed, "failed")]
    {
        let output = loadgen(&["compare", one.path(), other.path()]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && errors.contains(reason), "{errors}");
        let output = loadgen(&["compare", one.path(), other.path(), "--anyway"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.code() == Some(0) && text.contains("doubtful") && text.contains(reason),
            "{text}"
        );
    }
    // A client-bound report is doubtful, and fails with --strict.
    let bound = Scratch::new("json");
    std::fs::write(bound.path(), one.read().replace("\"client_bound\":false", "\"client_bound\":true"))
        .unwrap();
    let output = loadgen(&["compare", one.path(), bound.path()]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("client-bound"));
    assert_eq!(loadgen(&["compare", one.path(), bound.path(), "--strict"]).status.code(), Some(4));
    for words in [["--fail-if", "p99>NaNx"], ["--fail-if", "p99>infx"]] {
        let output = loadgen(&[&["compare", one.path(), one.path()], &words[..]].concat());
        assert_eq!(output.status.code(), Some(2));
    }
    // `merge` refuses them, too.
    for (other, reason) in [(&one, "given twice"), (&open, "different plans"), (&longer, "different plans")] {
        let output = loadgen(&["merge", one.path(), other.path()]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && errors.contains(reason), "{errors}");
    }
}

#[test]
fn a_search_whose_assertion_breaks_exits_as_any_run_does() {
    let server = Honest::start(Echo);
    let url = format!("ws://{}/", server.address);
    let search = |assertion: &str| {
        let words = ["search", "echo", &url, "--connections", "1", "--warmup", "0s", "--duration", "200ms"];
        let more = ["--from", "5", "--to", "5", "--until", "lost==0", "--assert", assertion];
        // One message for each run: a second one could be late on a busy machine, and then the rate does not hold.
        (0..20).find_map(|_| {
            let output = loadgen(&[&words[..], &more[..]].concat());
            let is_confirmed = String::from_utf8_lossy(&output.stdout).contains("confirmed by a second run");
            is_confirmed.then(|| output.status.code())
        })
    };
    assert_eq!(search("lost==0"), Some(Some(0)));
    assert_eq!(search("p50<1ns"), Some(Some(3)));
}

#[test]
fn figures_have_units_and_what_was_not_measured_is_not_printed() {
    let server = Honest::start(Echo);
    let run = echo(
        server.address,
        "--connections 2 --messages 10 --assert p50<60s --assert rate>1 --assert lost==1",
    );
    for part in [
        "p50<60s holds: it is 0.",
        " s\n",
        "rate>1 holds",
        " msgs/s\n",
        "lost==1 broken: it is 0.000 messages",
        "verdict       failed: 1 of 3 assertions broken",
        "(20 samples)",
    ] {
        assert!(run.text.contains(part), "{part}: {}", run.text);
    }
    assert!(!run.text.contains("p99.9") && !run.text.contains("p99 "), "{}", run.text);
    let run = echo(server.address, "--connections 2 --warmup 100ms --duration 100ms");
    assert!(run.text.contains("(the warm-up of 100 ms included)"), "{}", run.text);
    let idle = flood(
        "idle",
        server.address,
        &format!("--connections 50 --duration 100ms --pid {}", std::process::id()),
    );
    assert!(idle.text.contains("bytes per connection"), "{}", idle.text);
    let words = format!("ws://{}/ws?token=a-secret&room=general", server.address);
    let run = crate::support::run("echo", &words, "--connections 1 --messages 1");
    assert!(!run.text.contains("a-secret") && !run.json.to_string().contains("a-secret"), "{run:?}");
    assert!(run.text.contains("token=…&room=general"), "{}", run.text);
}

#[test]
fn a_name_with_addresses_of_both_families_finds_the_one_that_listens() {
    let server = Honest::start(Echo);
    let url = format!("ws://localhost:{}/", server.address.port());
    let run = crate::support::run("echo", &url, "--connections 2 --messages 2");
    assert_eq!((run.status, run.count("answered")), (0, 4), "{run:?}");
}

#[test]
fn a_fan_out_against_an_echo_server_says_what_it_met() {
    let server = Honest::start(Echo);
    let run = flood("fanout", server.address, "--connections 3 --publishers 2 --messages 3 --duration 1s");
    assert!(run.status == 1 && run.text.contains("this is an echo server"), "{}", run.text);
}

#[test]
fn reports_of_several_processes_become_one() {
    let server = Honest::start(Echo);
    let parts = [Scratch::new("json"), Scratch::new("json"), Scratch::new("json")];
    let url = format!("ws://{}/", server.address);
    let children: Vec<_> = parts
        .iter()
        .map(|part| {
            Command::new(env!("CARGO_BIN_EXE_loadgen"))
                .args(["echo", &url, "--connections", "5", "--messages", "20", "--json", part.path()])
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let merged = Scratch::new("json");
    let words = ["merge", parts[0].path(), parts[1].path(), parts[2].path(), "--json", merged.path()];
    let output = loadgen(&[&words[..], &["--assert", "opened==15"]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let json: Value = serde_json::from_str(&merged.read()).unwrap();
    for (name, count) in [("processes", 3), ("opened", 15), ("closed", 15), ("sent", 300), ("answered", 300)]
    {
        assert_eq!(json[name], count, "{name}");
    }
    assert_eq!(
        (&json["asked"]["connections"], &json["latency_from_send_ns"]["count"]),
        (&15.into(), &300.into())
    );
    assert!(String::from_utf8(output.stdout).unwrap().contains("3 processes"));
    // What ran at another time has no rate in common with them.
    let (mut later, apart) = (json.clone(), Scratch::new("json"));
    later["begun_at"] = "2040-01-01T00:00:00Z".into();
    std::fs::write(apart.path(), later.to_string()).unwrap();
    let output = loadgen(&["merge", merged.path(), apart.path()]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && errors.contains("loadgen compare"), "{errors}");
    // Figures of different scenarios cannot be added up.
    let idle = Scratch::new("json");
    let run = ["idle", &url, "--connections", "1", "--duration", "50ms", "--json", idle.path()];
    assert_eq!(loadgen(&run).status.code(), Some(0));
    assert_eq!(loadgen(&["merge", idle.path(), parts[0].path()]).status.code(), Some(2));
}

#[test]
fn a_search_ends_with_a_rate_that_was_confirmed() {
    let server = Honest::start(Echo);
    let url = format!("ws://{}/", server.address);
    let search = |options: String| {
        let mut words =
            vec!["search", "echo", &url, "--connections", "4", "--warmup", "0s", "--duration", "200ms"];
        words.extend(options.split_whitespace());
        let output = loadgen(&words);
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // The machine's noise may break a run, but not all of them at so low a rate.
    let (status, text) = search(
        "--until p50<10s --from 100 --to 200 --precision 0.5".to_owned()
            + &format!(" --metrics 127.0.0.1:{port}"),
    );
    assert!(status == 0 && text.contains("confirmed by a second run") || text.contains("broken"), "{text}");
    let (status, text) = search("--until p50<1ns --from 100 --to 200".to_owned());
    assert_eq!(status, 3, "{text}");
    assert!(text.contains("not even 100 msgs/s hold"), "{text}");
    assert_eq!(loadgen(&["search", "echo", &url]).status.code(), Some(2));
    let idle = loadgen(&["search", "--until", "p99<1s", "idle", &url]);
    assert_eq!(idle.status.code(), Some(2), "{idle:?}");
}

#[test]
fn the_server_is_watched_while_the_run_measures() {
    let server = Honest::start(Echo);
    let pid = std::process::id();
    let run = echo(server.address, &format!("--connections 2 --duration 500ms --warmup 0s --pid {pid}"));
    assert_eq!((run.status, &run.json["server"]["pid"]), (0, &pid.into()), "{run:?}");
    assert!(run.json["server"]["max_rss_bytes"].as_u64() > Some(1 << 20), "{run:?}");
    assert!(run.json["server"]["window_ns"].as_u64() > Some(0) && run.text.contains("context switches"));
}

#[test]
fn a_running_flood_serves_its_figures_in_the_format_that_the_scraper_accepts() {
    let (sender, receiver) = mpsc::channel();
    let address = start(Answers(move |seq, message, _: &mut Vec<_>| {
        if seq == 100 {
            sender.send(()).unwrap();
        }
        Some(vec![message])
    }));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (url, metrics) = (format!("ws://{address}/"), format!("127.0.0.1:{port}"));
    let mut flood = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["echo", &url, "--connections", "1", "--duration", "60s", "--metrics", &metrics])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    receiver.recv().unwrap();
    let scrape = |path: &str, accept: &str| {
        let mut stream = TcpStream::connect(&metrics).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n{accept}\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    };
    // The figures are those of the last tenth of a second.
    let (head, text) = std::iter::repeat_with(|| scrape("/metrics", ""))
        .find(|(_, text)| text.contains("connections{scenario=\"echo\"} 1"))
        .unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4;"), "{head}");
    assert!(
        text.contains("# TYPE loadgen_messages_answered_total counter\n") && !text.contains("# EOF"),
        "{text}"
    );
    assert!(text.contains("loadgen_messages_answered_total{scenario=\"echo\"}"), "{text}");
    promtool_accepts(&text);
    let open = "Accept: text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.9\r\n";
    let (head, text) = scrape("/metrics?x", open);
    assert!(head.contains("Content-Type: application/openmetrics-text; version=1.0.0;"), "{head}");
    assert!(
        text.contains("# TYPE loadgen_messages_answered counter\n") && text.ends_with("# EOF\n"),
        "{text}"
    );
    let (head, _) = scrape("/", "");
    assert!(head.starts_with("HTTP/1.1 404") && head.contains("Content-Type: text/plain;"), "{head}");
    flood.kill().unwrap();
    flood.wait().unwrap();
}

#[test]
fn a_view_without_a_terminal_writes_nothing() {
    let server = Honest::start(Echo);
    let url = format!("ws://{}/", server.address);
    for more in [&[][..], &["--tui"]] {
        let words = ["echo", &url, "--connections", "1", "--duration", "300ms", "--warmup", "0s"];
        let output = loadgen(&[&words[..], more].concat());
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{more:?}");
        assert!(!output.stdout.contains(&0x1b), "no colours without a terminal");
    }
}

#[test]
fn the_same_seed_sends_the_same() {
    let server = Honest::start(Echo);
    let bytes = |seed: u32| {
        let run = flood(
            "echo",
            server.address,
            &format!("--connections 2 --messages 50 --size 1-500 --seed {seed}"),
        );
        assert_eq!(run.status, 0, "{run:?}");
        (run.count("bytes_out"), run.json["asked"]["seed"].as_u64())
    };
    assert_eq!(bytes(7), bytes(7));
    assert_eq!(bytes(8).1, Some(8));
}

#[test]
fn two_runs_are_compared_on_one_page_with_what_was_changed() {
    let server = Honest::start(Echo);
    let files = [Scratch::new("json"), Scratch::new("json")];
    for (file, annotation) in files.iter().zip(["before <b>it</b>", "with a larger buffer"]) {
        let url = format!("ws://{}/", server.address);
        let words = [
            "echo",
            &url,
            "--connections",
            "2",
            "--duration",
            "600ms",
            "--warmup",
            "0s",
            "--json",
            file.path(),
        ];
        let output = loadgen(&[&words[..], &["--annotate", annotation]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("\nannotation    {annotation}\n")));
        let report: Value = serde_json::from_str(&file.read()).unwrap();
        assert_eq!(report["annotations"], serde_json::json!([annotation]));
    }
    let page = Scratch::new("html");
    let output = loadgen(&["compare", files[0].path(), files[1].path(), "--html", page.path()]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text.contains("base          before <b>it</b>\nnew           with a larger buffer\n"), "{text}");
    let page = page.read();
    let data = |id: &str| {
        let (_, rest) = page.split_once(&format!("<script id=\"{id}\" type=\"application/json\">")).unwrap();
        serde_json::from_str::<Value>(rest.split_once("</script>").unwrap().0).unwrap()
    };
    assert_eq!(data("base")["annotations"][0], "before <b>it</b>");
    assert_eq!(data("report")["annotations"][0], "with a larger buffer");
    let rows = data("compared");
    assert_eq!((&rows[0][0], rows.as_array().unwrap().len() >= 4), (&"rate".into(), true), "{rows}");
    assert!(page.contains("before &lt;b&gt;it") && !page.contains("<b>"), "markup of an annotation");
    let output = loadgen(&["compare", files[0].path(), files[1].path(), "--html", "/no/such/directory/x"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{output:?}");
}
