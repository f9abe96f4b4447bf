//! The two text formats that Prometheus reads: its own 0.0.4, and `OpenMetrics` 1.0 if the `Accept` field asks for it.

use std::collections::HashSet;
use std::fmt;

use mediatype::{MediaType, MediaTypeList, Name, ReadParams as _};
use prometheus_client::registry::Registry;

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// The text format 0.0.4 of Prometheus, which every scraper reads.
    Prometheus,
    /// `OpenMetrics` 1.0.
    OpenMetrics,
}

impl Format {
    /// The format that a client prefers, by the values of its `Accept` fields (RFC 9110 12.5.1). `OpenMetrics` only if a
    /// field names it.
    pub(crate) fn preferred<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let ranges: Vec<MediaType<'_>> =
            accept.flat_map(|field| MediaTypeList::new(field).filter_map(Result::ok)).collect();
        let (open, is_named) = weight(&ranges, ["application", "openmetrics-text", "1.0.0"]);
        let (plain, _) = weight(&ranges, ["text", "plain", "0.0.4"]);
        if is_named && open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The value of the Content-Type field.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The text of all metrics of a registry.
    pub(crate) fn text(self, registry: &Registry) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry)?;
        Ok(if self == Self::OpenMetrics { text } else { prometheus_text(&text) })
    }
}

/// The weight (`q`) of a media type (type, subtype, version) by the most specific range that covers it, and whether that
/// range names it.
fn weight(ranges: &[MediaType<'_>], [kind, name, version]: [&str; 3]) -> (f32, bool) {
    let rank = |range: &MediaType<'_>| match (range.ty.as_str(), range.subty.as_str()) {
        ("*", "*") => Some(0),
        (ty, "*") if ty.eq_ignore_ascii_case(kind) => Some(1),
        (ty, subty) if ty.eq_ignore_ascii_case(kind) && subty.eq_ignore_ascii_case(name) => Some(2),
        _ => None,
    };
    let parameter =
        |range: &MediaType<'_>, name| Some(range.get_param(Name::new(name)?)?.unquoted_str().into_owned());
    let is_ours = |range: &&MediaType<'_>| parameter(range, "version").is_none_or(|found| found == version);
    let ranked = ranges.iter().filter(is_ours).filter_map(|range| Some((rank(range)?, range)));
    ranked.max_by_key(|(rank, _)| *rank).map_or((0.0, false), |(rank, range)| {
        let q = parameter(range, "q").map_or(1.0, |q| q.parse().unwrap_or(0.0));
        (q, rank == 2)
    })
}

/// Converts `OpenMetrics` to the format 0.0.4: `HELP` and `TYPE` name a counter with `_total`, and there is no `UNIT` and
/// no `EOF`.
fn prometheus_text(text: &str) -> String {
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: HashSet<&str> = kinds.filter_map(|line| line.strip_suffix(" counter")).collect();
    let mut converted = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        let described =
            ["# HELP ", "# TYPE "].into_iter().find_map(|word| Some((word, line.strip_prefix(word)?)));
        match described.and_then(|(word, rest)| Some((word, rest.split_once(' ')?))) {
            Some((word, (name, rest))) if counters.contains(name) => {
                converted.extend([word, name, "_total ", rest]);
            }
            _ => converted.push_str(line),
        }
        converted.push('\n');
    }
    converted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_follows_the_accept_field() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (fields, is_open) in [
            (&[][..], false),
            (&[""], false),
            (&["*/*"], false),
            (&["text/plain"], false),
            (&["text/html, text/plain;version=0.0.4"], false),
            (&[prometheus_2], true),
            (&["application/openmetrics-text"], true),
            (&["text/plain;q=0.5", "Application/OpenMetrics-Text;version=1.0.0;q=0.9"], true),
            (&["application/openmetrics-text;q=0"], false),
            (&["application/openmetrics-text;q=0.4, text/plain;q=0.5"], false),
            (&["application/openmetrics-text;version=2.0.0"], false),
            (&["application/openmetrics-text;q=x"], false),
            (&["nonsense"], false),
        ] {
            let expected = if is_open { Format::OpenMetrics } else { Format::Prometheus };
            assert_eq!(Format::preferred(fields.iter().copied()), expected, "{fields:?}");
        }
    }

    #[test]
    fn the_plain_format_has_the_names_that_its_readers_expect() {
        let open = "# HELP a_b Count.\n# TYPE a_b counter\n# UNIT a_b b\na_b_total{x=\"# EOF\"} 1\n# HELP c C.\n\
                    # TYPE c histogram\nc_bucket{le=\"+Inf\"} 2\n# EOF\n";
        let plain = "# HELP a_b_total Count.\n# TYPE a_b_total counter\na_b_total{x=\"# EOF\"} 1\n# HELP c C.\n\
                     # TYPE c histogram\nc_bucket{le=\"+Inf\"} 2\n";
        assert_eq!(prometheus_text(open), plain);
    }
}
