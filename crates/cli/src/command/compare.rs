//! `nearkin compare`: losses at the same effort, chosen on validation classes and tested on others.

use super::opened::{Opened, opened};
use super::train::supervised;
use super::{kept, stages};
use crate::arguments::Compare;
use crate::failure::Failure;
use crate::{output, table};
use nearkin::Model;
use nearkin::compare::{Arm, Comparison, Findings, Scores, Tested, Tried, tested};
use nearkin::embed::embed;
use nearkin::recipe::Document;
use nearkin::train::{Report, Setup};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A comparison that is run.
struct Runs {
    comparison: Comparison,
    folder: PathBuf,
    /// Runs that are done or being done, and all.
    done: usize,
    all: usize,
}

/// What a seed's runs leave behind, so that a finished comparison is shown at once.
#[derive(Serialize, serde::Deserialize)]
struct Seed {
    raw: Scores,
    #[serde(flatten)]
    tested: Tested,
}

/// Trains what is not done yet, and prints the table.
pub fn run(arguments: &Compare, json: bool) -> Result<(), Failure> {
    let mut document = Document::read(&arguments.recipe)?;
    for change in &arguments.set {
        document.set(change)?;
    }
    let comparison = Comparison::new(document, &arguments.loss, arguments.effort())?;
    let mut default = stages::default_folder(&arguments.recipe).into_os_string();
    default.push("-compare");
    let mut runs = Runs {
        folder: arguments.out.clone().unwrap_or_else(|| default.into()),
        done: 0,
        all: comparison.effort().runs() * comparison.losses().len(),
        comparison,
    };
    runs.look()?;
    let findings = runs.findings()?;
    let title = format!("Losses on {}", stem(&arguments.recipe));
    let page = findings.markdown(&title, &command(arguments));
    nearkin::write_beside(&runs.folder.join("results.md"), page.as_bytes())?;
    nearkin::write_beside(&runs.folder.join("results.csv"), findings.csv().as_bytes())?;
    if json {
        return output::json(&findings);
    }
    show(&findings)?;
    output::line(format_args!(
        "{}/results.md, results.csv",
        runs.folder.display()
    ))
}

fn stem(recipe: &Path) -> String {
    let stem = recipe.file_stem().unwrap_or(recipe.as_os_str());
    stem.to_string_lossy().into_owned()
}

/// The command with what decides the numbers, for those who read the page.
fn command(arguments: &Compare) -> String {
    let set = arguments
        .set
        .iter()
        .map(|change| format!(" --set '{change}'"));
    format!(
        "nearkin compare {} --loss {} --budget {} --folds {} --seeds {}{}",
        arguments.recipe.display(),
        arguments.loss.join(","),
        arguments.budget,
        arguments.folds,
        arguments.seeds,
        set.collect::<String>()
    )
}

impl Runs {
    /// What cannot be is better known before the first run than after hours of others.
    fn look(&self) -> Result<(), Failure> {
        for loss in self.comparison.losses() {
            for fold in 0..self.comparison.effort().folds {
                let document = self.comparison.testing(loss, &[], (0, fold))?;
                setup(&document).map_err(|error| error.about(loss))?;
            }
        }
        Ok(())
    }

    fn findings(&mut self) -> Result<Findings, Failure> {
        let mut arms = Vec::new();
        let mut raw = None;
        for loss in self.comparison.losses().to_vec() {
            let tries = (0..self.comparison.effort().tries)
                .map(|number| self.tried(&loss, number))
                .collect::<Result<Vec<_>, _>>()?;
            let chosen = Arm::best(&tries);
            let (mut tested, mut failed) = (Vec::new(), tries[chosen].failed.clone());
            for seed in 0..self.comparison.effort().seeds {
                if failed.is_some() {
                    break;
                }
                match self.seed((&loss, chosen), &tries[chosen].changes, seed)? {
                    Ok(found) => {
                        raw.get_or_insert(found.raw);
                        tested.push(found.tested);
                    }
                    Err(reason) => failed = Some(reason),
                }
            }
            arms.push(Arm {
                loss,
                tries,
                chosen,
                tested,
                failed,
            });
        }
        let raw = raw.ok_or_else(|| {
            Failure::run("no loss has a model to test: all tries ended in numbers that are not finite; lower the learning rate")
        })?;
        Ok(Findings::new(self.comparison.effort(), raw, arms))
    }

    /// A try on the classes of each fold.
    fn tried(&mut self, loss: &str, number: usize) -> Result<Tried, Failure> {
        let changes = self.comparison.changes(loss, number)?;
        let folder = self.folder.join(loss).join(format!("try-{}", number + 1));
        let folds = 0..self.comparison.effort().folds;
        let runs = folds.map(|fold| {
            let document = self.comparison.tuning(loss, &changes, fold)?;
            Ok((document, folder.join(format!("fold-{}", fold + 1))))
        });
        let runs = runs.collect::<Result<Vec<_>, Failure>>()?;
        let path = folder.join("validation.json");
        let kept = kept::read(&path, &runs)?;
        if let Some(validation) = kept.filter(|scores: &Vec<Scores>| scores.len() == runs.len()) {
            self.done += runs.len();
            return Ok(Tried::new(changes, validation));
        }
        let mut validation = Vec::new();
        for (fold, (document, folder)) in runs.iter().enumerate() {
            self.begin(&format!("{loss}, try {}, fold {}", number + 1, fold + 1));
            match supervised(&*setup(document)?, folder) {
                Ok(report) => validation.push(last(&report)?),
                Err(failure) => {
                    let reason = diverged(failure)?;
                    self.done += runs.len() - fold - 1;
                    return Ok(Tried::failed(changes, reason));
                }
            }
        }
        kept::write(&path, &validation)?;
        Ok(Tried::new(changes, validation))
    }

    /// The try that was taken, with a seed, on the test classes; or why its training ended without a model.
    fn seed(
        &mut self,
        (loss, chosen): (&str, usize),
        changes: &[String],
        seed: usize,
    ) -> Result<Result<Seed, String>, Failure> {
        let folder = self.folder.join(loss).join(format!("try-{}", chosen + 1));
        let folder = folder.join(format!("test-{}", seed + 1));
        let folds = 0..self.comparison.effort().folds;
        let runs = folds.map(|fold| {
            let document = self.comparison.testing(loss, changes, (seed, fold))?;
            Ok((document, folder.join(format!("fold-{}", fold + 1))))
        });
        let runs = runs.collect::<Result<Vec<_>, Failure>>()?;
        let path = folder.join("scores.json");
        let kept = kept::read(&path, &runs)?;
        if let Some(found) = kept.filter(|of: &Seed| of.tested.separate.len() == runs.len()) {
            self.done += runs.len();
            return Ok(Ok(found));
        }
        let (mut raw, mut embedded) = (Vec::new(), Vec::new());
        for (fold, (document, folder)) in runs.iter().enumerate() {
            self.begin(&format!("{loss}, test {}, fold {}", seed + 1, fold + 1));
            let setup = setup(document)?;
            let report = match supervised(&*setup, folder) {
                Ok(report) => report,
                Err(failure) => return Ok(Err(diverged(failure)?)),
            };
            raw.extend(report.rows.first().map(|row| Scores::of(&row.evaluation)));
            let model = Model::load(&report.model)?;
            // Each by its own setup: features are scaled by the items that train.
            let items = &setup.parts.test;
            embedded.push(embed(&model, &setup.feed, items, &mut |_| {})?);
        }
        let found = Seed {
            raw: Scores::mean(&raw),
            tested: tested(embedded)?,
        };
        kept::write(&path, &found)?;
        Ok(Ok(found))
    }

    fn begin(&mut self, what: &str) {
        self.done += 1;
        output::note(format_args!("{} of {}: {what}", self.done, self.all));
    }
}

/// A recipe of labeled items, opened.
fn setup(document: &Document) -> Result<Box<Setup>, Failure> {
    match opened(document)? {
        Opened::Items(setup) => Ok(setup),
        _ => Err(Failure::usage(format!(
            "{}: no recipe of labeled items",
            document.name()
        ))),
    }
}

/// Why a run ended without a model, where its numbers left the range; any other failure ends the comparison.
fn diverged(failure: Failure) -> Result<String, Failure> {
    match failure.divergence() {
        Some(reason) => {
            output::note(format_args!("not finite: {reason}"));
            Ok(reason.to_owned())
        }
        None => Err(failure.of_many()),
    }
}

/// The trained model on the part that was measured.
fn last(report: &Report) -> Result<Scores, Failure> {
    let row = report.rows.last();
    let row = row.ok_or_else(|| Failure::usage("the report has no rows"))?;
    Ok(Scores::of(&row.evaluation))
}

fn show(findings: &Findings) -> Result<(), Failure> {
    let (header, rows) = findings.table();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut shown = table::new(&header);
    for row in rows {
        shown.add_row(row);
    }
    table::numbers_right(&mut shown);
    output::line(shown)?;
    output::line(findings.legend())?;
    output::line("")?;
    output::line(findings.choices())
}
