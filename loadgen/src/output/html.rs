//! The report as one self-contained HTML page.

use super::plain::Plain;
use super::report::Report;

/// The page around the report's JSON.
const PAGE: &str = include_str!("page.html");
/// The places in the page, in the order in which they come.
const PLACES: [&str; 5] = ["TITLE", "TEXT", "\"REPORT\"", "\"BASE\"", "\"RATIOS\""];

/// The page of a run: throughput over time, the curve of the percentiles, and a heat map of the latencies.
pub(crate) fn html(report: &Report) -> String {
    let text = console::strip_ansi_codes(&report.to_string()).into_owned();
    page(&format!("loadgen {}", Plain(&report.scenario)), &text, [&report.json(), "null", "[]"])
}

/// The page of two runs. `text`: the comparison. `ratios`: rows of a table: figure, base, new, ratio and confidence.
pub(crate) fn comparison(base: &Report, new: &Report, text: &str, ratios: &[[String; 5]]) -> String {
    // Cannot fail: there are strings only.
    let ratios = serde_json::to_string(ratios).unwrap_or_default();
    let title = format!("loadgen {}: two runs", Plain(&new.scenario));
    page(&title, &console::strip_ansi_codes(text), [&new.json(), &base.json(), &ratios])
}

fn page(title: &str, text: &str, data: [&str; 3]) -> String {
    // A `<` could end the script element or begin a comment (HTML 4.12.1.3). In JSON it occurs in strings only.
    let [report, base, ratios] = data.map(|json| json.replace('<', "\\u003c"));
    let parts = [escaped(title), escaped(text), report, base, ratios];
    // The parts are never searched for places: a server may have chosen their text.
    let mut page = String::with_capacity(PAGE.len() + parts.iter().map(String::len).sum::<usize>());
    let mut rest = PAGE;
    for (place, part) in PLACES.into_iter().zip(&parts) {
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
        let places = PLACES.map(|place| PAGE.find(place).unwrap());
        assert!(places.is_sorted(), "{places:?}");
        for place in PLACES {
            assert_eq!(PAGE.matches(place).count(), 1, "{place}");
        }
        for foreign in ["http:", "https:", "src=", "@import", "fetch("] {
            let found: Vec<&str> = PAGE.lines().filter(|line| line.contains(foreign)).collect();
            // The namespace of SVG is a name, and is not loaded.
            assert!(found.iter().all(|line| line.contains("www.w3.org/2000/svg")), "{found:?}");
        }
    }
}
