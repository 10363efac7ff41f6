//! The mean with a weight for each class.

use super::{Term, TermReducer, Terms};
use crate::described::described;
use crate::range::NonNegative;
use serde::{Deserialize, Serialize};
use std::fmt;

described! {
    /// Mean over all terms, each times the weight of its anchor's class; divided by their number, not by the weights.
    ///
    /// ```text
    /// L = 1/N Σ v · w[class of the anchor]
    /// ```
    ///
    /// # Reference
    /// `ClassWeightedReducer` of pytorch-metric-learning.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::reducer::{ClassWeighted, Term, TermReducer};
    /// let reducer: ClassWeighted = serde_json::from_str(r#"{"weights": [1.0, 5.0]}"#).unwrap();
    /// let terms = [0, 1].map(|anchor| Term { anchor, group: 0, value: 2.0 });
    /// assert_eq!(reducer.reference(&terms, &[0, 1], None), (2.0 + 10.0) / 2.0);
    /// ```
    pub struct ClassWeighted {
        /// Weight of each class, by the number of its label; classes beyond the list have weight 1.
        pub weights: ClassWeights = ClassWeights::default(),
    }
}

/// Weights by label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClassWeights(Vec<NonNegative>);

impl ClassWeights {
    /// The weights of classes 0, 1, 2, ….
    #[must_use]
    pub fn new(weights: Vec<NonNegative>) -> Self {
        Self(weights)
    }

    fn of(&self, label: u32) -> f64 {
        self.0
            .get(label as usize)
            .map_or(1.0, |weight| weight.exact())
    }
}

impl fmt::Display for ClassWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weights: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        write!(f, "[{}]", weights.join(","))
    }
}

impl TermReducer for ClassWeighted {
    fn weights(&self, anchors: &[Terms], labels: &[u32], _divisor: Option<f64>) -> Vec<f64> {
        let count: usize = anchors.iter().map(|terms| terms.terms).sum();
        let weight = |&label| self.weights.of(label) / count.max(1) as f64;
        labels.iter().map(weight).collect()
    }

    fn reference(&self, terms: &[Term], labels: &[u32], _divisor: Option<f64>) -> f64 {
        let mut sum = 0.0;
        for term in terms {
            sum += term.value * self.weights.of(labels[term.anchor]);
        }
        sum / terms.len().max(1) as f64
    }
}
