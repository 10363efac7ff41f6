//! The mean.

use super::{Term, TermReducer, Terms, one_over};
use crate::described::described;

described! {
    /// Mean over all terms that take part.
    ///
    /// ```text
    /// L = 1/N Σ v
    /// ```
    ///
    /// # Reference
    /// `MeanReducer` of pytorch-metric-learning.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::reducer::{Mean, Term, TermReducer};
    /// let terms = [3.0, 0.0].map(|value| Term { anchor: 0, group: 0, value });
    /// assert_eq!(Mean {}.reference(&terms, &[0], None), 1.5);
    /// ```
    pub struct Mean {}
}

impl TermReducer for Mean {
    fn is_even(&self) -> bool {
        true
    }

    fn weights(&self, anchors: &[Terms], _labels: &[u32], _divisor: Option<f64>) -> Vec<f64> {
        one_over(
            anchors.iter().map(|terms| terms.terms as f64).sum(),
            anchors,
        )
    }

    fn reference(&self, terms: &[Term], _labels: &[u32], _divisor: Option<f64>) -> f64 {
        if terms.is_empty() {
            return 0.0;
        }
        terms.iter().map(|term| term.value).sum::<f64>() / terms.len() as f64
    }
}
