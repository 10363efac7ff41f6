//! The angular loss.

use super::class_softmax::exp_in_place;
use super::{Definition, Row, RowLoss, picks};
use crate::described::described;
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::lanes::largest;
use crate::range::Degrees;
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Bounds the angle at the negative of each triangle of an anchor, its positive and a negative.
    ///
    /// ```text
    /// f(a, p, n) = 4 tan² α (2 - d(a, n) - d(p, n)) - 2 (1 + tan² α) (1 - d(a, p))
    /// L = mean over (a, p) of log( 1 + Σ_n exp f(a, p, n) )
    /// ```
    ///
    /// Over the cosine distance, `f` is `4 tan² α (x_a + x_p)·x_n - 2 (1 + tan² α) x_a·x_p`. The negatives of a pair are those of
    /// its anchor; both ends of the pair are compared with them, so there is no form against references. A pair without
    /// negatives has no term; one is active while some `f` is at or above zero.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// J. Wang, F. Zhou, S. Wen, X. Liu, Y. Lin, Deep Metric Learning with Angular Loss, ICCV 2017, the smooth form for a
    /// batch.
    ///
    /// # Differences
    /// The paper has one positive for each anchor; every positive pair is a term here, as in pytorch-metric-learning, whose
    /// angle of 40° is the default too. There a miner chooses positive pairs only; here its choice of negatives counts as well.
    /// There negatives are not normalized, against the paper: its value is this one only for embeddings of norm one.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::Angular, range::Degrees};
    /// // Equal positives and a negative at a right angle; tan² 45° = 1, so f = 0 - 4.
    /// let objective = Objective::from(Angular { alpha: Degrees::literal(45.0) });
    /// let batch = Mat::new(&[1.0, 0.0, 1.0, 0.0, 0.0, 1.0], 3, 2);
    /// let outcome = objective.value_and_grad(batch, &[0, 0, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - (-4_f32).exp().ln_1p()).abs() < 1e-6);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Angular {
        /// Largest angle `α` at a negative, in degrees.
        pub alpha: Degrees = Degrees::literal(40.0),
    }
}

/// The term of a positive pair.
struct Pair {
    value: f32,
    /// `Σ_n` of the shares.
    miss: f32,
    active: bool,
}

impl Angular {
    fn square_of_tangent(&self) -> f64 {
        self.alpha.exact().to_radians().tan().powi(2)
    }

    /// The pair `(a, p)`; the shares of its negatives go to `shares`. `None` without negatives.
    fn pair(&self, row: &Row<'_>, [a, p]: [usize; 2], shares: &mut [f32]) -> Option<Pair> {
        let t = self.square_of_tangent() as f32;
        let (from_a, from_p) = (row.pairs.row(a), row.pairs.row(p));
        let of_pair = 2.0 * (1.0 + t) * (1.0 - from_a[p]);
        let mut top = f32::NEG_INFINITY;
        row.kept.negatives(a, |range| {
            let d = from_a[range.clone()].iter().zip(&from_p[range.clone()]);
            let shares = &mut shares[range];
            for (z, (d_an, d_pn)) in shares.iter_mut().zip(d) {
                *z = 4.0 * t * (2.0 - d_an - d_pn) - of_pair;
            }
            top = top.max(largest(shares));
        });
        if top == f32::NEG_INFINITY {
            return None;
        }
        let shift = top.max(0.0);
        let mut sum = 0.0;
        row.kept
            .negatives(a, |range| sum += exp_in_place(&mut shares[range], shift));
        let total = sum + (-f64::from(shift)).exp();
        let factor = total.recip() as f32;
        row.kept.negatives(a, |range| {
            shares[range].iter_mut().for_each(|z| *z *= factor);
        });
        Some(Pair {
            value: if shift > 0.0 {
                (f64::from(shift) + total.ln()) as f32
            } else {
                sum.ln_1p() as f32
            },
            miss: (sum / total) as f32,
            active: top >= 0.0,
        })
    }
}

impl Definition for Angular {
    fn default_distance(&self) -> Option<Distance> {
        Some(Cosine {}.into())
    }
}

impl RowLoss for Angular {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let (a, t) = (row.a, self.square_of_tangent() as f32);
        let mut shares = vec![0.0; g.len()];
        let mut terms = Terms::default();
        let mut push = |anchor: usize, weight: f32, shares: &[f32]| {
            row.kept.negatives(anchor, |range| {
                for (g, share) in g[range.clone()].iter_mut().zip(&shares[range]) {
                    *g -= 4.0 * t * weight * share;
                }
            });
        };
        let mut pulls = Vec::new();
        // Then the pairs (p, a), which have slopes in this row too, have the terms of the pairs (a, p).
        let mirrored = matches!(row.tuples, Tuples::All) && row.pairs.space().symmetric;
        for p in row.positives() {
            if let Some(pair) = self.pair(row, [a, p], &mut shares) {
                let counts = terms.add(pair.value, pair.active, row.keep);
                let weight = row.weight(a) * counts;
                let lent = if mirrored {
                    row.weight(p) * counts
                } else {
                    0.0
                };
                push(a, weight + lent, &shares);
                pulls.push((p, 2.0 * (1.0 + t) * weight * pair.miss));
            }
        }
        for q in row.pairs.positives(a).filter(|_| !mirrored) {
            if !row.kept.positives(q).any(|p| p == a) {
                continue;
            }
            if let Some(pair) = self.pair(row, [q, a], &mut shares)
                && row.keep.holds(pair.value)
            {
                push(q, row.weight(q), &shares);
            }
        }
        for (p, pull) in pulls {
            g[p] += pull;
        }
        [terms, Terms::default()]
    }

    fn needs_square(&self) -> bool {
        true
    }

    fn lends_slopes(&self) -> bool {
        true
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let t = self.alpha.exact().to_radians().tan().powi(2);
        let mut terms = Vec::new();
        for anchor in 0..batch.rows() {
            let [positives, negatives] = batch.kept(anchor, tuples);
            for &p in positives.iter().filter(|_| !negatives.is_empty()) {
                let x = |i, j| 1.0 - batch.d(i, j);
                let f = |&n: &usize| {
                    4.0 * t * (x(anchor, n) + x(p, n)) - 2.0 * (1.0 + t) * x(anchor, p)
                };
                let value = picks::log_sum_exp(negatives.iter().map(f).chain([0.0]));
                terms.push(Term {
                    anchor,
                    group: 0,
                    value,
                });
            }
        }
        terms
    }
}
