//! The multi-similarity loss.

use super::{Evaluation, PairLoss};
use crate::described::described;
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::miner::{self, Miner};
use crate::pairs::Pairs;
use crate::range::{NonNegative, Positive};
use crate::tuples::{KeptPairs, Tuples};
use nearkin_kernels::exp;

/// Negatives whose exponentials are taken together.
const BLOCK: usize = 256;

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

impl MultiSimilarity {
    /// The terms of anchor `a`; `inverse_b` is `1/B`.
    fn anchor(
        &self,
        pairs: Pairs<'_>,
        kept: &KeptPairs<'_>,
        a: usize,
        g: &mut [f32],
        inverse_b: f32,
    ) -> Evaluation {
        let (alpha, beta, base) = (self.alpha.get(), self.beta.get(), self.base.get());
        let row = pairs.row(a);
        let mut sum = Evaluation::default();

        let (mut farthest, mut nearest) = (base, base);
        for p in kept.positives(a) {
            sum.tuples += 1;
            sum.active += usize::from(row[p] > base);
            farthest = farthest.max(row[p]);
        }
        kept.negatives(a, |range| {
            sum.tuples += range.len();
            for &d in &row[range] {
                sum.active += usize::from(d < base);
                nearest = if d < nearest { d } else { nearest };
            }
        });

        // The log-sum-exp of { 0 } and the pairs, shifted by its largest term.
        let mut positives = f64::from((alpha * (base - farthest)).exp());
        for p in kept.positives(a) {
            g[p] = (alpha * (row[p] - farthest)).exp();
            positives += f64::from(g[p]);
        }
        let mut negatives = f64::from((beta * (nearest - base)).exp());
        kept.negatives(a, |range| {
            for (g, d) in g[range.clone()]
                .chunks_mut(BLOCK)
                .zip(row[range].chunks(BLOCK))
            {
                let mut exponents = [0.0; BLOCK];
                exponents
                    .iter_mut()
                    .zip(d)
                    .for_each(|(x, d)| *x = beta * (nearest - d));
                exp(&exponents[..d.len()], g);
                negatives += f64::from(g.iter().sum::<f32>());
            }
        });

        let (of_positive, of_negative) =
            (inverse_b / positives as f32, -inverse_b / negatives as f32);
        kept.negatives(a, |range| {
            for g in &mut g[range] {
                *g *= of_negative;
            }
        });
        kept.positives(a).for_each(|p| g[p] *= of_positive);

        sum.value = f64::from(farthest - base)
            + positives.ln() / f64::from(alpha)
            + f64::from(base - nearest)
            + negatives.ln() / f64::from(beta);
        sum
    }
}

impl PairLoss for MultiSimilarity {
    fn default_distance(&self) -> Distance {
        Cosine {}.into()
    }

    fn default_miner(&self) -> Miner {
        miner::MultiSimilarity::default().into()
    }

    fn value_and_grad(&self, pairs: Pairs<'_>, tuples: &Tuples, g: &mut [f32]) -> Evaluation {
        let kept = tuples.pairs(pairs);
        let b = pairs.size();
        let anchors = pairs.each_anchor(g, |a, g| self.anchor(pairs, &kept, a, g, 1.0 / b as f32));
        let sum: Evaluation = anchors.into_iter().sum();
        Evaluation {
            value: sum.value / b as f64,
            ..sum
        }
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> f64 {
        let (alpha, beta, base) = (self.alpha.exact(), self.beta.exact(), self.base.exact());
        let b = batch.size();
        let (mut of_positives, mut of_negatives) = (vec![0.0; b], vec![0.0; b]);
        for (a, j) in batch.pairs(tuples) {
            if batch.label(a) == batch.label(j) {
                of_positives[a] += (alpha * (batch.d(a, j) - base)).exp();
            } else {
                of_negatives[a] += (-beta * (batch.d(a, j) - base)).exp();
            }
        }
        let anchors = of_positives.iter().zip(&of_negatives);
        anchors
            .map(|(p, n)| p.ln_1p() / alpha + n.ln_1p() / beta)
            .sum::<f64>()
            / b as f64
    }
}
