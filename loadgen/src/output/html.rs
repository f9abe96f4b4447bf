//! The report as one self-contained HTML page.

use super::plain::Plain;
use super::report::Report;

/// The page around the report's JSON.
const PAGE: &str = include_str!("page.html");
/// The place of the JSON in the page.
const PLACE: &str = "\"REPORT\"";

/// The page: throughput over time, the curve of the percentiles, and a heat map of the latencies.
pub(crate) fn html(report: &Report) -> String {
    // A `<` could end the script element or begin a comment (HTML 4.12.1.3). In JSON it occurs in strings only.
    let json = report.json().replace('<', "\\u003c");
    let text = escaped(&console::strip_ansi_codes(&report.to_string()));
    let title = escaped(&format!("loadgen {}", Plain(&report.scenario)));
    // The parts are never searched for places: a server may have chosen their text.
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
