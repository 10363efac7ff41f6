//! The sum over a divisor that the loss names.

use super::{Term, TermReducer, Terms, one_over};
use crate::described::described;

described! {
    /// Sum over all terms, divided by what the loss names for it; by their number if it names nothing.
    ///
    /// ```text
    /// L = Σ v / divisor
    /// ```
    ///
    /// `proxy_anchor` divides by the classes. The `margin` loss divides by its violated pairs by itself.
    ///
    /// # Reference
    /// `DivisorReducer` of pytorch-metric-learning.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::reducer::{Divisor, Term, TermReducer};
    /// let terms = [1.0, 3.0].map(|value| Term { anchor: 0, group: 0, value });
    /// assert_eq!(Divisor {}.reference(&terms, &[0], Some(8.0)), 0.5);
    /// ```
    pub struct Divisor {}
}

impl TermReducer for Divisor {
    fn is_even(&self) -> bool {
        true
    }

    fn weights(&self, anchors: &[Terms], _labels: &[u32], divisor: Option<f64>) -> Vec<f64> {
        let terms = || anchors.iter().map(|terms| terms.terms as f64).sum();
        one_over(divisor.unwrap_or_else(terms), anchors)
    }

    fn reference(&self, terms: &[Term], _labels: &[u32], divisor: Option<f64>) -> f64 {
        let divisor = divisor.unwrap_or(terms.len() as f64);
        if divisor == 0.0 {
            return 0.0;
        }
        terms.iter().map(|term| term.value).sum::<f64>() / divisor
    }
}
