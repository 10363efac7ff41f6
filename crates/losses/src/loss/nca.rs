//! The loss of neighborhood components analysis.

use super::{Definition, Row, RowLoss, exponentials, picks, softplus};
use crate::described::described;
use crate::distance::{Distance, SquaredL2};
use crate::exact::Exact;
use crate::range::Positive;
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Maximizes the probability that a random neighbor of the anchor has its class.
    ///
    /// ```text
    /// L = mean over a of -log( Σ_p exp(-scale d(a, p)) / Σ_{j≠a} exp(-scale d(a, j)) )
    /// ```
    ///
    /// Anchors without positives or without negatives have no term. A positive is active while some negative is at least as
    /// near.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// J. Goldberger, S. Roweis, G. Hinton, R. Salakhutdinov, Neighbourhood Components Analysis, NIPS 2004, its objective of
    /// log-probabilities; over dot products it is Eq. 9 of K. Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss
    /// Objective, NIPS 2016, for classes of several examples.
    ///
    /// # Differences
    /// As in the paper, all positives share one numerator. pytorch-metric-learning has the same with `softmax_scale` 1 over
    /// squared distances of normalized embeddings, which is the default here; the paper learns a linear map, unnormalized.
    /// Sohn's form is that over `[distance.dot]`.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::Nca};
    /// // All four embeddings equal: one of three neighbors is right.
    /// let batch = Mat::new(&[1.0; 4], 4, 1);
    /// let outcome = Objective::from(Nca::default())
    ///     .value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 3_f32.ln()).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Nca {
        /// Factor on the distances.
        pub scale: Positive = Positive::literal(1.0),
    }
}

impl Definition for Nca {
    fn default_distance(&self) -> Option<Distance> {
        Some(SquaredL2::default().into())
    }
}

impl RowLoss for Nca {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let scale = self.scale.get();
        let (d, nearest) = (row.d(), picks::nearest_negative(row));
        let closest = row.positives().map(|p| d[p]).fold(f32::INFINITY, f32::min);
        if nearest == f32::INFINITY || closest == f32::INFINITY {
            return Row::nothing();
        }
        let [mut of_positives, mut of_negatives] = [0.0; 2];
        for p in row.positives() {
            g[p] = (scale * (closest - d[p])).exp();
            of_positives += f64::from(g[p]);
        }
        row.negatives(|range| {
            of_negatives +=
                exponentials(&d[range.clone()], |d| scale * (nearest - d), &mut g[range]);
        });
        let ratio = (of_negatives / of_positives).ln() as f32;
        let (value, sigmoid) = softplus(scale * (closest - nearest) + ratio);
        let factor = -scale * sigmoid / of_negatives as f32;
        row.negatives(|range| g[range].iter_mut().for_each(|g| *g *= factor));
        let factor = scale * sigmoid / of_positives as f32;
        let [mut tuples, mut active] = [0; 2];
        for p in row.positives() {
            g[p] *= factor;
            tuples += 1;
            active += usize::from(d[p] >= nearest);
        }
        row.whole(f64::from(value), [tuples, active], g)
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let scale = self.scale.exact();
        let mut terms = Vec::new();
        for anchor in 0..batch.rows() {
            let [positives, negatives] = batch.kept(anchor, tuples);
            if positives.is_empty() || negatives.is_empty() {
                continue;
            }
            let logit = |&j: &usize| -scale * batch.d(anchor, j);
            let value = picks::log_sum_exp(positives.iter().chain(&negatives).map(logit))
                - picks::log_sum_exp(positives.iter().map(logit));
            terms.push(Term {
                anchor,
                group: 0,
                value,
            });
        }
        terms
    }
}
