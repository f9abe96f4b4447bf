//! The report as one page that needs nothing else.

use super::Report;

/// The page around the report's JSON.
const PAGE: &str = include_str!("page.html");
/// Where the JSON goes.
const PLACE: &str = "\"REPORT\"";

/// One self-contained page: throughput over time, the curve of the percentiles, and a heat map of the latencies.
pub(crate) fn html(report: &Report) -> String {
    // In a script element `</` could end it (HTML 4.12.1.3); in JSON it stands in strings only.
    let json = report.json().replace("</", "<\\/").replace("<!--", "<\\u0021--");
    let text = console::strip_ansi_codes(&report.to_string()).into_owned();
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let title = format!("loadgen {}", report.scenario);
    PAGE.replacen("TITLE", &title, 1).replacen("TEXT", &text, 1).replacen(PLACE, &json, 1)
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
