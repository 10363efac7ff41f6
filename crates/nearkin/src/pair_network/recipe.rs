//! The recipe of a network of pairs.

use crate::recipe::{Data, Optimizer, Pretrained, RecipeError, Schedule, Train};
use crate::sampler::{Quadruplets, Sampler};
use nearkin_encoder::ImageInput;
use nearkin_encoder::image::Augment;
use nearkin_encoder::network::PairNetwork;
use nearkin_losses::pair_metric::PairLoss;
use serde::{Deserialize, Serialize};

/// A training run of a network of pairs, whole. A recipe with a table `[pair_network]` is one.
///
/// The tables that go with embeddings (`head`, `distance`, `miner`, `reducer`, `regularizers`) are not in it.
///
/// ```
/// let recipe = nearkin::recipe::Document::parse("pairs.toml", r#"
///     [data.source.cuhk03]
///     path = "cuhk03.zip"
///     [pair_network.alexnet]
///     stem = "medium"
///     width = 0.25
///     hidden = 256
///     [loss.pair_quadruplet]
/// "#)?.pair_recipe()?;
/// assert_eq!(recipe.loss.name(), "pair_quadruplet");
/// # Ok::<(), nearkin::recipe::RecipeError>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairRecipe {
    /// Decides every random draw: weights, split, batches, augmentation.
    #[serde(default)]
    pub seed: u64,
    /// Where the images come from and which are held out.
    pub data: Data,
    /// How images become numbers.
    #[serde(default)]
    pub input: ImageInput,
    /// Random changes to training images.
    #[serde(default)]
    pub augment: Augment,
    /// How batches are drawn: `quadruplets` draws what the loss compares; of another batch, each image with a positive in it
    /// is the anchor of one triplet or quadruplet, whose other images are drawn from the batch, the positive of another
    /// camera where there is one.
    #[serde(default = "quadruplets")]
    pub sampler: Sampler,
    /// The network.
    pub pair_network: PairNetwork,
    /// The weights that training begins with; all start anew where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<Pretrained>,
    /// What is minimized.
    pub loss: PairLoss,
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

fn quadruplets() -> Sampler {
    Sampler::Quadruplets(Quadruplets::default())
}

impl PairRecipe {
    /// The recipe as a document, every default written out.
    ///
    /// # Errors
    /// A number has no TOML form (TOML's integers end at 2⁶³ − 1).
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        toml::to_string(self).map_err(|e| RecipeError::Write(e.to_string()))
    }
}
