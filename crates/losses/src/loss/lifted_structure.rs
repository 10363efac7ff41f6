//! The lifted structure loss.

use super::{Definition, Row, RowLoss, exponentials, picks};
use crate::described::described;
use crate::distance::{Distance, L2};
use crate::exact::Exact;
use crate::range::NonNegative;
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Sets each positive pair against the negatives of both its ends.
    ///
    /// ```text
    /// J(a, p) = d(a, p) + log( Σ_n exp(margin - d(a, n)) + Σ_n exp(margin - d(p, n)) )
    /// L = mean over (a, p) of ½ [ J(a, p) ]₊²
    /// ```
    ///
    /// The ends of a pair both need to be in the batch, so there is no form against references. Pairs without negatives at
    /// either end have no term.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// H. O. Song, Y. Xiang, S. Jegelka, S. Savarese, Deep Metric Learning via Lifted Structured Feature Embedding, CVPR
    /// 2016, Eq. 4.
    ///
    /// # Differences
    /// The same as pytorch-metric-learning's over the default `l2`, whose embeddings are normalized; the paper's are not.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::LiftedStructure};
    /// // All four embeddings equal: J = 0 + log(4 exp(1)), four negative pairs at distance 0.
    /// let batch = Mat::new(&[1.0; 4], 4, 1);
    /// let outcome = Objective::from(LiftedStructure::default())
    ///     .value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - (4_f32.ln() + 1.0).powi(2) / 2.0).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct LiftedStructure {
        /// Distance beyond which negatives fade.
        pub margin: NonNegative = NonNegative::literal(1.0),
    }
}

impl Definition for LiftedStructure {
    fn default_distance(&self) -> Option<Distance> {
        Some(L2 { normalize: true }.into())
    }
}

impl RowLoss for LiftedStructure {
    /// `log Σ_n exp(margin - d(a, n))`, the crowd of `a`; `-∞` without negatives.
    fn prepare(&self, row: &Row<'_>) -> Option<f64> {
        let (d, nearest) = (row.d(), picks::nearest_negative(row));
        if nearest == f32::INFINITY {
            return Some(f64::NEG_INFINITY);
        }
        let (mut sum, mut e) = (0.0, vec![0.0; d.len()]);
        row.negatives(|range| {
            sum += exponentials(&d[range.clone()], |d| nearest - d, &mut e[range]);
        });
        Some(self.margin.exact() - f64::from(nearest) + sum.ln())
    }

    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let (pairs, a, d) = (row.pairs, row.a, row.d());
        let own = row.prepared[a];
        let mut terms = Terms::default();
        // Slopes of the terms of either end on the crowd of `a`, as multiples of its softmax.
        let mut push = 0.0;
        for p in pairs.positives(a) {
            let both = log_add_exp(own, row.prepared[p]);
            let share = (own - both).exp();
            if both == f64::NEG_INFINITY {
                continue;
            }
            if row.positives().any(|kept| kept == p) {
                let violation = (f64::from(d[p]) + both).max(0.0) as f32;
                let counts = terms.add(violation * violation / 2.0, violation > 0.0, row.keep);
                g[p] = violation * counts * row.weight(a);
                push += f64::from(g[p]) * share;
            }
            if row.kept.positives(p).any(|kept| kept == a) {
                let violation = (f64::from(pairs.at(p, a)) + both).max(0.0) as f32;
                if row.keep.holds(violation * violation / 2.0) {
                    push += f64::from(violation * row.weight(p)) * share;
                }
            }
        }
        let nearest = picks::nearest_negative(row);
        // The softmax of the crowd from its nearest on, so that no exponent is large.
        let factor = push * (self.margin.exact() - own - f64::from(nearest)).exp();
        row.negatives(|range| {
            exponentials(&d[range.clone()], |d| nearest - d, &mut g[range.clone()]);
            g[range].iter_mut().for_each(|g| *g *= -factor as f32);
        });
        [terms, Terms::default()]
    }

    fn needs_square(&self) -> bool {
        true
    }

    fn lends_slopes(&self) -> bool {
        true
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let margin = self.margin.exact();
        let kept: Vec<_> = (0..batch.rows()).map(|i| batch.kept(i, tuples)).collect();
        let mut terms = Vec::new();
        for anchor in 0..batch.rows() {
            for &p in &kept[anchor][0] {
                let of = |i: usize| kept[i][1].iter().map(move |&n| margin - batch.d(i, n));
                if of(anchor).chain(of(p)).next().is_none() {
                    continue;
                }
                let j = batch.d(anchor, p) + picks::log_sum_exp(of(anchor).chain(of(p)));
                terms.push(Term {
                    anchor,
                    group: 0,
                    value: j.max(0.0).powi(2) / 2.0,
                });
            }
        }
        terms
    }
}

/// `log(exp(x) + exp(y))`; `-∞` if both are.
fn log_add_exp(x: f64, y: f64) -> f64 {
    let largest = x.max(y);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + (x.min(y) - largest).exp().ln_1p()
}
