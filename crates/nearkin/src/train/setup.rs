//! From a recipe to what runs: data, split, input, model.

use super::Learner;
use crate::data::Dataset;
use crate::error::Result;
use crate::feed::{Feed, feature_input};
use crate::recipe::{Recipe, Train};
use crate::sampler::Draw;
use crate::split::Parts;
use nearkin_encoder::model::Input;
use nearkin_encoder::{Model, Parameters};
use std::collections::HashSet;
use std::sync::Arc;

/// A recipe with its data opened and split.
pub struct Setup {
    /// The recipe.
    pub recipe: Recipe,
    /// The items.
    pub feed: Feed,
    /// Which items train, validate and test.
    pub parts: Parts,
    /// Number of each class of the data among the training classes; `u32::MAX` for one that trains nothing.
    pub(super) classes: Vec<u32>,
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
        let feed = Feed::new(dataset, input, recipe.data.damaged.exact())?
            .with_cache(recipe.data.cache_mib);
        let classes = training_classes(&feed.dataset().labels, &parts.train);
        let setup = Self {
            recipe,
            feed,
            parts,
            classes,
        };
        setup.check_parts()?;
        setup.draw()?;
        check_rates(&setup.recipe.train, Learner::new(&setup)?.parameters())?;
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

    /// A model with starting weights.
    ///
    /// # Errors
    /// The network does not fit the input, or the weights of the recipe not the network.
    pub fn model(&self) -> Result<Model> {
        let (network, head) = (self.recipe.network.clone(), self.recipe.head.clone());
        let (input, seed) = (self.feed.input().clone(), self.recipe.seed);
        let Some(pretrained) = &self.recipe.pretrained else {
            return Ok(Model::new(network, head, input, seed)?);
        };
        let model = Model::on(network, head, input, &pretrained.scope(seed)?)?;
        pretrained.check(model.embedder.parameters())?;
        Ok(model)
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
    pub(super) fn draw(&self) -> Result<Draw> {
        let labels = &self.feed.dataset().labels;
        let labels: Vec<u32> = self.parts.train.iter().map(|&item| labels[item]).collect();
        let (sampler, seed) = (&self.recipe.sampler, self.recipe.seed);
        Ok(Draw::new(sampler, &self.parts.train, &labels, seed)?)
    }
}

/// A factor that matches no parameter is a misspelled name.
///
/// # Errors
/// Names the factor and the parameters there are.
pub fn check_rates(train: &Train, parameters: &Parameters) -> Result<()> {
    for prefix in train.rates.keys() {
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

/// Number of each class of the data among those of the items that train.
fn training_classes(labels: &[u32], train: &[usize]) -> Vec<u32> {
    let count = labels.iter().max().map_or(0, |&label| label as usize + 1);
    let mut classes = vec![u32::MAX; count];
    for &item in train {
        classes[labels[item] as usize] = 0;
    }
    let present = classes.iter_mut().filter(|class| **class == 0);
    for (number, class) in present.enumerate() {
        *class = number as u32;
    }
    classes
}
