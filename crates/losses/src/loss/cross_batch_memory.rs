//! A memory of earlier batches.

use super::wrapper::wrapper_definition;
use super::{Contrastive, Definition, Inner, Part, Target, Wrapper};
use crate::described::described;
use crate::distance::Distance;
use crate::miner::Miner;
use crate::objective::Objective;
use crate::reducer::Reducer;
use std::num::NonZeroUsize;

described! {
    /// Compares a batch with itself and with the embeddings of earlier batches, held fixed as they were.
    ///
    /// ```text
    /// L = L_of( batch against the newest embeddings seen, the batch among them )
    /// ```
    ///
    /// The memory fills from the first batch on and then loses its oldest entries.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, `B` at most `size`; labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// X. Wang, H. Zhang, W. Huang, M. R. Scott, Cross-Batch Memory for Embedding Learning, CVPR 2020, §3.3.
    ///
    /// # Differences
    /// The paper adds the loss among the batch to that against a memory of earlier batches; here, as in
    /// pytorch-metric-learning, the batch is part of the memory and there is one loss. The paper starts after some
    /// warm-up.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Batch, ChaCha8Rng, Criterion, Mat, SeedableRng, Targets};
    /// use nearkin_losses::loss::{CrossBatchMemory, Shape};
    /// let shape = Shape { dim: 1, classes: 1 };
    /// let mut criterion = Criterion::new(CrossBatchMemory::default().into(), shape, 0)?;
    /// let mut rng = ChaCha8Rng::seed_from_u64(0);
    /// let mut step = |x: f32| {
    ///     let x = [x];
    ///     let batch = Batch { embeddings: Mat::new(&x, 1, 1), targets: Targets::Labels(&[0]) };
    ///     criterion.value_and_grad(batch, &mut rng).map(|outcome| outcome.value)
    /// };
    /// // One item has no pair; the next is a positive, 2 away from the first.
    /// assert_eq!((step(0.0)?, step(2.0)?), (0.0, 4.0));
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct CrossBatchMemory {
        /// Embeddings that the memory holds, those of the batch included.
        pub size: NonZeroUsize = NonZeroUsize::new(1024).unwrap_or(NonZeroUsize::MIN),
        /// The objective.
        pub of: Inner = Contrastive::default().into(),
    }
}

wrapper_definition!(CrossBatchMemory, |wrapper| {
    wrapper.of.get().loss.definition().targets()
});

impl Wrapper for CrossBatchMemory {
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

    fn memory(&self) -> Option<usize> {
        Some(self.size.get())
    }
}
