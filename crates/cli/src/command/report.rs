//! `nearkin report`

use super::vectors;
use crate::arguments;
use crate::failure::Failure;
use crate::output;
use crate::progress::{activity, items};
use indicatif::ProgressBar;
use nearkin::report::{Progress, Report, ReportOptions, command};
use std::path::Path;

/// Writes the page of a run or of a file of vectors.
pub fn run(arguments: &arguments::Report, json: bool) -> Result<(), Failure> {
    let (subject, page) = (&arguments.subject, &arguments.output);
    check(page)?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words = ["nearkin"]
        .into_iter()
        .chain(words.iter().map(String::as_str));
    let options = ReportOptions {
        mapped: usize::from(arguments.map),
        command: command(words),
        ..ReportOptions::default()
    };
    let mut bar = Bar(None);
    let mut progress = |what| bar.show(what);
    let report = if vectors::is_file(subject) {
        Report::of_vectors(
            subject,
            arguments.images.as_deref(),
            &options,
            &mut progress,
        )?
    } else if arguments.images.is_some() {
        return Err(Failure::usage(format!(
            "--images goes with a file of vectors; {} is none",
            subject.display()
        )));
    } else {
        Report::of_run(subject, &options, &mut progress)?
    };
    drop(bar);
    report.write(page)?;
    if json {
        let mut value = serde_json::to_value(&report)?;
        value["file"] = serde_json::to_value(page)?;
        value["bytes"] = report.html.len().into();
        return output::json(&value);
    }
    for note in &report.notes {
        output::note(format_args!("note: {note}"));
    }
    let kib = report.html.len().div_ceil(1024);
    output::line(format_args!(
        "{}: {}, {kib} KiB",
        page.display(),
        report.subject
    ))
}

/// What can be known to fail is said before the work.
fn check(page: &Path) -> Result<(), Failure> {
    let extension = page
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    if !["html", "htm"].contains(&extension.as_str()) {
        return Err(Failure::usage(format!(
            "-o {}: expected a name that ends in .html",
            page.display()
        )));
    }
    let folder = page.parent().filter(|folder| *folder != Path::new(""));
    match folder.filter(|folder| !folder.is_dir()) {
        Some(folder) => Err(Failure::usage(format!(
            "-o {}: there is no folder {}",
            page.display(),
            folder.display()
        ))),
        None => Ok(()),
    }
}

/// The bar of what is being done, taken away when something else is.
struct Bar(Option<(ProgressBar, Progress)>);

impl Bar {
    fn show(&mut self, what: Progress) {
        let goes_on = matches!(
            (&self.0, what),
            (Some((_, Progress::Embedding(..))), Progress::Embedding(..))
        );
        if !goes_on {
            self.clear();
            let bar = match what {
                Progress::Embedding(_, all) => items(all, "embedding"),
                Progress::Working(what) => activity(what),
            };
            self.0 = Some((bar, what));
        }
        if let (Some((bar, _)), Progress::Embedding(done, _)) = (&self.0, what) {
            bar.set_position(done as u64);
        }
    }

    fn clear(&self) {
        if let Some((bar, _)) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}
