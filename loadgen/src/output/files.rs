//! The files of a report.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::report::Report;
use super::{csv, html, junit, markdown, textfile};
use crate::input::options::ReportArgs;

/// Renders a report in one form.
type Render = fn(&Report) -> String;

/// Open files, each with the form that goes into it.
#[derive(Debug)]
pub(crate) struct Files(Vec<Target>);

#[derive(Debug)]
struct Target {
    file: File,
    render: Render,
    /// The file becomes visible under its name only when it is complete: from a temporary path to its own.
    rename: Option<(PathBuf, PathBuf)>,
}

impl Files {
    /// Creates the files that the options name.
    ///
    /// # Errors
    /// A file cannot be created; the text names it.
    pub(crate) fn create(args: &ReportArgs) -> io::Result<Self> {
        let forms: [(Option<&Path>, Render); 5] = [
            (args.json.as_deref(), Report::json),
            (args.html.as_deref(), html::html),
            (args.csv.as_deref(), csv::csv),
            (args.junit.as_deref(), junit::junit),
            (args.markdown.as_deref(), markdown::markdown),
        ];
        let mut targets = Vec::new();
        for (path, render) in forms {
            let Some(path) = path else { continue };
            targets.push(Target { file: create(path, path)?, render, rename: None });
        }
        if let Some(path) = &args.prometheus_file {
            // The collector reads `*.prom` at any time.
            let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
            name.push(format!(".{}.tmp", std::process::id()));
            let temporary = path.with_file_name(name);
            let file = create(&temporary, path)?;
            let rename = Some((temporary, path.clone()));
            targets.push(Target { file, render: textfile::textfile, rename });
        }
        Ok(Self(targets))
    }

    /// Writes the report in each form.
    pub(crate) fn write(mut self, report: &Report) -> io::Result<()> {
        for target in &mut self.0 {
            target.file.write_all((target.render)(report).as_bytes())?;
            if let Some((temporary, path)) = target.rename.take() {
                fs::rename(temporary, path)?;
            }
        }
        Ok(())
    }
}

impl Drop for Files {
    /// Removes temporary files of a run that ended without a report.
    fn drop(&mut self) {
        for (temporary, _) in self.0.iter_mut().filter_map(|target| target.rename.take()) {
            // It may be gone already.
            let _ = fs::remove_file(temporary);
        }
    }
}

fn create(path: &Path, named: &Path) -> io::Result<File> {
    File::create(path).map_err(|error| io::Error::other(format!("{}: {error}", named.display())))
}
