//! The end of a run: which weights become the model, how good it is, and its folder.

use super::checkpoint::{self, write_json};
use super::{Event, Run, Setup, measure};
use crate::card;
use crate::embed::pixels;
use crate::error::Result;
use crate::evaluate::{self, Evaluation};
use crate::recipe::Select;
use nearkin_encoder::{Model, weights};
use nearkin_kernels::Mat;
use serde::Serialize;
use std::path::PathBuf;

/// How good a finished model is, beside what it must beat.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The model folder.
    pub model: PathBuf,
    /// The part that was measured: `test`, or `validation` where no test is set apart.
    pub part: &'static str,
    /// Steps behind the model.
    pub step: u64,
    /// Which weights became the model: `best` on validation or `last`.
    pub selected: &'static str,
    /// Raw input, the untrained network, the trained model.
    pub rows: Vec<Row>,
    /// Names of damaged items that were left out.
    pub damaged: Vec<String>,
}

/// One row of the table of a report.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: &'static str,
    /// How good it is.
    pub evaluation: Evaluation,
}

impl Run<'_> {
    /// Chooses the weights, measures them beside the baselines, and writes the model folder.
    pub(super) fn finish(&mut self) -> Result<Report> {
        let selected = self.select();
        let (model, step) = match selected {
            ("best", Some(step)) => (
                Model::load(&checkpoint::best_folder(&self.folder, step))?,
                step,
            ),
            _ => (self.kept().clone(), self.progress.step),
        };
        let (part, items) = self.setup.measured();
        let mut report = Report {
            model: self.folder.join("model"),
            part,
            step,
            selected: selected.0,
            rows: self.rows(&model, items)?,
            damaged: Vec::new(),
        };
        report.damaged = self.setup.feed.damaged();
        self.write(&model, &report)?;
        Ok(report)
    }

    /// Best needs classes set apart for the choice: choosing by the test classes would flatter the result.
    fn select(&self) -> (&'static str, Option<u64>) {
        let apart = !self.setup.parts.validation.is_empty();
        match (self.setup.recipe.train.select, self.progress.best) {
            (Select::Best, Some(best)) if apart => ("best", Some(best.step)),
            _ => ("last", None),
        }
    }

    fn rows(&mut self, model: &Model, items: &[usize]) -> Result<Vec<Row>> {
        let (setup, options) = (self.setup, evaluate::Options::default());
        let raw = if setup.feed.dataset().is_features().is_some() {
            "raw features"
        } else {
            "raw pixels"
        };
        let mut rows = Vec::new();
        for name in [raw, "untrained network", "trained model"] {
            (self.control.observer)(Event::Measuring(name));
            let evaluation = match name {
                "untrained network" => measure(setup, &setup.model()?, items, &options)?,
                "trained model" => measure(setup, model, items, &options)?,
                _ => measure_raw(setup, items, &options)?,
            };
            rows.push(Row { name, evaluation });
        }
        Ok(rows)
    }

    fn write(&self, model: &Model, report: &Report) -> Result<()> {
        checkpoint::whole_folder(&report.model, |partial| {
            model.save(partial)?;
            let recipe = self.setup.recipe.to_toml()?;
            weights::write_beside(&partial.join("recipe.toml"), recipe.as_bytes())?;
            write_json(&partial.join("metrics.json"), report)?;
            let card = card::markdown(self.setup, model, report)?;
            Ok(weights::write_beside(
                &partial.join("README.md"),
                card.as_bytes(),
            )?)
        })
    }
}

/// Measures the items' own numbers: the baseline.
fn measure_raw(setup: &Setup, items: &[usize], options: &evaluate::Options) -> Result<Evaluation> {
    let raw = pixels(&setup.feed, items)?;
    let matrix = Mat::new(&raw.numbers, raw.items.len(), raw.dim);
    Ok(evaluate::evaluate(matrix, &raw.labels, options)?)
}
