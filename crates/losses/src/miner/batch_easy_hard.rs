//! One positive and one negative for each anchor, each easy, hard or in between.

use super::{TupleMiner, farthest, first_least, triplets_of_anchors};
use crate::described::{described, words};
use crate::distance::PairDistance;
use crate::exact::Exact;
use crate::pairs::Pairs;
use crate::tuples::{PairMask, Tuples, insert_bit};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

words! {
    /// Which positive or which negative of an anchor is taken.
    pub enum Strategy {
        /// The nearest positive; the farthest negative.
        Easy = "easy",
        /// The farthest positive; the nearest negative.
        Hard = "hard",
        /// The farthest positive nearer than the negative; the nearest negative farther than the positive.
        SemiHard = "semi_hard",
        /// All of them.
        All = "all",
    }
}

described! {
    /// One positive and one negative for each anchor: the easiest, the hardest, or the hardest that is not too hard.
    ///
    /// ```text
    /// easy:      p = argmin d(a, p)                    n = argmax d(a, n)
    /// hard:      p = argmax d(a, p)                    n = argmin d(a, n)
    /// semi_hard: p = argmax_{d(a, p) < d(a, n)} …      n = argmin_{d(a, n) > d(a, p)} …
    /// ```
    ///
    /// The kind that is semi-hard is chosen after the other. An anchor that lacks one of the two is left out. With `all`
    /// for one kind, all of that kind take part, and the one of the other; `semi_hard` would have nothing to go by then,
    /// nor for both kinds, and is refused. Of equal distances the first is taken.
    ///
    /// # Reference
    /// H. Xuan, A. Stylianou, R. Pless, Improved Embeddings with Easy Positive Triplet Mining, WACV 2020, §3, whose best
    /// is the easy positive with the semi-hard negative.
    ///
    /// # Differences
    /// pytorch-metric-learning's `BatchEasyHardMiner` ignores the allowed range of a kind that is taken whole.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Mat, Objective, ChaCha8Rng, SeedableRng, Tuples};
    /// use nearkin_losses::{distance::L2, loss::TripletMargin, miner::BatchEasyHard};
    /// // Points 0, 2, 6 | 1, 5 on a line: from 0 the easy positive is 2 away and the nearest farther negative is 5.
    /// let objective = Objective::from(TripletMargin::default())
    ///     .with_miner(BatchEasyHard::default())
    ///     .with_distance(L2 { normalize: false });
    /// let batch = Mat::new(&[0.0, 2.0, 6.0, 1.0, 5.0], 5, 1);
    /// let tuples = objective.mine(batch, &[0, 0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert_eq!(tuples, Tuples::Triplets(vec![[0, 1, 4], [1, 0, 4], [2, 1, 3], [3, 4, 2], [4, 3, 0]]));
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct BatchEasyHard {
        /// `easy`, `hard`, `semi_hard` or `all`, for positives.
        pub positive: Strategy = Strategy::Easy,
        /// `easy`, `hard`, `semi_hard` or `all`, for negatives.
        pub negative: Strategy = Strategy::SemiHard,
        /// Positives at other distances than from the first to the second number are left out; none with `[]`.
        pub positive_range: Bounds = Bounds(None),
        /// Negatives at other distances than from the first to the second number are left out; none with `[]`.
        pub negative_range: Bounds = Bounds(None),
    }
}

/// Distances from a low to a high one, both included, or all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds(Option<[f64; 2]>);

impl Bounds {
    /// From `low` to `high`; `None` if that holds nothing or one of them is no number.
    #[must_use]
    pub fn new(low: f64, high: f64) -> Option<Self> {
        (low <= high && low.is_finite() && high.is_finite()).then_some(Self(Some([low, high])))
    }

    fn holds(self, d: f32) -> bool {
        self.0
            .is_none_or(|[low, high]| d >= low as f32 && d <= high as f32)
    }

    fn holds_exactly(self, d: f64) -> bool {
        self.0.is_none_or(|[low, high]| d >= low && d <= high)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("[]"),
            Some([low, high]) => write!(f, "[{low:?},{high:?}]"),
        }
    }
}

impl Serialize for Bounds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0
            .as_ref()
            .map_or(&[][..], |bounds| bounds)
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bounds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bounds = match Vec::<f64>::deserialize(deserializer)?[..] {
            [] => Some(Self(None)),
            [low, high] => Self::new(low, high),
            _ => None,
        };
        bounds.ok_or_else(|| {
            D::Error::custom("expected [] or two finite numbers, the lower one first")
        })
    }
}

impl BatchEasyHard {
    /// The positive of an anchor; nearer than `below` if that is to be semi-hard.
    fn positive(&self, pairs: Pairs<'_>, a: usize, below: f32) -> Option<usize> {
        let row = pairs.row(a);
        let allowed = pairs
            .positives(a)
            .filter(|&p| self.positive_range.holds(row[p]));
        match self.positive {
            Strategy::Easy => nearest(row, allowed),
            Strategy::SemiHard => farthest(row, allowed.filter(|&p| row[p] < below)),
            Strategy::Hard | Strategy::All => farthest(row, allowed),
        }
    }

    /// The negative of an anchor; farther than `above` if that is to be semi-hard.
    fn negative(&self, pairs: Pairs<'_>, a: usize, above: f32) -> Option<usize> {
        let row = pairs.row(a);
        let negatives = pairs.negatives(a).flatten();
        let allowed = negatives.filter(|&n| self.negative_range.holds(row[n]));
        match self.negative {
            Strategy::Easy => farthest(row, allowed),
            Strategy::SemiHard => nearest(row, allowed.filter(|&n| row[n] > above)),
            Strategy::Hard | Strategy::All => nearest(row, allowed),
        }
    }

    fn triplet(&self, pairs: Pairs<'_>, a: usize) -> Option<[u32; 3]> {
        let row = pairs.row(a);
        let [p, n] = if self.positive == Strategy::SemiHard {
            let n = self.negative(pairs, a, f32::NEG_INFINITY)?;
            [self.positive(pairs, a, row[n])?, n]
        } else {
            let p = self.positive(pairs, a, f32::INFINITY)?;
            [p, self.negative(pairs, a, row[p])?]
        };
        Some([a, p, n].map(|i| i as u32))
    }

    /// All of a kind, with the chosen one of the other.
    fn insert(&self, pairs: Pairs<'_>, a: usize, bits: &mut [u64]) {
        let row = pairs.row(a);
        if self.positive == Strategy::All {
            let all = pairs
                .positives(a)
                .filter(|&p| self.positive_range.holds(row[p]));
            all.for_each(|p| insert_bit(bits, p));
        } else if let Some(p) = self.positive(pairs, a, f32::INFINITY) {
            insert_bit(bits, p);
        }
        if self.negative == Strategy::All {
            let all = pairs
                .negatives(a)
                .flatten()
                .filter(|&n| self.negative_range.holds(row[n]));
            all.for_each(|n| insert_bit(bits, n));
        } else if let Some(n) = self.negative(pairs, a, f32::NEG_INFINITY) {
            insert_bit(bits, n);
        }
    }

    /// What a strategy chooses among the allowed, by the definition: a list of one, or of all.
    fn chosen(
        strategy: Strategy,
        allowed: &[usize],
        hardness: impl Fn(usize) -> f64,
    ) -> Vec<usize> {
        match strategy {
            Strategy::All => allowed.to_vec(),
            Strategy::Easy => first_least(allowed, hardness).into_iter().collect(),
            _ => first_least(allowed, |i| -hardness(i)).into_iter().collect(),
        }
    }
}

/// The nearest of `items` by distance, the first of equals.
fn nearest(row: &[f32], items: impl Iterator<Item = usize>) -> Option<usize> {
    items.fold(None, |best, i| match best {
        Some(j) if row[i] >= row[j] => best,
        _ => Some(i),
    })
}

impl TupleMiner for BatchEasyHard {
    fn mine(&self, pairs: Pairs<'_>, _rng: &mut ChaCha8Rng) -> Tuples {
        if self.positive != Strategy::All && self.negative != Strategy::All {
            return triplets_of_anchors(pairs, |a| self.triplet(pairs, a).into_iter().collect());
        }
        let mut mask = PairMask::empty(pairs.rows(), pairs.cols());
        let rows = mask.rows_mut().enumerate();
        rows.for_each(|(a, bits)| self.insert(pairs, a, bits));
        Tuples::Pairs(mask)
    }

    fn reference(&self, batch: &Exact<'_>) -> Tuples {
        let (mut triplets, mut mask) = (Vec::new(), PairMask::empty(batch.rows(), batch.columns()));
        for a in 0..batch.rows() {
            let (mut positives, mut negatives) = (batch.positives(a), batch.negatives(a));
            positives.retain(|&p| self.positive_range.holds_exactly(batch.d(a, p)));
            negatives.retain(|&n| self.negative_range.holds_exactly(batch.d(a, n)));
            let positive =
                |allowed: &[usize]| Self::chosen(self.positive, allowed, |p| batch.d(a, p));
            let negative =
                |allowed: &[usize]| Self::chosen(self.negative, allowed, |n| -batch.d(a, n));
            // A semi-hard kind is chosen again, among those on the right side of the other.
            let (mut p, mut n) = (positive(&positives), negative(&negatives));
            if self.positive == Strategy::SemiHard {
                positives.retain(|&p| n.iter().all(|&n| batch.d(a, p) < batch.d(a, n)));
                p = positive(&positives);
            }
            if self.negative == Strategy::SemiHard {
                negatives.retain(|&n| p.iter().all(|&p| batch.d(a, n) > batch.d(a, p)));
                n = negative(&negatives);
            }
            p.iter().chain(&n).for_each(|&j| mask.insert(a, j));
            for &p in &p {
                triplets.extend(n.iter().map(|&n| [a, p, n].map(|i| i as u32)));
            }
        }
        if self.positive == Strategy::All || self.negative == Strategy::All {
            Tuples::Pairs(mask)
        } else {
            Tuples::Triplets(triplets)
        }
    }

    fn check(&self, _distance: &dyn PairDistance) -> Result<(), &'static str> {
        use Strategy::{All, SemiHard};
        match (self.positive, self.negative) {
            (SemiHard, SemiHard) => Err(
                "cannot take both kinds semi_hard: one of them has to be chosen before the other",
            ),
            (SemiHard, All) | (All, SemiHard) => Err(
                "cannot take one kind semi_hard and all of the other: semi_hard goes by a single one",
            ),
            _ => Ok(()),
        }
    }
}
