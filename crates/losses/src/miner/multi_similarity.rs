//! Pairs that are hard compared with the other kind.

use super::TupleMiner;
use crate::described::described;
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::range::NonNegative;
use crate::tuples::{PairMask, Tuples, insert_bit};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

described! {
    /// Positives not clearly nearer than the nearest negative, and negatives not clearly farther than the farthest positive.
    ///
    /// ```text
    /// (a, p) kept if d(a, p) + ε > min_n d(a, n)        (a, n) kept if d(a, n) - ε < max_p d(a, p)
    /// ```
    ///
    /// An anchor without positives keeps no negatives, and the other way round.
    ///
    /// # Reference
    /// X. Wang et al., Multi-Similarity Loss, CVPR 2019, Eq. 11 and 12 (as similarities).
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, Objective, ChaCha8Rng, SeedableRng};
    /// use nearkin_losses::{distance::L2, loss::Contrastive, miner::MultiSimilarity};
    /// // Points 0, 1 | 3, 6 on a line: only for the anchor 3 (negatives at 2 and 3, positive at 3) is anything close.
    /// let objective = Objective::from(Contrastive::default()).with_miner(MultiSimilarity::default());
    /// let batch = Mat::new(&[0.0, 1.0, 3.0, 6.0], 4, 1);
    /// let outcome = objective.value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert_eq!(outcome.tuples, 3);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct MultiSimilarity {
        /// Slack `ε`: a larger one keeps more pairs.
        pub epsilon: NonNegative = NonNegative::literal(0.1),
    }
}

impl TupleMiner for MultiSimilarity {
    fn mine(&self, pairs: Pairs<'_>, _rng: &mut ChaCha8Rng) -> Tuples {
        let epsilon = self.epsilon.get();
        let mut mask = PairMask::empty(pairs.rows(), pairs.cols());
        mask.rows_mut().enumerate().for_each(|(a, bits)| {
            let row = pairs.row(a);
            let negatives = || {
                pairs
                    .negatives(a)
                    .flat_map(|range| row[range].iter().copied())
            };
            let nearest = negatives().fold(f32::INFINITY, |m, d| if d < m { d } else { m });
            let farthest = pairs
                .positives(a)
                .map(|p| row[p])
                .fold(f32::NEG_INFINITY, f32::max);
            pairs
                .positives(a)
                .filter(|&p| row[p] + epsilon > nearest)
                .for_each(|p| insert_bit(bits, p));
            for n in pairs.negatives(a).flatten() {
                bits[n / 64] |= u64::from(row[n] - epsilon < farthest) << (n % 64);
            }
        });
        Tuples::Pairs(mask)
    }

    fn reference(&self, batch: &Exact<'_>) -> Tuples {
        let mut mask = PairMask::empty(batch.rows(), batch.columns());
        for a in 0..batch.rows() {
            let (positives, negatives) = (batch.positives(a), batch.negatives(a));
            for &p in &positives {
                for &n in &negatives {
                    // One witness of the other kind is enough for either.
                    if batch.d(a, p) + self.epsilon.exact() > batch.d(a, n) {
                        mask.insert(a, p);
                        mask.insert(a, n);
                    }
                }
            }
        }
        Tuples::Pairs(mask)
    }
}
