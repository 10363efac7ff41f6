//! N classes and a pair of each.

use nearkin_losses::range::Count;
use serde::{Deserialize, Serialize};

use super::{Pk, SamplerError};
use crate::documented::documented;

documented! {
    /// Two items of each of N classes: first the N anchors, then their positives in the same order of classes.
    ///
    /// ```text
    /// [ f₁ f₂ … f_N | f₁⁺ f₂⁺ … f_N⁺ ]
    /// ```
    ///
    /// 2N items give N tuplets of N + 1, and for a triplet loss 2N anchors with one positive and 2N − 2 negatives each. Classes
    /// and items come in turn as those of [`Pk`] do.
    ///
    /// # Reference
    /// K. Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS 2016, §3.2 and Figure 2; 60 pairs for
    /// Online Products, 72 for Car-333, 192 and 320 for faces.
    ///
    /// # Example
    /// ```
    /// use nearkin::sampler::{Draw, Pool, Sampler};
    /// let (items, labels) = ([0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 2, 2]);
    /// let sampler: Sampler = toml::from_str("[n_pair]\npairs = 3")?;
    /// let batch = Draw::new(&sampler, Pool::new(&items, &labels), 0)?.batch(0);
    /// let classes: Vec<u32> = batch.iter().map(|&item| labels[item]).collect();
    /// assert_eq!(classes[..3], classes[3..]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct NPair {
        /// N, the number of classes in a batch.
        pub pairs: Count,
    }
}

impl Default for NPair {
    fn default() -> Self {
        Self {
            pairs: Count::literal(60),
        }
    }
}

impl NPair {
    /// One pair has no negatives.
    pub(super) fn check(self) -> Result<(), SamplerError> {
        if self.pairs.get() < 2 {
            return Err(SamplerError::Unfit {
                sampler: "n_pair",
                expected: "pairs of 2 classes or more, which are each other's negatives".to_owned(),
                found: format!("pairs = {}", self.pairs.get()),
            });
        }
        Ok(())
    }

    pub(super) fn as_classes(self) -> Pk {
        Pk {
            classes: self.pairs.get(),
            per_class: 2,
        }
    }
}

/// Anchors and positives one after the other, from pairs side by side.
pub(super) fn aligned(pairs: &[usize]) -> Vec<usize> {
    let side = |first: usize| pairs.iter().copied().skip(first).step_by(2);
    side(0).chain(side(1)).collect()
}
