//! The supervised contrastive loss.

use super::{Definition, Row, RowLoss, exponentials, picks};
use crate::described::described;
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::range::Positive;
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Gives all positives of an anchor an equal share of its softmax.
    ///
    /// ```text
    /// L = mean over a of -1/|P(a)| Σ_p log( exp(-d(a, p) / temperature) / Σ_{j≠a} exp(-d(a, j) / temperature) )
    /// ```
    ///
    /// Anchors without positives have no term. A positive is active while some negative is at least as near.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// P. Khosla et al., Supervised Contrastive Learning, `NeurIPS` 2020, Eq. 2 (the sum over positives
    /// outside the logarithm).
    ///
    /// # Differences
    /// The paper sums over anchors (`[reducer.sum]`). pytorch-metric-learning has the same form with temperature 0.1, as in
    /// the paper's experiments.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::SupCon};
    /// // All four embeddings equal: the softmax is over three equal logits.
    /// let batch = Mat::new(&[1.0; 4], 4, 1);
    /// let outcome = Objective::from(SupCon::default())
    ///     .value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 3_f32.ln()).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct SupCon {
        /// Temperature `τ` of the softmax.
        pub temperature: Positive = Positive::literal(0.1),
    }
}

impl Definition for SupCon {
    fn default_distance(&self) -> Option<Distance> {
        Some(Cosine {}.into())
    }
}

impl RowLoss for SupCon {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let (d, scale) = (row.d(), 1.0 / self.temperature.get());
        let negative = picks::nearest_negative(row);
        let (mut nearest, mut total) = (negative, 0.0);
        let [mut tuples, mut active] = [0; 2];
        for p in row.positives() {
            tuples += 1;
            active += usize::from(d[p] >= negative);
            nearest = nearest.min(d[p]);
            total += f64::from(d[p]);
        }
        if tuples == 0 {
            return Row::nothing();
        }
        let mut sum = 0.0;
        for p in row.positives() {
            g[p] = (scale * (nearest - d[p])).exp();
            sum += f64::from(g[p]);
        }
        row.negatives(|range| {
            sum += exponentials(&d[range.clone()], |d| scale * (nearest - d), &mut g[range]);
        });
        let factor = -scale / sum as f32;
        row.negatives(|range| g[range].iter_mut().for_each(|g| *g *= factor));
        let share = scale / tuples as f32;
        row.positives().for_each(|p| g[p] = share + factor * g[p]);
        let mean = total / tuples as f64 - f64::from(nearest);
        // Rounding may leave a lone positive just below zero.
        let value = (f64::from(scale) * mean + sum.ln()).max(0.0);
        row.whole(value, [tuples, active], g)
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let tau = self.temperature.exact();
        let mut terms = Vec::new();
        for anchor in 0..batch.rows() {
            let [positives, negatives] = batch.kept(anchor, tuples);
            if positives.is_empty() {
                continue;
            }
            let logit = |&j: &usize| -batch.d(anchor, j) / tau;
            let log_sum = picks::log_sum_exp(positives.iter().chain(&negatives).map(logit));
            let sum: f64 = positives.iter().map(|p| logit(p) - log_sum).sum();
            let value = -sum / positives.len() as f64;
            terms.push(Term {
                anchor,
                group: 0,
                value,
            });
        }
        terms
    }
}
