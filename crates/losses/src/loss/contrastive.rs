//! The contrastive loss.

use super::{Evaluation, PairLoss};
use crate::described::described;
use crate::distance::{Distance, L2};
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::range::NonNegative;
use crate::reduction::Reduction;
use crate::tuples::{KeptPairs, Tuples};

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
    /// without its factor ½ as in K. Sohn, NIPS 2016, Eq. 1.
    ///
    /// # Differences
    /// Distances are raw by default, as in the papers, and a margin of 1 presumes embeddings of about that size. The
    /// papers sum over pairs (`reduction = "sum"`). pytorch-metric-learning has no squares (`squared = false`) and
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
        /// `mean_nonzero`, `mean` or `sum`, over positives and over negatives.
        pub reduction: Reduction = Reduction::MeanNonzero,
    }
}

impl Contrastive {
    /// Term and slope of a pair that is too far or too near by `excess`.
    fn term(&self, excess: f32) -> (f32, f32) {
        let excess = excess.max(0.0);
        if self.squared {
            (excess * excess, 2.0 * excess)
        } else {
            (excess, f32::from(excess > 0.0))
        }
    }

    /// Sums over the pairs of anchor `a`, positives and negatives apart; slopes of the negatives go to row `a` of `g`.
    fn anchor(
        &self,
        pairs: Pairs<'_>,
        kept: &KeptPairs<'_>,
        a: usize,
        g: &mut [f32],
    ) -> [Evaluation; 2] {
        let row = pairs.row(a);
        let [mut positives, mut negatives] = [Evaluation::default(); 2];
        for p in kept.positives(a) {
            positives.add(self.term(row[p] - self.positive_margin.get()).0);
        }
        let margin = self.negative_margin.get();
        kept.negatives(a, |range| {
            for (g, &d) in g[range.clone()].iter_mut().zip(&row[range]) {
                let (value, slope) = self.term(margin - d);
                negatives.add(value);
                *g = -slope;
            }
        });
        [positives, negatives]
    }
}

impl PairLoss for Contrastive {
    fn default_distance(&self) -> Distance {
        L2 { normalize: false }.into()
    }

    fn value_and_grad(&self, pairs: Pairs<'_>, tuples: &Tuples, g: &mut [f32]) -> Evaluation {
        let kept = tuples.pairs(pairs);
        let anchors = pairs.each_anchor(g, |a, g| self.anchor(pairs, &kept, a, g));
        let sums = [0, 1].map(|kind| anchors.iter().map(|kinds| kinds[kind]).sum::<Evaluation>());
        let factors = sums.map(|sum| self.reduction.factor(sum.tuples, sum.active));
        pairs.each_anchor(g, |a, g| {
            for g in g.iter_mut() {
                *g *= factors[1] as f32;
            }
            for p in kept.positives(a) {
                g[p] = self.term(pairs.at(a, p) - self.positive_margin.get()).1 * factors[0] as f32;
            }
        });
        let [positives, negatives] = sums;
        Evaluation {
            value: positives.value * factors[0] + negatives.value * factors[1],
            tuples: positives.tuples + negatives.tuples,
            active: positives.active + negatives.active,
        }
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> f64 {
        let (mut positive, mut negative) = (Vec::new(), Vec::new());
        for (i, j) in batch.pairs(tuples) {
            let power = if self.squared { 2 } else { 1 };
            if batch.label(i) == batch.label(j) {
                positive.push(
                    (batch.d(i, j) - self.positive_margin.exact())
                        .max(0.0)
                        .powi(power),
                );
            } else {
                negative.push(
                    (self.negative_margin.exact() - batch.d(i, j))
                        .max(0.0)
                        .powi(power),
                );
            }
        }
        self.reduction.reference(&positive) + self.reduction.reference(&negative)
    }
}
