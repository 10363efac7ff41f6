//! Nested embeddings.

use super::wrapper::wrapper_definition;
use super::{Definition, Inner, List, MultiSimilarity, Part, Target, Wrapper};
use crate::described::described;
use crate::distance::Distance;
use crate::error::Error;
use crate::miner::Miner;
use crate::objective::Objective;
use crate::range::NonNegative;
use crate::reducer::Reducer;
use std::num::NonZeroUsize;

described! {
    /// Adds up an objective over leading parts of the embeddings, so that they can be cut short.
    ///
    /// ```text
    /// L = Σ_m w_m L_of( x[..m] )
    /// ```
    ///
    /// A prefix is not normalized again, unless the distance inside does so. Learned parameters inside are separate for
    /// each width.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`; labels or views as the objective inside takes them
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// A. Kusupati et al., Matryoshka Representation Learning, `NeurIPS` 2022, Eq. 1.
    ///
    /// # Differences
    /// The paper halves the width down to 8 or 16. sentence-transformers has no default widths, and one classifier for
    /// all of them.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{ChaCha8Rng, Mat, Objective, SeedableRng};
    /// let recipe = "[loss.matryoshka]\ndims = [2, 1]\n[loss.matryoshka.of.loss.contrastive]\n";
    /// let objective: Objective = toml::from_str(recipe).unwrap();
    /// // Positives (0, 0) and (3, 4): 5² in two components and 3² in one.
    /// let batch = Mat::new(&[0.0, 0.0, 3.0, 4.0], 2, 2);
    /// let outcome = objective.value_and_grad(batch, &[0, 0], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 34.0).abs() < 1e-4);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Matryoshka {
        /// Widths, each at most `D`; none for `D`, `D/2`, `D/4` and `D/8`.
        pub dims: List<NonZeroUsize> = List(Vec::new()),
        /// Weight of each width; widths beyond the list have weight 1.
        pub weights: List<NonNegative> = List(Vec::new()),
        /// The objective.
        pub of: Inner = MultiSimilarity::default().into(),
    }
}

wrapper_definition!(Matryoshka, |wrapper| {
    wrapper.of.get().loss.definition().targets()
});

impl Wrapper for Matryoshka {
    fn parts(&self, dim: usize) -> Vec<Part<'_>> {
        let mut dims: Vec<_> = self.dims.0.iter().map(|m| m.get()).collect();
        if dims.is_empty() {
            dims.extend([1, 2, 4, 8].map(|share| dim / share));
        }
        let weight = |k: usize| self.weights.0.get(k).map_or(1.0, |weight| weight.exact());
        let parts = dims.into_iter().enumerate().filter(|&(_, dim)| dim > 0);
        parts
            .map(|(k, dim)| Part {
                objective: self.of.get(),
                weight: weight(k),
                dim,
            })
            .collect()
    }

    fn objectives_mut(&mut self) -> Vec<&mut Objective> {
        vec![self.of.get_mut()]
    }

    fn check_width(&self, dim: usize) -> Result<(), Error> {
        match self.dims.0.iter().find(|width| width.get() > dim) {
            Some(width) => Err(Error::Wider {
                width: width.get(),
                dim,
            }),
            None => Ok(()),
        }
    }
}
