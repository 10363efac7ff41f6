//! The (N+1)-tuplet loss.

use super::{Definition, Row, RowLoss, picks};
use crate::described::described;
use crate::distance::{Distance, Dot};
use crate::exact::Exact;
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Keeps each positive nearer than all negatives of its anchor at once.
    ///
    /// ```text
    /// L = mean over (a, p) of log( 1 + Σ_n exp( d(a, p) - d(a, n) ) )
    /// ```
    ///
    /// Over the dot product `d = -x·y`, the exponent is the paper's `f·f_n - f·f⁺`. A pair is active while some negative is at
    /// least as near as the positive.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// K. Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS 2016, Eq. 3; its Eq. 6 is
    /// the same over one negative of every other class of the data.
    ///
    /// # Differences
    /// The paper's `N - 1` negatives are all the negatives in the batch here. Neither pytorch-metric-learning nor
    /// sentence-transformers has it; it is `nt_xent` of temperature 1 without normalization.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::Tuplet};
    /// // All four embeddings equal: one positive and two negatives at the same distance.
    /// let batch = Mat::new(&[1.0; 4], 4, 1);
    /// let outcome = Objective::from(Tuplet::default())
    ///     .value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 3_f32.ln()).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct Tuplet {}
}

impl Definition for Tuplet {
    fn default_distance(&self) -> Option<Distance> {
        Some(Dot::default().into())
    }
}

impl RowLoss for Tuplet {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        picks::picks(row, 1.0, |d| (d, 1.0), g)
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        picks::reference(batch, tuples, 1.0, |d| d)
    }
}
