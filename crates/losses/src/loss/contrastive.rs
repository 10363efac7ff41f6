//! The contrastive loss.

use super::{Definition, Row, RowLoss, Target};
use crate::described::described;
use crate::distance::{Distance, L2};
use crate::exact::Exact;
use crate::range::NonNegative;
use crate::reducer::{MeanNonzero, Reducer, Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Pulls positives together and pushes negatives out to a margin, pair by pair.
    ///
    /// ```text
    /// L = mean over positives of [ d - positive_margin ]₊² + mean over negatives of [ negative_margin - d ]₊²
    /// ```
    ///
    /// The two kinds are averaged apart, so that the many negatives of a batch do not drown the positives.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// R. Hadsell, S. Chopra, Y. `LeCun`, Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006, Eq. 4;
    /// without its factor ½ as in K. Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS 2016,
    /// Eq. 1.
    ///
    /// # Differences
    /// Distances are raw by default, as in the papers, and a margin of 1 presumes embeddings of about that size. The
    /// papers sum over pairs (`[reducer.sum]`). pytorch-metric-learning has no squares (`squared = false`) and
    /// normalizes; sentence-transformers has cosine distance, margin 0.5 and takes its pairs from the data. Eq. 6 of the
    /// quadruplet paper is `squared = false` over `squared_l2`.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::Contrastive};
    /// // Points 0, 0.5 and 0.75 on a line: the positives are 0.5 apart, the negatives 0.75 and 0.25.
    /// let batch = Mat::new(&[0.0, 0.5, 0.75], 3, 1);
    /// let outcome = Objective::from(Contrastive::default())
    ///     .value_and_grad(batch, &[0, 0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert_eq!(outcome.value, 0.25 + (0.0625 + 0.5625) / 2.0); // 0.5², and the mean of 0.25² and 0.75²
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Contrastive {
        /// Distance below which a positive costs nothing.
        pub positive_margin: NonNegative = NonNegative::literal(0.0),
        /// Distance beyond which a negative costs nothing.
        pub negative_margin: NonNegative = NonNegative::literal(1.0),
        /// Square both terms.
        pub squared: bool = true,
    }
}

/// Term and slope, in the distance, of a negative that is too near by `excess`.
fn squared(excess: f32) -> (f32, f32) {
    (excess * excess, -2.0 * excess)
}

/// The same without the square.
fn plain(excess: f32) -> (f32, f32) {
    (excess, if excess > 0.0 { -1.0 } else { 0.0 })
}

impl Definition for Contrastive {
    fn targets(&self) -> &'static [Target] {
        &[
            Target::Labels,
            Target::Pairs,
            Target::Triplets,
            Target::Scores,
        ]
    }

    fn default_distance(&self) -> Option<Distance> {
        Some(L2 { normalize: false }.into())
    }

    fn default_reducer(&self) -> Option<Reducer> {
        Some(MeanNonzero {}.into())
    }
}

impl RowLoss for Contrastive {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let d = row.d();
        let [mut positives, mut negatives] = [Terms::default(); 2];
        for p in row.positives() {
            let excess = (d[p] - self.positive_margin.get()).max(0.0);
            let (value, slope) = if self.squared {
                squared(excess)
            } else {
                plain(excess)
            };
            // A positive is too far: its slope points the other way.
            g[p] = -slope * positives.add(value, value > 0.0, row.keep);
        }
        let margin = self.negative_margin.get();
        row.negatives(|range| {
            let (d, g) = (&d[range.clone()], &mut g[range]);
            // Two loops, so that neither asks anything of each pair.
            if self.squared {
                negatives.add_run(d, g, row.keep, |d| squared((margin - d).max(0.0)));
            } else {
                negatives.add_run(d, g, row.keep, |d| plain((margin - d).max(0.0)));
            }
        });
        [positives, negatives]
    }

    fn apart(&self) -> bool {
        true
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let mut terms = Vec::new();
        for (i, j) in batch.pairs(tuples) {
            let d = batch.d(i, j);
            let positive = batch.label(i) == batch.label_of_column(j);
            let excess = if positive {
                d - self.positive_margin.exact()
            } else {
                self.negative_margin.exact() - d
            };
            let value = excess.max(0.0).powi(if self.squared { 2 } else { 1 });
            terms.push(Term {
                anchor: i,
                group: usize::from(!positive),
                value,
            });
        }
        terms
    }
}
