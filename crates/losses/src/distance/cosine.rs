//! The cosine distance.

use super::gram::{self, Of};
use super::{Gradients, PairDistance, Points, unit};
use crate::described::described;

described! {
    /// One minus the cosine of the angle between two embeddings, from 0 to 2; a zero vector is at 1 from everything.
    ///
    /// ```text
    /// S[i][j] = 1 - x_i·x_j / (‖x_i‖ ‖x_j‖)
    /// ```
    ///
    /// # Reference
    /// X. Wang, X. Han, W. Huang, D. Dong, M. R. Scott, Multi-Similarity Loss, CVPR 2019, §3.1 (as similarity).
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::distance::{Cosine, PairDistance};
    /// assert_eq!(Cosine {}.reference(&[2.0, 0.0], &[0.0, 7.0]), 1.0);
    /// ```
    pub struct Cosine {}
}

impl PairDistance for Cosine {
    fn normalize(&self) -> bool {
        true
    }

    fn matrix(&self, points: Points<'_>) -> Vec<f32> {
        gram::one_minus_products(points)
    }

    fn gradient(&self, points: Points<'_>, s: &mut [f32], g: &[f32], out: Gradients<'_>) {
        gram::gradient(points, (Of::Products, -1.0), None, (s, g), out);
    }

    fn euclidean(&self) -> Option<fn(f32) -> f32> {
        Some(|d| (2.0 * d).max(0.0).sqrt())
    }

    fn pair(&self, x: &[f32], y: &[f32]) -> f32 {
        1.0 - gram::dot(x, y)
    }

    fn pair_gradient(&self, points: [&[f32]; 2], _d: f32, slope: f32, out: [&mut [f32]; 2]) {
        gram::add_product(points, -slope, out);
    }

    fn reference(&self, x: &[f64], y: &[f64]) -> f64 {
        1.0 - unit(x).iter().zip(unit(y)).map(|(x, y)| x * y).sum::<f64>()
    }
}
