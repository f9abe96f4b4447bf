//! The result as `JUnit` XML, as CI systems read it: a test case for the run, and one for each assertion.

use std::fmt::Write as _;

use super::plain::Plain;
use super::report::{Report, Verdict};

/// One test suite.
pub(super) fn junit(report: &Report) -> String {
    let suite = format!("loadgen {}", report.scenario);
    let seconds = super::figures::micros(report.window_ns) / 1e6;
    let broken = report.assertions.iter().filter(|assertion| !assertion.holds).count();
    let failures = broken + usize::from(report.verdict == Verdict::Failed);
    let skipped = usize::from(report.verdict == Verdict::Interrupted);
    let tests = report.assertions.len() + 1;
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string does not fail.
    let _ = writeln!(
        xml,
        "<testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" \
         time=\"{seconds:.3}\" timestamp=\"{}\" hostname=\"{}\">",
        escaped(&suite),
        escaped(&report.started_at),
        escaped(&report.generator.host)
    );
    let inner = match report.verdict {
        Verdict::Ok => String::new(),
        Verdict::Interrupted => "<skipped message=\"the run was interrupted\"/>".to_owned(),
        Verdict::Failed => {
            let lines = wrong(report);
            format!(
                "<failure message=\"{}\">{}</failure>",
                escaped(&lines.join("; ")),
                escaped(&lines.join("\n"))
            )
        }
    };
    case(&mut xml, &suite, &format!("run against {}", report.url), &inner);
    for assertion in &report.assertions {
        let inner = if assertion.holds {
            String::new()
        } else {
            format!("<failure message=\"{}\"/>", escaped(&assertion.measured()))
        };
        case(&mut xml, &suite, &format!("assert {}", assertion.condition), &inner);
    }
    let _ = writeln!(
        xml,
        "  <system-out>{}</system-out>",
        escaped(&console::strip_ansi_codes(&report.to_string()))
    );
    xml.push_str("</testsuite>\n");
    xml
}

fn case(xml: &mut String, suite: &str, name: &str, inner: &str) {
    let (suite, name) = (escaped(suite), escaped(name));
    // Writing to a string does not fail.
    let _ = if inner.is_empty() {
        writeln!(xml, "  <testcase classname=\"{suite}\" name=\"{name}\"/>")
    } else {
        writeln!(xml, "  <testcase classname=\"{suite}\" name=\"{name}\">{inner}</testcase>")
    };
}

/// What was lost, wrong or refused, one line each.
fn wrong(report: &Report) -> Vec<String> {
    let faults = report.faults().into_iter().chain([("unsent", report.unsent)]);
    let faults =
        faults.filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} messages {name}"));
    faults.chain(report.failures.iter().map(|(name, count)| format!("{count} x {name}"))).collect()
}

/// Text for an element or an attribute. XML has no control characters but tab and line ends (XML 1.0 2.2).
fn escaped(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| Plain(line).to_string()).collect();
    let text = lines.join("\n").replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
