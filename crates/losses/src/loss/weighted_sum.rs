//! Sums of objectives.

use super::wrapper::wrapper_definition;
use super::{Definition, Inner, List, MultiSimilarity, Part, Target, Wrapper};
use crate::described::described;
use crate::distance::Distance;
use crate::miner::Miner;
use crate::objective::Objective;
use crate::range::NonNegative;
use crate::reducer::Reducer;
use serde::{Deserialize, Serialize};
use std::fmt;

described! {
    /// Adds up objectives, each with a weight.
    ///
    /// ```text
    /// L = Σ_k w_k L_k
    /// ```
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`; labels or views as the objectives inside take them
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// `MultipleLosses` of pytorch-metric-learning.
    ///
    /// # Differences
    /// Targets are those that will do for every term; where no one will, a batch brings what each term needs.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{ChaCha8Rng, Mat, Objective, SeedableRng};
    /// let recipe = "[[loss.weighted_sum.terms]]\n[loss.weighted_sum.terms.objective.loss.contrastive]\n
    /// [[loss.weighted_sum.terms]]\nweight = 2\n[loss.weighted_sum.terms.objective.loss.contrastive]\nsquared = false\n";
    /// let objective: Objective = toml::from_str(recipe).unwrap();
    /// // Positives 3 apart: 3² + 2 · 3.
    /// let batch = Mat::new(&[0.0, 3.0], 2, 1);
    /// let outcome = objective.value_and_grad(batch, &[0, 0], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 15.0).abs() < 1e-4);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct WeightedSum {
        /// The objectives with their weights.
        pub terms: List<Weighted> = List(vec![Weighted::default()]),
    }
}

/// An objective with its weight in a sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weighted {
    /// What its value is multiplied by.
    pub weight: NonNegative,
    /// The objective.
    pub objective: Inner,
}

impl Default for Weighted {
    fn default() -> Self {
        Self {
            weight: NonNegative::literal(1.0),
            objective: MultiSimilarity::default().into(),
        }
    }
}

impl fmt::Display for Weighted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} · {}", self.weight, self.objective)
    }
}

wrapper_definition!(WeightedSum, |sum| {
    let terms = sum.terms.0.iter();
    let of_terms: Vec<_> = terms
        .map(|term| term.objective.get().loss.definition().targets())
        .collect();
    let for_all = Target::subset(|target| of_terms.iter().all(|of| of.contains(&target)));
    if for_all.is_empty() {
        // No one will do: the batch has to bring something for each.
        return Target::subset(|target| of_terms.iter().any(|of| of.contains(&target)));
    }
    for_all
});

impl Wrapper for WeightedSum {
    fn parts(&self, dim: usize) -> Vec<Part<'_>> {
        let terms = self.terms.0.iter();
        terms
            .map(|term| Part {
                objective: term.objective.get(),
                weight: term.weight.exact(),
                dim,
            })
            .collect()
    }

    fn objectives_mut(&mut self) -> Vec<&mut Objective> {
        let terms = self.terms.0.iter_mut();
        terms.map(|term| term.objective.get_mut()).collect()
    }
}
