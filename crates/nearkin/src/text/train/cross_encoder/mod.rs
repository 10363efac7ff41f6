//! Training of a cross-encoder: from a recipe to what runs.
//!
//! ```no_run
//! use nearkin::{Control, Outcome, recipe::Document, text::train::CrossEncoderSetup, train::train};
//! use std::{path::Path, sync::atomic::AtomicBool};
//!
//! let recipe = Document::read(Path::new("recipes/sbert-cross-encoder.toml"))?.cross_encoder_recipe()?;
//! let control = Control { observer: &mut |_| {}, stop: &AtomicBool::new(false) };
//! let setup = CrossEncoderSetup::new(recipe)?;
//! let Outcome::Finished(report) = train(&setup, Path::new("runs/cross"), control)? else { return Ok(()) };
//! println!("{:?}", report.rows);
//! # Ok::<(), nearkin::Error>(())
//! ```

mod evaluate;
mod set;
mod task;
#[cfg(test)]
mod tests;

use super::draw::{Draw, Each, Items, Limit};
use super::report::Source;
use super::{Summary, check_drawn, check_names, distinct_texts};
use crate::error::Result;
use crate::recipe::Train;
use crate::text::recipe::CrossEncoderRecipe;
use crate::train::{Learner, check_rates};
use evaluate::Evaluation;
use nearkin_encoder::text::{CrossEncoder, Outcome, Outputs, Tokenizer};
use nearkin_losses::logits::LogitLoss;
use set::PairSet;
use std::sync::Arc;

/// Pairs that are tokenized at a time to see how long they are.
const TOGETHER: usize = 2048;

/// The recipe of a cross-encoder with its data opened.
pub struct CrossEncoderSetup {
    /// The recipe.
    pub recipe: CrossEncoderRecipe,
    sets: Arc<Vec<PairSet>>,
    evaluations: Vec<Evaluation>,
    outputs: Outputs,
    tokenizer: Tokenizer,
    draw: Draw,
    /// `[train]` with its length in steps.
    train: Train,
}

impl CrossEncoderSetup {
    /// Opens what training begins with and the data, and checks that loss and batches fit them.
    ///
    /// # Errors
    /// Whatever does not fit, before any training.
    pub fn new(recipe: CrossEncoderRecipe) -> Result<Self> {
        check_names(recipe.data.iter().map(|data| &*data.name), &recipe.evaluate)?;
        let sets = PairSet::read_all(&recipe)?;
        let outputs = outputs(&recipe.loss, &sets);
        let evaluations = (0..recipe.evaluate.len())
            .map(|number| Evaluation::read(&recipe, number, &outputs))
            .collect::<Result<_>>()?;
        let judge = recipe.cross_encoder.read(&outputs, recipe.seed)?;
        let mut draw = drawing(&recipe, &sets, &judge)?;
        check_drawn(sets.iter().map(|set| &*set.name), &mut draw)?;
        let train = recipe.train.course(|epochs| draw.batches(epochs.get()));
        let setup = Self {
            recipe,
            sets: sets.into(),
            evaluations,
            outputs,
            tokenizer: judge.tokenizer,
            draw,
            train,
        };
        let learner = Learner::new(&setup)?;
        check_rates(&setup.train, learner.parameters())?;
        Ok(setup)
    }

    /// What it comes to.
    ///
    /// # Errors
    /// What training begins with cannot be read.
    pub fn summary(&self) -> Result<Summary> {
        let weights = Learner::new(self)?.parameters().count();
        let sources = [self.data_sources(), self.evaluate_sources()];
        Ok(Summary::of(sources, self.train.steps.get(), weights))
    }

    fn data_sources(&self) -> Vec<Source> {
        let sets = self.sets.iter();
        sets.map(|set| Source::new(&set.name, set.len(), &set.damage))
            .collect()
    }

    fn evaluate_sources(&self) -> Vec<Source> {
        let evaluations = self.evaluations.iter();
        evaluations
            .map(|e| Source::new(&e.name, e.pairs(), &e.damage))
            .collect()
    }
}

/// What a loss makes the cross-encoder say: the classes are those of the data.
fn outputs(loss: &LogitLoss, sets: &[PairSet]) -> Outputs {
    match loss {
        LogitLoss::BinaryCrossEntropy(_) => Outputs::Score(Outcome::Sigmoid),
        LogitLoss::MeanSquaredError(_) => Outputs::Score(Outcome::Logit),
        LogitLoss::CrossEntropy(_) => {
            let names = sets.first().map(|set| set.classes.clone());
            Outputs::Classes(names.unwrap_or_default())
        }
    }
}

fn drawing(recipe: &CrossEncoderRecipe, sets: &[PairSet], judge: &CrossEncoder) -> Result<Draw> {
    let batches = &recipe.batches;
    let items = |set: &PairSet| -> Result<Items> {
        let limit = match batches.tokens {
            Some(tokens) => Limit::Tokens(tokens.get(), lengths(set, &judge.tokenizer)?),
            None => Limit::Items(batches.size.get()),
        };
        Ok(Items::Each(Each {
            name: set.name.clone(),
            count: set.len(),
            limit,
            texts: batches.no_duplicates.then(|| distinct_texts(&set.texts)),
        }))
    };
    let items = sets.iter().map(items).collect::<Result<_>>()?;
    Ok(Draw::new(items, batches.mix, recipe.seed))
}

/// Tokens of each pair.
fn lengths(set: &PairSet, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let mut lengths = Vec::with_capacity(set.len());
    for first in (0..set.len()).step_by(TOGETHER) {
        let items = first..(first + TOGETHER).min(set.len());
        let pairs: Vec<[&str; 2]> = items.map(|item| set.pair(item)).collect();
        let tokens = tokenizer.encode_pairs(&pairs)?;
        lengths.extend(tokens.iter().map(|tokens| tokens.ids.len() as u32));
    }
    Ok(lengths)
}
