//! `switchboard doctor`: whether this machine is fit for the server that the settings describe, and what to change.

mod facts;
mod findings;

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use self::findings::{Finding, Grade};
use crate::cli::ServeArgs;
use crate::serve;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print one object of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

/// Looks at everything; returns what goes to standard output, and whether a server would work.
pub(crate) fn run(args: &DoctorArgs) -> (String, bool) {
    let findings = look(&args.serve);
    let worst = findings.iter().map(|finding| finding.grade).max().unwrap_or(Grade::Good);
    let text = if args.json { as_json(&findings, worst) } else { as_text(&findings, worst) };
    (text, worst < Grade::Failure)
}

fn look(args: &ServeArgs) -> Vec<Finding> {
    let settings = match serve::check(args) {
        Ok(()) => Finding::good("settings", "they are valid, and the files that they name can be read"),
        Err(why) => Finding::failure("settings", why.to_string(), "see `switchboard config check`"),
    };
    let wanted = args.common.max_connections() as u64;
    let now = facts::clock();
    let mut all = vec![
        settings,
        findings::descriptors(facts::descriptors(), facts::number("/proc/sys/fs/file-max"), wanted),
        findings::backlog(facts::number("/proc/sys/net/core/somaxconn")),
        findings::clock(&now),
        findings::memory(facts::available_memory(), args.common.max_queued() as u64),
        findings::cores(facts::cores(), args.threads.loops()),
    ];
    if !args.ephemeral && !args.engine.is_set() {
        all.extend(facts::disk(&args.data));
    }
    // What is wrong with them is among the settings.
    if let Ok(Some(tls)) = args.common.tls.tls() {
        all.extend(tls.certificates().iter().map(|certificate| {
            let names = match &*certificate.names {
                [] => "no name".to_owned(),
                names => names.join(", "),
            };
            findings::certificate(&names, certificate.not_before, certificate.not_after, now.unix_s)
        }));
    }
    let listeners = args.common.listeners.listeners(&args.listen, &args.default_place(), Vec::new());
    if let Ok(listeners) = listeners {
        let every = listeners.public.iter().chain(&listeners.redirect).chain(&listeners.internal);
        let tried = every.filter(|listen| listen.port().is_some());
        all.extend(
            tried.map(|listen| findings::port(&listen.to_string(), listen.check_free().err().as_ref())),
        );
    }
    all
}

fn as_text(findings: &[Finding], worst: Grade) -> String {
    let mut text = String::new();
    for Finding { check, grade, found, advice } in findings {
        let _ = writeln!(text, "{:<8} {check:<12} {found}", grade.name());
        if let Some(advice) = advice {
            let _ = writeln!(text, "{:<21} {advice}", "");
        }
    }
    let count = findings.iter().filter(|finding| finding.grade != Grade::Good).count();
    let _ = match worst {
        Grade::Good => write!(text, "\nA server works here."),
        Grade::Warning => write!(text, "\nA server works here; {count} to look at."),
        Grade::Failure => write!(text, "\nA server does not work here; {count} to look at."),
    };
    text
}

fn as_json(findings: &[Finding], worst: Grade) -> String {
    let findings: Vec<_> = findings
        .iter()
        .map(|it| json!({ "check": it.check, "grade": it.grade.name(), "found": it.found, "advice": it.advice }))
        .collect();
    json!({ "grade": worst.name(), "findings": findings }).to_string()
}
