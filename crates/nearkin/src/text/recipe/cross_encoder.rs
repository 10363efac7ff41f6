//! The recipe of a cross-encoder: a Transformer that reads the two texts of a pair together.

use super::encoder::{as_it_is, check_dropout, check_names, limited};
use super::{Batches, NamedRows, TextTrain, fine_tuning};
use crate::error::Result;
use crate::hub;
use crate::recipe::{Optimizer, RecipeError, Schedule};
use nearkin_encoder::text::{CrossEncoder, Outputs, Reading};
use nearkin_losses::logits::{BinaryCrossEntropy, LogitLoss};
use nearkin_losses::range::NonNegative;
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// A training run of a cross-encoder, whole. A recipe with a table `[cross_encoder]` is one.
///
/// Its defaults are those of the BERT cross-encoder of Sentence-BERT (Reimers and Gurevych 2019, section 4.2): one output,
/// the sigmoid of which is fitted to the score; batches of 16, AdamW at 2e-5, warm-up over a tenth of the run, then a linear
/// decay.
///
/// ```
/// let recipe = nearkin::recipe::Document::parse("cross.toml", r#"
///     [cross_encoder]
///     model = "bert-base-uncased"
///     [[data]]
///     name = "stsb"
///     table.path = "sts-benchmark/train.tsv"
///     rows.scored = { first = "sentence1", second = "sentence2", score = "score" }
/// "#)?.cross_encoder_recipe()?;
/// assert_eq!((recipe.loss.name(), recipe.batches.size.get()), ("binary_cross_entropy", 16));
/// # Ok::<(), nearkin::recipe::RecipeError>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossEncoderRecipe {
    /// Decides every random draw: weights that start anew, batches, dropout.
    #[serde(default)]
    pub seed: u64,
    /// The folder in which relative paths of tables lie; the working folder where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// What training begins with.
    pub cross_encoder: Start,
    /// What is minimized: it decides the outputs, one score or a logit for each class.
    #[serde(default = "binary_cross_entropy")]
    pub loss: LogitLoss,
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
    /// What is learned from, `[[data]]`: scored pairs or pairs with a class, at least one set.
    pub data: Vec<NamedRows>,
    /// What is measured, `[[evaluate]]`; the first chooses the best weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluate: Vec<NamedRows>,
}

fn binary_cross_entropy() -> LogitLoss {
    BinaryCrossEntropy::default().into()
}

/// What the training of a cross-encoder begins with, `[cross_encoder]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The folder of a Transformer, of a sentence encoder or of a cross-encoder, or its name on the model hub. Layers of the
    /// head that it has not start anew, and so does the output layer where its outputs are others.
    pub model: PathBuf,
    /// The most tokens of a pair, special tokens included, of which the longer text is cut first; the model's own limit where
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<NonZeroUsize>,
    /// Beginnings of the names of weights that start anew, such as `encoder.layer.11`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fresh: Vec<String>,
    /// Beginnings of the names of weights that stay as they are, such as `embeddings`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// Whether layers keep only their inputs and are computed again for their gradients: less memory, more time.
    #[serde(default)]
    pub checkpoint: bool,
    /// Factor on the dropout rates of the model: 1 as they are, 0 for none.
    #[serde(default = "as_it_is")]
    pub dropout: NonNegative,
}

impl Start {
    /// Reads the cross-encoder as training begins with it; `seed` is for weights that start anew.
    ///
    /// # Errors
    /// The folder cannot be read, or a beginning of a name is none of any weight.
    pub fn read(&self, outputs: &Outputs, seed: u64) -> Result<CrossEncoder> {
        let reading = Reading {
            fresh: self.fresh.clone(),
            freeze: self.freeze.clone(),
            seed,
            ..Reading::default()
        };
        let folder = hub::folder(&self.model)?;
        let mut judge = CrossEncoder::begin(&folder, &reading, outputs)?;
        limited(
            &mut judge.tokenizer,
            self.max_tokens,
            "cross_encoder.max_tokens",
        )?;
        for (key, names) in [("fresh", &self.fresh), ("freeze", &self.freeze)] {
            check_names(&format!("cross_encoder.{key}"), names, judge.parameters())?;
        }
        let architecture = judge.network().transformer().architecture();
        check_dropout("cross_encoder.dropout", self.dropout, architecture)?;
        Ok(judge)
    }
}

impl CrossEncoderRecipe {
    /// The recipe as a document, every default written out.
    ///
    /// # Errors
    /// A number has no TOML form (TOML's integers end at 2⁶³ − 1).
    pub fn to_toml(&self) -> std::result::Result<String, RecipeError> {
        toml::to_string(self).map_err(|e| RecipeError::Write(e.to_string()))
    }
}
