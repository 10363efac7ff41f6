//! The mean norm.

use super::{RowRegularizer, mean_over_rows, reference_mean};
use crate::described::described;
use crate::range::Positive;

described! {
    /// Mean of a power of the p-norms of the rows.
    ///
    /// ```text
    /// R = 1/n Σ_i ( Σ_j |x_ij|^p )^(power / p)
    /// ```
    ///
    /// A component at zero has no slope.
    ///
    /// # Reference
    /// `LpRegularizer` of pytorch-metric-learning.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::regularizer::{Lp, RowRegularizer};
    /// assert_eq!(Lp::default().reference(&[3.0, 4.0], 2), 5.0);
    /// ```
    pub struct Lp {
        /// Exponent of the norm.
        pub p: Positive = Positive::literal(2.0),
        /// Power of the norm.
        pub power: Positive = Positive::literal(1.0),
    }
}

impl RowRegularizer for Lp {
    fn value_and_grad(&self, rows: &[f32], dim: usize) -> (f64, Vec<f32>) {
        let (p, power) = (self.p.exact(), self.power.exact());
        mean_over_rows(rows, dim, |row, gradient| {
            let powers = row.iter().map(|&x| f64::from(x).abs().powf(p));
            let norm = powers.sum::<f64>().powf(p.recip());
            for (g, &x) in gradient.iter_mut().zip(row) {
                if x != 0.0 {
                    let share = (f64::from(x).abs() / norm).powf(p - 1.0);
                    *g = (power * norm.powf(power - 1.0) * share).copysign(f64::from(x)) as f32;
                }
            }
            norm.powf(power)
        })
    }

    fn reference(&self, rows: &[f64], dim: usize) -> f64 {
        let (p, power) = (self.p.exact(), self.power.exact());
        reference_mean(rows, dim, |x| {
            let sum: f64 = x.iter().map(|x| x.abs().powf(p)).sum();
            sum.powf(power / p)
        })
    }
}
