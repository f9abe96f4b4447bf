//! The metrics as Prometheus itself reads them: its linter takes both formats, and a server of its own answers queries.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::ops::{get, get_with};
use crate::support::{Client, Launch, Scratch, Server, text, wait_until};

const OPEN_METRICS: &str = "Accept: application/openmetrics-text; version=1.0.0\r\n";

/// A chat in which each kind of histogram has counted something.
fn chat() -> (Server, Scratch) {
    let data = Scratch::new("data", b"");
    std::fs::remove_file(data.path()).unwrap();
    let server = Launch::switchboard(&["serve", "--listen", "127.0.0.1:0", "--data", data.path()]);
    let server = server.args(&["--posts-per-second", "0"]).start();
    let (mut client, _) = Client::upgrade(server.addr, "/ws", "Sec-WebSocket-Protocol: chat.v1.json\r\n");
    client.send(&text(r#"{"type":"join","room":"general"}"#));
    client.message();
    for id in 0..200 {
        client
            .send(&text(&format!(r#"{{"type":"post","room":"general","text":"x","key":"{id}","id":{id}}}"#)));
        while !String::from_utf8(client.message().payload).unwrap().contains(&format!(r#""id":{id}"#)) {}
    }
    (server, data)
}

/// Runs `promtool check metrics`; what it says.
fn lint(metrics: &str) -> String {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed: apt-get install prometheus");
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    format!("{}{}", String::from_utf8(said).unwrap(), if output.status.success() { "" } else { "failed" })
}

#[test]
fn the_linter_of_prometheus_has_nothing_to_say() {
    let (chat, _data) = chat();
    for server in [chat, Launch::echo().start(), Launch::serve().start()] {
        let (head, metrics) = get_with(server.addr, "/metrics", "");
        assert_eq!(head.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert_eq!(head.field("vary"), Some("Accept"));
        assert_eq!(lint(&metrics), "");
    }
}

#[test]
fn every_histogram_ends_with_infinity_in_both_formats() {
    let (server, _data) = chat();
    for fields in ["", OPEN_METRICS] {
        let (head, metrics) = get_with(server.addr, "/metrics", fields);
        let is_open = head.field("content-type").unwrap().starts_with("application/openmetrics-text");
        assert_eq!((is_open, metrics.ends_with("# EOF\n")), (!fields.is_empty(), !fields.is_empty()));
        let buckets: Vec<&str> = metrics.lines().filter(|line| line.contains("_bucket{")).collect();
        let counts: Vec<&str> = metrics.lines().filter(|line| line.contains("_seconds_count")).collect();
        let last: Vec<&&str> = buckets.iter().filter(|line| line.contains("le=\"+Inf\"")).collect();
        assert_eq!((last.len(), counts.len()), (5, 5), "{metrics}");
        assert!(!metrics.contains("e308"), "{metrics}");
        for (bucket, count) in last.iter().zip(counts) {
            assert_eq!(bucket.rsplit(' ').next(), count.rsplit(' ').next(), "{bucket} {count}");
        }
    }
}

/// A Prometheus that scrapes one server every second; ended, by its id, when the value goes.
struct Prometheus {
    child: Child,
    addr: SocketAddr,
    _files: Scratch,
}

impl Prometheus {
    fn watching(server: &Server) -> Self {
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: chat\n  static_configs:\n  - targets: ['{}']\n",
            server.addr
        );
        let files = Scratch::new("prometheus.yml", config.as_bytes());
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", files.path()))
            .arg(format!("--storage.tsdb.path={}.tsdb", files.path()))
            .arg(format!("--web.listen-address={addr}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is needed: apt-get install prometheus");
        let prometheus = Self { child, addr, _files: files };
        wait_until(Duration::from_secs(30), "Prometheus listens", || {
            std::net::TcpStream::connect(addr).is_ok()
        });
        prometheus
    }

    /// The values that an instant query finds.
    fn query(&self, query: &str) -> Vec<f64> {
        let (status, body) = get(self.addr, &format!("/api/v1/query?query={query}"));
        assert!(status == 200 || status == 503, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        let found = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        found.iter().map(|sample| sample["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_real_prometheus_scrapes_us_and_answers_for_quantiles() {
    let (server, _data) = chat();
    let prometheus = Prometheus::watching(&server);
    wait_until(Duration::from_secs(30), "a scrape", || prometheus.query("up") == [1.0]);
    for histogram in ["switchboard_tick_duration", "switchboard_commit_duration"] {
        let quantile = prometheus.query(&format!("histogram_quantile(0.99,{histogram}_seconds_bucket)"));
        assert!(
            matches!(quantile[..], [seconds] if seconds > 0.0 && seconds < 60.0),
            "{histogram}: {quantile:?}"
        );
    }
    assert_eq!(
        prometheus.query("switchboard_chat_changes_total{kind=\"post\"}".replace('"', "%22").as_str()),
        [200.0]
    );
}
