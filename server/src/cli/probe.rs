//! `switchboard probe`: whether a server says that it is well, for health checks where there is nothing else to ask with.

use std::time::Duration;

use clap::Args;

use super::SettingsArgs;

/// Octets of an answer that are shown.
const MAX_ANSWER: u64 = 4096;

#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// Address that answers 200 while the server is well, of http
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8080/readyz", value_parser = http)]
    url: String,
    /// Milliseconds that the server has for its answer
    #[arg(long = "within", value_name = "MS", default_value_t = 2000)]
    within_ms: u64,
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
}

fn http(url: &str) -> Result<String, String> {
    if url.starts_with("http://") { Ok(url.to_owned()) } else { Err("not an address of http".to_owned()) }
}

/// Asks once; returns what the server said, and whether it is well.
pub(crate) fn run(args: &ProbeArgs) -> (String, bool) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_millis(args.within_ms)))
        .http_status_as_error(false)
        .max_redirects(0)
        // It is asked itself, whatever the environment says of proxies.
        .proxy(None)
        .build()
        .into();
    let mut answer = match agent.get(&args.url).call() {
        Ok(answer) => answer,
        Err(error) => return (no_answer(args, &error), false),
    };
    match answer.body_mut().with_config().limit(MAX_ANSWER).read_to_string() {
        Ok(text) => (text.trim_end().to_owned(), answer.status() == 200),
        Err(error) => (no_answer(args, &error), false),
    }
}

fn no_answer(args: &ProbeArgs, error: &ureq::Error) -> String {
    format!("no answer from {}: {error}", args.url)
}
