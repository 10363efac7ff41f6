//! Length of a run on text, evaluation and checkpoints, `[train]`.

use crate::recipe::{Select, Train};
use nearkin_losses::range::{Fraction, NonNegative, Positive};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize};

/// Length of a run on text, evaluation and checkpoints, `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextTrain {
    /// Passes over the data; the run ends earlier where `steps` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<NonZeroU32>,
    /// Optimizer steps of the run; one epoch where neither is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<NonZeroU64>,
    /// Steps between evaluations, each of which also writes a checkpoint; a tenth of the run where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluate_every: Option<NonZeroU64>,
    /// Which weights become the model: those with the best score of the first `[[evaluate]]`, or the last.
    pub select: Select,
    /// Evaluations without a better one after which the run ends early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<NonZeroUsize>,
    /// Batches whose gradients are averaged into one step.
    pub accumulate: NonZeroU16,
    /// Tokens of one forward pass. A batch above it is embedded in such chunks, the loss is taken over all of it, and each
    /// chunk is passed again for its gradient (gradient caching, Gao et al. 2021): memory follows the chunk, the gradient is
    /// the full batch's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk: Option<NonZeroUsize>,
    /// Largest Euclidean norm of the gradient of all weights; a larger one is scaled down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<Positive>,
    /// Decay of the running average of the weights, which is then what is evaluated and kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<Fraction>,
    /// Factors on the learning rate by the start of a parameter's name, the longest match counts: `{ loss = 10.0 }` for
    /// what losses learn.
    pub rates: BTreeMap<String, NonNegative>,
}

impl Default for TextTrain {
    fn default() -> Self {
        Self {
            epochs: None,
            steps: None,
            evaluate_every: None,
            select: Select::default(),
            patience: None,
            accumulate: NonZeroU16::MIN,
            chunk: None,
            clip: Some(Positive::literal(1.0)),
            ema: None,
            rates: BTreeMap::new(),
        }
    }
}

impl TextTrain {
    /// The course of the run, with its length in steps; `batches` counts the batches of so many epochs.
    pub fn course(&self, batches: impl FnOnce(NonZeroU32) -> u64) -> Train {
        let epochs = match (self.epochs, self.steps) {
            (None, None) => Some(NonZeroU32::MIN),
            (epochs, _) => epochs,
        };
        let of_epochs = epochs.map(|epochs| {
            let steps = batches(epochs).div_ceil(u64::from(self.accumulate.get()));
            NonZeroU64::new(steps).unwrap_or(NonZeroU64::MIN)
        });
        let given = of_epochs.into_iter().chain(self.steps).min();
        let steps = given.unwrap_or(NonZeroU64::MIN);
        let tenth = NonZeroU64::new(steps.get().div_ceil(10)).unwrap_or(NonZeroU64::MIN);
        Train {
            steps,
            evaluate_every: self.evaluate_every.unwrap_or(tenth),
            select: self.select,
            patience: self.patience,
            accumulate: self.accumulate,
            chunk: self.chunk,
            clip: self.clip,
            ema: self.ema,
            rates: self.rates.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_of_epochs_and_steps_is_the_run() {
        let steps = |text: &str| {
            let train: TextTrain = toml::from_str(text).unwrap();
            train
                .course(|epochs| 90 * u64::from(epochs.get()))
                .steps
                .get()
        };
        assert_eq!(steps(""), 90);
        assert_eq!(steps("accumulate = 4"), 23);
        assert_eq!(steps("epochs = 3"), 270);
        assert_eq!(steps("epochs = 3\nsteps = 100"), 100);
        assert_eq!(steps("steps = 1000"), 1000);
    }
}
