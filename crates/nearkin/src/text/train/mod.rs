//! Training on text: from a recipe to what runs.
//!
//! ```no_run
//! use nearkin::{Control, Outcome, recipe::Document, text::train::TextSetup, train::train};
//! use std::{path::Path, sync::atomic::AtomicBool};
//!
//! let recipe = Document::read(Path::new("recipes/sbert-stsb.toml"))?.text_recipe()?;
//! let control = Control { observer: &mut |_| {}, stop: &AtomicBool::new(false) };
//! let Outcome::Finished(report) = train(&TextSetup::new(recipe)?, Path::new("runs/stsb"), control)? else { return Ok(()) };
//! println!("{:?}", report.rows);
//! # Ok::<(), nearkin::Error>(())
//! ```

mod batch;
mod card;
mod cross_encoder;
mod draw;
mod evaluate;
mod report;
mod set;
mod task;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(in crate::text) mod tiny;

pub use batch::TextBatch;
pub use cross_encoder::CrossEncoderSetup;
pub use report::{Source, TextReport, TextRow};

use super::open;
use super::recipe::{NamedRows, TextRecipe};
use super::table::{Damage, TextTable};
use crate::error::Result;
use crate::recipe::Train;
use crate::train::{LearnedLoss, Learner, check_rates};
use batch::{Reader, Taught};
use draw::{Draw, Each, Items, Limit};
use evaluate::Evaluation;
use nearkin_encoder::parameters::named_rng;
use nearkin_encoder::text::SentenceEncoder;
use nearkin_kernels::Mat;
use nearkin_losses::Batch;
use nearkin_losses::distance::Distance;
use rand::RngExt;
use set::{Known, Set, refused};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

pub(in crate::text) use super::recipe::setting;

/// A recipe on text with its data opened.
pub struct TextSetup {
    /// The recipe.
    pub recipe: TextRecipe,
    sets: Arc<Vec<Set>>,
    evaluations: Vec<Evaluation>,
    reader: Reader,
    teacher: Option<SentenceEncoder>,
    draw: Draw,
    /// `[train]` with its length in steps.
    train: Train,
}

/// What a recipe on text comes to, for people.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Summary {
    /// Data sets to learn from, with their items.
    pub data: Vec<(String, usize)>,
    /// What is measured, with its items.
    pub evaluate: Vec<(String, usize)>,
    /// Rows that were left out, of tables that have such.
    pub damaged: Vec<(String, Damage)>,
    /// Optimizer steps.
    pub steps: u64,
    /// Numbers that learn.
    pub weights: usize,
}

impl Summary {
    fn of([data, evaluate]: [Vec<Source>; 2], steps: u64, weights: usize) -> Self {
        let items = |sources: &[Source]| {
            let named = sources.iter();
            named.map(|s| (s.name.clone(), s.items)).collect()
        };
        let damaged = data.iter().chain(&evaluate).filter(|s| s.damaged.rows > 0);
        Self {
            data: items(&data),
            evaluate: items(&evaluate),
            damaged: damaged
                .map(|s| (s.name.clone(), s.damaged.clone()))
                .collect(),
            steps,
            weights,
        }
    }
}

impl TextSetup {
    /// Opens the encoder and the data, and checks that losses and batches fit them.
    ///
    /// # Errors
    /// Whatever does not fit, before any training.
    pub fn new(recipe: TextRecipe) -> Result<Self> {
        check_names(recipe.data.iter().map(|data| &*data.name), &recipe.evaluate)?;
        let encoder = recipe.encoder.read(recipe.seed)?;
        let teacher = recipe.encoder.teacher.as_deref();
        let teacher = teacher.map(open).transpose()?;
        let reader = Reader::of(&encoder);
        let sets = (0..recipe.data.len()).map(|number| Set::read(&recipe, number));
        let sets: Vec<Set> = sets.collect::<Result<_>>()?;
        let evaluations = (0..recipe.evaluate.len())
            .map(|number| Evaluation::read(&recipe, number, &sets))
            .collect::<Result<_>>()?;
        let mut draw = drawing(&recipe, &sets, &reader)?;
        check_drawn(recipe.data.iter().map(|data| &*data.name), &mut draw)?;
        let train = recipe.train.course(|epochs| draw.batches(epochs.get()));
        let setup = Self {
            recipe,
            sets: sets.into(),
            evaluations,
            reader,
            teacher,
            draw,
            train,
        };
        setup.check_losses(encoder.dim())?;
        let learner = Learner::new(&setup)?;
        check_rates(&setup.train, learner.parameters())?;
        Ok(setup)
    }

    /// What it comes to.
    ///
    /// # Errors
    /// The encoder cannot be read.
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
            .map(|e| Source::new(&e.name, e.items(), &e.damage))
            .collect()
    }

    /// Each loss on a first batch of made-up embeddings: what it refuses is better known before training.
    fn check_losses(&self, dim: usize) -> Result<()> {
        let mut losses = self.losses_of(dim)?;
        for (number, set) in self.sets.iter().enumerate() {
            let items: Vec<usize> = (0..set.len().min(8)).collect();
            let teacher = self.teacher.as_ref().map(Reader::of);
            let batch = TextBatch::read((number, set), &items, &self.reader, teacher.as_ref())?;
            let taught = self.ask(&batch)?;
            let mut rng = named_rng(self.recipe.seed, "check");
            let numbers = (0..batch.rows() * dim).map(|_| rng.random_range(-1.0..1.0));
            let numbers: Vec<f32> = numbers.collect();
            let batch = Batch {
                embeddings: Mat::new(&numbers, batch.rows(), dim),
                targets: batch.targets(&taught),
            };
            losses[number]
                .value_and_grad(batch, 0)
                .map_err(|error| match error {
                    crate::Error::Loss { source, .. } => {
                        refused(&self.recipe.data[number], number, source)
                    }
                    other => other,
                })?;
        }
        Ok(())
    }

    fn losses_of(&self, dim: usize) -> Result<Vec<LearnedLoss>> {
        let loss = |(number, set): (usize, &Set)| {
            let shape = nearkin_losses::loss::Shape {
                dim,
                classes: set.classes(),
            };
            let name = format!("loss.{}", set.name);
            let loss = LearnedLoss::new(set.objective.clone(), shape, self.recipe.seed, &name);
            loss.map_err(|error| match error {
                crate::Error::Objective(source) => {
                    refused(&self.recipe.data[number], number, source)
                }
                other => other,
            })
        };
        self.sets.iter().enumerate().map(loss).collect()
    }

    fn ask(&self, batch: &TextBatch) -> Result<Taught> {
        let set = &self.sets[batch.set];
        let scores = set.objective.needs(set.views.max(2)).scores;
        let dot = matches!(set.objective.distance(), Some(Distance::Dot(_)));
        batch.ask(self.teacher.as_ref(), scores, dot)
    }
}

/// A table of a recipe, below the recipe's root.
fn rooted(table: &TextTable, root: Option<&Path>) -> TextTable {
    TextTable {
        path: root.unwrap_or(Path::new("")).join(&table.path),
        ..table.clone()
    }
}

/// Names key random draws and rows of reports: each is there once.
fn check_names<'a>(data: impl Iterator<Item = &'a str>, evaluate: &[NamedRows]) -> Result<()> {
    let names: Vec<&str> = data.collect();
    if names.is_empty() {
        return Err(setting("data", "at least one [[data]]", "none"));
    }
    let evaluations: Vec<&str> = evaluate.iter().map(|e| e.name.as_str()).collect();
    for (key, names) in [("data", names), ("evaluate", evaluations)] {
        let twice = (1..names.len()).find(|&k| names[..k].contains(&names[k]));
        if let Some(k) = twice {
            let found = format!("\"{}\" twice", names[k]);
            return Err(setting(
                &format!("{key}.{k}.name"),
                "names that differ",
                found,
            ));
        }
    }
    Ok(())
}

/// A number for each text, `columns` of each item; equal texts have equal numbers.
fn distinct_texts(columns: &[Vec<String>]) -> Vec<Vec<u32>> {
    let mut numbers = HashMap::new();
    let mut number = |text| {
        let next = numbers.len() as u32;
        *numbers.entry(text).or_insert(next)
    };
    let items = columns.first().map_or(0, Vec::len);
    (0..items)
        .map(|item| {
            let texts = columns.iter().map(|texts| texts[item].as_str());
            texts.map(&mut number).collect()
        })
        .collect()
}

fn drawing(recipe: &TextRecipe, sets: &[Set], reader: &Reader) -> Result<Draw> {
    let batches = &recipe.batches;
    let items = |set: &Set| -> Result<Items> {
        if let Known::Labels { of, .. } = &set.known {
            return Items::classes(batches.pk, of, recipe.seed);
        }
        let limit = match batches.tokens {
            Some(tokens) => Limit::Tokens(tokens.get(), lengths(set, reader)?),
            None => Limit::Items(batches.size.get()),
        };
        Ok(Items::Each(Each {
            name: set.name.clone(),
            count: set.len(),
            limit,
            texts: batches.no_duplicates.then(|| distinct_texts(&set.columns)),
        }))
    };
    let items = sets.iter().map(items).collect::<Result<_>>()?;
    Ok(Draw::new(items, batches.mix, recipe.seed))
}

/// A data set without a batch would never be learned from.
fn check_drawn<'a>(mut names: impl Iterator<Item = &'a str>, draw: &mut Draw) -> Result<()> {
    let counts = draw.batches_of_sets();
    let none = counts.iter().position(|&count| count == 0);
    let Some(name) = none.and_then(|none| names.nth(none)) else {
        return Ok(());
    };
    let expected = "data of which two items can share a batch";
    let found = format!("data set {name}, of which no two items differ in all texts");
    Err(setting("batches.no_duplicates", expected, found))
}

/// Tokens of each item, all its texts together.
fn lengths(set: &Set, reader: &Reader) -> Result<Vec<u32>> {
    const TOGETHER: usize = 2048;
    let mut lengths = Vec::with_capacity(set.len());
    for first in (0..set.len()).step_by(TOGETHER) {
        let items = first..(first + TOGETHER).min(set.len());
        let of_item = |item| (0..set.views).map(move |view| set.text(view, item));
        let texts: Vec<&str> = items.flat_map(of_item).collect();
        let tokens = reader.tokens(&texts)?;
        let of_items = tokens.chunks_exact(set.views);
        lengths.extend(of_items.map(|texts| {
            let tokens: usize = texts.iter().map(|t| t.ids.len()).sum();
            tokens as u32
        }));
    }
    Ok(lengths)
}
