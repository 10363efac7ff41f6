//! Components around zero.

use super::{RowRegularizer, mean_over_rows, reference_mean};
use crate::described::described;

described! {
    /// Draws the sum of the components of each row to zero.
    ///
    /// ```text
    /// R = 1/n Σ_i | Σ_j x_ij |
    /// ```
    ///
    /// # Reference
    /// `ZeroMeanRegularizer` of pytorch-metric-learning.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::regularizer::{RowRegularizer, ZeroMean};
    /// assert_eq!(ZeroMean {}.reference(&[3.0, -4.0], 2), 1.0);
    /// ```
    pub struct ZeroMean {}
}

impl RowRegularizer for ZeroMean {
    fn value_and_grad(&self, rows: &[f32], dim: usize) -> (f64, Vec<f32>) {
        mean_over_rows(rows, dim, |row, gradient| {
            let sum: f64 = row.iter().map(|&x| f64::from(x)).sum();
            if sum != 0.0 {
                gradient.fill(sum.signum() as f32);
            }
            sum.abs()
        })
    }

    fn reference(&self, rows: &[f64], dim: usize) -> f64 {
        reference_mean(rows, dim, |x| x.iter().sum::<f64>().abs())
    }
}
