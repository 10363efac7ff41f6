//! Pairs on the wrong side of a margin.

use super::TupleMiner;
use crate::described::described;
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::range::NonNegative;
use crate::tuples::{PairMask, Tuples, insert_bit};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

described! {
    /// Positives farther apart than one margin, and negatives nearer than another.
    ///
    /// ```text
    /// (a, p) kept if d(a, p) > m_p        (a, n) kept if d(a, n) < m_n
    /// ```
    ///
    /// Each pair is judged alone, whatever else its anchor has. Over a distance that may be negative, such as the dot
    /// product, margins at or above zero say little.
    ///
    /// # Reference
    /// `PairMarginMiner` of pytorch-metric-learning; the pairs of a nonzero term in R. Hadsell, S. Chopra, Y. `LeCun`,
    /// Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006, Eq. 4, with a margin for positives too.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, Objective, ChaCha8Rng, SeedableRng};
    /// use nearkin_losses::{distance::L2, loss::Contrastive, miner::PairMargin};
    /// // Points 0, 0.1 | 0.5, 2 on a line: of the positives only 0.5 and 2 are over 0.2 apart, of the negatives 0 and 0.5
    /// // and 0.1 and 0.5 are under 0.8 apart, each pair in either order.
    /// let objective = Objective::from(Contrastive::default())
    ///     .with_miner(PairMargin::default())
    ///     .with_distance(L2 { normalize: false });
    /// let batch = Mat::new(&[0.0, 0.1, 0.5, 2.0], 4, 1);
    /// let outcome = objective.value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert_eq!((outcome.tuples, outcome.kept), (2 + 4, 6.0 / 12.0));
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct PairMargin {
        /// Positives nearer than that are left out, `m_p`.
        pub positive_margin: NonNegative = NonNegative::literal(0.2),
        /// Negatives farther than that are left out, `m_n`.
        pub negative_margin: NonNegative = NonNegative::literal(0.8),
    }
}

impl TupleMiner for PairMargin {
    fn mine(&self, pairs: Pairs<'_>, _rng: &mut ChaCha8Rng) -> Tuples {
        let (far, near) = (self.positive_margin.get(), self.negative_margin.get());
        let mut mask = PairMask::empty(pairs.rows(), pairs.cols());
        mask.rows_mut().enumerate().for_each(|(a, bits)| {
            let row = pairs.row(a);
            let positives = pairs.positives(a).filter(|&p| row[p] > far);
            positives.for_each(|p| insert_bit(bits, p));
            for n in pairs.negatives(a).flatten() {
                bits[n / 64] |= u64::from(row[n] < near) << (n % 64);
            }
        });
        Tuples::Pairs(mask)
    }

    fn reference(&self, batch: &Exact<'_>) -> Tuples {
        let mut mask = PairMask::empty(batch.rows(), batch.columns());
        for a in 0..batch.rows() {
            for p in batch.positives(a) {
                if batch.d(a, p) > self.positive_margin.exact() {
                    mask.insert(a, p);
                }
            }
            for n in batch.negatives(a) {
                if batch.d(a, n) < self.negative_margin.exact() {
                    mask.insert(a, n);
                }
            }
        }
        Tuples::Pairs(mask)
    }
}
