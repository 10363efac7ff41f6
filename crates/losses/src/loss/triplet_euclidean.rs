//! The triplet loss of given triplets.

use super::paired::mean_over_gaps;
use super::view::view_definition;
use super::{Evaluation, Target, ViewGradients, ViewLoss, Views};
use crate::described::described;
use crate::distance::L2;
use crate::error::Error;
use crate::range::NonNegative;

described! {
    /// Keeps the negatives of each given triplet a margin farther away than its positive.
    ///
    /// ```text
    /// L = 1/(n k) Σ_i Σ_k [ d(a_i, p_i) - d(a_i, n_ik) + margin ]₊
    /// ```
    ///
    /// Unlike `triplet_margin` it takes its triplets as they come and averages over all of them.
    ///
    /// # Shapes
    /// - embeddings: three or more views `[n, D]`: anchors, positives, negatives; nothing else
    /// - value: a number, gradient: that of each view
    ///
    /// # Reference
    /// N. Reimers, I. Gurevych, Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks, EMNLP 2019, §3, triplet
    /// objective, with its margin of 1.
    ///
    /// # Differences
    /// The margin of sentence-transformers is 5, and its distance is that of `u - v + 1e-6`.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Aligned, Batch, ChaCha8Rng, Mat, Objective, SeedableRng, Targets, loss::TripletEuclidean};
    /// // Points 0, 1 and 1.5 on a line: 1 - 1.5 + 1.
    /// let targets = Targets::Aligned(Aligned { views: 3, ..Aligned::pairs() });
    /// let batch = Batch { embeddings: Mat::new(&[0.0, 1.0, 1.5], 3, 1), targets };
    /// let outcome = Objective::from(TripletEuclidean::default()).evaluate(batch, &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 0.5).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct TripletEuclidean {
        /// How much farther a negative should be than the positive.
        pub margin: NonNegative = NonNegative::literal(1.0),
    }
}

view_definition!(
    TripletEuclidean,
    [Target::Triplets],
    Some(L2 { normalize: false }.into())
);

impl ViewLoss for TripletEuclidean {
    fn views(&self) -> (usize, usize) {
        (3, usize::MAX)
    }

    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        mean_over_gaps(views, gradients, |_, _, gap| {
            let short = self.margin.get() - gap;
            let active = short > 0.0;
            (short.max(0.0), if active { -1.0 } else { 0.0 }, active)
        })
    }

    fn reference(&self, views: &Views<'_, f64>) -> f64 {
        let (mut sum, mut triplets) = (0.0, 0);
        for i in 0..views.items() {
            for view in 2..views.embeddings.len() {
                let gap = views.d((0, i), (1, i)) - views.d((0, i), (view, i));
                sum += (gap + self.margin.exact()).max(0.0);
                triplets += 1;
            }
        }
        sum / f64::from(triplets)
    }
}
