//! The report as one page that needs nothing else.

use super::Report;
use super::plain::Plain;

/// The page around the report's JSON.
const PAGE: &str = include_str!("page.html");
/// Where the JSON goes.
const PLACE: &str = "\"REPORT\"";

/// One self-contained page: throughput over time, the curve of the percentiles, and a heat map of the latencies.
pub(crate) fn html(report: &Report) -> String {
    // In a script element a `<` could end it or begin a comment (HTML 4.12.1.3); in JSON it stands in strings only.
    let json = report.json().replace('<', "\\u003c");
    let text = escaped(&console::strip_ansi_codes(&report.to_string()));
    let title = escaped(&format!("loadgen {}", Plain(&report.scenario)));
    // What is put in is never searched for places: a server may have chosen a part of it.
    let mut page = String::with_capacity(PAGE.len() + json.len() + text.len());
    let mut rest = PAGE;
    for (place, part) in [("TITLE", &title), ("TEXT", &text), (PLACE, &json)] {
        let (before, behind) = rest.split_once(place).unwrap_or((rest, ""));
        page.push_str(before);
        page.push_str(part);
        rest = behind;
    }
    page + rest
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_place_for_each_part_and_loads_nothing() {
        for part in ["TITLE", "TEXT", PLACE] {
            assert_eq!(PAGE.matches(part).count(), 1, "{part}");
        }
        for foreign in ["http:", "https:", "src=", "@import", "fetch("] {
            let found: Vec<&str> = PAGE.lines().filter(|line| line.contains(foreign)).collect();
            // The namespace of SVG is a name, and is not loaded.
            assert!(found.iter().all(|line| line.contains("www.w3.org/2000/svg")), "{found:?}");
        }
    }
}
