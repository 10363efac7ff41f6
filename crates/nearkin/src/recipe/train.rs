//! Length of the run, evaluation and checkpoints, `[train]`.

use nearkin_encoder::parameters::begins;
use nearkin_losses::range::{Fraction, Positive};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU64, NonZeroUsize};

/// Length of the run, evaluation and checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Train {
    /// Optimizer steps of the run.
    pub steps: NonZeroU64,
    /// Steps between evaluations on the validation classes; each also writes a checkpoint.
    pub evaluate_every: NonZeroU64,
    /// Which weights become the model.
    pub select: Select,
    /// Evaluations without a better one after which the run ends early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<NonZeroUsize>,
    /// Batches whose gradients are averaged into one step.
    pub accumulate: NonZeroU16,
    /// Items of one forward pass. A batch above it is embedded in such chunks, the loss is taken
    /// over all of it, and each chunk is passed again for its gradient (gradient caching, Gao et al.
    /// 2021): memory follows the chunk, the gradient is the full batch's. Batch norms see chunks.
    /// Of images and features what has no part in the loss is not passed again, item by item where the
    /// network has neither batch norms nor dropout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk: Option<NonZeroUsize>,
    /// Largest Euclidean norm of the gradient of all weights; a larger one is scaled down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<Positive>,
    /// Decay of the running average of the weights, which is then what is evaluated and kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<Fraction>,
    /// Factors on the learning rate by the start of a parameter's name, the longest match counts:
    /// `rates = { embedding = 10.0 }`. A factor of 0 freezes.
    pub rates: BTreeMap<String, nearkin_losses::range::NonNegative>,
}

/// Which weights become the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// Those with the best MAP@R on the validation classes; the last where none are set apart.
    #[default]
    Best,
    /// Those after the last step.
    Last,
}

impl Default for Train {
    fn default() -> Self {
        let (Some(steps), Some(evaluate_every)) = (NonZeroU64::new(1000), NonZeroU64::new(200))
        else {
            unreachable!("both constants are above zero")
        };
        Self {
            steps,
            evaluate_every,
            select: Select::Best,
            patience: None,
            accumulate: NonZeroU16::MIN,
            chunk: None,
            clip: None,
            ema: None,
            rates: BTreeMap::new(),
        }
    }
}

impl Train {
    /// The factor on a parameter's learning rate.
    pub fn rate_factor(&self, name: &str) -> f32 {
        let matching = self
            .rates
            .iter()
            .filter(|(beginning, _)| begins(name, beginning));
        matching
            .max_by_key(|(prefix, _)| prefix.len())
            .map_or(1.0, |(_, factor)| factor.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_matching_name_decides_the_rate() {
        let train: Train = toml::from_str("[rates]\nlayer1 = 0.5\n\"layer1.0\" = 0.0\n").unwrap();
        assert_eq!(train.rate_factor("layer1.0.conv1.weight"), 0.0);
        assert_eq!(train.rate_factor("layer1.1.conv1.weight"), 0.5);
        assert_eq!(train.rate_factor("conv1.weight"), 1.0);
    }
}
