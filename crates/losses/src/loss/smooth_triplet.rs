//! The smooth triplet loss.

use super::{Definition, Row, RowLoss, hinge};
use crate::described::described;
use crate::distance::{Distance, Dot};
use crate::exact::Exact;
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Keeps every negative farther than the positive, by a softplus in place of a hinge.
    ///
    /// ```text
    /// L = mean over (a, p, n) of log( 1 + exp( d(a, p) - d(a, n) ) )
    /// ```
    ///
    /// Over the dot product `d = -x·y`, the exponent is the paper's `f·f⁻ - f·f⁺`.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// K. Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS 2016, Eq. 4.
    ///
    /// # Differences
    /// The paper's dot products are of embeddings that are not normalized, as here. It is the tuplet loss with one negative. `triplet_margin` with `smooth = true` is the same with a margin; in
    /// pytorch-metric-learning it is `TripletMarginLoss(margin=0, smooth_loss=True)`.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::SmoothTriplet};
    /// // All four embeddings equal: every triplet is log(1 + 1).
    /// let batch = Mat::new(&[1.0; 4], 4, 1);
    /// let outcome = Objective::from(SmoothTriplet::default())
    ///     .value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 2_f32.ln()).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct SmoothTriplet {}
}

impl Definition for SmoothTriplet {
    fn default_distance(&self) -> Option<Distance> {
        Some(Dot::default().into())
    }
}

impl RowLoss for SmoothTriplet {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let terms = hinge::Terms {
            margin: 0.0,
            smooth: true,
            swap: false,
        };
        let sum = match row.tuples {
            Tuples::Triplets(_) | Tuples::Tuplets { .. } => hinge::listed(row, terms, g),
            Tuples::All | Tuples::Pairs(_) if !row.keep.is_selective() => {
                hinge::summed_softly(row, 0.0, g)
            }
            _ => hinge::visited(row, terms, g),
        };
        [sum, Terms::default()]
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let term = |[a, p, n]: [usize; 3]| Term {
            anchor: a,
            group: 0,
            value: (batch.d(a, p) - batch.d(a, n)).exp().ln_1p(),
        };
        batch.triplets(tuples).into_iter().map(term).collect()
    }
}
