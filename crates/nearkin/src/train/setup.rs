//! From a recipe to what runs: data, split, input, model.

use super::Learner;
use super::gradient::gradient;
use crate::data::Dataset;
use crate::embed::embed;
use crate::error::Result;
use crate::feed::{Feed, feature_input};
use crate::optimize::Optimize;
use crate::prefetch::{Plan, Prefetch};
use crate::recipe::Recipe;
use crate::sampler::Draw;
use crate::split::Parts;
use nearkin_encoder::Model;
use nearkin_encoder::model::Input;
use std::collections::HashSet;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A recipe with its data opened and split.
pub struct Setup {
    /// The recipe.
    pub recipe: Recipe,
    /// The items.
    pub feed: Feed,
    /// Which items train, validate and test.
    pub parts: Parts,
}

impl Setup {
    /// Opens the data, splits it, and checks that network, loss and batches fit it.
    ///
    /// # Errors
    /// Whatever does not fit, before any training.
    pub fn new(recipe: Recipe) -> Result<Self> {
        let dataset = Arc::new(Dataset::open(&recipe.data.source)?);
        let parts = recipe.data.split.apply(&dataset, recipe.seed)?;
        let input = match dataset.is_features() {
            Some(_) => Input::Features(feature_input(&dataset, &parts.train)),
            None => Input::Image(recipe.input.clone()),
        };
        let feed = Feed::new(dataset, input, recipe.data.damaged.exact())?;
        let setup = Self {
            recipe,
            feed,
            parts,
        };
        setup.check_parts()?;
        setup.plan()?;
        setup.check_rates(&Learner::new(&setup)?)?;
        Ok(setup)
    }

    /// What is to be measured must have something to find: better known before training than after it.
    fn check_parts(&self) -> Result<()> {
        let labels = &self.feed.dataset().labels;
        let parts = [
            ("test", &self.parts.test),
            ("validate", &self.parts.validation),
        ];
        for (part, items) in parts {
            let mut seen = HashSet::new();
            let all_new = items.iter().all(|&item| seen.insert(labels[item]));
            if !items.is_empty() && all_new {
                let items = items.len();
                return Err(crate::Error::NothingToFind { part, items });
            }
        }
        Ok(())
    }

    /// A factor that matches no parameter is a misspelled name.
    fn check_rates(&self, learner: &Learner) -> Result<()> {
        let parameters = learner.parameters();
        for prefix in self.recipe.train.rates.keys() {
            if !parameters.iter().any(|p| p.name.starts_with(prefix)) {
                let names: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
                return Err(nearkin_encoder::Error::Setting {
                    key: "train.rates".into(),
                    expected: format!("the start of a parameter's name ({})", names.join(", ")),
                    found: format!("\"{prefix}\""),
                }
                .into());
            }
        }
        Ok(())
    }

    /// A model with starting weights.
    ///
    /// # Errors
    /// The network does not fit the input.
    pub fn model(&self) -> Result<Model> {
        let (network, head) = (self.recipe.network.clone(), self.recipe.head.clone());
        Ok(Model::new(
            network,
            head,
            self.feed.input().clone(),
            self.recipe.seed,
        )?)
    }

    /// The items watched during training: validation, or test where no validation is set apart.
    pub fn watched(&self) -> (&'static str, &[usize]) {
        if self.parts.validation.is_empty() {
            ("test", &self.parts.test)
        } else {
            ("validation", &self.parts.validation)
        }
    }

    /// The items of the final report: test, or validation where no test is set apart.
    pub fn measured(&self) -> (&'static str, &[usize]) {
        if self.parts.test.is_empty() {
            self.watched()
        } else {
            ("test", &self.parts.test)
        }
    }

    /// What decides the batches.
    pub(super) fn plan(&self) -> Result<Plan> {
        let labels: Vec<u32> = self
            .parts
            .train
            .iter()
            .map(|&item| self.feed.dataset().labels[item])
            .collect();
        let draw = Draw::new(
            &self.recipe.sampler,
            &self.parts.train,
            &labels,
            self.recipe.seed,
        )?;
        Ok(Plan {
            feed: self.feed.clone(),
            draw,
            augment: self.recipe.augment.clone(),
            seed: self.recipe.seed,
        })
    }
}

/// How many steps of the recipe fit a time budget, measured on a few steps that are thrown away.
///
/// What evaluations and the final report will take for embedding is set aside, and a tenth of the
/// budget for what they do beside. The recipe's own count is the upper bound, one step the lower.
///
/// # Errors
/// As training.
pub fn plan_steps(setup: &Setup, budget: Duration) -> Result<NonZeroU64> {
    let started = Instant::now();
    let train = &setup.recipe.train;
    let step = step_time(setup)? * train.accumulate.get() as f64;
    let item = item_time(setup)?;
    // The untrained and the trained network embed the items of the report.
    let report = 2.0 * item * setup.measured().1.len() as f64;
    let watched = item * setup.watched().1.len() as f64 / train.evaluate_every.get() as f64;
    let left = budget.as_secs_f64() * 0.9 - started.elapsed().as_secs_f64() - report;
    let fitting = (left / (step + watched).max(1e-9)).max(0.0) as u64;
    Ok(NonZeroU64::new(fitting.min(train.steps.get())).unwrap_or(NonZeroU64::MIN))
}

/// Seconds of one batch: read, passed, and its step made.
fn step_time(setup: &Setup) -> Result<f64> {
    const PROBES: u32 = 5;
    let recipe = &setup.recipe;
    let mut learner = Learner::new(setup)?;
    let mut optimizer = Optimize::new(recipe, learner.parameters())?;
    let batches = Prefetch::start(setup.plan()?, 0);
    let mut timed = Duration::ZERO;
    for probe in 0..=u64::from(PROBES) {
        let started = Instant::now();
        let measured = gradient(&mut learner, recipe, &batches.next()?, probe)?;
        optimizer.step(recipe, probe, learner.parameters(), &measured.gradients)?;
        // The first step pays for memory and threads.
        timed += if probe == 0 {
            Duration::ZERO
        } else {
            started.elapsed()
        };
    }
    Ok((timed / PROBES).as_secs_f64())
}

/// Seconds of one item of an evaluation; nothing where nothing is measured.
fn item_time(setup: &Setup) -> Result<f64> {
    const ITEMS: usize = 128;
    let items = setup.measured().1;
    let items = &items[..items.len().min(ITEMS)];
    let started = Instant::now();
    embed(&setup.model()?, &setup.feed, items, &mut |_| {})?;
    Ok(started.elapsed().as_secs_f64() / items.len().max(1) as f64)
}
