//! The sum.

use super::{Term, TermReducer, Terms};
use crate::described::described;

described! {
    /// Sum over all terms that take part.
    ///
    /// ```text
    /// L = Σ v
    /// ```
    ///
    /// # Reference
    /// F. Schroff, D. Kalenichenko, J. Philbin, FaceNet, CVPR 2015, Eq. 3.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::reducer::{Sum, Term, TermReducer};
    /// let terms = [3.0, 0.5].map(|value| Term { anchor: 0, group: 0, value });
    /// assert_eq!(Sum {}.reference(&terms, &[0], None), 3.5);
    /// ```
    pub struct Sum {}
}

impl TermReducer for Sum {
    fn is_even(&self) -> bool {
        true
    }

    fn weights(&self, anchors: &[Terms], _labels: &[u32], _divisor: Option<f64>) -> Vec<f64> {
        vec![1.0; anchors.len()]
    }

    fn reference(&self, terms: &[Term], _labels: &[u32], _divisor: Option<f64>) -> f64 {
        terms.iter().map(|term| term.value).sum()
    }
}
