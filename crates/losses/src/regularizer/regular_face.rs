//! Class centers apart from their nearest.

use super::{RowRegularizer, through_unit, unit_rows};
use crate::described::described;
use crate::distance::{Dot, PairDistance, Points};
use nearkin_kernels::Mat;

described! {
    /// Turns each row away from the one nearest to it in direction.
    ///
    /// ```text
    /// R = 1/n Σ_i max_{j≠i} cos(w_i, w_j)
    /// ```
    ///
    /// Of equally near rows the first counts. One row alone costs nothing.
    ///
    /// # Reference
    /// K. Zhao, J. Xu, M.-M. Cheng, `RegularFace`: Deep Face Recognition via Exclusive Regularization, CVPR 2019, Eq. 5.
    ///
    /// # Example
    /// ```
    /// use nearkin_losses::regularizer::{RegularFace, RowRegularizer};
    /// assert_eq!(RegularFace {}.reference(&[1.0, 0.0, 0.0, 2.0, -3.0, 0.0], 2), 0.0);
    /// ```
    pub struct RegularFace {}
}

/// Rows whose cosines to all others are in memory at a time.
const BLOCK: usize = 256;

impl RowRegularizer for RegularFace {
    fn value_and_grad(&self, rows: &[f32], dim: usize) -> (f64, Vec<f32>) {
        let n = rows.len() / dim.max(1);
        if n < 2 {
            return (0.0, vec![0.0; rows.len()]);
        }
        let (unit, norms) = unit_rows(rows, dim);
        let all = Mat::new(&unit, n, dim);
        let weight = 1.0 / n as f64;
        let (mut value, mut slopes) = (0.0, vec![0.0; rows.len()]);
        for (block, x) in unit.chunks(BLOCK * dim).enumerate() {
            let points = Points::between(Mat::new(x, x.len() / dim, dim), all);
            let s = Dot::default().matrix(points);
            for (k, s) in s.chunks_exact(n).enumerate() {
                let i = block * BLOCK + k;
                let first = usize::from(i == 0);
                let nearer = |best, j| if j != i && s[j] < s[best] { j } else { best };
                let j = (0..n).fold(first, nearer);
                value -= weight * f64::from(s[j]);
                for c in 0..dim {
                    slopes[i * dim + c] += weight as f32 * unit[j * dim + c];
                    slopes[j * dim + c] += weight as f32 * unit[i * dim + c];
                }
            }
        }
        (value, through_unit(&unit, &norms, dim, &slopes))
    }

    fn reference(&self, rows: &[f64], dim: usize) -> f64 {
        let w: Vec<&[f64]> = rows.chunks_exact(dim.max(1)).collect();
        if w.len() < 2 {
            return 0.0;
        }
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let cos = |a: &[f64], b: &[f64]| {
            let norms = (dot(a, a) * dot(b, b)).sqrt();
            if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
        };
        let nearest = |i: usize| {
            let others = (0..w.len()).filter(|&j| j != i);
            others.map(|j| cos(w[i], w[j])).fold(f64::MIN, f64::max)
        };
        (0..w.len()).map(nearest).sum::<f64>() / w.len() as f64
    }
}
