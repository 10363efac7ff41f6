//! The dot product as a distance.

use super::gram::{self, Of};
use super::{Gradients, PairDistance, Points, unit};
use crate::described::described;

described! {
    /// Minus the dot product: a larger product is closer.
    ///
    /// ```text
    /// S[i][j] = -x_i·x_j
    /// ```
    ///
    /// # Reference
    /// K. Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS 2016, Eq. 3 (as similarity).
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::distance::{Dot, PairDistance};
    /// assert_eq!(Dot::default().reference(&[1.0, 2.0], &[3.0, 4.0]), -11.0);
    /// ```
    pub struct Dot {
        /// Divide the embeddings by their L2 norms first; the distance is then the cosine distance minus one.
        pub normalize: bool = false,
    }
}

impl PairDistance for Dot {
    fn normalize(&self) -> bool {
        self.normalize
    }

    fn matrix(&self, points: Points<'_>) -> Vec<f32> {
        gram::products(points, -1.0)
    }

    fn gradient(&self, points: Points<'_>, s: &mut [f32], g: &[f32], out: Gradients<'_>) {
        gram::gradient(points, (Of::Products, -1.0), None, (s, g), out);
    }

    fn euclidean(&self) -> Option<fn(f32) -> f32> {
        self.normalize
            .then_some(|d| (2.0 + 2.0 * d).max(0.0).sqrt())
    }

    fn similarity(&self, d: f64) -> f64 {
        -d
    }

    fn pair(&self, x: &[f32], y: &[f32]) -> f32 {
        -gram::dot(x, y)
    }

    fn pair_gradient(&self, points: [&[f32]; 2], _d: f32, slope: f32, out: [&mut [f32]; 2]) {
        gram::add_product(points, -slope, out);
    }

    fn reference(&self, x: &[f64], y: &[f64]) -> f64 {
        let (x, y) = if self.normalize {
            (unit(x), unit(y))
        } else {
            (x.to_vec(), y.to_vec())
        };
        -x.iter().zip(&y).map(|(x, y)| x * y).sum::<f64>()
    }
}
