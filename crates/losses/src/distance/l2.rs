//! The Euclidean distance.

use super::gram::{self, Of};
use super::{Gradients, PairDistance, Points, unit};
use crate::described::described;
use nearkin_kernels::{reciprocals, square_roots};

described! {
    /// The Euclidean distance; its gradient at distance zero, where it has none, is taken as zero.
    ///
    /// ```text
    /// S[i][j] = ‖x_i - x_j‖
    /// ```
    ///
    /// # Reference
    /// R. Hadsell, S. Chopra, Y. `LeCun`, Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006, Eq. 1.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::distance::{L2, PairDistance};
    /// assert_eq!(L2 { normalize: false }.reference(&[0.0, 3.0], &[4.0, 0.0]), 5.0);
    /// ```
    pub struct L2 {
        /// Divide the embeddings by their L2 norms first.
        pub normalize: bool = true,
    }
}

impl PairDistance for L2 {
    fn normalize(&self) -> bool {
        self.normalize
    }

    fn matrix(&self, points: Points<'_>) -> Vec<f32> {
        gram::squared_l2(points, |_, row| square_roots(row))
    }

    fn gradient(&self, points: Points<'_>, s: &mut [f32], g: &[f32], out: Gradients<'_>) {
        let of = (Of::differences(self.normalize), -1.0);
        gram::gradient(points, of, Some(reciprocals), (s, g), out);
    }

    fn euclidean(&self) -> Option<fn(f32) -> f32> {
        Some(|d| d)
    }

    fn pair(&self, x: &[f32], y: &[f32]) -> f32 {
        gram::squared_difference(x, y).sqrt()
    }

    fn pair_gradient(&self, points: [&[f32]; 2], d: f32, slope: f32, out: [&mut [f32]; 2]) {
        if d > 0.0 {
            gram::add_difference(points, slope / d, out);
        }
    }

    fn reference(&self, x: &[f64], y: &[f64]) -> f64 {
        let (x, y) = if self.normalize {
            (unit(x), unit(y))
        } else {
            (x.to_vec(), y.to_vec())
        };
        x.iter()
            .zip(&y)
            .map(|(x, y)| (x - y).powi(2))
            .sum::<f64>()
            .sqrt()
    }
}
