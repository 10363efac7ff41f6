//! The mean over terms above zero.

use super::{Keep, Term, TermReducer, Terms, one_over};
use crate::described::described;

described! {
    /// Mean over the terms above zero, so that satisfied ones do not water down the others.
    ///
    /// ```text
    /// L = Σ_{v>0} v / |{v > 0}|
    /// ```
    ///
    /// # Reference
    /// A. Hermans, L. Beyer, B. Leibe, In Defense of the Triplet Loss, arXiv 1703.07737, §4.2 (batch all, nonzero);
    /// `AvgNonZeroReducer` of pytorch-metric-learning.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::reducer::{MeanNonzero, Term, TermReducer};
    /// let terms = [3.0, 0.0].map(|value| Term { anchor: 0, group: 0, value });
    /// assert_eq!(MeanNonzero {}.reference(&terms, &[0], None), 3.0);
    /// ```
    pub struct MeanNonzero {}
}

impl TermReducer for MeanNonzero {
    fn keep(&self) -> Keep {
        Keep {
            low: 0.0,
            ..Keep::ALL
        }
    }

    fn is_even(&self) -> bool {
        true
    }

    fn weights(&self, anchors: &[Terms], _labels: &[u32], _divisor: Option<f64>) -> Vec<f64> {
        one_over(anchors.iter().map(|terms| terms.kept as f64).sum(), anchors)
    }

    fn reference(&self, terms: &[Term], _labels: &[u32], _divisor: Option<f64>) -> f64 {
        let above: Vec<_> = terms
            .iter()
            .map(|term| term.value)
            .filter(|&v| v > 0.0)
            .collect();
        if above.is_empty() {
            return 0.0;
        }
        above.iter().sum::<f64>() / above.len() as f64
    }
}
