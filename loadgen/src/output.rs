//! The files that a report is written to.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use crate::report::{Report, csv, html};

/// Files that are open and empty.
#[derive(Debug)]
pub(crate) struct Files {
    json: Option<File>,
    html: Option<File>,
    csv: Option<File>,
}

impl Files {
    /// Opens what was asked for.
    pub(crate) fn create(json: Option<&Path>, html: Option<&Path>, csv: Option<&Path>) -> io::Result<Self> {
        let create = |path: Option<&Path>| {
            let Some(path) = path else { return Ok(None) };
            File::create(path)
                .map(Some)
                .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
        };
        Ok(Self { json: create(json)?, html: create(html)?, csv: create(csv)? })
    }

    /// Writes the report in each form.
    pub(crate) fn write(self, report: &Report) -> io::Result<()> {
        if let Some(mut file) = self.json {
            file.write_all(report.json().as_bytes())?;
        }
        if let Some(mut file) = self.html {
            file.write_all(html::html(report).as_bytes())?;
        }
        if let Some(mut file) = self.csv {
            file.write_all(csv::csv(report).as_bytes())?;
        }
        Ok(())
    }
}
