//! The triplet loss of a normalized pair metric.

use super::ladder::{self, Hinges, Ladder, Steps};
use super::{Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss, exponentials};
use crate::described::described;
use crate::distance::{Distance, Dot};
use crate::exact::Exact;
use crate::miner::Miner;
use crate::pairs::Pairs;
use crate::range::{NonNegative, Positive};
use crate::reducer::{Keep, Term, Terms};
use crate::tuples::Tuples;
use std::ops::Range;

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

/// Pairs whose factors `1 + e^x` are multiplied before one logarithm: each is at most 2, so that the product stays far
/// below the range of `f64`.
const FACTORS: usize = 256;

/// Products side by side.
const LANES: usize = 8;

/// The pairs of an anchor as the metric sees them.
struct Seen {
    z: Vec<f32>,
    /// `exp(-|z|)`.
    e: Vec<f32>,
    /// `g²`.
    square: Vec<f32>,
}

impl Seen {
    /// How likely a pair is different, and how likely the same.
    fn odds(&self, j: usize) -> [f32; 2] {
        odds(self.z[j], self.e[j])
    }

    /// `log(1 + exp(±z))`.
    fn entropy(&self, j: usize, sign: f32) -> f32 {
        (sign * self.z[j]).max(0.0) + self.e[j].ln_1p()
    }

    /// `Σ log(1 + exp(-z))`, with one logarithm for many pairs:
    ///
    /// ```text
    /// Σ log(1 + e^-z) = Σ [ -z ]₊ + log Π ( 1 + e^-|z| )
    /// ```
    fn entropies(&self, range: Range<usize>) -> f64 {
        let pairs = self.z[range.clone()].chunks(FACTORS);
        let block = |(z, e): (&[f32], &[f32])| {
            let (mut hinges, mut products) = ([0.0; LANES], [1.0; LANES]);
            for (z, e) in z.chunks(LANES).zip(e.chunks(LANES)) {
                for ((hinge, product), (z, e)) in
                    hinges.iter_mut().zip(&mut products).zip(z.iter().zip(e))
                {
                    *hinge += f64::from((-z).max(0.0));
                    *product *= 1.0 + f64::from(*e);
                }
            }
            hinges.iter().sum::<f64>() + products.iter().product::<f64>().ln()
        };
        pairs.zip(self.e[range].chunks(FACTORS)).map(block).sum()
    }
}

fn odds(z: f32, e: f32) -> [f32; 2] {
    let likely = 1.0 / (1.0 + e);
    let unlikely = e * likely;
    if z >= 0.0 {
        [likely, unlikely]
    } else {
        [unlikely, likely]
    }
}

impl ImprovedTriplet {
    /// The pairs of an anchor; `None` without positives or without negatives.
    fn seen(&self, pairs: Pairs<'_>, a: usize) -> Option<Seen> {
        pairs.positives(a).next()?;
        pairs.negatives(a).next()?;
        let (scale, threshold) = (self.scale.get(), self.threshold.get());
        let z: Vec<_> = pairs
            .row(a)
            .iter()
            .map(|d| scale * (d - threshold))
            .collect();
        let mut e = vec![0.0; z.len()];
        exponentials(&z, |z| -z.abs(), &mut e);
        let square = |(&z, &e)| odds(z, e)[0].powi(2);
        let square = z.iter().zip(&e).map(square).collect();
        Some(Seen { z, e, square })
    }

    /// The hinges of an anchor's triplets and the entropies of its pairs.
    fn terms(&self, pairs: Pairs<'_>, a: usize, hinges: Hinges) -> [Terms; 2] {
        let Some(seen) = self.seen(pairs, a) else {
            return [Terms::default(); 2];
        };
        let steps = steps(pairs, a, &seen, hinges);
        let mut tallies = vec![[0.0; 2]; steps.places()];
        let mut places = vec![0; pairs.cols()];
        for range in pairs.negatives(a) {
            let square = &seen.square[range.clone()];
            steps.find(square, &mut places[range.clone()]);
            ladder::count(&mut tallies, square, &places[range]);
        }
        let ladder = Ladder::new(&steps, &tallies);
        let met = pairs
            .positives(a)
            .map(|p| hinges.of_positive(seen.square[p], &ladder));
        let (weight, keep) = (self.softmax_weight.get(), hinges.keep);
        let mut entropies = Terms::default();
        for p in pairs.positives(a) {
            entropies.add(weight * seen.entropy(p, 1.0), false, keep);
        }
        for range in pairs.negatives(a) {
            if keep == Keep::ALL {
                entropies.terms += range.len();
                entropies.kept += range.len();
                entropies.value += self.softmax_weight.exact() * seen.entropies(range);
            } else {
                for n in range {
                    entropies.add(weight * seen.entropy(n, -1.0), false, keep);
                }
            }
        }
        // What is counted are triplets.
        entropies.tuples = 0;
        [ladder::terms(met), entropies]
    }

    /// The slopes of an anchor's pairs, given what its hinges and its entropies are multiplied by.
    fn slopes(
        &self,
        (pairs, a): (Pairs<'_>, usize),
        hinges: Hinges,
        weights: [f64; 2],
        g: &mut [f32],
    ) {
        let Some(seen) = self.seen(pairs, a) else {
            return;
        };
        let steps = steps(pairs, a, &seen, hinges);
        let pushes = |p: usize| hinges.pushes(seen.square[p], -weights[0]);
        let pushes = steps.above(pairs.positives(a).flat_map(pushes));
        let pushes: Vec<_> = pushes.into_iter().map(|push| push as f32).collect();
        let (scale, weight, keep) = (self.scale.get(), self.softmax_weight.get(), hinges.keep);
        let mut places = vec![0; pairs.cols()];
        let mut counts = vec![0.0_f64; steps.places()];
        let of_entropy = scale * weight * weights[1] as f32;
        for range in pairs.negatives(a) {
            let square = &seen.square[range.clone()];
            steps.find(square, &mut places[range.clone()]);
            for j in range {
                let [different, same] = seen.odds(j);
                let place = places[j] as usize;
                counts[place] += 1.0;
                let push = pushes[place] * 2.0 * scale * different * different * same;
                let kept = keep == Keep::ALL || keep.holds(weight * seen.entropy(j, -1.0));
                g[j] = push - if kept { of_entropy * same } else { 0.0 };
            }
        }
        let tallies: Vec<_> = counts.into_iter().map(|count| [count, 0.0]).collect();
        let ladder = Ladder::new(&steps, &tallies);
        for p in pairs.positives(a) {
            let [different, same] = seen.odds(p);
            let pulling = hinges.of_positive(seen.square[p], &ladder).pulling;
            let pull = (weights[0] * pulling as f64) as f32;
            let kept = keep.holds(weight * seen.entropy(p, 1.0));
            g[p] = pull * 2.0 * scale * different * different * same
                + if kept { of_entropy * different } else { 0.0 };
        }
    }
}

/// The thresholds of an anchor's positives.
fn steps(pairs: Pairs<'_>, a: usize, seen: &Seen, hinges: Hinges) -> Steps {
    let thresholds = |p: usize| hinges.thresholds(seen.square[p]);
    Steps::new(pairs.positives(a).flat_map(thresholds).collect())
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
        let terms = pairs.each_anchor(gradients.g, |a, _| self.terms(pairs, a, hinges));
        let (evaluation, weights) = ladder::reduced(matrix, &terms);
        pairs.each_anchor(gradients.g, |a, g| {
            let weights = [weights[0][a], weights[1][a]];
            self.slopes((pairs, a), hinges, weights, g);
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
