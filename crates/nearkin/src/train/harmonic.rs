//! Training against the embeddings of an old model, which stays as it is.

use super::LearnedLoss;
use crate::embed::embed;
use crate::error::Result;
use crate::feed::Feed;
use crate::recipe::Recipe;
use nearkin_encoder::{Error as EncoderError, Model};
use nearkin_kernels::Mat;
use nearkin_losses::loss::{Form, Loss};
use nearkin_losses::{Batch, Objective, Outcome, Targets};

/// The old model with the items as it reads them.
#[derive(Clone)]
pub(super) struct Old {
    model: Model,
    feed: Feed,
}

impl Old {
    /// The old model of a recipe, if it names one, for the items of `feed`.
    ///
    /// # Errors
    /// The recipe names an old model and no loss that compares with it, or the other way round; the model cannot be read, reads
    /// other items, or has embeddings of another length; classes are turned, which it would not see.
    pub fn open(recipe: &Recipe, feed: &Feed) -> Result<Option<Self>> {
        let compares = compares_models(&recipe.objective())?;
        let Some(harmonic) = &recipe.harmonic else {
            if compares {
                let expected =
                    "the old model beside harmonic_triplet, [harmonic] model = \"FOLDER\"";
                return Err(setting("loss", expected, "none"));
            }
            return Ok(None);
        };
        if !compares {
            let found = recipe.loss.name();
            return Err(setting(
                "loss",
                "harmonic_triplet, which goes with [harmonic]",
                found,
            ));
        }
        if recipe.augment.turned_classes {
            let expected = "false beside [harmonic], whose model sees images as they are";
            return Err(setting("augment.turned_classes", expected, "true"));
        }
        let model = Model::load(&harmonic.model).map_err(|error| {
            setting(
                "harmonic.model",
                "the folder of a model",
                &error.to_string(),
            )
        })?;
        let (old, new) = (model.embedder.dim(), recipe.head.dim);
        if old != new {
            let expected = format!("{old}, as the embeddings of {}", harmonic.model.display());
            return Err(setting("head.dim", &expected, &new.to_string()));
        }
        let feed = feed.reading(model.config.input.clone())?;
        Ok(Some(Self { model, feed }))
    }

    /// The old embeddings of items, `[items, D]`.
    ///
    /// # Errors
    /// An item cannot be read.
    pub fn embed(&self, items: &[usize]) -> Result<Vec<f32>> {
        Ok(embed(&self.model, &self.feed, items, &mut |_| {})?.numbers)
    }
}

/// The loss over a batch embedded by both models, `[B, D]` each, with the gradient of the new embeddings.
///
/// # Errors
/// The loss refuses the batch.
pub(super) fn value_and_grad(
    loss: &mut LearnedLoss,
    (old, new): (&[f32], Mat<'_>),
    labels: &[u32],
    number: u64,
) -> Result<Outcome> {
    let pool = [old, new.data].concat();
    let batch = Batch {
        embeddings: Mat::new(&pool, 2 * new.rows, new.cols),
        targets: Targets::Labels(&labels.repeat(2)),
    };
    let mut outcome = loss.value_and_grad(batch, number)?;
    outcome.gradient.drain(..old.len());
    Ok(outcome)
}

/// Whether the loss, or one of those that it wraps, takes embeddings of two models.
///
/// # Errors
/// It is wrapped in a memory, in which old and new embeddings could not be told apart.
fn compares_models(objective: &Objective) -> Result<bool> {
    if let Loss::HarmonicTriplet(_) = &objective.loss {
        return Ok(true);
    }
    let Form::Wrapper(wrapper) = objective.loss.form() else {
        return Ok(false);
    };
    let mut compares = false;
    // The width does not matter to what the parts are.
    for part in wrapper.parts(1) {
        compares |= compares_models(part.objective)?;
    }
    if compares && wrapper.memory().is_some() {
        let found = objective.loss.name();
        return Err(setting(
            "loss",
            "harmonic_triplet without a memory around it",
            found,
        ));
    }
    Ok(compares)
}

fn setting(key: &str, expected: &str, found: &str) -> crate::Error {
    crate::Error::Encoder(EncoderError::Setting {
        key: key.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    })
}
