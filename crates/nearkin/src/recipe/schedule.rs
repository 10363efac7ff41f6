//! Learning-rate schedules, `[schedule]`.

use nearkin_losses::range::Fraction;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU64;

/// How the learning rate changes over the run.
///
/// ```text
/// rate(t) = base · min(1, (t + 1) / warmup) · decay(t),   t = 0, 1, … counts optimizer steps
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// Steps over which the rate rises linearly to its base.
    pub warmup: u64,
    /// The share of the run in place of `warmup`, rounded up to steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_share: Option<Fraction>,
    /// What follows.
    pub decay: Decay,
}

/// The course of the rate after warm-up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Stays at its base.
    Constant,
    /// Falls linearly to zero at the end of the run.
    Linear,
    /// Falls along half a cosine to zero at the end of the run.
    #[default]
    Cosine,
    /// Is multiplied by a factor at regular steps.
    Step(Step),
}

/// Stepwise decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Steps between changes.
    pub every: NonZeroU64,
    /// What the rate is multiplied by.
    pub factor: Fraction,
}

impl Schedule {
    /// The same course over another number of steps: warm-up and stepwise decay in proportion.
    ///
    /// ```
    /// use nearkin::recipe::{Decay, Schedule};
    /// let schedule = Schedule { warmup: 50, ..Schedule::default() };
    /// assert_eq!(schedule.fitted(2000, 400).warmup, 10);
    /// ```
    #[must_use]
    pub fn fitted(&self, from: u64, to: u64) -> Self {
        let scale =
            |count: u64| (u128::from(count) * u128::from(to) / u128::from(from.max(1))) as u64;
        let mut fitted = self.clone();
        fitted.warmup = scale(self.warmup);
        if let Decay::Step(step) = &mut fitted.decay {
            step.every = NonZeroU64::new(scale(step.every.get())).unwrap_or(NonZeroU64::MIN);
        }
        fitted
    }

    /// The factor on the base rate at optimizer step `step` (from 0) of `steps`.
    ///
    /// ```
    /// use nearkin::recipe::{Decay, Schedule};
    /// let schedule = Schedule { warmup: 4, decay: Decay::Linear, ..Schedule::default() };
    /// assert_eq!(schedule.factor(1, 104), 0.5);
    /// assert_eq!(schedule.factor(54, 104), 0.5);
    /// ```
    pub fn factor(&self, step: u64, steps: u64) -> f32 {
        let warmup = match self.warmup_share {
            Some(share) => (share.exact() * steps as f64).ceil() as u64,
            None => self.warmup,
        };
        if step < warmup {
            return (step + 1) as f32 / warmup as f32;
        }
        let span = steps.saturating_sub(warmup).max(1) as f64;
        let progress = ((step - warmup) as f64 / span).min(1.0);
        let factor = match &self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => 1.0 - progress,
            Decay::Cosine => f64::midpoint(1.0, (std::f64::consts::PI * progress).cos()),
            Decay::Step(decay) => decay
                .factor
                .exact()
                .powf(((step - warmup) / decay.every) as f64),
        };
        factor as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decay_starts_at_the_base_after_warmup() {
        let step = Step {
            every: NonZeroU64::new(10).unwrap(),
            factor: Fraction::literal(0.1),
        };
        for decay in [
            Decay::Constant,
            Decay::Linear,
            Decay::Cosine,
            Decay::Step(step),
        ] {
            let schedule = Schedule {
                warmup: 5,
                decay,
                warmup_share: None,
            };
            assert_eq!(schedule.factor(4, 100), 1.0);
            assert_eq!(schedule.factor(5, 100), 1.0);
            assert!(schedule.factor(0, 100) < 0.21);
        }
    }

    #[test]
    fn a_share_of_the_run_warms_up() {
        let schedule: Schedule = toml::from_str("warmup_share = 0.1\ndecay = \"linear\"").unwrap();
        assert_eq!([1, 9, 10].map(|t| schedule.factor(t, 95)), [0.2, 1.0, 1.0]);
    }

    #[test]
    fn cosine_passes_half_in_the_middle_and_ends_at_zero() {
        let schedule = Schedule {
            decay: Decay::Cosine,
            ..Schedule::default()
        };
        assert!((schedule.factor(50, 100) - 0.5).abs() < 1e-6);
        assert!(schedule.factor(100, 100).abs() < 1e-6);
    }

    #[test]
    fn steps_multiply() {
        let step = Step {
            every: NonZeroU64::new(10).unwrap(),
            factor: Fraction::literal(0.5),
        };
        let schedule = Schedule {
            decay: Decay::Step(step),
            ..Schedule::default()
        };
        assert_eq!(
            [9, 10, 29].map(|t| schedule.factor(t, 100)),
            [1.0, 0.5, 0.25]
        );
    }
}
