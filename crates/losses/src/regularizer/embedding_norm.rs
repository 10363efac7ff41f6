//! Norms near a radius.

use super::{RowRegularizer, mean_over_rows, reference_mean};
use crate::described::described;
use crate::range::NonNegative;

described! {
    /// Draws the norms of the rows to a radius; to zero, it is the mean squared norm.
    ///
    /// ```text
    /// R = 1/n Σ_i (‖x_i‖ - radius)²
    /// ```
    ///
    /// A row at zero has no slope.
    ///
    /// # Reference
    /// Y. Zheng, D. K. Pal, M. Savvides, Ring Loss: Convex Feature Normalization for Face Recognition, CVPR 2018, §3,
    /// which has half of this and learns the radius; with radius 0, the penalty of K. Sohn, N-pair loss, NIPS 2016, §3.2.2.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::regularizer::{EmbeddingNorm, RowRegularizer};
    /// assert_eq!(EmbeddingNorm::default().reference(&[3.0, 4.0], 2), 25.0);
    /// ```
    pub struct EmbeddingNorm {
        /// The norm that costs nothing.
        pub radius: NonNegative = NonNegative::literal(0.0),
    }
}

impl RowRegularizer for EmbeddingNorm {
    fn value_and_grad(&self, rows: &[f32], dim: usize) -> (f64, Vec<f32>) {
        mean_over_rows(rows, dim, |row, gradient| {
            let square: f64 = row.iter().map(|&x| f64::from(x).powi(2)).sum();
            let norm = square.sqrt();
            let excess = norm - self.radius.exact();
            if norm > 0.0 {
                let factor = 2.0 * excess / norm;
                gradient
                    .iter_mut()
                    .zip(row)
                    .for_each(|(g, &x)| *g = (factor * f64::from(x)) as f32);
            }
            excess * excess
        })
    }

    fn reference(&self, rows: &[f64], dim: usize) -> f64 {
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        reference_mean(rows, dim, |x| (norm(x) - self.radius.exact()).powi(2))
    }
}
