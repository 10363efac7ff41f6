//! The squared Euclidean distance.

use super::gram::{self, Of};
use super::{Gradients, PairDistance, Points, unit};
use crate::described::described;

described! {
    /// The squared Euclidean distance; on unit vectors `2 - 2 cos`, from 0 to 4.
    ///
    /// ```text
    /// S[i][j] = ‖x_i - x_j‖²
    /// ```
    ///
    /// # Reference
    /// F. Schroff, D. Kalenichenko, J. Philbin, FaceNet, CVPR 2015, §3.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::distance::{PairDistance, SquaredL2};
    /// let distance = SquaredL2 { normalize: false };
    /// assert_eq!(distance.reference(&[0.0, 3.0], &[4.0, 0.0]), 25.0);
    /// ```
    pub struct SquaredL2 {
        /// Divide the embeddings by their L2 norms first.
        pub normalize: bool = true,
    }
}

impl PairDistance for SquaredL2 {
    fn normalize(&self) -> bool {
        self.normalize
    }

    fn matrix(&self, points: Points<'_>) -> Vec<f32> {
        gram::squared_l2(points, |_, _| ())
    }

    fn gradient(&self, points: Points<'_>, s: &mut [f32], g: &[f32], out: Gradients<'_>) {
        let of = Of::differences(self.normalize);
        gram::gradient(points, (of, -2.0), None, (s, g), out);
    }

    fn euclidean(&self) -> Option<fn(f32) -> f32> {
        Some(|d| d.max(0.0).sqrt())
    }

    fn pair(&self, x: &[f32], y: &[f32]) -> f32 {
        gram::squared_difference(x, y)
    }

    fn pair_gradient(&self, points: [&[f32]; 2], _d: f32, slope: f32, out: [&mut [f32]; 2]) {
        gram::add_difference(points, 2.0 * slope, out);
    }

    fn reference(&self, x: &[f64], y: &[f64]) -> f64 {
        let (x, y) = if self.normalize {
            (unit(x), unit(y))
        } else {
            (x.to_vec(), y.to_vec())
        };
        x.iter().zip(&y).map(|(x, y)| (x - y).powi(2)).sum()
    }
}
