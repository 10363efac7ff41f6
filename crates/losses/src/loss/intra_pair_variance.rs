//! The intra-pair variance loss.

use super::{Definition, Evaluation, Matrix, MatrixGradients, MatrixLoss};
use crate::described::described;
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::lanes;
use crate::range::NonNegative;
use crate::reducer::{Term, Terms};
use crate::tuples::{KeptPairs, Tuples};

described! {
    /// Narrows the spread of the distances of each kind of pair around their mean.
    ///
    /// ```text
    /// L = mean over positives of [ d - d̄⁺ - ε⁺ (1 - d̄⁺) ]₊² + mean over negatives of [ d̄⁻ - d - ε⁻ (1 - d̄⁻) ]₊²
    /// ```
    ///
    /// `d̄` is the mean distance of the pairs of that kind. With `s = 1 - d` this is the paper's formula in cosines,
    /// `[ (1 - ε) s̄ - s ]₊²` and `[ s - (1 + ε) s̄ ]₊²`. It is meant as a companion of another loss.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// B. Yu, D. Tao, Deep Metric Learning with Tuplet Margin Loss, ICCV 2019, §3.3.
    ///
    /// # Differences
    /// The same as pytorch-metric-learning over cosine; for other distances its slack is `ε d̄`.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, distance::L2, loss::IntraPairVariance};
    /// // Points 0, 1 and 3 of one class on a line: distances 1, 2 and 3, each both ways, around 2; the slack is ε (1 - 2).
    /// let batch = Mat::new(&[0.0, 1.0, 3.0], 3, 1);
    /// let outcome = Objective::from(IntraPairVariance::default()).with_distance(L2 { normalize: false })
    ///     .value_and_grad(batch, &[0, 0, 0], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - (0.01_f32.powi(2) + 1.01_f32.powi(2)) / 3.0).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct IntraPairVariance {
        /// Slack `ε⁺` of the positives.
        pub positive_epsilon: NonNegative = NonNegative::literal(0.01),
        /// Slack `ε⁻` of the negatives.
        pub negative_epsilon: NonNegative = NonNegative::literal(0.01),
    }
}

/// Numbers that are added in `f32` before they join the sum in `f64`.
const BLOCK: usize = 256;

/// Sum and number of the distances, or slopes, of one kind of pair.
#[derive(Clone, Copy, Default)]
struct Sum {
    sum: f64,
    count: usize,
}

impl Sum {
    fn mean(self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

/// The sums of numbers in a row over its positives and its negatives.
fn sums(kept: &KeptPairs<'_>, a: usize, row: &[f32]) -> [Sum; 2] {
    let [mut positives, mut negatives] = [Sum::default(); 2];
    for p in kept.positives(a) {
        positives.sum += f64::from(row[p]);
        positives.count += 1;
    }
    kept.negatives(a, |range| {
        negatives.count += range.len();
        negatives.sum += row[range].chunks(BLOCK).map(lanes::total).sum::<f64>();
    });
    [positives, negatives]
}

fn total(rows: &[[Sum; 2]]) -> [Sum; 2] {
    [0, 1].map(|kind| Sum {
        sum: rows.iter().map(|row| row[kind].sum).sum(),
        count: rows.iter().map(|row| row[kind].count).sum(),
    })
}

impl Definition for IntraPairVariance {
    fn default_distance(&self) -> Option<Distance> {
        Some(Cosine {}.into())
    }
}

impl MatrixLoss for IntraPairVariance {
    fn value_and_grad(
        &self,
        matrix: &Matrix<'_>,
        gradients: &mut MatrixGradients<'_>,
    ) -> Evaluation {
        let (pairs, keep) = (matrix.pairs, matrix.reducer.keep());
        let kept = matrix.tuples.pairs(pairs);
        let epsilon = [
            self.positive_epsilon.exact(),
            -self.negative_epsilon.exact(),
        ];
        let means = total(&pairs.each_anchor(gradients.g, |a, _| sums(&kept, a, pairs.row(a))));
        let bound =
            |kind: usize| (means[kind].mean() + epsilon[kind] * (1.0 - means[kind].mean())) as f32;
        let (outer, inner) = (bound(0), bound(1));
        let found = pairs.each_anchor(gradients.g, |a, g| {
            let (d, mut terms) = (pairs.row(a), [Terms::default(); 2]);
            for p in kept.positives(a) {
                let excess = (d[p] - outer).max(0.0);
                g[p] = 2.0 * excess * terms[0].add(excess * excess, excess > 0.0, keep);
            }
            kept.negatives(a, |range| {
                let term = |d: f32| {
                    let excess = (inner - d).max(0.0);
                    (excess * excess, -2.0 * excess)
                };
                terms[1].add_run(&d[range.clone()], &mut g[range], keep, term);
            });
            (terms, sums(&kept, a, g))
        });
        let mut evaluation = Evaluation::default();
        let weights = [0, 1].map(|kind| {
            let terms: Vec<_> = found.iter().map(|(terms, _)| terms[kind]).collect();
            let weights = matrix.reducer.weights(&terms, matrix.labels, None);
            for (terms, weight) in terms.iter().zip(&weights) {
                evaluation.value += terms.value * weight;
                evaluation.tuples += terms.tuples;
                evaluation.active += terms.active;
            }
            weights
        });
        // The bounds move with the means: each pair of a kind carries its share of all the slopes of that kind.
        let weighed = |(a, (_, sums)): (usize, &(_, [Sum; 2]))| {
            [0, 1].map(|kind| Sum {
                sum: weights[kind][a] * sums[kind].sum,
                ..sums[kind]
            })
        };
        let slopes = total(&found.iter().enumerate().map(weighed).collect::<Vec<_>>());
        let moved = [0, 1].map(|kind| ((1.0 - epsilon[kind]) * slopes[kind].mean()) as f32);
        pairs.each_anchor(gradients.g, |a, g| {
            let [of_p, of_n] = [weights[0][a] as f32, weights[1][a] as f32];
            kept.positives(a)
                .for_each(|p| g[p] = g[p] * of_p - moved[0]);
            kept.negatives(a, |range| {
                g[range].iter_mut().for_each(|g| *g = *g * of_n - moved[1]);
            });
        });
        evaluation
    }

    fn needs_square(&self) -> bool {
        false
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let same = |&(i, j): &(usize, usize)| batch.label(i) == batch.label_of_column(j);
        let (positives, negatives): (Vec<_>, Vec<_>) =
            batch.pairs(tuples).into_iter().partition(same);
        let s = |&(i, j): &(usize, usize)| 1.0 - batch.d(i, j);
        let mean =
            |pairs: &[(usize, usize)]| pairs.iter().map(s).sum::<f64>() / pairs.len().max(1) as f64;
        let (s_p, s_n) = (mean(&positives), mean(&negatives));
        let (epsilon_p, epsilon_n) = (self.positive_epsilon.exact(), self.negative_epsilon.exact());
        let of_p = positives.iter().map(|pair| {
            let value = ((1.0 - epsilon_p) * s_p - s(pair)).max(0.0).powi(2);
            Term {
                anchor: pair.0,
                group: 0,
                value,
            }
        });
        let of_n = negatives.iter().map(|pair| {
            let value = (s(pair) - (1.0 + epsilon_n) * s_n).max(0.0).powi(2);
            Term {
                anchor: pair.0,
                group: 1,
                value,
            }
        });
        of_p.chain(of_n).collect()
    }
}
