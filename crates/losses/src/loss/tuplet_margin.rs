//! The tuplet margin loss.

use super::{Definition, Row, RowLoss, picks};
use crate::described::described;
use crate::distance::{Cosine, Distance};
use crate::exact::Exact;
use crate::range::{NonNegative, Positive};
use crate::reducer::{Term, Terms};
use crate::tuples::Tuples;

described! {
    /// Picks each positive out of the negatives after taking an angle off its own, so that hard positives do not overfit.
    ///
    /// ```text
    /// L = mean over (a, p) of log( 1 + Σ_n exp( scale (cos θ_an - cos(θ_ap - margin)) ) ),   cos θ = 1 - d
    /// ```
    ///
    /// `d` of positives is clamped to `[1e-6, 2 - 1e-6]`, with no slope outside, since the slope is infinite where embeddings
    /// coincide. A pair is active while the exponent of some negative is at or above zero.
    ///
    /// # Shapes
    /// - embeddings: `[B, D]`, labels: `[B]`
    /// - value: a number, gradient: `[B, D]`
    ///
    /// # Reference
    /// B. Yu, D. Tao, Deep Metric Learning with Tuplet Margin Loss, ICCV 2019.
    ///
    /// # Differences
    /// Defaults are those of pytorch-metric-learning: scale 64 and 5.73°, which is 0.1 radians.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::{Objective, SeedableRng, ChaCha8Rng, Mat, loss::TupletMargin};
    /// // Positives at 90°, one negative at 0° and one at 90°: log(1 + exp(s (1 - cos(90° - m))) + exp(-s cos(90° - m))).
    /// let batch = Mat::new(&[1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0], 4, 2);
    /// let outcome = Objective::from(TupletMargin::default())
    ///     .value_and_grad(batch, &[0, 0, 1, 1], &mut ChaCha8Rng::seed_from_u64(0))?;
    /// assert!((outcome.value - 64.0 * (1.0 - 5.73_f32.to_radians().sin())).abs() < 1e-5);
    /// # Ok::<(), nearkin_losses::Error>(())
    /// ```
    pub struct TupletMargin {
        /// Factor on the cosines.
        pub scale: Positive = Positive::literal(64.0),
        /// Angle taken off that of the positive, in degrees.
        pub margin: NonNegative = NonNegative::literal(5.73),
    }
}

impl Definition for TupletMargin {
    fn default_distance(&self) -> Option<Distance> {
        Some(Cosine {}.into())
    }
}

impl RowLoss for TupletMargin {
    fn row(&self, row: &Row<'_>, g: &mut [f32]) -> [Terms; 2] {
        let (sin, cos) = self.margin.get().to_radians().sin_cos();
        let shifted = |d: f32| {
            let clamped = d.clamp(CLOSEST as f32, (2.0 - CLOSEST) as f32);
            let root = (clamped * (2.0 - clamped)).sqrt();
            let slope = cos - sin * (1.0 - clamped) / root;
            let inside = f32::from(d.to_bits() == clamped.to_bits());
            (1.0 - (1.0 - clamped) * cos - root * sin, inside * slope)
        };
        picks::picks(row, self.scale.get(), shifted, g)
    }

    fn reference(&self, batch: &Exact<'_>, tuples: &Tuples) -> Vec<Term> {
        let beta = self.margin.exact().to_radians();
        picks::reference(batch, tuples, self.scale.exact(), |d| {
            let angle = (1.0 - d.clamp(CLOSEST, 2.0 - CLOSEST)).acos();
            1.0 - (angle - beta).cos()
        })
    }
}

/// Distances of positives are at least this, and at most two less this.
const CLOSEST: f64 = 1e-6;
