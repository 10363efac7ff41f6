//! A random negative inside the margin for every positive pair.

use super::{TupleMiner, seeds, triplets_of_anchors};
use crate::described::described;
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::range::NonNegative;
use crate::tuples::Tuples;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

described! {
    /// For every positive pair one of the negatives that violate the margin, each as likely.
    ///
    /// ```text
    /// n drawn from { n: d(a, n) < d(a, p) + margin }
    /// ```
    ///
    /// All ordered positive pairs of the batch take part; one without such a negative is left out. Unlike `semi_hard`,
    /// negatives nearer than the positive are drawn too.
    ///
    /// # Reference
    /// F. Schroff, D. Kalenichenko, J. Philbin, FaceNet, CVPR 2015, Eq. 3, the triplets of a nonzero term, "randomly
    /// selected" as in the `RandomNegativeTripletSelector` of adambielski/siamese-triplet.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, Objective, ChaCha8Rng, SeedableRng, Tuples};
    /// use nearkin_losses::{distance::L2, loss::TripletMargin, miner::MarginViolating};
    /// // Points 0, 2 | 1, 5 on a line. Nearer than the positive and 0.2: of 0 and of 2 the point at 1; of 1 the points at
    /// // 0 and 2, one of which is drawn; of 5, whose positive is 4 away, the point at 2.
    /// let objective = Objective::from(TripletMargin::default())
    ///     .with_miner(MarginViolating::default())
    ///     .with_distance(L2 { normalize: false });
    /// let batch = Mat::new(&[0.0, 2.0, 1.0, 5.0], 4, 1);
    /// let tuples = objective.mine(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// let Tuples::Triplets(triplets) = tuples else { panic!("one for each positive pair") };
    /// assert_eq!(triplets[..2], [[0, 1, 2], [1, 0, 2]]);
    /// assert!(triplets[2] == [2, 3, 0] || triplets[2] == [2, 3, 1]);
    /// assert_eq!(triplets[3..], [[3, 2, 1]]);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct MarginViolating {
        /// How much farther than the positive a negative may lie; the margin of the loss.
        pub margin: NonNegative = NonNegative::literal(0.2),
    }
}

impl TupleMiner for MarginViolating {
    fn mine(&self, pairs: Pairs<'_>, rng: &mut ChaCha8Rng) -> Tuples {
        let seeds = seeds(pairs.rows(), rng);
        triplets_of_anchors(pairs, |a| {
            let (row, mut rng) = (pairs.row(a), ChaCha8Rng::seed_from_u64(seeds[a]));
            if pairs.positives(a).next().is_none() {
                return Vec::new();
            }
            let mut negatives: Vec<_> = pairs.negatives(a).flatten().map(|n| (row[n], n)).collect();
            negatives.sort_by(|x, y| x.0.total_cmp(&y.0));
            let draw = |p: usize| {
                let bound = row[p] + self.margin.get();
                let inside = negatives.partition_point(|negative| negative.0 < bound);
                let place = (inside > 0).then(|| rng.random_range(0..inside));
                place.map(|place| [a as u32, p as u32, negatives[place].1 as u32])
            };
            pairs.positives(a).filter_map(draw).collect()
        })
    }

    fn reference(&self, batch: &Exact<'_>) -> Tuples {
        let mut triplets = Vec::new();
        for a in 0..batch.rows() {
            for p in batch.positives(a) {
                for n in batch.negatives(a) {
                    if batch.d(a, n) < batch.d(a, p) + self.margin.exact() {
                        triplets.push([a as u32, p as u32, n as u32]);
                    }
                }
            }
        }
        Tuples::Triplets(triplets)
    }
}
