//! From the recipe of a network of pairs to what runs: data, split, input, model.

use super::samples::{Kept, Sampling};
use super::{PairRecipe, Probes};
use crate::data::Dataset;
use crate::error::Result;
use crate::feed::Feed;
use crate::sampler::{Draw, Sampler};
use crate::split::Parts;
use crate::train::{Learner, check_noise, check_parts, check_rates, check_turned, draw};
use nearkin_encoder::model::Input;
use nearkin_encoder::network::PairOutput;
use nearkin_encoder::{Error as EncoderError, PairModel};
use std::sync::Arc;

/// A recipe of a network of pairs with its data opened and split.
pub struct PairSetup {
    /// The recipe.
    pub recipe: PairRecipe,
    /// The images.
    pub feed: Feed,
    /// Which images train, validate and test.
    pub parts: Parts,
}

impl PairSetup {
    /// Opens the data, splits it, and checks that network, loss and batches fit it.
    ///
    /// # Errors
    /// Whatever does not fit, before any training.
    pub fn new(recipe: PairRecipe) -> Result<Self> {
        let dataset = Arc::new(Dataset::open(&recipe.data.source)?);
        let mut parts = recipe.data.parts(&dataset, recipe.seed)?;
        let limit = &recipe.data.limit;
        parts.train = limit.apply(parts.train, &dataset.labels, recipe.seed)?;
        let input = Input::Image(recipe.input.clone());
        check_turned(&recipe.augment, &input)?;
        check_noise(&recipe.augment, &recipe.input)?;
        let feed = Feed::new(dataset, input, recipe.data.damaged.exact())?
            .with_cache(recipe.data.cache_mib);
        let setup = Self {
            recipe,
            feed,
            parts,
        };
        check_parts(&setup.parts, setup.feed.dataset())?;
        setup.check_probes()?;
        setup.check_output()?;
        setup.check_batches()?;
        let rates = &setup.recipe.train;
        check_rates(rates, Learner::new(&setup)?.parameters())?;
        Ok(setup)
    }

    /// Whether enough of the images are there to train; what is measured alone does without those that train.
    ///
    /// # Errors
    /// More are known not to be there than may be damaged.
    pub fn check_there(&self) -> Result<()> {
        self.feed.expect(&self.parts.train)?;
        self.feed.expect(&self.parts.all())
    }

    /// What is watched and reported must have something to find by another camera.
    fn check_probes(&self) -> Result<()> {
        for (part, items) in [self.parts.watched(), self.parts.measured()] {
            let probes = Probes::watched(self.feed.dataset(), items);
            if !items.is_empty() && probes.queries.is_empty() {
                return Err(EncoderError::Setting {
                    key: "data.split".to_owned(),
                    expected: format!("images of one class by two cameras among those to {part}"),
                    found: format!(
                        "{} images, none of which is found by another camera",
                        items.len()
                    ),
                }
                .into());
            }
        }
        Ok(())
    }

    /// A cross-entropy needs two outputs.
    fn check_output(&self) -> Result<()> {
        let (network, loss) = (&self.recipe.pair_network, &self.recipe.loss);
        if network.output() == PairOutput::Softmax || !loss.needs_softmax() {
            return Ok(());
        }
        Err(EncoderError::Setting {
            key: "pair_network.alexnet.output".to_owned(),
            expected: format!(
                "\"softmax\", whose two outputs the cross-entropy of loss {} needs (where it has a softmax_weight, 0 does without)",
                loss.name()
            ),
            found: "\"one\"".to_owned(),
        }
        .into())
    }

    /// A first batch without anything to compare would be followed by others.
    fn check_batches(&self) -> Result<()> {
        let items = self.draw()?.batch(0);
        let dataset = self.feed.dataset();
        let labels: Vec<u32> = items.iter().map(|&item| dataset.labels[item]).collect();
        let kept = Kept::new(dataset, &items, &labels);
        self.sampling().of(0, &items, &kept)?;
        Ok(())
    }

    /// A model with starting weights.
    ///
    /// # Errors
    /// The network does not fit the input, or the weights of the recipe not the network.
    pub fn model(&self) -> Result<PairModel> {
        let recipe = &self.recipe;
        let (network, input) = (recipe.pair_network.clone(), recipe.input.clone());
        let placed = |error| recipe.pair_network.placed(error);
        let Some(pretrained) = &recipe.pretrained else {
            return Ok(PairModel::new(network, input, recipe.seed).map_err(placed)?);
        };
        let scope = pretrained.scope(recipe.seed)?;
        let model = PairModel::on(network, input, &scope).map_err(placed)?;
        pretrained.check(model.scorer.parameters())?;
        Ok(model)
    }

    /// What decides the batches.
    pub(super) fn draw(&self) -> Result<Draw> {
        let (sampler, seed) = (&self.recipe.sampler, self.recipe.seed);
        draw(self.feed.dataset(), &self.parts.train, (sampler, seed))
    }

    /// How batches come to their samples.
    pub(super) fn sampling(&self) -> Sampling {
        Sampling {
            by_role: matches!(self.recipe.sampler, Sampler::Quadruplets(_)),
            kinds: self.recipe.loss.kinds(),
            seed: self.recipe.seed,
        }
    }
}
