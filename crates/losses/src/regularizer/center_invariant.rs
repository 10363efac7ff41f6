//! Norms like one another.

use super::{RowRegularizer, mean_over_rows, reference_mean};
use crate::described::described;

described! {
    /// Draws the squared norms of the rows to their mean, so that no class is larger than another.
    ///
    /// ```text
    /// R = 1/(4n) Σ_i ( ‖w_i‖² - 1/n Σ_k ‖w_k‖² )²
    /// ```
    ///
    /// # Reference
    /// Y. Wu, H. Liu, J. Li, Y. Fu, Deep Face Recognition with Center Invariant Loss, ACM MM Thematic Workshops 2017, §3.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::regularizer::{CenterInvariant, RowRegularizer};
    /// // Squared norms 1 and 9, both 4 from their mean: 16 / 4.
    /// assert_eq!(CenterInvariant {}.reference(&[1.0, 3.0], 1), 4.0);
    /// ```
    pub struct CenterInvariant {}
}

impl RowRegularizer for CenterInvariant {
    fn value_and_grad(&self, rows: &[f32], dim: usize) -> (f64, Vec<f32>) {
        let square = |row: &[f32]| row.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>();
        let total: f64 = rows.chunks_exact(dim.max(1)).map(square).sum();
        let mean = total * dim as f64 / rows.len().max(1) as f64;
        mean_over_rows(rows, dim, |row, gradient| {
            // What a row adds to the mean cancels, since the deviations sum to zero.
            let deviation = square(row) - mean;
            gradient
                .iter_mut()
                .zip(row)
                .for_each(|(g, &w)| *g = (deviation * f64::from(w)) as f32);
            deviation * deviation / 4.0
        })
    }

    fn reference(&self, rows: &[f64], dim: usize) -> f64 {
        let square = |w: &[f64]| w.iter().map(|w| w * w).sum::<f64>();
        let mean = reference_mean(rows, dim, square);
        reference_mean(rows, dim, |w| (square(w) - mean).powi(2) / 4.0)
    }
}
