//! The recipes of a sentence encoder and of a cross-encoder: everything that decides a run on text, one TOML document.

mod batches;
mod cross_encoder;
mod encoder;
mod fine_tuning;
mod train;

pub use batches::{Batches, Mix};
pub use cross_encoder::{CrossEncoderRecipe, Start};
pub(in crate::text) use encoder::setting;
pub use encoder::{Encoder, PoolingMode, pooling};
pub use train::TextTrain;

use super::table::{Rows, TextTable};
use crate::recipe::{Optimizer, RecipeError, Schedule};
use nearkin_losses::Objective;
use nearkin_losses::distance::Distance;
use nearkin_losses::loss::Loss;
use nearkin_losses::miner::Miner;
use nearkin_losses::reducer::Reducer;
use nearkin_losses::regularizer::Regularization;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A training run on text, whole. A recipe with a table `[encoder]` is one.
///
/// Its defaults are those of Sentence-BERT (Reimers and Gurevych 2019, section 3.1): one epoch of batches of 16, AdamW at
/// 2e-5, warm-up over a tenth of the run, then a linear decay, mean pooling.
///
/// ```
/// let recipe = nearkin::recipe::Document::parse("stsb.toml", r#"
///     [encoder]
///     model = "bert-base-uncased"
///     [[data]]
///     name = "stsb"
///     table.path = "sts-benchmark/train.tsv"
///     rows.scored = { first = "sentence1", second = "sentence2", score = "score" }
///     [loss.cosine_regression]
/// "#)?.text_recipe()?;
/// assert_eq!((recipe.batches.size.get(), recipe.optimizer.rate()), (16, 2e-5));
/// # Ok::<(), nearkin::recipe::RecipeError>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextRecipe {
    /// Decides every random draw: weights that start anew, batches, dropout.
    #[serde(default)]
    pub seed: u64,
    /// The folder in which relative paths of tables lie; the working folder where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// The encoder that training begins with.
    pub encoder: Encoder,
    /// What is minimized; a data set may have a loss of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// How far two embeddings are apart; the loss's own distance where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance: Option<Distance>,
    /// Which pairs or triplets count; the loss's own choice where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner: Option<Miner>,
    /// How the terms of a batch become one number; the loss's own reducer where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reducer: Option<Reducer>,
    /// How batches are drawn.
    #[serde(default)]
    pub batches: Batches,
    /// How gradients move the weights.
    #[serde(default = "fine_tuning::optimizer", with = "fine_tuning::Choice")]
    pub optimizer: Optimizer,
    /// How the learning rate changes over the run.
    #[serde(default = "fine_tuning::schedule", with = "fine_tuning::Course")]
    pub schedule: Schedule,
    /// Length of the run, evaluation, checkpoints.
    #[serde(default)]
    pub train: TextTrain,
    /// Penalties on the embeddings or on the loss's proxies, `[[regularizers]]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regularizers: Vec<Regularization>,
    /// What is learned from, `[[data]]`: at least one.
    pub data: Vec<Data>,
    /// What is measured, `[[evaluate]]`; the first chooses the best weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluate: Vec<NamedRows>,
}

/// A data set to learn from.
///
/// What its [`Rows`] are to a loss: pairs and triplets are aligned views; classes of pairs are what a classifier learns, and
/// of two classes the second is a score of 1; a text with a class is one of its class's items; a text alone is a pair with
/// itself, which dropout makes two views of it (`SimCSE`, Gao, Yao and Chen 2021).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Names it in messages and keys its random draws.
    pub name: String,
    /// Where its rows lie.
    pub table: TextTable,
    /// Which columns are what.
    pub rows: Rows,
    /// Its own loss in place of the recipe's; with its own distance, miner and reducer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
}

/// A data set with nothing of its own but its rows.
///
/// Measured are scored pairs by Spearman's correlation, pairs of two classes by average precision, triplets by accuracy,
/// labeled texts by MAP@R, and classified pairs by the accuracy of the head that a softmax classification or a cross-encoder
/// learned.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedRows {
    /// Names it in messages and reports, and keys its random draws.
    pub name: String,
    /// Where its rows lie.
    pub table: TextTable,
    /// Which columns are what.
    pub rows: Rows,
}

impl TextRecipe {
    /// What is minimized on data set number `number`; `None` where neither it nor the recipe names a loss.
    pub fn objective(&self, number: usize) -> Option<Objective> {
        if let Some(loss) = &self.data[number].loss {
            return Some(Objective {
                regularizers: self.regularizers.clone(),
                ..loss.clone().into()
            });
        }
        Some(Objective {
            loss: self.loss.clone()?,
            distance: self.distance.clone(),
            miner: self.miner.clone(),
            reducer: self.reducer.clone(),
            regularizers: self.regularizers.clone(),
        })
    }

    /// The recipe as a document, every default written out.
    ///
    /// # Errors
    /// A number has no TOML form (TOML's integers end at 2⁶³ − 1).
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        toml::to_string(self).map_err(|e| RecipeError::Write(e.to_string()))
    }
}
