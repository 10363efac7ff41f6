//! The multi-similarity loss.

use super::{Definition, Row, RowLoss, exponentials};
use crate::described::described;
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::lanes::smallest;
use crate::miner::{self, Miner};
use crate::range::{NonNegative, Positive};
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Weighs each pair by how badly it is placed, in itself and against the other pairs of its anchor.
    ///
    /// ```text
    /// L = 1/B Σ_a { 1/α log[ 1 + Σ_p exp( α (d(a, p) - base)) ]
    ///             + 1/β log[ 1 + Σ_n exp(-β (d(a, n) - base)) ] }
    /// ```
    ///
    /// A pair counts as active while it is on the wrong side of `base`.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// X. Wang, X. Han, W. Huang, D. Dong, M. R. Scott, Multi-Similarity Loss with General Pair Weighting for Deep Metric
    /// Learning, CVPR 2019, Eq. 15, after the mining of its Eq. 11 and 12.
    ///
    /// # Differences
    /// The paper writes similarities around `λ`; over the cosine distance `base = 1 - λ`. In pytorch-metric-learning the
    /// mining is separate and off unless asked for; here it is the default, as in the paper.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::MultiSimilarity, miner::All};
    /// // Two equal positives: 1/α log(1 + exp(α (0 - ½))) with α = 2 for either, and no negatives.
    /// let objective = Objective::from(MultiSimilarity::default()).with_miner(All {});
    /// let batch = Mat::new(&[1.0, 0.0, 1.0, 0.0], 2, 2);
    /// let outcome = objective.value_and_grad(batch, &[5, 5], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - (1.0 + (-1_f32).exp()).ln() / 2.0).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct MultiSimilarity {
        /// Sharpness of the positive part.
        pub alpha: Positive = Positive::literal(2.0),
        /// Sharpness of the negative part.
        pub beta: Positive = Positive::literal(50.0),
        /// Distance that parts near from far.
        pub base: NonNegative = NonNegative::literal(0.5),
    }
}

impl Definition for MultiSimilarity {
    fn default_distance(&self) -> Option<Distance> {
        Some(Cosine {}.into())
    }

    fn default_miner(&self) -> Option<Miner> {
        Some(miner::MultiSimilarity::default().into())
    }
}

impl RowLoss for MultiSimilarity {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let (alpha, beta, base) = (self.alpha.get(), self.beta.get(), self.base.get());
        let d = row.d();
        let [mut tuples, mut active] = [0; 2];
        let (mut farthest, mut nearest) = (base, base);
        for p in row.positives() {
            tuples += 1;
            active += usize::from(d[p] > base);
            farthest = farthest.max(d[p]);
        }
        row.negatives(|range| {
            tuples += range.len();
            let d = &d[range];
            active += d.iter().map(|&d| u32::from(d < base)).sum::<u32>() as usize;
            nearest = nearest.min(smallest(d));
        });

        // The log-sum-exp of { 0 } and the pairs, shifted by its largest term.
        let mut positives = f64::from((alpha * (base - farthest)).exp());
        for p in row.positives() {
            g[p] = (alpha * (d[p] - farthest)).exp();
            positives += f64::from(g[p]);
        }
        let mut negatives = f64::from((beta * (nearest - base)).exp());
        row.negatives(|range| {
            negatives += exponentials(&d[range.clone()], |d| beta * (nearest - d), &mut g[range]);
        });
        row.negatives(|range| {
            let factor = -1.0 / negatives as f32;
            g[range].iter_mut().for_each(|g| *g *= factor);
        });
        row.positives().for_each(|p| g[p] /= positives as f32);

        let value = f64::from(farthest - base)
            + positives.ln() / f64::from(alpha)
            + f64::from(base - nearest)
            + negatives.ln() / f64::from(beta);
        row.whole(value, [tuples, active], g)
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let (alpha, beta, base) = (self.alpha.exact(), self.beta.exact(), self.base.exact());
        let mut terms = Vec::new();
        for anchor in 0..batch.rows() {
            let [positives, negatives] = batch.kept(anchor, tuples);
            let of_positives: f64 = positives
                .iter()
                .map(|&p| (alpha * (batch.d(anchor, p) - base)).exp())
                .sum();
            let of_negatives: f64 = negatives
                .iter()
                .map(|&n| (-beta * (batch.d(anchor, n) - base)).exp())
                .sum();
            let value = of_positives.ln_1p() / alpha + of_negatives.ln_1p() / beta;
            terms.push(Term {
                anchor,
                group: 0,
                value,
            });
        }
        terms
    }
}
