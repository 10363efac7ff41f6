//! How good a finished encoder is, beside the one that training began with.

use super::TextSetup;
use super::evaluate::{Score, heads};
use crate::error::Result;
use crate::evaluate::Estimate;
use crate::text::Bootstrap;
use crate::text::table::Damage;
use crate::train::{Event, Kept, Task};
use nearkin_encoder::text::SentenceEncoder;
use serde::Serialize;
use std::path::PathBuf;

/// How good a finished encoder is, beside the one that training began with.
#[derive(Clone, Debug, Serialize)]
pub struct TextReport {
    /// The model folder.
    pub model: PathBuf,
    /// Steps behind the model.
    pub step: u64,
    /// Which weights became the model: `best` on the first evaluation or `last`.
    pub selected: &'static str,
    /// What was learned from.
    pub data: Vec<Source>,
    /// What was measured.
    pub evaluate: Vec<Source>,
    /// Every score of every evaluation; those of the first chose the weights, where the best were kept.
    pub rows: Vec<TextRow>,
}

/// A table of the recipe, as it was read.
#[derive(Clone, Debug, Serialize)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Its items.
    pub items: usize,
    /// Rows left out as damaged.
    pub damaged: Damage,
}

/// One score before and after training.
#[derive(Clone, Debug, Serialize)]
pub struct TextRow {
    /// The evaluation's name.
    pub name: String,
    /// Its items.
    pub items: usize,
    /// What was measured.
    pub metric: &'static str,
    /// Before training.
    pub untrained: Estimate,
    /// After training.
    pub trained: Estimate,
}

impl Source {
    pub(super) fn new(name: &str, items: usize, damage: &Damage) -> Self {
        Self {
            name: name.to_owned(),
            items,
            damaged: damage.clone(),
        }
    }
}

/// Measures the finished encoder and the one that training began with.
pub(super) fn report(
    setup: &TextSetup,
    kept: &Kept<SentenceEncoder>,
    observer: &mut dyn FnMut(Event),
) -> Result<TextReport> {
    let bootstrap = Bootstrap::default();
    let measured = |encoder: &SentenceEncoder, losses: &[_]| -> Result<Vec<_>> {
        let heads = heads(&setup.sets, losses)?;
        let evaluations = setup.evaluations.iter();
        evaluations
            .map(|evaluation| evaluation.measure(encoder, &heads, bootstrap))
            .collect()
    };
    observer(Event::Measuring("untrained encoder"));
    let untrained = {
        let encoder = setup.model()?;
        measured(&encoder, &setup.losses(&encoder)?)?
    };
    observer(Event::Measuring("trained encoder"));
    let trained = measured(kept.model, kept.losses)?;
    let sources = (setup.data_sources(), setup.evaluate_sources());
    Ok(finished(kept, sources, [untrained, trained]))
}

/// The report of a finished model: data sets, evaluations with their scores before and after.
pub(super) fn finished<M>(
    kept: &Kept<M>,
    (data, evaluate): (Vec<Source>, Vec<Source>),
    [before, after]: [Vec<Vec<Score>>; 2],
) -> TextReport {
    let mut rows = Vec::new();
    for ((evaluation, before), after) in evaluate.iter().zip(before).zip(after) {
        rows.extend(before.iter().zip(after).map(|(before, after)| TextRow {
            name: evaluation.name.clone(),
            items: evaluation.items,
            metric: after.metric,
            untrained: before.estimate,
            trained: after.estimate,
        }));
    }
    TextReport {
        model: kept.folder.clone(),
        step: kept.step,
        selected: kept.selected,
        data,
        evaluate,
        rows,
    }
}
