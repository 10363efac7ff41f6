//! Optimizers, `[optimizer.…]`.

use nearkin_encoder::op::Rule;
use nearkin_losses::range::{Fraction, NonNegative, Positive};
use serde::{Deserialize, Serialize};

/// How gradients move the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Gradient descent with momentum.
    Sgd(Sgd),
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
    /// Rates that fall with the gradients seen.
    AdaGrad(AdaGrad),
}

/// Gradient descent with momentum.
///
/// ```text
/// g ← g + weight_decay · p        v ← momentum · v + g        p ← p − rate · v   (nesterov: g + momentum · v)
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    /// Learning rate.
    pub rate: Positive,
    /// Share of the last step that goes on.
    pub momentum: Fraction,
    /// Pull of the weights towards zero; norms and biases are left alone.
    pub weight_decay: NonNegative,
    /// Looks one step ahead.
    pub nesterov: bool,
}

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).
///
/// ```text
/// m ← β₁ m + (1 − β₁) g    v ← β₂ v + (1 − β₂) g²    p ← p − rate · ( m̂ / (√v̂ + ε) + weight_decay · p )
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {
    /// Learning rate.
    pub rate: Positive,
    /// Memory of the gradients' mean.
    pub beta1: Fraction,
    /// Memory of the gradients' squares.
    pub beta2: Fraction,
    /// Keeps the division finite.
    pub epsilon: Positive,
    /// Pull of the weights towards zero; norms and biases are left alone.
    pub weight_decay: NonNegative,
}

/// `AdaGrad` (Duchi, Hazan and Singer 2011), FaceNet's optimizer.
///
/// ```text
/// s ← s + g²        p ← p − rate · g / (√s + ε)
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaGrad {
    /// Learning rate.
    pub rate: Positive,
    /// Keeps the division finite.
    pub epsilon: Positive,
    /// Pull of the weights towards zero; norms and biases are left alone.
    pub weight_decay: NonNegative,
}

impl Default for Sgd {
    fn default() -> Self {
        Self {
            rate: Positive::literal(0.1),
            momentum: Fraction::literal(0.9),
            weight_decay: NonNegative::literal(1e-4),
            nesterov: false,
        }
    }
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            rate: Positive::literal(1e-3),
            beta1: Fraction::literal(0.9),
            beta2: Fraction::literal(0.999),
            epsilon: Positive::literal(1e-8),
            weight_decay: NonNegative::literal(0.01),
        }
    }
}

impl Default for AdaGrad {
    fn default() -> Self {
        Self {
            rate: Positive::literal(0.05),
            epsilon: Positive::literal(1e-10),
            weight_decay: NonNegative::literal(0.0),
        }
    }
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::AdamW(AdamW::default())
    }
}

impl Optimizer {
    /// The base learning rate.
    pub fn rate(&self) -> f32 {
        match self {
            Self::Sgd(o) => o.rate.get(),
            Self::AdamW(o) => o.rate.get(),
            Self::AdaGrad(o) => o.rate.get(),
        }
    }

    /// The rule of one step: `step` counts from 1, `rate` is the scheduled one.
    pub fn rule(&self, step: u64, rate: f32, decays: bool) -> Rule {
        let decay = |weight_decay: NonNegative| if decays { weight_decay.get() } else { 0.0 };
        match self {
            Self::Sgd(o) => Rule::Sgd(nearkin_kernels::Sgd {
                learning_rate: rate,
                momentum: o.momentum.get(),
                weight_decay: decay(o.weight_decay),
                nesterov: o.nesterov,
            }),
            Self::AdamW(o) => Rule::AdamW(nearkin_kernels::AdamW {
                learning_rate: rate,
                beta1: o.beta1.get(),
                beta2: o.beta2.get(),
                epsilon: o.epsilon.get(),
                weight_decay: decay(o.weight_decay),
                step,
            }),
            Self::AdaGrad(o) => Rule::AdaGrad(nearkin_kernels::AdaGrad {
                learning_rate: rate,
                epsilon: o.epsilon.get(),
                weight_decay: decay(o.weight_decay),
            }),
        }
    }

    /// Name and one sentence of every optimizer, for listings.
    pub fn catalogue() -> [(&'static str, &'static str, Self); 3] {
        [
            (
                "sgd",
                "Gradient descent with momentum.",
                Self::Sgd(Sgd::default()),
            ),
            (
                "adamw",
                "Adam with decoupled weight decay.",
                Self::AdamW(AdamW::default()),
            ),
            (
                "adagrad",
                "Rates that fall with the gradients seen; FaceNet's optimizer.",
                Self::AdaGrad(AdaGrad::default()),
            ),
        ]
    }
}
