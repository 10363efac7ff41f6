//! The mean of each anchor's terms first.

use super::{Term, TermReducer, Terms};
use crate::described::{described, words};

words! {
    /// How the means of the anchors become one number.
    pub enum Anchors {
        /// Mean over the anchors, those without terms included as zeros.
        Mean = "mean",
        /// Mean over the anchors whose mean is above zero.
        MeanNonzero = "mean_nonzero",
        /// Sum over the anchors.
        Sum = "sum",
    }
}

described! {
    /// Mean over the terms of each anchor, then over the anchors: those with many terms count no more than others.
    ///
    /// ```text
    /// L = 1/B Σ_a ( 1/N_a Σ_{v of a} v )
    /// ```
    ///
    /// # Reference
    /// `PerAnchorReducer` of pytorch-metric-learning, for triplets too, which it leaves out.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::reducer::{PerAnchor, Term, TermReducer};
    /// let terms = [(0, 1.0), (0, 3.0), (1, 4.0)].map(|(anchor, value)| Term { anchor, group: 0, value });
    /// assert_eq!(PerAnchor::default().reference(&terms, &[0, 1], None), (2.0 + 4.0) / 2.0);
    /// ```
    pub struct PerAnchor {
        /// `mean`, `mean_nonzero` or `sum` over the anchors.
        pub anchors: Anchors = Anchors::Mean,
    }
}

impl TermReducer for PerAnchor {
    fn weights(&self, anchors: &[Terms], _labels: &[u32], _divisor: Option<f64>) -> Vec<f64> {
        let counted = match self.anchors {
            Anchors::Mean => anchors.len(),
            Anchors::MeanNonzero => anchors.iter().filter(|terms| terms.value > 0.0).count(),
            Anchors::Sum => 1,
        };
        let weight = |terms: &Terms| match self.anchors {
            Anchors::MeanNonzero if terms.value <= 0.0 => 0.0,
            _ => 1.0 / (terms.terms.max(1) * counted.max(1)) as f64,
        };
        anchors.iter().map(weight).collect()
    }

    fn reference(&self, terms: &[Term], labels: &[u32], _divisor: Option<f64>) -> f64 {
        let mut means = Vec::new();
        for anchor in 0..labels.len() {
            let own: Vec<_> = terms.iter().filter(|term| term.anchor == anchor).collect();
            let sum: f64 = own.iter().map(|term| term.value).sum();
            means.push(if own.is_empty() {
                0.0
            } else {
                sum / own.len() as f64
            });
        }
        let sum: f64 = means.iter().sum();
        match self.anchors {
            Anchors::Sum => sum,
            Anchors::Mean => sum / means.len().max(1) as f64,
            Anchors::MeanNonzero => {
                let above: Vec<_> = means.into_iter().filter(|&mean| mean > 0.0).collect();
                above.iter().sum::<f64>() / above.len().max(1) as f64
            }
        }
    }
}
