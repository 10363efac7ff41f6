//! Optimizer and schedule with the defaults of fine-tuning, where those of training from scratch would destroy the encoder.

use crate::recipe::{AdaGrad, AdamW, Decay, Optimizer, Schedule, Sgd};
use nearkin_losses::range::{Fraction, NonNegative, Positive};
use serde::{Deserialize, Serialize};

fn adamw() -> AdamW {
    AdamW {
        rate: Positive::literal(2e-5),
        ..AdamW::default()
    }
}

/// AdamW at 2e-5.
pub(super) fn optimizer() -> Optimizer {
    Optimizer::AdamW(adamw())
}

/// Warm-up over a tenth of the run, then a linear decay.
pub(super) fn schedule() -> Schedule {
    Schedule {
        warmup: 0,
        warmup_share: Some(Fraction::literal(0.1)),
        decay: Decay::Linear,
    }
}

/// How [`Optimizer`] is read and written here.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Optimizer", rename_all = "lowercase")]
pub(super) enum Choice {
    Sgd(Sgd),
    AdamW(#[serde(with = "Adam")] AdamW),
    AdaGrad(AdaGrad),
}

/// How [`AdamW`] is read and written here.
#[derive(Serialize, Deserialize)]
#[serde(remote = "AdamW", default = "adamw", deny_unknown_fields)]
struct Adam {
    rate: Positive,
    beta1: Fraction,
    beta2: Fraction,
    epsilon: Positive,
    weight_decay: NonNegative,
}

/// How [`Schedule`] is read and written here.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Schedule", default = "schedule", deny_unknown_fields)]
pub(super) struct Course {
    warmup: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup_share: Option<Fraction>,
    decay: Decay,
}
