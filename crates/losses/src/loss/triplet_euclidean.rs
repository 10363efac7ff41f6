//! The triplet loss of given triplets.

use super::paired::Paired;
use super::{Definition, Evaluation, Target, ViewGradients, ViewLoss, Views};
use crate::described::described;
use crate::distance::{Distance, L2};
use crate::error::Error;
use crate::miner::Miner;
use crate::range::NonNegative;
use crate::reducer::Reducer;

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
    /// N. Reimers, I. Gurevych, Sentence-BERT, EMNLP 2019, §3, triplet objective.
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

impl Definition for TripletEuclidean {
    fn targets(&self) -> &'static [Target] {
        &[Target::Triplets]
    }

    fn default_distance(&self) -> Option<Distance> {
        Some(L2 { normalize: false }.into())
    }

    fn default_miner(&self) -> Option<Miner> {
        None
    }

    fn default_reducer(&self) -> Option<Reducer> {
        None
    }
}

impl ViewLoss for TripletEuclidean {
    fn views(&self) -> (usize, usize) {
        (3, usize::MAX)
    }

    fn value_and_grad(
        &self,
        views: &Views<'_, f32>,
        gradients: &mut ViewGradients<'_>,
    ) -> Result<Evaluation, Error> {
        let (n, count) = (views.items(), views.embeddings.len());
        let triplets = n * (count - 2);
        let weight = 1.0 / triplets as f32;
        let positive = Paired::new(views, [0, 1])?;
        let of_positive = positive.d();
        let mut pull = vec![0.0; n];
        let mut total = Evaluation::default();
        for view in 2..count {
            let negative = Paired::new(views, [0, view])?;
            let mut push = vec![0.0; n];
            for (i, d) in negative.d().iter().enumerate() {
                let short = of_positive[i] - d + self.margin.get();
                let active = short > 0.0;
                if active {
                    pull[i] += weight;
                    push[i] = -weight;
                }
                total = total.plus(Evaluation {
                    value: f64::from(short.max(0.0)) / triplets as f64,
                    tuples: 1,
                    active: usize::from(active),
                });
            }
            negative.pull(&push, gradients);
        }
        positive.pull(&pull, gradients);
        Ok(total)
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
