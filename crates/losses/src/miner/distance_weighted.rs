//! Negatives spread evenly over distances.

use super::{TupleMiner, seeds, triplets_of_anchors};
use crate::described::described;
use crate::distance::PairDistance;
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::range::Positive;
use crate::tuples::Tuples;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

described! {
    /// For every positive pair a random negative, drawn so that all distances are alike, not all negatives.
    ///
    /// ```text
    /// P(n | a) ∝ 1 / q( max(d(a, n), cutoff) ) if d(a, n) < nonzero_loss_cutoff, else 0
    /// log q(d) = (D - 2) log d + (D - 3)/2 log(1 - d²/4)
    /// ```
    ///
    /// `q` is the density of the distances of points spread evenly over the unit sphere in `D` dimensions, almost all of
    /// which are near `√2` apart: drawn evenly, negatives would all be that far. `d` is the Euclidean distance of unit
    /// vectors, so the distance has to be one from which that follows: a normalized `l2`, `squared_l2` or `dot`, or
    /// `cosine`. An anchor without a negative nearer than `nonzero_loss_cutoff` is left out.
    ///
    /// # Reference
    /// C.-Y. Wu, R. Manmatha, A. J. Smola, P. Krähenbühl, Sampling Matters in Deep Embedding Learning, ICCV 2017, §4.1;
    /// the two cutoffs are those of the authors' code.
    ///
    /// # Differences
    /// The paper's `λ` caps weights, the authors' code and pytorch-metric-learning's `DistanceWeightedMiner` raise
    /// distances to the cutoff instead, as is done here. That miner draws the positives at random too, with repetition;
    /// here every positive pair has one triplet. Weights at or beyond a distance of 2 are those just below it.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, Objective, ChaCha8Rng, SeedableRng, Tuples};
    /// use nearkin_losses::{distance::L2, loss::TripletMargin, miner::DistanceWeighted};
    /// // On the unit circle at 0°, 30° | 60° | 180°: 0° has 60° at distance 1 and 180° at 2, beyond the cutoff; 30° has 60°
    /// // at 0.52 and 180° at 1.93.
    /// let objective = Objective::from(TripletMargin::default())
    ///     .with_miner(DistanceWeighted::default())
    ///     .with_distance(L2::default());
    /// let batch = Mat::new(&[1.0, 0.0, 0.866, 0.5, 0.5, 0.866, -1.0, 0.0], 4, 2);
    /// let tuples = objective.mine(batch, &[0, 0, 1, 2], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert_eq!(tuples, Tuples::Triplets(vec![[0, 1, 2], [1, 0, 2]]));
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct DistanceWeighted {
        /// Nearer negatives are weighed as if they were that far: too near ones are noise.
        pub cutoff: Positive = Positive::literal(0.5),
        /// Negatives at or beyond that distance are never drawn: with margins as usual they would cost nothing.
        pub nonzero_loss_cutoff: Positive = Positive::literal(1.4),
    }
}

/// `d²/4` at most: the logarithm of what it leaves of one stays finite.
const MOST: f32 = 0.999_999;

impl DistanceWeighted {
    /// `-log q(d)`.
    fn log_weight(&self, d: f32, dim: f32) -> f32 {
        let d = d.max(self.cutoff.get());
        let rest = 1.0 - (0.25 * d * d).min(MOST);
        (2.0 - dim) * d.ln() - 0.5 * (dim - 3.0) * rest.ln()
    }

    /// The negatives of an anchor that may be drawn, with the sums of the weights up to and including each.
    fn candidates(
        &self,
        pairs: Pairs<'_>,
        a: usize,
        euclidean: fn(f32) -> f32,
    ) -> Vec<(f64, usize)> {
        let (row, dim) = (pairs.row(a), pairs.space().dim as f32);
        let negatives = pairs.negatives(a).flatten().map(|n| (euclidean(row[n]), n));
        let drawn = negatives.filter(|&(d, _)| d < self.nonzero_loss_cutoff.get());
        let logs: Vec<_> = drawn.map(|(d, n)| (self.log_weight(d, dim), n)).collect();
        let largest = logs
            .iter()
            .fold(f32::NEG_INFINITY, |m, &(log, _)| m.max(log));
        let mut sum = 0.0;
        let add = |&(log, n): &(f32, usize)| {
            sum += f64::from((log - largest).exp());
            (sum, n)
        };
        logs.iter().map(add).collect()
    }
}

impl TupleMiner for DistanceWeighted {
    fn mine(&self, pairs: Pairs<'_>, rng: &mut ChaCha8Rng) -> Tuples {
        let Some(euclidean) = pairs.space().euclidean else {
            return Tuples::Triplets(Vec::new());
        };
        let seeds = seeds(pairs.rows(), rng);
        triplets_of_anchors(pairs, |a| {
            if pairs.positives(a).next().is_none() {
                return Vec::new();
            }
            let candidates = self.candidates(pairs, a, euclidean);
            let Some(&(total, last)) = candidates.last() else {
                return Vec::new();
            };
            let mut rng = ChaCha8Rng::seed_from_u64(seeds[a]);
            let draw = |p: usize| {
                let at = total * rng.random::<f64>();
                let place = candidates.partition_point(|&(sum, _)| sum <= at);
                let n = candidates.get(place).map_or(last, |&(_, n)| n);
                [a as u32, p as u32, n as u32]
            };
            pairs.positives(a).map(draw).collect()
        })
    }

    fn reference(&self, batch: &Exact<'_>) -> Tuples {
        let [x, y] = batch.points();
        let mut triplets = Vec::new();
        for a in 0..batch.rows() {
            let d = |n: usize| {
                let squares = x[a].iter().zip(&y[n]).map(|(x, y)| (x - y).powi(2));
                squares.sum::<f64>().sqrt()
            };
            let mut negatives = batch.negatives(a);
            negatives.retain(|&n| d(n) < self.nonzero_loss_cutoff.exact());
            for p in batch.positives(a) {
                triplets.extend(negatives.iter().map(|&n| [a, p, n].map(|i| i as u32)));
            }
        }
        Tuples::Triplets(triplets)
    }

    fn check(&self, distance: &dyn PairDistance) -> Result<(), &'static str> {
        match distance.euclidean() {
            Some(_) if distance.normalize() => Ok(()),
            _ => Err(
                "goes by distances on the unit sphere: take the distance cosine, or l2, squared_l2 or dot with normalize = true",
            ),
        }
    }
}
