//! The threshold-consistent margin loss.

use super::{Definition, Row, RowLoss};
use crate::described::described;
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::range::NonNegative;
use crate::reducer::{MeanNonzero, Reducer, Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Draws every positive to one distance and drives every negative to another, so that one threshold fits all classes.
    ///
    /// ```text
    /// L = positive_weight · mean over positives beyond positive_margin of d - positive_margin
    ///   + negative_weight · mean over negatives within negative_margin of negative_margin - d
    /// ```
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// Q. Zhang, L. Xu, Q. Tang, J. Fang, Y. N. Wu, J. Tighe, Y. Xing, Threshold-Consistent Margin Loss for Open-World Deep
    /// Metric Learning, ICLR 2024, `arXiv:2307.04047`.
    ///
    /// # Differences
    /// The paper writes similarities: over the cosine distance the margins are `1 - m⁺` and `1 - m⁻`, with 0.9 and 0.5. It
    /// adds the loss to another one, which `weighted_sum` does. The same as pytorch-metric-learning's, and as `contrastive`
    /// with `squared = false` but for the weights.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::ThresholdConsistentMargin};
    /// // Positives at d = 1, which is 0.9 too far, and one negative of each at 0, which is 0.5 too near.
    /// let batch = Mat::new(&[1.0, 0.0, 0.0, 1.0, 1.0, 0.0], 3, 2);
    /// let outcome = Objective::from(ThresholdConsistentMargin::default())
    ///     .value_and_grad(batch, &[0, 0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 1.4).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct ThresholdConsistentMargin {
        /// Distance within which a positive costs nothing.
        pub positive_margin: NonNegative = NonNegative::literal(0.1),
        /// Distance beyond which a negative costs nothing.
        pub negative_margin: NonNegative = NonNegative::literal(0.5),
        /// Weight of the positives.
        pub positive_weight: NonNegative = NonNegative::literal(1.0),
        /// Weight of the negatives.
        pub negative_weight: NonNegative = NonNegative::literal(1.0),
    }
}

impl Definition for ThresholdConsistentMargin {
    fn default_distance(&self) -> Option<Distance> {
        Some(Cosine {}.into())
    }

    fn default_reducer(&self) -> Option<Reducer> {
        Some(MeanNonzero {}.into())
    }
}

impl RowLoss for ThresholdConsistentMargin {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let d = row.d();
        let [mut positives, mut negatives] = [Terms::default(); 2];
        let (margin, weight) = (self.positive_margin.get(), self.positive_weight.get());
        for p in row.positives() {
            let excess = (d[p] - margin).max(0.0);
            let counts = positives.add(weight * excess, excess > 0.0, row.keep);
            g[p] = weight * counts * f32::from(excess > 0.0);
        }
        let (margin, weight) = (self.negative_margin.get(), self.negative_weight.get());
        row.negatives(|range| {
            for (g, &d) in g[range.clone()].iter_mut().zip(&d[range]) {
                let excess = (margin - d).max(0.0);
                let counts = negatives.add(weight * excess, excess > 0.0, row.keep);
                *g = -weight * counts * f32::from(excess > 0.0);
            }
        });
        [positives, negatives]
    }

    fn apart(&self) -> bool {
        true
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let (m_plus, m_minus) = (
            1.0 - self.positive_margin.exact(),
            1.0 - self.negative_margin.exact(),
        );
        let mut terms = Vec::new();
        for (i, j) in batch.pairs(tuples) {
            let s = 1.0 - batch.d(i, j);
            let (group, value) = if batch.label(i) == batch.label_of_column(j) {
                (0, self.positive_weight.exact() * (m_plus - s).max(0.0))
            } else {
                (1, self.negative_weight.exact() * (s - m_minus).max(0.0))
            };
            terms.push(Term {
                anchor: i,
                group,
                value,
            });
        }
        terms
    }
}
