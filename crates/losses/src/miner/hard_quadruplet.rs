//! Triplets inside a margin that the batch itself sets.

use super::TupleMiner;
use crate::described::described;
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::range::NonNegative;
use crate::tuples::Tuples;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

described! {
    /// All triplets whose gap is below the mean gap of the batch: as positives and negatives part, fewer are easy.
    ///
    /// ```text
    /// d(a, n) - d(a, p) ≤ [ weight · ( mean of all d(a, n) - mean of all d(a, p) ) ]₊
    /// ```
    ///
    /// With the distance `squared_l2` that is the paper's, whose distances are squared. A loss over quadruplets joins the
    /// positive pairs of these triplets with negative pairs of other anchors. Against more references than fit in memory
    /// at once the means are those of each block of anchors.
    ///
    /// # Reference
    /// W. Chen, X. Chen, J. Zhang, K. Huang, Beyond Triplet Loss: A Deep Quadruplet Network for Person
    /// Re-identification, CVPR 2017, Eq. 4, "margin-based online hard negative mining".
    ///
    /// # Differences
    /// The paper's means are over the pairs of the quadruplets of the batch; here they are over all its pairs. It has
    /// weight 1 for negatives of the same anchor and 0.5 for others, and starts from a network trained without.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, Objective, ChaCha8Rng, SeedableRng, Tuples};
    /// use nearkin_losses::{distance::L2, loss::TripletMargin, miner::HardQuadruplet};
    /// // Points 0, 1 | 3, 6 on a line: positives 1 and 3, mean 2; negatives 3, 6, 2 and 5, mean 4.
    /// let objective = Objective::from(TripletMargin::default())
    ///     .with_miner(HardQuadruplet::default())
    ///     .with_distance(L2 { normalize: false });
    /// let batch = Mat::new(&[0.0, 1.0, 3.0, 6.0], 4, 1);
    /// let tuples = objective.mine(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert_eq!(tuples, Tuples::Band { low: f32::NEG_INFINITY, high: 2.0 });
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct HardQuadruplet {
        /// What the mean gap is multiplied by.
        pub weight: NonNegative = NonNegative::literal(1.0),
    }
}

impl HardQuadruplet {
    /// The band below the margin, from sums of distances and numbers of pairs, positives first.
    fn band(&self, [positives, negatives]: [(f64, usize); 2]) -> Tuples {
        let mean = |(sum, count): (f64, usize)| sum / count.max(1) as f64;
        let gap = mean(negatives) - mean(positives);
        Tuples::Band {
            low: f32::NEG_INFINITY,
            high: (self.weight.exact() * gap).max(0.0) as f32,
        }
    }
}

impl TupleMiner for HardQuadruplet {
    fn mine(&self, pairs: Pairs<'_>, _rng: &mut ChaCha8Rng) -> Tuples {
        let total = |sum: (f64, usize), d: &f32| (sum.0 + f64::from(*d), sum.1 + 1);
        let of_anchor = |a: usize| {
            let row = pairs.row(a);
            let positives = pairs.positives(a).map(|p| &row[p]).fold((0.0, 0), total);
            let negatives = pairs
                .negatives(a)
                .flat_map(|range| &row[range])
                .fold((0.0, 0), total);
            [positives, negatives]
        };
        let rows = (0..pairs.rows()).into_par_iter();
        let anchors: Vec<_> = rows.with_min_len(8).map(of_anchor).collect();
        let add = |x: (f64, usize), y: (f64, usize)| (x.0 + y.0, x.1 + y.1);
        // In the order of the anchors, for the same bits on any number of threads.
        self.band(
            anchors
                .into_iter()
                .fold([(0.0, 0); 2], |[p, n], [of_p, of_n]| {
                    [add(p, of_p), add(n, of_n)]
                }),
        )
    }

    fn reference(&self, batch: &Exact<'_>) -> Tuples {
        let mut sums = [(0.0, 0); 2];
        for a in 0..batch.rows() {
            for j in batch.others(a) {
                let negative = usize::from(batch.label(a) != batch.label_of_column(j));
                sums[negative].0 += batch.d(a, j);
                sums[negative].1 += 1;
            }
        }
        self.band(sums)
    }
}
