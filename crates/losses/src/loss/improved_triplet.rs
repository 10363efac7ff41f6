//! The triplet loss of a normalized pair metric.

use super::ladder::{Hinges, Ladder};
use super::{Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss, ladder, softplus};
use crate::described::described;
use crate::distance::{Distance, Dot};
use crate::exact::Exact;
use crate::miner::Miner;
use crate::pairs::Pairs;
use crate::range::{NonNegative, Positive};
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Keeps positives nearer than negatives by the probability of being different, which a cross-entropy trains too.
    ///
    /// ```text
    /// g = σ(scale (d - threshold))
    /// L = mean over (a, p, n) of [ g(a, p)² - g(a, n)² + margin ]₊
    ///   + softmax_weight · mean over pairs of { -log(1 - g(a, p))  or  -log g(a, n) }
    /// ```
    ///
    /// A probability cannot be rescaled, so that the margin means something however the metric is learned. Triplets are summed
    /// exactly in `O(B² log B)`. Anchors without positives or without negatives take no part. Triplets are counted as
    /// tuples, pairs are not.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// W. Chen, X. Chen, J. Zhang, K. Huang, Beyond Triplet Loss: A Deep Quadruplet Network for Person Re-identification,
    /// CVPR 2017, Eq. 2 with the network of its Fig. 2(c).
    ///
    /// # Differences
    /// In the paper a network of pairs has two outputs `z`, and `g` is the share of "different" in their softmax: put
    /// `S = z_different - z_same` into [`Objective::of_scores`](crate::Objective::of_scores), with the defaults here. Over
    /// embeddings, the default `d = -x·y` makes `g` a logistic regression on the dot product; other distances want a
    /// threshold. Eq. 2 is a sum (`[reducer.sum]`). The paper gives the cross-entropy no weight; `softmax_weight = 0` is its
    /// row "w/o sfx".
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::ImprovedTriplet};
    /// // All embeddings at the origin: g = ½ everywhere, so triplets are the margin and pairs log 2.
    /// let outcome = Objective::from(ImprovedTriplet::default())
    ///     .value_and_grad(Mat::new(&[0.0; 3], 3, 1), &[0, 0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - (1.0 + 2_f32.ln())).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct ImprovedTriplet {
        /// Required gap of the squared probabilities.
        pub margin: NonNegative = NonNegative::literal(1.0),
        /// What distances are multiplied by.
        pub scale: Positive = Positive::literal(1.0),
        /// Distance at which a pair is as likely the same as different.
        pub threshold: NonNegative = NonNegative::literal(0.0),
        /// Weight of the cross-entropy of the pairs.
        pub softmax_weight: NonNegative = NonNegative::literal(1.0),
    }
}

/// A pair as the metric sees it.
#[derive(Clone, Copy)]
struct Seen {
    /// `g²`, with its slope in `d`.
    square: f32,
    of_square: f32,
    /// The cross-entropy, with its slope in `d`.
    entropy: f32,
    of_entropy: f32,
}

impl ImprovedTriplet {
    fn see(&self, d: f32, positive: bool) -> Seen {
        let (scale, weight) = (self.scale.get(), self.softmax_weight.get());
        let z = scale * (d - self.threshold.get());
        let (of_same, different) = softplus(z);
        let (of_different, same) = softplus(-z);
        let (entropy, slope) = if positive {
            (of_same, different)
        } else {
            (of_different, -same)
        };
        Seen {
            square: different * different,
            of_square: 2.0 * scale * different * different * same,
            entropy: weight * entropy,
            of_entropy: weight * scale * slope,
        }
    }

    /// The pairs of an anchor that has positives and negatives.
    fn seen(&self, pairs: Pairs<'_>, a: usize) -> [Vec<(usize, Seen)>; 2] {
        let d = pairs.row(a);
        let see = |positive| move |j: usize| (j, self.see(d[j], positive));
        let positives: Vec<_> = pairs.positives(a).map(see(true)).collect();
        let negatives: Vec<_> = pairs.negatives(a).flatten().map(see(false)).collect();
        if positives.is_empty() || negatives.is_empty() {
            return [Vec::new(), Vec::new()];
        }
        [positives, negatives]
    }
}

impl Definition for ImprovedTriplet {
    fn default_distance(&self) -> Option<Distance> {
        Some(Dot::default().into())
    }

    fn default_miner(&self) -> Option<Miner> {
        None
    }
}

impl MatrixLoss for ImprovedTriplet {
    fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation {
        let (pairs, keep) = (matrix.pairs, matrix.reducer.keep());
        let hinges = Hinges {
            margin: self.margin.exact(),
            keep,
        };
        let terms: Vec<[Terms; 2]> = pairs.each_anchor(gradients.g, |a, _| {
            let [positives, negatives] = self.seen(pairs, a);
            let ladder = Ladder::of(negatives.iter().map(|(_, seen)| seen.square).collect());
            let met = positives
                .iter()
                .map(|(_, seen)| hinges.of_positive(seen.square, &ladder));
            let mut entropies = Terms::default();
            for (_, seen) in positives.iter().chain(&negatives) {
                entropies.add(seen.entropy, false, keep);
            }
            entropies.tuples = 0;
            [ladder::terms(met), entropies]
        });
        let (evaluation, weights) = ladder::reduced(matrix, &terms);
        pairs.each_anchor(gradients.g, |a, g| {
            let [of_triplets, of_pairs] = [weights[0][a], weights[1][a]];
            let [positives, negatives] = self.seen(pairs, a);
            let squares = |side: &[(usize, Seen)]| {
                Ladder::new(side.iter().map(|(_, seen)| (seen.square, 1.0)).collect())
            };
            let ladders = [squares(&positives), squares(&negatives)];
            for (side, pairs) in [&positives, &negatives].into_iter().enumerate() {
                for (j, seen) in pairs {
                    let pull = if side == 0 {
                        hinges.of_positive(seen.square, &ladders[1]).pulling as f64
                    } else {
                        -hinges.of_negative(seen.square, &ladders[0])
                    };
                    let share = if keep.holds(seen.entropy) {
                        of_pairs
                    } else {
                        0.0
                    };
                    g[*j] = (of_triplets * pull * f64::from(seen.of_square)
                        + share * f64::from(seen.of_entropy)) as f32;
                }
            }
        });
        evaluation
    }

    fn needs_square(&self) -> bool {
        false
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let z = |i, j| self.scale.exact() * (batch.d(i, j) - self.threshold.exact());
        let g = |i, j| 1.0 / (1.0 + (-z(i, j)).exp());
        let mut terms = Vec::new();
        for [a, p, n] in batch.triplets(tuples) {
            let value = (g(a, p).powi(2) - g(a, n).powi(2) + self.margin.exact()).max(0.0);
            terms.push(Term {
                anchor: a,
                group: 0,
                value,
            });
        }
        for a in 0..batch.rows() {
            let (positives, negatives) = (batch.positives(a), batch.negatives(a));
            if positives.is_empty() || negatives.is_empty() {
                continue;
            }
            let of_positives = positives.iter().map(|&p| z(a, p).exp().ln_1p());
            let of_negatives = negatives.iter().map(|&n| (-z(a, n)).exp().ln_1p());
            for value in of_positives.chain(of_negatives) {
                terms.push(Term {
                    anchor: a,
                    group: 1,
                    value: self.softmax_weight.exact() * value,
                });
            }
        }
        terms
    }
}
