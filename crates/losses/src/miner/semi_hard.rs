//! A semi-hard negative for every positive pair.

use super::{TupleMiner, farthest, first_least, nearest_negative, seeds, triplets_of_anchors};
use crate::described::{described, words};
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::range::Positive;
use crate::tuples::Tuples;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Positives up to which looking through the negatives for each beats searching among the positives.
const FEW: usize = 12;

words! {
    /// Which of the semi-hard negatives of a positive pair is taken.
    pub enum Choice {
        /// The nearest one farther away than the positive.
        Nearest = "nearest",
        /// Any one farther away than the positive and inside the margin, each as likely.
        Random = "random",
    }
}

words! {
    /// What happens to a positive pair all of whose negatives are at most as far as the positive.
    pub enum Fallback {
        /// It is left out.
        Skip = "skip",
        /// It takes its farthest negative, the one closest to being semi-hard.
        Farthest = "farthest",
    }
}

described! {
    /// For every positive pair a negative that is farther than the positive, but not by much.
    ///
    /// ```text
    /// d(a, p) < d(a, n),   n the nearest such, or a random one with d(a, n) < d(a, p) + margin
    /// ```
    ///
    /// All ordered positive pairs of the batch take part. Pairs whose negatives are all at most as far as the positive are
    /// skipped or, with `fallback = "farthest"`, take the farthest of them; pairs whose negatives are all beyond the margin
    /// are easy, and a random choice has nothing for them. Of equal distances the first is taken.
    ///
    /// # Reference
    /// F. Schroff, D. Kalenichenko, J. Philbin, FaceNet, CVPR 2015, Eq. 4 and §3.2.
    ///
    /// # Differences
    /// TensorFlow's and sentence-transformers' semi-hard loss is `fallback = "farthest"` with the loss's
    /// `reduction = "mean"`. pytorch-metric-learning takes all negatives inside the margin: see `triplet_margin`.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, Objective, ChaCha8Rng, SeedableRng, Tuples};
    /// use nearkin_losses::{distance::L2, loss::TripletMargin, miner::SemiHard};
    /// // Points 0, 2 | 1, 5 on a line. From 0 the positive is at 2 and the nearest farther negative is at 5.
    /// let objective = Objective::from(TripletMargin::default())
    ///     .with_miner(SemiHard::default())
    ///     .with_distance(L2 { normalize: false });
    /// let batch = Mat::new(&[0.0, 2.0, 1.0, 5.0], 4, 1);
    /// let tuples = objective.mine(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert_eq!(tuples, Tuples::Triplets(vec![[0, 1, 3], [1, 0, 3], [3, 2, 0]]));
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct SemiHard {
        /// `nearest` or `random`.
        pub choice: Choice = Choice::Nearest,
        /// `skip` or `farthest`, for pairs without a negative farther than the positive.
        pub fallback: Fallback = Fallback::Skip,
        /// How much farther than the positive a random choice may lie; the margin of the loss.
        pub margin: Positive = Positive::literal(0.2),
    }
}

impl SemiHard {
    /// For each positive, ascending by distance, the nearest negative beyond it.
    ///
    /// A few positives each look through the negatives. For many, a negative beyond `r` of the sorted positives is a
    /// candidate of the `r`-th and of all before it, so the candidates pass from the last positive to the first:
    /// `O(B log K)`, no sorting of negatives.
    fn nearest(pairs: Pairs<'_>, a: usize, positives: &[(f32, usize)]) -> Vec<Option<usize>> {
        if positives.len() <= FEW {
            let beyond = |&(d, _): &(f32, usize)| nearest_negative(pairs, a, d);
            return positives.iter().map(beyond).collect();
        }
        let row = pairs.row(a);
        let mut nearest: Vec<Option<usize>> = vec![None; positives.len()];
        let closer =
            |n: usize, best: Option<usize>| best.is_none_or(|best| (row[n], n) < (row[best], best));
        for n in pairs.negatives(a).flatten() {
            let beyond = positives.partition_point(|positive| positive.0 < row[n]);
            if beyond > 0 && closer(n, nearest[beyond - 1]) {
                nearest[beyond - 1] = Some(n);
            }
        }
        for k in (1..nearest.len()).rev() {
            if let Some(n) = nearest[k]
                && closer(n, nearest[k - 1])
            {
                nearest[k - 1] = Some(n);
            }
        }
        nearest
    }

    /// For each positive a random negative beyond it and inside the margin.
    fn random(
        &self,
        pairs: Pairs<'_>,
        a: usize,
        positives: &[(f32, usize)],
        rng: &mut ChaCha8Rng,
    ) -> Vec<Option<usize>> {
        let row = pairs.row(a);
        let mut negatives: Vec<_> = pairs.negatives(a).flatten().map(|n| (row[n], n)).collect();
        negatives.sort_by(|x, y| x.0.total_cmp(&y.0));
        let draw = |&(d, _): &(f32, usize)| {
            let start = negatives.partition_point(|negative| negative.0 <= d);
            let end = negatives.partition_point(|negative| negative.0 < d + self.margin.get());
            (start < end).then(|| negatives[rng.random_range(start..end)].1)
        };
        positives.iter().map(draw).collect()
    }

    fn of_anchor(&self, pairs: Pairs<'_>, a: usize, seed: u64) -> Vec<[u32; 3]> {
        let row = pairs.row(a);
        let mut positives: Vec<_> = pairs.positives(a).map(|p| (row[p], p)).collect();
        positives.sort_by(|x, y| x.0.total_cmp(&y.0));
        let mut chosen = match self.choice {
            Choice::Nearest => Self::nearest(pairs, a, &positives),
            Choice::Random => {
                self.random(pairs, a, &positives, &mut ChaCha8Rng::seed_from_u64(seed))
            }
        };
        if self.fallback == Fallback::Farthest
            && let Some(farthest) = farthest(row, pairs.negatives(a).flatten())
        {
            for (&(d, _), chosen) in positives.iter().zip(&mut chosen) {
                if row[farthest] <= d {
                    *chosen = Some(farthest);
                }
            }
        }
        let triplets = positives.iter().zip(chosen);
        triplets
            .filter_map(|(&(_, p), n)| n.map(|n| [a as u32, p as u32, n as u32]))
            .collect()
    }
}

impl TupleMiner for SemiHard {
    fn mine(&self, pairs: Pairs<'_>, rng: &mut ChaCha8Rng) -> Tuples {
        let seeds = match self.choice {
            Choice::Nearest => vec![0; pairs.rows()],
            Choice::Random => seeds(pairs.rows(), rng),
        };
        triplets_of_anchors(pairs, |a| self.of_anchor(pairs, a, seeds[a]))
    }

    fn reference(&self, batch: &Exact<'_>) -> Tuples {
        let mut triplets = Vec::new();
        for a in 0..batch.rows() {
            for p in batch.positives(a) {
                let mut farther = batch.negatives(a);
                farther.retain(|&n| batch.d(a, n) > batch.d(a, p));
                let chosen = match (self.choice, self.fallback) {
                    (_, Fallback::Farthest) if farther.is_empty() => {
                        first_least(&batch.negatives(a), |n| -batch.d(a, n))
                            .into_iter()
                            .collect()
                    }
                    (Choice::Nearest, _) => first_least(&farther, |n| batch.d(a, n))
                        .into_iter()
                        .collect(),
                    (Choice::Random, _) => {
                        farther.retain(|&n| batch.d(a, n) < batch.d(a, p) + self.margin.exact());
                        farther
                    }
                };
                triplets.extend(chosen.into_iter().map(|n| [a as u32, p as u32, n as u32]));
            }
        }
        Tuples::Triplets(triplets)
    }
}
