//! How the terms of the tuples become one number.

use crate::described::words;

words! {
    /// How the terms of the tuples become one number; without tuples that number is zero.
    pub enum Reduction {
        /// Mean over the terms above zero, so that satisfied tuples do not water down the others.
        MeanNonzero = "mean_nonzero",
        /// Mean over all tuples that take part.
        Mean = "mean",
        /// Sum over all tuples that take part.
        Sum = "sum",
    }
}

impl Reduction {
    /// What the sum of the terms is multiplied by, for `tuples` terms of which `active` are above zero.
    pub(crate) fn factor(self, tuples: usize, active: usize) -> f64 {
        match self {
            Self::MeanNonzero => 1.0 / active.max(1) as f64,
            Self::Mean => 1.0 / tuples.max(1) as f64,
            Self::Sum => 1.0,
        }
    }

    /// The same for a list of terms, plainly.
    pub(crate) fn reference(self, terms: &[f64]) -> f64 {
        let sum: f64 = terms.iter().sum();
        match self {
            Self::MeanNonzero if sum > 0.0 => {
                sum / terms.iter().filter(|&&term| term > 0.0).count() as f64
            }
            Self::Mean if !terms.is_empty() => sum / terms.len() as f64,
            _ => sum,
        }
    }
}
