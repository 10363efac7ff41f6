//! Triplets whose negative sees the positive pair at a large angle.

use super::{TupleMiner, triplets_of_anchors};
use crate::described::described;
use crate::distance::PairDistance;
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::range::{Count, Degrees};
use crate::tuples::Tuples;
use rand_chacha::ChaCha8Rng;

described! {
    /// Triplets whose negative sees half the positive pair at more than an angle, those at the largest angles first.
    ///
    /// ```text
    /// (a, p, n) kept if arctan( ‖x_a - x_p‖ / 2‖x_n - x_c‖ ) > α,        x_c = (x_a + x_p) / 2
    /// ```
    ///
    /// The distance to the center follows from the sides of the triangle, `4‖x_n - x_c‖² = 2‖x_a - x_n‖² + 2‖x_p - x_n‖² -
    /// ‖x_a - x_p‖²`, so any distance will do from which the Euclidean one follows: `l2`, `squared_l2`, `cosine`, or a
    /// normalized `dot`. It takes distances of positives to negatives, hence no references and no memory.
    ///
    /// # Reference
    /// J. Wang, F. Zhou, S. Wen, X. Liu, Y. Lin, Deep Metric Learning with Angular Loss, ICCV 2017, §3.2.
    ///
    /// # Differences
    /// pytorch-metric-learning's `AngularMiner` lists every such triplet, of which there may be as many as `B³`; here each
    /// positive pair keeps at most `negatives` of them. It insists on a distance that normalizes, and then takes the
    /// embeddings as they come: that is `l2` with `normalize = false`. From an angle of 90 degrees on there is none.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, Objective, ChaCha8Rng, SeedableRng, Tuples};
    /// use nearkin_losses::{distance::L2, loss::TripletMargin, miner::Angular};
    /// // Points (-1, 0), (1, 0) | (0, 2), (0, 3): arctan(1/2) = 26.6° for the near one, arctan(1/3) = 18.4° for the far one.
    /// let objective = Objective::from(TripletMargin::default())
    ///     .with_miner(Angular::default())
    ///     .with_distance(L2 { normalize: false });
    /// let batch = Mat::new(&[-1.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0, 3.0], 4, 2);
    /// let tuples = objective.mine(batch, &[0, 0, 1, 2], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert_eq!(tuples, Tuples::Triplets(vec![[0, 1, 2], [1, 0, 2]]));
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Angular {
        /// The angle `α` in degrees.
        pub angle: Degrees = Degrees::literal(20.0),
        /// Negatives that a positive pair keeps at most.
        pub negatives: Count = Count::literal(16),
    }
}

impl Angular {
    /// The negatives of a positive pair at the largest angles, largest first, from squares of distances.
    fn of_pair(
        &self,
        pairs: Pairs<'_>,
        [a, p]: [usize; 2],
        square: impl Fn(f32) -> f32,
    ) -> Vec<u32> {
        let (from_a, from_p) = (pairs.row(a), pairs.row(p));
        let (sin, cos) = self.angle.get().to_radians().sin_cos();
        let side = square(from_a[p]);
        let sum = |n: usize| square(from_a[n]) + square(from_p[n]);
        // tan α < ‖x_a - x_p‖ / 2‖x_n - x_c‖, squared.
        let inside = |sum: f32| cos * cos * side > sin * sin * (2.0 * sum - side).max(0.0);
        let negatives = pairs.negatives(a).flatten().map(|n| (sum(n), n as u32));
        let mut kept: Vec<_> = negatives.filter(|&(sum, _)| inside(sum)).collect();
        let nearer = |x: &(f32, u32), y: &(f32, u32)| x.0.total_cmp(&y.0).then(x.1.cmp(&y.1));
        let most = self.negatives.get();
        if kept.len() > most {
            kept.select_nth_unstable_by(most, nearer);
            kept.truncate(most);
        }
        kept.sort_by(nearer);
        kept.into_iter().map(|(_, n)| n).collect()
    }
}

impl TupleMiner for Angular {
    fn mine(&self, pairs: Pairs<'_>, _rng: &mut ChaCha8Rng) -> Tuples {
        let Some(euclidean) = pairs.space().euclidean.filter(|_| self.angle.get() < 90.0) else {
            return Tuples::Triplets(Vec::new());
        };
        let square = |d: f32| euclidean(d).powi(2);
        triplets_of_anchors(pairs, |a| {
            let of_pair = |p: usize| {
                let negatives = self.of_pair(pairs, [a, p], square);
                negatives.into_iter().map(move |n| [a as u32, p as u32, n])
            };
            pairs.positives(a).flat_map(of_pair).collect()
        })
    }

    fn reference(&self, batch: &Exact<'_>) -> Tuples {
        let [x, y] = batch.points();
        let distance = |x: &[f64], y: &[f64]| {
            let square: f64 = x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum();
            square.sqrt()
        };
        let mut triplets = Vec::new();
        for (a, x) in x.iter().enumerate() {
            for p in batch.positives(a) {
                let center: Vec<f64> = x.iter().zip(&y[p]).map(|(a, p)| (a + p) / 2.0).collect();
                let angle = |n: usize| {
                    let to_center = 2.0 * distance(&y[n], &center);
                    (distance(x, &y[p]) / to_center).atan().to_degrees()
                };
                let mut kept = batch.negatives(a);
                kept.retain(|&n| angle(n) > self.angle.exact());
                kept.sort_by(|&m, &n| angle(n).total_cmp(&angle(m)));
                kept.truncate(self.negatives.get());
                triplets.extend(kept.into_iter().map(|n| [a, p, n].map(|i| i as u32)));
            }
        }
        Tuples::Triplets(triplets)
    }

    fn check(&self, distance: &dyn PairDistance) -> Result<(), &'static str> {
        match distance.euclidean() {
            Some(_) => Ok(()),
            None => Err(
                "goes by angles: take the distance l2, squared_l2, cosine, or dot with normalize = true",
            ),
        }
    }

    fn needs_square(&self) -> bool {
        true
    }
}
