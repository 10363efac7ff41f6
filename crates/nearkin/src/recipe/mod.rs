//! The recipe: everything that decides a training run, one TOML document.
//!
//! The deserialized structs are what runs: a number travels from the document into a field and from
//! there into its kernel. Every table has defaults, so that a recipe says only what it changes; the
//! resolved recipe, with all defaults written out, is saved with the model.

mod any;
mod chain;
mod document;
mod grid;
mod harmonic;
mod optimizer;
mod pretrained;
mod schedule;
mod train;

pub use any::AnyRecipe;
pub use document::{Document, RecipeError};
pub use grid::combinations;
pub use harmonic::Harmonic;
pub use optimizer::{AdaGrad, AdamW, Optimizer, Sgd};
pub use pretrained::Pretrained;
pub use schedule::{Decay, Schedule};
pub use train::{Select, Train};

use crate::data::{Dataset, Source};
use crate::limit::Limit;
use crate::sampler::Sampler;
use crate::split::{Parts, Split, SplitError};
use nearkin_encoder::image::Augment;
use nearkin_encoder::{Head, ImageInput, Network};
use nearkin_losses::Objective;
use nearkin_losses::distance::Distance;
use nearkin_losses::loss::Loss;
use nearkin_losses::miner::Miner;
use nearkin_losses::range::Fraction;
use nearkin_losses::reducer::Reducer;
use nearkin_losses::regularizer::Regularization;
use serde::{Deserialize, Serialize};

/// A training run, whole.
///
/// ```
/// let recipe = nearkin::recipe::Document::parse("tiny.toml", r#"
///     [data.source.bundled]
///     name = "digits"
///     [network.mlp]
///     hidden = [64]
///     [loss.triplet_margin]
///     margin = 0.3
/// "#)?.recipe()?;
/// assert_eq!(recipe.head.dim, 128);
/// # Ok::<(), nearkin::recipe::RecipeError>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Decides every random draw: weights, split, batches, augmentation.
    #[serde(default)]
    pub seed: u64,
    /// Where the items come from and which are held out.
    pub data: Data,
    /// How images become numbers; features ignore it.
    #[serde(default)]
    pub input: ImageInput,
    /// Random changes to training images.
    #[serde(default)]
    pub augment: Augment,
    /// How batches are drawn.
    #[serde(default)]
    pub sampler: Sampler,
    /// The network.
    pub network: Network,
    /// Its last layer.
    #[serde(default)]
    pub head: Head,
    /// The weights that training begins with; all start anew where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<Pretrained>,
    /// The old model that the new one is to be compatible with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harmonic: Option<Harmonic>,
    /// What is minimized.
    pub loss: Loss,
    /// How far two embeddings are apart; the loss's own distance where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance: Option<Distance>,
    /// Which pairs or triplets count; the loss's own choice where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner: Option<Miner>,
    /// How the terms of a batch become one number; the loss's own reducer where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reducer: Option<Reducer>,
    /// Penalties on the embeddings or on the loss's proxies, `[[regularizers]]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regularizers: Vec<Regularization>,
    /// How gradients move the weights.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// How the learning rate changes over the run.
    #[serde(default)]
    pub schedule: Schedule,
    /// Length of the run, evaluation, checkpoints.
    #[serde(default)]
    pub train: Train,
}

/// Where the items come from and which are held out, `[data]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The reader and its place.
    pub source: Source,
    /// Which classes or items train, validate and test.
    #[serde(default)]
    pub split: Split,
    /// How much of what is left for training trains: `[data.limit]` with `items`, `classes` or both, such as
    /// `limit = { items = 1000 }`; see [`Limit`].
    #[serde(default, skip_serializing_if = "Limit::is_none")]
    pub limit: Limit,
    /// The share of damaged images that is tolerated; more stops the run.
    #[serde(default = "none")]
    pub damaged: Fraction,
    /// The memory that decoded images may take, so that they are decoded once and not in each epoch; 0 = off. Results
    /// are the same with and without.
    #[serde(default = "cache_mib")]
    pub cache_mib: u32,
}

impl Data {
    /// The parts of the opened source; the same seed gives the same.
    ///
    /// # Errors
    /// As [`Split::apply`], with what gives this source a split where it has none.
    pub fn parts(&self, dataset: &Dataset, seed: u64) -> Result<Parts, SplitError> {
        self.split
            .apply(dataset, seed)
            .map_err(|error| match error {
                SplitError::NotGiven { data, .. } => SplitError::NotGiven {
                    data,
                    hint: format!(": {}", self.source.split_from()),
                },
                error => error,
            })
    }
}

fn cache_mib() -> u32 {
    256
}

fn none() -> Fraction {
    Fraction::literal(0.0)
}

impl Recipe {
    /// The loss with the distance, the miner, the reducer and the regularizers that it runs with.
    pub fn objective(&self) -> Objective {
        Objective {
            loss: self.loss.clone(),
            distance: self.distance.clone(),
            miner: self.miner.clone(),
            reducer: self.reducer.clone(),
            regularizers: self.regularizers.clone(),
        }
    }

    /// The recipe as a document, every default written out.
    ///
    /// # Errors
    /// A number has no TOML form (TOML's integers end at 2⁶³ − 1).
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        toml::to_string(self).map_err(|e| RecipeError::Write(e.to_string()))
    }
}
