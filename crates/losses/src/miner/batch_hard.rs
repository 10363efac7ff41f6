//! The hardest triplet of each anchor.

use super::{TupleMiner, farthest, first_least, nearest_negative, triplets_of_anchors};
use crate::described::described;
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::tuples::Tuples;
use rand_chacha::ChaCha8Rng;

described! {
    /// One triplet for each anchor: its farthest positive and its nearest negative.
    ///
    /// ```text
    /// p = argmax_{y_p = y_a} d(a, p)        n = argmin_{y_n ≠ y_a} d(a, n)
    /// ```
    ///
    /// Anchors without a positive or without a negative are left out. Of equal distances the first is taken.
    ///
    /// # Reference
    /// A. Hermans, L. Beyer, B. Leibe, In Defense of the Triplet Loss for Person Re-Identification, 2017, Eq. 5.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, Objective, ChaCha8Rng, SeedableRng, Tuples};
    /// use nearkin_losses::{distance::L2, loss::TripletMargin, miner::BatchHard};
    /// // Points 0, 1 | 3, 6 on a line.
    /// let objective = Objective::from(TripletMargin::default())
    ///     .with_miner(BatchHard {})
    ///     .with_distance(L2 { normalize: false });
    /// let batch = Mat::new(&[0.0, 1.0, 3.0, 6.0], 4, 1);
    /// let tuples = objective.mine(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert_eq!(tuples, Tuples::Triplets(vec![[0, 1, 2], [1, 0, 2], [2, 3, 1], [3, 2, 1]]));
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct BatchHard {}
}

impl TupleMiner for BatchHard {
    fn mine(&self, pairs: Pairs<'_>, _rng: &mut ChaCha8Rng) -> Tuples {
        triplets_of_anchors(pairs, |a| {
            let p = farthest(pairs.row(a), pairs.positives(a));
            let n = p.and_then(|_| nearest_negative(pairs, a, f32::NEG_INFINITY));
            p.zip(n)
                .map(|(p, n)| [a as u32, p as u32, n as u32])
                .into_iter()
                .collect()
        })
    }

    fn reference(&self, batch: &Exact<'_>) -> Tuples {
        let mut triplets = Vec::new();
        for a in 0..batch.rows() {
            let p = first_least(&batch.positives(a), |p| -batch.d(a, p));
            let n = first_least(&batch.negatives(a), |n| batch.d(a, n));
            if let (Some(p), Some(n)) = (p, n) {
                triplets.push([a as u32, p as u32, n as u32]);
            }
        }
        Tuples::Triplets(triplets)
    }
}
