//! Views of the same items as classes.

use super::{Definition, Inner, NtXent, Part, Target, Twins, Wrapper};
use crate::described::described;
use crate::distance::Distance;
use crate::miner::Miner;
use crate::objective::Objective;
use crate::reducer::Reducer;

described! {
    /// Takes each item for a class of its own, of which the views are the examples.
    ///
    /// ```text
    /// L = L_of( all views as one batch, row i of each with the label i )
    /// ```
    ///
    /// Without `symmetric` the first view is compared with the others in place of one another: anchors are its rows alone. Labels
    /// and scores of the items have no say.
    ///
    /// # Shapes
    /// - embeddings: two or more views `[n, D]`; nothing else
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// T. Chen, S. Kornblith, M. Norouzi, G. Hinton, A Simple Framework for Contrastive Learning of Visual Representations, ICML
    /// 2020, §2.1; `SelfSupervisedLoss` of pytorch-metric-learning.
    ///
    /// # Differences
    /// pytorch-metric-learning knows two views.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Mat, Objective, SeedableRng, Targets};
    /// let objective: Objective = toml::from_str("[loss.self_supervised.of.loss.contrastive]\n").unwrap();
    /// // Two items, each equal in both views, and at √2 from one another on the unit circle, beyond the margin: nothing to do.
    /// let embeddings = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0];
    /// let batch = Batch { embeddings: Mat::new(&embeddings, 4, 2), targets: Targets::Aligned(Aligned::pairs()) };
    /// let outcome = objective.evaluate(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!(outcome.value.abs() < 1e-6);
    /// assert_eq!(outcome.tuples, 12); // every pair of four rows
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct SelfSupervised {
        /// Compare all views with one another, rather than the first with the others.
        pub symmetric: bool = true,
        /// The objective, over classes that it learns nothing of.
        pub of: Inner = NtXent::default().into(),
    }
}

impl Definition for SelfSupervised {
    fn targets(&self) -> &'static [Target] {
        &[Target::Pairs]
    }

    fn default_distance(&self) -> Option<Distance> {
        None
    }

    fn default_miner(&self) -> Option<Miner> {
        None
    }

    fn default_reducer(&self) -> Option<Reducer> {
        None
    }
}

impl Wrapper for SelfSupervised {
    fn parts(&self, dim: usize) -> Vec<Part<'_>> {
        vec![Part {
            objective: self.of.get(),
            weight: 1.0,
            dim,
        }]
    }

    fn objectives_mut(&mut self) -> Vec<&mut Objective> {
        vec![self.of.get_mut()]
    }

    fn twins(&self) -> Option<Twins> {
        Some(if self.symmetric {
            Twins::Together
        } else {
            Twins::Against
        })
    }
}
