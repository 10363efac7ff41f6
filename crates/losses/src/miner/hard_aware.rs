//! The hardest share of all pairs.

use super::TupleMiner;
use crate::described::described;
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::range::Fraction;
use crate::tuples::{PairMask, Tuples, insert_bit};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::ops::Range;

described! {
    /// The hardest share of the positive pairs and of the negative pairs of the batch, whichever anchors they have.
    ///
    /// ```text
    /// (a, p) kept if among the ⌈share · P⌉ farthest of P        (a, n) kept if among the ⌈share · N⌉ nearest of N
    /// ```
    ///
    /// Pairs at the distance of the last one kept are kept too, so that nothing depends on the order of the batch. Against
    /// more references than fit in memory at once it is the share of each block of anchors.
    ///
    /// # Reference
    /// Y. Yuan, K. Yang, C. Zhang, Hard-Aware Deeply Cascaded Embedding, ICCV 2017, §3. Its levels keep 100, 50 and 20
    /// percent: the terms of a `weighted_sum`, each with this miner and a share of its own.
    ///
    /// # Differences
    /// The levels of the paper each see what the level before kept; here, as in pytorch-metric-learning's `HDCMiner`
    /// without indices from outside, each chooses among all pairs.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, Objective, ChaCha8Rng, SeedableRng};
    /// use nearkin_losses::{distance::L2, loss::Contrastive, miner::HardAware};
    /// // Points 0, 1 | 3, 7 on a line: half of the four positive pairs, those of 3 and 7; half of the eight negative pairs,
    /// // those of 1 and 3 and of 0 and 3.
    /// let objective = Objective::from(Contrastive::default())
    ///     .with_miner(HardAware::default())
    ///     .with_distance(L2 { normalize: false });
    /// let batch = Mat::new(&[0.0, 1.0, 3.0, 7.0], 4, 1);
    /// let outcome = objective.value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert_eq!(outcome.tuples, 2 + 4);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct HardAware {
        /// Share of the pairs of a kind that is kept.
        pub share: Fraction = Fraction::literal(0.5),
    }
}

impl HardAware {
    fn count(&self, pairs: usize) -> usize {
        (self.share.exact() * pairs as f64).ceil() as usize
    }

    /// The hardness of the last pair kept; `∞` if none is.
    fn bound(&self, mut hardness: Vec<f32>) -> f32 {
        match self.count(hardness.len()) {
            0 => f32::INFINITY,
            count => {
                *hardness
                    .select_nth_unstable_by(count - 1, |x, y| y.total_cmp(x))
                    .1
            }
        }
    }
}

impl TupleMiner for HardAware {
    fn mine(&self, pairs: Pairs<'_>, _rng: &mut ChaCha8Rng) -> Tuples {
        let of_anchors = |of: &(dyn Fn(usize) -> Vec<f32> + Sync)| {
            let anchors: Vec<_> = (0..pairs.rows()).into_par_iter().map(of).collect();
            self.bound(anchors.concat())
        };
        let far = of_anchors(&|a| pairs.positives(a).map(|p| pairs.at(a, p)).collect());
        let near = -of_anchors(&|a| {
            let nearness = |range: Range<usize>| pairs.row(a)[range].iter().map(|d| -d);
            pairs.negatives(a).flat_map(nearness).collect()
        });
        let mut mask = PairMask::empty(pairs.rows(), pairs.cols());
        mask.rows_mut().enumerate().for_each(|(a, bits)| {
            let row = pairs.row(a);
            let positives = pairs.positives(a).filter(|&p| row[p] >= far);
            positives.for_each(|p| insert_bit(bits, p));
            for n in pairs.negatives(a).flatten() {
                bits[n / 64] |= u64::from(row[n] <= near) << (n % 64);
            }
        });
        Tuples::Pairs(mask)
    }

    fn reference(&self, batch: &Exact<'_>) -> Tuples {
        let mut mask = PairMask::empty(batch.rows(), batch.columns());
        let mut keep = |sign: f64, of: &dyn Fn(usize) -> Vec<usize>| {
            let anchors = 0..batch.rows();
            let mut pairs: Vec<_> = anchors
                .flat_map(|a| of(a).into_iter().map(move |j| (sign * batch.d(a, j), a, j)))
                .collect();
            pairs.sort_by(|x, y| y.0.total_cmp(&x.0));
            let last = self
                .count(pairs.len())
                .checked_sub(1)
                .map(|last| pairs[last].0);
            // Rounding may tell apart a pair and the same pair the other way round.
            let kept = pairs
                .iter()
                .filter(|pair| last.is_some_and(|last| pair.0 >= last - 1e-12));
            kept.for_each(|&(_, a, j)| mask.insert(a, j));
        };
        keep(1.0, &|a| batch.positives(a));
        keep(-1.0, &|a| batch.negatives(a));
        Tuples::Pairs(mask)
    }
}
