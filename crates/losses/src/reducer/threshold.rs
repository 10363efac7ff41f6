//! The mean over terms between two bounds.

use super::{Keep, Term, TermReducer, Terms, one_over};
use crate::described::described;
use crate::range::NonNegative;

described! {
    /// Mean over the terms between two bounds: what is solved and what looks like a label error stays out.
    ///
    /// ```text
    /// L = Σ_{low<v<high} v / |{low < v < high}|
    /// ```
    ///
    /// # Reference
    /// `ThresholdReducer` of pytorch-metric-learning.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::reducer::{Term, TermReducer, Threshold};
    /// let terms = [0.5, 3.0, 2e9].map(|value| Term { anchor: 0, group: 0, value });
    /// assert_eq!(Threshold::default().reference(&terms, &[0], None), 1.75);
    /// ```
    pub struct Threshold {
        /// Terms at or below it are left out.
        pub low: NonNegative = NonNegative::literal(0.0),
        /// Terms at or above it are left out.
        pub high: NonNegative = NonNegative::literal(1e9),
    }
}

impl TermReducer for Threshold {
    fn keep(&self) -> Keep {
        Keep {
            low: self.low.get(),
            high: self.high.get(),
        }
    }

    fn is_even(&self) -> bool {
        true
    }

    fn weights(&self, anchors: &[Terms], _labels: &[u32], _divisor: Option<f64>) -> Vec<f64> {
        one_over(anchors.iter().map(|terms| terms.kept as f64).sum(), anchors)
    }

    fn reference(&self, terms: &[Term], _labels: &[u32], _divisor: Option<f64>) -> f64 {
        let between = |v: &f64| self.low.exact() < *v && *v < self.high.exact();
        let kept: Vec<_> = terms
            .iter()
            .map(|term| term.value)
            .filter(between)
            .collect();
        if kept.is_empty() {
            return 0.0;
        }
        kept.iter().sum::<f64>() / kept.len() as f64
    }
}
